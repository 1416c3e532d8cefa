//! [`Levels`]: the ready messages of a queue by priority.
//!
//! Every level has sequence numbers, marks and paging of its own; the store sees each as a queue. A queue without priorities has
//! level 0 only and pays nothing for the others. Knows no consumers. Called by the queue only.

use super::Seq;
use super::ready::{ReadyMessage, ReadyMessages};

/// The messages of one priority.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) next_seq: Seq,
    /// No message with this number or a larger one was ever handed out.
    pub(super) never_delivered: Seq,
    /// Messages with a lower number may have been handed out before a restart.
    pub(super) restored_delivered: Seq,
    pub(super) ready: ReadyMessages,
}

impl Level {
    /// The number of the next message.
    pub(super) fn take_number(&mut self) -> Seq {
        let seq = self.next_seq;
        self.next_seq = Seq(seq.0 + 1);
        seq
    }

    /// Books that a message is handed out; whether it is the furthest one so far.
    pub(super) fn note_delivery(&mut self, seq: Seq) -> bool {
        let first_time = seq >= self.never_delivered;
        if first_time {
            self.never_delivered = Seq(seq.0 + 1);
        }
        first_time
    }
}

/// All levels of a queue, at least one.
#[derive(Debug, Default)]
pub(super) struct Levels {
    lowest: Level,
    higher: Option<Box<Higher>>,
}

#[derive(Debug)]
struct Higher {
    /// From 1 on.
    levels: Box<[Level]>,
    /// No level above it has messages.
    top: u8,
}

impl Levels {
    /// Empty levels from 0 to `highest`.
    pub(super) fn new(highest: u8) -> Self {
        let higher = || Box::new(Higher { levels: (0..highest).map(|_| Level::default()).collect(), top: 0 });
        Self { lowest: Level::default(), higher: (highest > 0).then(higher) }
    }

    /// The number of the highest level.
    pub(super) fn highest(&self) -> u8 {
        self.higher.as_ref().map_or(0, |higher| u8::try_from(higher.levels.len()).unwrap_or(u8::MAX))
    }

    /// The level of a message with this priority.
    pub(super) fn level_of(&self, priority: u8) -> u8 {
        if self.higher.is_none() { 0 } else { priority.min(self.highest()) }
    }

    /// A level that is there.
    pub(super) fn at(&self, level: u8) -> &Level {
        match &self.higher {
            Some(higher) if level > 0 => &higher.levels[usize::from(level) - 1],
            _ => &self.lowest,
        }
    }

    /// The same, to change it. Messages are added with [`Levels::put`] only.
    pub(super) fn at_mut(&mut self, level: u8) -> &mut Level {
        match &mut self.higher {
            Some(higher) if level > 0 => &mut higher.levels[usize::from(level) - 1],
            _ => &mut self.lowest,
        }
    }

    /// A level that gets messages now.
    pub(super) fn put(&mut self, level: u8) -> &mut Level {
        if let Some(higher) = &mut self.higher {
            higher.top = higher.top.max(level);
        }
        self.at_mut(level)
    }

    /// Puts messages back to their places.
    pub(super) fn put_back_all(&mut self, mut returned: Vec<(u8, ReadyMessage)>) {
        if self.higher.is_none() {
            return self.lowest.ready.put_back_all(returned.into_iter().map(|(_, entry)| entry).collect());
        }
        returned.sort_by_key(|(level, _)| *level);
        while let Some(&(level, _)) = returned.last() {
            let start = returned.partition_point(|(other, _)| *other < level);
            let of_level = returned.drain(start..).map(|(_, entry)| entry).collect();
            self.put(level).ready.put_back_all(of_level);
        }
    }

    /// The highest level with messages, in memory or not; 0 if there are none.
    pub(super) fn top(&mut self) -> u8 {
        let Some(higher) = &mut self.higher else { return 0 };
        while higher.top > 0 && higher.levels[usize::from(higher.top) - 1].ready.len() == 0 {
            higher.top -= 1;
        }
        higher.top
    }

    /// The lowest level with messages, in memory or not; 0 if there are none.
    pub(super) fn bottom(&self) -> u8 {
        let used = |(level, messages): (u8, &Level)| (messages.ready.len() > 0).then_some(level);
        self.iter().find_map(used).unwrap_or(0)
    }

    /// Looks for the highest level with messages after they were put in one by one.
    pub(super) fn find_top(&mut self) {
        if let Some(higher) = &mut self.higher {
            higher.top = u8::try_from(higher.levels.len()).unwrap_or(u8::MAX);
        }
    }

    /// All levels with their numbers, the lowest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (u8, &Level)> {
        (0..=self.highest()).map(|level| (level, self.at(level)))
    }

    /// All levels, to change them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u8, &mut Level)> {
        let higher = self.higher.iter_mut().flat_map(|higher| higher.levels.iter_mut());
        (0..=u8::MAX).zip(std::iter::once(&mut self.lowest).chain(higher))
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> u64 {
        let higher = self.higher.iter().flat_map(|higher| higher.levels.iter());
        self.lowest.ready.len() + higher.map(|level| level.ready.len()).sum::<u64>()
    }

    /// The bytes of their bodies.
    pub(super) fn body_bytes(&self) -> u64 {
        let higher = self.higher.iter().flat_map(|higher| higher.levels.iter());
        self.lowest.ready.body_bytes() + higher.map(|level| level.ready.body_bytes()).sum::<u64>()
    }
}
