//! Messages that go to the store and come back, the survey of those there, and the restart.

use std::collections::BTreeSet;

use super::*;

impl World {
    pub(super) fn page_out(&mut self) {
        let level = u8::try_from(self.random.below(usize::from(self.levels()) + 1)).unwrap();
        let candidates = self.queue.paging_candidates(level, 0, usize::MAX);
        for (seq, message) in candidates {
            self.ready.get_mut(&(level, seq.0)).unwrap().stored = true;
            self.store.insert((level, seq.0), (message, 0));
        }
        let from = self.delivered_end.get(&level).copied().unwrap_or(0);
        let any_paged = self.head(level).is_some()
            && self.ready.range((level, 0)..=(level, u64::MAX)).any(|(_, entry)| entry.paged);
        let mut paged = 0;
        let last_paged = self.ready.range((level, 0)..=(level, u64::MAX));
        let last_paged = last_paged.filter(|(_, entry)| entry.paged).map(|(place, _)| place.1).next_back();
        for (_, entry) in self.ready.range_mut((level, 0)..=(level, u64::MAX)) {
            let behind = if any_paged { Some(entry.place.1) > last_paged } else { entry.place.1 >= from };
            if behind && !entry.paged {
                assert!(entry.stored);
                entry.paged = true;
                paged += 1;
            }
        }
        let newest = self.queue.newest(level).unwrap_or_default();
        assert_eq!(self.queue.page_out(level, newest, 0).ready, paged);
    }

    pub(super) fn load(&mut self) {
        let Some(wanted) = self.queue.page_in_wanted(1 + self.random.below(300)) else { return };
        let (level, range) = (wanted.level, wanted.range);
        let paged = self.ready.values().filter(|entry| entry.paged && entry.place.0 == level).count() as u64;
        assert_eq!(range.count, paged);
        let kept = self.store.range((level, range.first.0)..=(level, u64::MAX));
        let messages: Vec<_> = kept
            .take(1 + self.random.below(20))
            .map(|(place, (message, returned))| (Seq(place.1), message.clone(), *returned))
            .collect();
        let up_to = messages.last().map_or(range.last, |message| message.0);
        self.loads.push(PagedIn { wanted, messages, up_to, damaged: Vec::new() });
    }

    pub(super) fn page_in(&mut self) {
        if self.loads.is_empty() {
            return;
        }
        let loaded = self.loads.swap_remove(self.random.below(self.loads.len()));
        let (wanted, level) = (loaded.wanted, loaded.wanted.level);
        let current = self.queue.levels.at(level).ready.page_in_wanted(usize::MAX);
        let in_time = current.is_some_and(|current| {
            current.range.first == wanted.range.first && current.page_ins == wanted.page_ins
        });
        let up_to = loaded.up_to.min(wanted.range.last).0;
        if in_time && up_to >= wanted.range.first.0 {
            for (_, entry) in self.ready.range_mut((level, wanted.range.first.0)..=(level, up_to)) {
                assert!(loaded.messages.iter().any(|message| message.0.0 == entry.place.1), "{entry:?}");
                (entry.paged, entry.known) = (false, true);
            }
        }
        self.queue.page_in(loaded);
    }

    pub(super) fn purge(&mut self) {
        let mut effects = Vec::new();
        assert_eq!(self.queue.purge(&mut effects).ready as usize, self.ready.len());
        let within = |place: &Place| {
            effects.iter().any(|effect| match effect {
                Effect::Purged { level, ranges } => {
                    *level == place.0
                        && ranges.iter().any(|range| (range.first.0..=range.last.0).contains(&place.1))
                }
                other => panic!("unexpected {other:?}"),
            })
        };
        let stored = self.ready.values().filter(|entry| entry.stored);
        let stored: BTreeSet<Place> = stored.map(|entry| entry.place).collect();
        let named: BTreeSet<Place> = self.store.keys().filter(|place| within(place)).copied().collect();
        assert_eq!(named, stored);
        self.store.retain(|place, _| !stored.contains(place));
        self.ready.clear();
    }

    /// Dead letters become safe, and expired messages are loaded for theirs.
    pub(super) fn bury(&mut self) {
        for place in std::mem::take(&mut self.to_bury) {
            let message = self.store[&place].0.clone();
            let mut effects = Vec::new();
            self.queue.bury_loaded(place.0, vec![(Seq(place.1), message)], &mut effects);
            assert_eq!(effects.len(), 1);
        }
        if self.random.one_in(2) {
            for place in std::mem::take(&mut self.dying) {
                self.store.remove(&place).unwrap();
            }
        }
    }

    pub(super) fn survey(&mut self) {
        let Some(SurveyWanted { level, range }) = self.queue.survey_wanted() else {
            assert!(self.surveyed());
            return;
        };
        let up_to = range.first.0 + self.random.next() % (range.last.0 - range.first.0 + 1);
        let kept = self.store.range((level, range.first.0)..=(level, up_to));
        let surveyed = |(place, (message, _)): (&Place, &(Message, u16))| Surveyed {
            seq: Seq(place.1),
            expires_ms: message.expires_ms(),
            body_bytes: message.body().len() as u64,
        };
        let surveyed: Vec<_> = kept.map(surveyed).collect();
        for (_, entry) in self.ready.range_mut((level, 0)..=(level, up_to)) {
            entry.known = true;
        }
        let mut effects = Vec::new();
        self.queue.survey(level, Seq(up_to), &surveyed, &mut effects);
        self.check_effects(effects);
    }

    /// The broker ends and begins again with what is persistent.
    pub(super) fn restart(&mut self) {
        self.store.retain(|_, (message, _)| message.is_persistent());
        self.ready.clear();
        self.outstanding.clear();
        self.consumers.clear();
        self.loads.clear();
        self.dying.clear();
        self.to_bury.clear();
        self.counters = QueueCounters::default();
        for (place, (message, returned)) in &self.store {
            let (message, returned) = (message.clone(), *returned);
            let entry = Entry { place: *place, message, returned, stored: true, paged: true, known: false };
            self.ready.insert(*place, entry);
        }
        let restored: Vec<_> = (0..=self.levels())
            .map(|level| {
                let mut kept =
                    self.store.range((level, 0)..=(level, u64::MAX)).map(|(place, _)| Seq(place.1));
                let count = kept.clone().count() as u64;
                let paged = kept.next().map(|first| PagedRange {
                    first,
                    last: kept.next_back().unwrap_or(first),
                    count,
                });
                let next_seq = Seq(self.next_seq.get(&level).copied().unwrap_or(0));
                let delivered = self.delivered_end.get(&level).and_then(|end| end.checked_sub(1)).map(Seq);
                Restored { next_seq, delivered, paged }
            })
            .collect();
        self.queue = Queue::restore(self.queue.options().clone(), &restored);
    }
}
