//! [`Alarm`]: whether the broker holds this connection's publishing back, and what the client knows of it.
//!
//! A connection that does not publish is never held: it is blocked by its first publish after the alarm was raised.
//! Called by the connection, which writes the frames.

/// What the client is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// `connection.blocked` with this reason.
    Blocked(&'static str),
    /// `connection.unblocked`.
    Unblocked,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Clear,
    /// Raised, but nothing was published since.
    Blocking(&'static str),
    /// The socket is not to be read.
    Blocked,
}

/// The alarm as one connection sees it.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    state: State,
    has_published: bool,
    told: bool,
}

impl Alarm {
    /// The broker runs low on something, or on something else than before; who was told already is not told again.
    pub(super) fn raise(&mut self, reason: &'static str) -> Option<Notice> {
        if self.state == State::Blocked {
            return None;
        }
        self.state = State::Blocking(reason);
        if self.has_published { self.tell(reason) } else { None }
    }

    /// The broker has enough again.
    pub(super) fn clear(&mut self) -> Option<Notice> {
        self.state = State::Clear;
        std::mem::take(&mut self.told).then_some(Notice::Unblocked)
    }

    /// The client has published.
    #[inline]
    pub(super) fn handle_publish(&mut self) -> Option<Notice> {
        self.has_published = true;
        let State::Blocking(reason) = self.state else { return None };
        self.state = State::Blocked;
        self.tell(reason)
    }

    /// Whether the socket is not to be read.
    pub(super) fn is_blocked(&self) -> bool {
        self.state == State::Blocked
    }

    /// The name RabbitMQ has for this state of a connection.
    pub(super) fn connection_state(&self) -> &'static str {
        match self.state {
            State::Clear => "running",
            State::Blocking(_) => "blocking",
            State::Blocked => "blocked",
        }
    }

    fn tell(&mut self, reason: &'static str) -> Option<Notice> {
        (!std::mem::replace(&mut self.told, true)).then_some(Notice::Blocked(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_blocked_by_its_next_publish_and_told_once() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.raise("low on memory"), None);
        assert!(!alarm.is_blocked());
        assert_eq!(alarm.handle_publish(), Some(Notice::Blocked("low on memory")));
        assert!(alarm.is_blocked());
        assert_eq!(alarm.handle_publish(), None);
        assert_eq!(alarm.clear(), Some(Notice::Unblocked));
        assert!(!alarm.is_blocked());
    }

    #[test]
    fn a_publisher_is_told_at_once_and_a_mere_consumer_never() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.handle_publish(), None);
        assert_eq!(alarm.raise("low on disk"), Some(Notice::Blocked("low on disk")));
        assert_eq!(alarm.raise("low on disk"), None);
        assert!(!alarm.is_blocked());
        let mut consumer = Alarm::default();
        assert_eq!(consumer.raise("low on disk"), None);
        assert_eq!(consumer.clear(), None);
    }

    #[test]
    fn the_reason_told_is_the_one_at_the_time_of_the_publish() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.raise("low on memory"), None);
        assert_eq!(alarm.raise("low on disk"), None);
        assert_eq!(alarm.handle_publish(), Some(Notice::Blocked("low on disk")));
        assert_eq!(alarm.raise("low on disk & memory"), None);
        assert!(alarm.is_blocked());
    }
}
