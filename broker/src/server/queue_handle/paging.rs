//! How a shared queue's messages leave memory and come back; called by the pager's threads, and by `basic.get`.

use std::io;
use std::sync::Weak;

use super::{SharedQueue, State};
use crate::engine::queue::{PagedIn, Removed, Seq, SurveyWanted, Surveyed, WantedRange};
use crate::store::{Epoch, Kept, LoadedMessage};

/// Dead messages that are loaded in one go, in bytes.
const DEAD_BYTES: usize = 256 * 1024;

/// Messages that are looked at in one go after a restart, in bytes.
const SURVEY_BYTES: usize = 1024 * 1024;

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
        self.load_dead()?;
        self.survey_next()?;
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
        self.log_damaged(&loaded.damaged);
        let up_to = loaded.up_to.unwrap_or(wanted.range.last);
        let messages =
            loaded.messages.into_iter().map(|loaded| (loaded.seq, loaded.message, loaded.returned));
        Ok(PagedIn { wanted, messages: messages.collect(), up_to, damaged: loaded.damaged })
    }

    /// Loads messages that died while they were not in memory, and hands them over.
    fn load_dead(&self) -> io::Result<()> {
        let mut dead = self.take_dead_to_load();
        while let Some(&(level, first)) = dead.first() {
            let following = (first.0..).map(|seq| (level, Seq(seq)));
            let count = dead.iter().copied().zip(following).take_while(|(one, other)| one == other).count();
            let last = dead[count - 1].1;
            let loaded = match self.backing.store.load(self.store_id(level), first, last, DEAD_BYTES) {
                Ok(loaded) => loaded,
                Err(error) => {
                    Self::note_dead_to_load(&mut self.state.lock(), dead);
                    return Err(error);
                }
            };
            self.log_damaged(&loaded.damaged);
            let up_to = loaded.up_to.unwrap_or(last);
            let messages = loaded.messages.into_iter().map(|loaded| (loaded.seq, loaded.message)).collect();
            self.with_state(|state| state.queue.bury_loaded(level, messages, &mut state.effects));
            dead.drain(..dead.partition_point(|&dead| dead <= (level, up_to)));
        }
        Ok(())
    }

    /// Looks at the next messages that the queue does not know enough of since a restart, and asks for those behind them.
    fn survey_next(&self) -> io::Result<()> {
        let wanted = {
            let mut state = self.state.lock();
            let wanted = if state.surveying { state.queue.survey_wanted() } else { None };
            state.surveying = wanted.is_some();
            wanted
        };
        let Some(SurveyWanted { level, range }) = wanted else { return Ok(()) };
        let loaded = self.backing.store.load(self.store_id(level), range.first, range.last, SURVEY_BYTES)?;
        self.log_damaged(&loaded.damaged);
        let surveyed: Vec<Surveyed> = loaded
            .messages
            .iter()
            .map(|LoadedMessage { seq, message, .. }| Surveyed {
                seq: *seq,
                expires_ms: message.expires_ms(),
                body_bytes: message.body().len() as u64,
            })
            .collect();
        let up_to = loaded.up_to.unwrap_or(range.last);
        self.with_state(|state| state.queue.survey(level, up_to, &surveyed, &mut state.effects));
        self.backing.pager.request(Weak::clone(&self.this));
        Ok(())
    }

    /// Asks for a survey if the queue has to know more of its messages than a restart has told.
    pub(super) fn request_survey(&self, state: &mut State) {
        let has_byte_limit =
            state.queue.settings().is_some_and(|settings| settings.max_length_bytes.is_some());
        if !state.surveying
            && (state.has_expirations || has_byte_limit)
            && self.backing.store.can_page()
            && state.queue.survey_wanted().is_some()
        {
            state.surveying = true;
            self.backing.pager.request(Weak::clone(&self.this));
        }
    }

    pub(super) fn log_damaged(&self, damaged: &[Seq]) {
        for seq in damaged {
            tracing::error!(queue = %self.options.name, message = seq.0, "a message is damaged and lost; its bytes are set aside");
        }
    }

    /// Asks for what is to be loaded: messages that died outside of memory, and the next ones if consumers come near the end of
    /// those in memory, or if they have to be given up.
    pub(super) fn request_load(&self, state: &mut State) {
        let dead = state.queue.expired_paged();
        let any_dead = !dead.is_empty();
        if any_dead {
            Self::note_dead_to_load(state, dead);
        }
        let wants_next = !state.loading
            && (state.queue.consumer_count() > 0 || state.queue.must_load())
            && state.queue.page_in_wanted(self.backing.pager.front_bytes()).is_some();
        state.loading |= wants_next;
        if any_dead || wants_next {
            self.backing.pager.request(Weak::clone(&self.this));
        }
    }
}
