//! Messages that are written, leave memory and come back, as the pager has them do so.

use super::*;

impl World {
    /// Where a run of messages begins that may leave memory.
    pub(super) fn start_of_run(&self, keep_front_bytes: usize) -> usize {
        if let Some((_, last)) = self.paged {
            return self.ready.iter().take_while(|entry| entry.seq <= last).count();
        }
        let mut before = 0;
        let stays = |entry: &&Entry| {
            let kept = before < keep_front_bytes || entry.seq < self.delivered_end;
            before += entry.bytes();
            kept
        };
        self.ready.iter().take_while(stays).count()
    }

    pub(super) fn keep_front_bytes(&mut self) -> usize {
        [0, 300, 2000, 6000][self.random.below(4)]
    }

    pub(super) fn offer_candidates(&mut self) {
        let keep_front_bytes = self.keep_front_bytes();
        let bytes_max = [1, 1000, usize::MAX][self.random.below(3)];
        let candidates = self.queue.paging_candidates(0, keep_front_bytes, bytes_max);
        let start = self.start_of_run(keep_front_bytes);
        let mut bytes = 0;
        let mut expected = Vec::new();
        for entry in self.ready[start..].iter_mut().filter(|entry| !entry.stored) {
            if bytes >= bytes_max {
                break;
            }
            bytes += entry.bytes();
            entry.stored = true;
            expected.push(entry.seq);
        }
        assert_eq!(candidates.iter().map(|(seq, _)| seq.0).collect::<Vec<_>>(), expected);
        for (seq, message) in candidates {
            assert_eq!(number_of(&message), seq.0);
            self.store.append(seq.0, &message);
        }
    }

    pub(super) fn write(&mut self) {
        // In the order in which they were appended or not: what counts is the lowest that is missing.
        for _ in 0..self.random.below(self.store.unwritten.len() + 1) {
            let place = self.random.below(self.store.unwritten.len().min(10));
            let seq = *self.store.unwritten.iter().nth(place).unwrap();
            self.store.unwritten.remove(&seq);
        }
    }

    pub(super) fn page_out(&mut self) {
        let keep_front_bytes = self.keep_front_bytes();
        let Some(written) = self.store.written() else { return };
        if !self.claims.is_empty() {
            assert_eq!(self.queue.page_out(0, Seq(written), keep_front_bytes).ready, 0);
            return;
        }
        let start = self.start_of_run(keep_front_bytes);
        let mut paged = 0;
        for entry in &mut self.ready[start..] {
            if !entry.stored || entry.seq > written {
                break;
            }
            entry.paged = true;
            let first = self.paged.map_or(entry.seq, |(first, _)| first);
            self.paged = Some((first, entry.seq));
            paged += 1;
        }
        assert_eq!(self.queue.page_out(0, Seq(written), keep_front_bytes).ready, paged);
    }

    pub(super) fn load(&mut self) {
        let low_bytes = self.random.below(4000);
        let front: usize = self.ready.iter().take_while(|entry| !entry.paged).map(Entry::bytes).sum();
        let wanted = self.queue.page_in_wanted(low_bytes);
        let count = self.ready.iter().filter(|entry| entry.paged).count() as u64;
        let paged = self.paged.map(|(first, last)| PagedRange { first: Seq(first), last: Seq(last), count });
        assert_eq!(wanted.map(|wanted| wanted.range), paged.filter(|_| front < low_bytes));
        let Some(wanted) = wanted else { return };
        let (first, last) = (wanted.range.first.0, wanted.range.last.0);
        let count = 1 + self.random.below(60);
        let mut load = Load { wanted, turn: self.turn, good: Vec::new(), damaged: Vec::new(), up_to: last };
        for &seq in self.store.kept.range(first..).map(|(seq, _)| seq).take(count) {
            if self.store.unwritten.contains(&seq) {
                break;
            }
            load.up_to = seq;
            // Only what is not in memory: else the queue still has it.
            let claimed = self.claims.iter().any(|(_, entry)| entry.seq == seq);
            let damaged = seq <= last && !claimed && self.random.one_in(60);
            if damaged { &mut load.damaged } else { &mut load.good }.push(seq);
        }
        self.loads.push(load);
    }

    pub(super) fn page_in(&mut self) {
        if self.loads.is_empty() {
            return;
        }
        let place = self.random.below(self.loads.len());
        let load = self.loads.swap_remove(place);
        let messages = load.good.iter().map(|seq| {
            // One that is gone meanwhile was loaded all the same; then the load comes too late.
            let gone = (Message::new("", "", &[], false, &[]), 0);
            let (message, returned) = self.store.kept.get(seq).cloned().unwrap_or(gone);
            (Seq(*seq), message, returned)
        });
        let damaged = load.damaged.iter().copied().map(Seq).collect();
        let messages = messages.collect();
        self.queue.page_in(PagedIn { wanted: load.wanted, messages, up_to: Seq(load.up_to), damaged });
        let PagedRange { first: Seq(first), last: Seq(loaded_last), .. } = load.wanted.range;
        let in_time = |paged: &(u64, u64)| paged.0 == first && load.turn == self.turn;
        let Some((_, last)) = self.paged.filter(in_time) else { return };
        self.turn += 1;
        let up_to = load.up_to.min(loaded_last);
        load.damaged.iter().for_each(|&seq| self.store.settle(seq));
        self.ready.retain(|entry| !load.damaged.contains(&entry.seq));
        for entry in self.ready.iter_mut().filter(|entry| (first..=up_to).contains(&entry.seq)) {
            assert!(!entry.paged || load.good.contains(&entry.seq), "{} was not loaded", entry.seq);
            entry.paged = false;
        }
        let ended = !self.ready.iter().any(|entry| entry.paged);
        self.paged = (!ended).then_some((up_to + 1, last));
    }
}
