//! How a shared queue's messages leave memory and come back; called by the pager's threads, and by `basic.get`.

use std::io;
use std::sync::Weak;

use super::{SharedQueue, State};
use crate::engine::queue::{PagedIn, Removed, Seq, WantedRange};
use crate::store::{Epoch, Kept};

/// What is to be paged out once the store has written everything up to an epoch.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct Staged {
    /// When it is written.
    pub(in crate::server) epoch: Epoch,
    /// Up to which message.
    newest: Option<Seq>,
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
            return Staged { epoch: Epoch::default(), newest: None };
        }
        let mut transient = state.queue.paging_candidates(front_bytes, bytes_max);
        if !transient.is_empty() {
            state.kept = true;
            self.backing.store.append(self.id, Kept::UntilRestart, &mut transient);
        }
        Staged { epoch: self.backing.store.current(), newest: state.queue.newest() }
    }

    /// Drops from memory what the store has written. The messages are the caller's to drop.
    pub(in crate::server) fn page_out(&self, staged: Staged, front_bytes: usize) -> Removed {
        let Some(newest) = staged.newest else { return Removed::default() };
        self.with_state(|state| state.queue.page_out(newest, front_bytes))
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
                state.queue.dispatch(&mut state.targets, &mut state.effects);
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
            self.id,
            wanted.range.first,
            wanted.range.last,
            self.backing.pager.front_bytes(),
        )?;
        for seq in &loaded.damaged {
            tracing::error!(queue = %self.options.name, message = seq.0, "a message is damaged and lost; its bytes are set aside");
        }
        let count = (loaded.messages.len() + loaded.damaged.len()) as u64;
        let up_to = loaded.up_to.unwrap_or(wanted.range.last);
        let messages =
            loaded.messages.into_iter().map(|loaded| (loaded.seq, loaded.message, loaded.returned));
        Ok(PagedIn { wanted, messages: messages.collect(), up_to, count })
    }

    /// Asks for the next messages if consumers come near the end of those in memory.
    pub(super) fn request_load(&self, state: &mut State) {
        if state.loading || state.queue.consumer_count() == 0 {
            return;
        }
        if state.queue.page_in_wanted(self.backing.pager.front_bytes()).is_some() {
            state.loading = true;
            self.backing.pager.request(Weak::clone(&self.this));
        }
    }
}
