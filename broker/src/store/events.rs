//! What the store says of failures, and [`Events`]: who is told, also of what failed before anybody listened. The flusher works from
//! the moment the folder is open, and a broker that missed its end would go on without a store.

use std::io;

use parking_lot::Mutex;

/// Something the operator, and perhaps the publishers, must hear of.
#[derive(Debug)]
pub enum StoreEvent<'a> {
    /// Nothing can be written: confirms stop until it can.
    WritesFail {
        /// What the operating system says.
        error: &'a io::Error,
    },
    /// Writing works again.
    WritesWork,
    /// A sync failed: the operating system may have dropped what was written, so nothing can be promised any more. The
    /// process is to end.
    SyncFailed {
        /// What the operating system says.
        error: &'a io::Error,
    },
    /// A fault of the store's own: nothing is written any more. The process is to end.
    Panicked,
}

/// Told of events, on the store's own thread; of earlier ones on that of who sets it. Must not block.
pub type EventListener = Box<dyn Fn(StoreEvent<'_>) + Send + Sync>;

/// Who is told of events.
#[derive(Default)]
pub(super) struct Events(Mutex<State>);

#[derive(Default)]
struct State {
    listener: Option<EventListener>,
    /// What happened before there was one, in order.
    early: Vec<Early>,
}

/// An event that nobody was told of yet.
enum Early {
    WritesFail(io::Error),
    WritesWork,
    SyncFailed(io::Error),
    Panicked,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    /// Sets who is told, first of what happened until now. Called once.
    pub(super) fn listen(&self, listener: EventListener) {
        let mut state = self.0.lock();
        debug_assert!(state.listener.is_none(), "a store has one listener for its events");
        for early in std::mem::take(&mut state.early) {
            listener(early.event());
        }
        state.listener = Some(listener);
    }

    /// Tells of an event, now or as soon as somebody listens.
    pub(super) fn tell(&self, event: StoreEvent<'_>) {
        let mut state = self.0.lock();
        match &state.listener {
            Some(listener) => listener(event),
            None => state.early.push(Early::of(&event)),
        }
    }
}

impl Early {
    fn of(event: &StoreEvent<'_>) -> Self {
        match event {
            StoreEvent::WritesFail { error } => Self::WritesFail(same(error)),
            StoreEvent::WritesWork => Self::WritesWork,
            StoreEvent::SyncFailed { error } => Self::SyncFailed(same(error)),
            StoreEvent::Panicked => Self::Panicked,
        }
    }

    fn event(&self) -> StoreEvent<'_> {
        match self {
            Self::WritesFail(error) => StoreEvent::WritesFail { error },
            Self::WritesWork => StoreEvent::WritesWork,
            Self::SyncFailed(error) => StoreEvent::SyncFailed { error },
            Self::Panicked => StoreEvent::Panicked,
        }
    }
}

/// An error that says the same.
fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn who_listens_hears_also_what_failed_before() {
        let (events, heard) = (Events::default(), Arc::new(Mutex::new(Vec::new())));
        let full = io::Error::from_raw_os_error(28);
        events.tell(StoreEvent::WritesFail { error: &full });
        events.tell(StoreEvent::SyncFailed { error: &io::Error::other("gone") });
        let noted = heard.clone();
        events.listen(Box::new(move |event| noted.lock().push(format!("{event:?}"))));
        let early = heard.lock().len();
        events.tell(StoreEvent::Panicked);
        let heard = heard.lock();
        assert_eq!((early, heard.len()), (2, 3));
        assert!(heard[0].contains("code: 28") && heard[1].contains("gone"), "{heard:?}");
        assert_eq!(heard[2], "Panicked");
    }
}
