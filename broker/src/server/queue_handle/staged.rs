//! [`Staged`]: what one call has for the store, by the level of the queue. Called by the queue handle only.

use super::STAGED_KEPT_MAX;

/// Entries by level. Nearly all queues have level 0 only.
#[derive(Debug)]
pub(super) struct Staged<T> {
    lowest: Vec<T>,
    higher: Vec<(u8, Vec<T>)>,
}

impl<T> Default for Staged<T> {
    fn default() -> Self {
        Self { lowest: Vec::new(), higher: Vec::new() }
    }
}

impl<T> Staged<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.lowest.is_empty() && self.higher.is_empty()
    }

    pub(super) fn push(&mut self, level: u8, entry: T) {
        if level == 0 {
            return self.lowest.push(entry);
        }
        match self.higher.iter_mut().find(|(other, _)| *other == level) {
            Some((_, entries)) => entries.push(entry),
            None => self.higher.push((level, vec![entry])),
        }
    }

    /// Gives the entries of each level that has some, and forgets them.
    pub(super) fn drain(&mut self, mut give: impl FnMut(u8, &mut Vec<T>)) {
        if !self.lowest.is_empty() {
            give(0, &mut self.lowest);
            self.lowest.clear();
        }
        self.lowest.shrink_to(STAGED_KEPT_MAX);
        for (level, mut entries) in self.higher.drain(..) {
            give(level, &mut entries);
        }
        self.higher.shrink_to(STAGED_KEPT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_out_by_level_and_once() {
        let mut staged = Staged::default();
        for (level, entry) in [(2, 'a'), (0, 'b'), (1, 'c'), (2, 'd'), (0, 'e')] {
            staged.push(level, entry);
        }
        let mut found = Vec::new();
        staged.drain(|level, entries| found.push((level, entries.clone())));
        assert_eq!(found, [(0, vec!['b', 'e']), (2, vec!['a', 'd']), (1, vec!['c'])]);
        assert!(staged.is_empty());
        staged.drain(|_, _| panic!("there is nothing left"));
    }
}
