//! How a shared queue's messages leave memory and come back; called by the pager's threads, and by `basic.get`.

use std::io;
use std::sync::Weak;

use super::{SharedQueue, State};
use crate::engine::queue::{PagedIn, Removed, Seq, WantedRange};
use crate::store::{Epoch, Kept};

/// What is to be paged out once the store has written everything up to an epoch.
#[derive(Debug)]
pub(in crate::server) struct Staged {
    /// When it is written.
    pub(in crate::server) epoch: Epoch,
    /// Up to which message, by level.
    newest: Vec<Option<Seq>>,
}

impl SharedQueue {
    /// What its messages occupy in memory.
    pub(in crate::server) fn memory_bytes(&self) -> usize {
        self.state.lock().queue.memory_bytes()
    }

    /// Hands to the store what it does not keep yet of the messages that are to leave memory.
    pub(in crate::server) fn stage_page_out(&self, front_bytes: usize, bytes_max: usize) -> Staged {
        let mut state = self.state.lock();
        if state.queue.is_deleted() {
            return Staged { epoch: Epoch::default(), newest: Vec::new() };
        }
        let levels = 0..=self.options.highest_level();
        for level in levels.clone() {
            let mut transient = state.queue.paging_candidates(level, front_bytes, bytes_max);
            if !transient.is_empty() {
                state.kept = true;
                self.backing.store.append(self.store_id(level), Kept::UntilRestart, &mut transient);
            }
        }
        let newest = levels.map(|level| state.queue.newest(level)).collect();
        Staged { epoch: self.backing.store.current(), newest }
    }

    /// Drops from memory what the store has written. The messages are the caller's to drop.
    pub(in crate::server) fn page_out(&self, staged: &Staged, front_bytes: usize) -> Vec<Removed> {
        self.with_state(|state| {
            let page_out = |(level, newest): (u8, &Option<Seq>)| {
                newest.map(|newest| state.queue.page_out(level, newest, front_bytes))
            };
            (0..=u8::MAX).zip(&staged.newest).filter_map(page_out).collect()
        })
    }

    /// Loads the messages that the queue asked for, and delivers.
    ///
    /// # Errors
    ///
    /// If they cannot be read; the queue waits for them until this is called again.
    pub(in crate::server) fn load_requested(&self) -> io::Result<()> {
        let wanted = self.state.lock().queue.page_in_wanted(self.backing.pager.front_bytes());
        let loaded = wanted.map(|wanted| self.load(wanted)).transpose()?;
        self.with_state(|state| {
            state.loading = false;
            if let Some(loaded) = loaded {
                state.queue.page_in(loaded);
                state.queue.dispatch(self.now_ms(), &mut state.targets, &mut state.effects);
            }
        });
        Ok(())
    }

    /// Loads the next messages here and now, for a client that waits for one.
    pub(super) fn load_now(&self) -> io::Result<()> {
        let wanted = self.state.lock().queue.page_in_wanted(1);
        if let Some(wanted) = wanted {
            let loaded = self.load(wanted)?;
            self.with_state(|state| state.queue.page_in(loaded));
        }
        Ok(())
    }

    fn load(&self, wanted: WantedRange) -> io::Result<PagedIn> {
        let loaded = self.backing.store.load(
            self.store_id(wanted.level),
            wanted.range.first,
            wanted.range.last,
            self.backing.pager.front_bytes(),
        )?;
        for seq in &loaded.damaged {
            tracing::error!(queue = %self.options.name, message = seq.0, "a message is damaged and lost; its bytes are set aside");
        }
        let up_to = loaded.up_to.unwrap_or(wanted.range.last);
        let messages =
            loaded.messages.into_iter().map(|loaded| (loaded.seq, loaded.message, loaded.returned));
        Ok(PagedIn { wanted, messages: messages.collect(), up_to, damaged: loaded.damaged })
    }

    /// Asks for the next messages if consumers come near the end of those in memory.
    pub(super) fn request_load(&self, state: &mut State) {
        if state.loading || (state.queue.consumer_count() == 0 && !state.queue.must_load()) {
            return;
        }
        if state.queue.page_in_wanted(self.backing.pager.front_bytes()).is_some() {
            state.loading = true;
            self.backing.pager.request(Weak::clone(&self.this));
        }
    }
}
