//! An operator who looks at messages, and takes some out.

use super::*;

impl World {
    /// Everything there is, as looks of random sizes find it from `skip` on.
    pub(super) fn look(&mut self, skip: u64) -> Vec<Browsed> {
        let (mut found, mut after, mut left) = (Vec::new(), None, skip);
        loop {
            let View { skipped, stretch } = self.queue.browse(after, left, 1 + self.random.below(40));
            left -= skipped;
            match stretch {
                Stretch::End => return found,
                Stretch::Memory { messages, up_to } => {
                    after = Some(up_to);
                    found.extend(messages);
                }
                Stretch::Paged { level, ranges, delivered_end } => {
                    let kept =
                        ranges.iter().flat_map(|range| self.store.kept.range(range.first.0..=range.last.0));
                    let mut kept: Vec<_> = kept
                        .map(|(&seq, (message, returned))| {
                            let redelivered = *returned > 0 || seq < delivered_end.0;
                            let id = MessageId { level, seq: Seq(seq) };
                            Browsed { id, message: message.clone(), returned: *returned, redelivered }
                        })
                        .collect();
                    let passed = kept.len().min(usize::try_from(left).unwrap());
                    left -= passed as u64;
                    found.extend(kept.drain(passed..));
                    after = ranges.last().map(|range| MessageId { level, seq: range.last });
                }
            }
        }
    }

    /// What is found is what is ready, in order, and what is in memory stays there.
    pub(super) fn browse(&mut self) {
        let before = (self.queue.memory_bytes(), self.queue.ready_bytes(), self.queue.ready_count());
        let skip = if self.random.one_in(3) { 0 } else { self.random.below(self.ready.len() + 3) };
        let found = self.look(skip as u64);
        let expected: Vec<_> = self.ready.iter().skip(skip).collect();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!((found.id.seq.0, found.id.level), (expected.seq, 0));
            assert_eq!(number_of(&found.message), expected.seq);
            assert_eq!(found.redelivered, expected.returned > 0 || expected.seq < self.restored_end);
        }
        assert_eq!(before, (self.queue.memory_bytes(), self.queue.ready_bytes(), self.queue.ready_count()));
    }

    /// Takes out some messages from anywhere, some of them twice, and some that may have left.
    pub(super) fn claim(&mut self) {
        let found = self.look(0);
        for _ in 0..self.random.below(12).min(found.len()) {
            let chosen = &found[self.random.below(found.len())];
            // What is found to be damaged after it was read whole is nobody's concern here.
            if self.loads.iter().any(|load| load.damaged.contains(&chosen.id.seq.0)) {
                continue;
            }
            let place = self.ready.iter().position(|entry| entry.seq == chosen.id.seq.0);
            match (self.queue.claim(chosen), place) {
                (Some(claimed), Some(place)) => {
                    assert_eq!(number_of(claimed.message()), chosen.id.seq.0);
                    self.claims.push((claimed, self.ready.remove(place)));
                }
                (None, None) => {}
                (claimed, place) => panic!("{claimed:?} at {place:?}"),
            }
        }
        if !self.ready.iter().any(|entry| entry.paged) {
            self.paged = None;
        }
    }

    pub(super) fn finish_claims(&mut self) {
        for _ in 0..self.random.below(self.claims.len() + 1) {
            let place = self.random.below(self.claims.len());
            let (claimed, mut entry) = self.claims.swap_remove(place);
            if self.random.one_in(2) {
                let mut effects = Vec::new();
                self.queue.settle_claimed([claimed], &mut effects);
                assert_eq!(effects.len(), usize::from(entry.stored));
                if entry.stored {
                    self.store.settle(entry.seq);
                }
            } else {
                self.queue.put_back([claimed]);
                entry.paged = self.paged.is_some_and(|(first, last)| (first..=last).contains(&entry.seq));
                self.ready.push(entry);
                self.ready.sort_by_key(|entry| entry.seq);
            }
        }
    }
}
