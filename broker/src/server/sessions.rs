//! [`Sessions`]: who is connected as whom and where, so that users and virtual hosts can be limited, and their connections closed.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::access::{UserLimits, VHostLimits};
use crate::engine::ConnectionId;
use crate::error::AmqpError;
use crate::server::outbox::Outbox;
use crate::session::action::Event;

/// Connections that have opened a virtual host.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    by_id: HashMap<ConnectionId, Session>,
    users: HashMap<Arc<str>, Used>,
    vhosts: HashMap<Arc<str>, Used>,
}

/// One connection.
#[derive(Debug)]
struct Session {
    user: Arc<str>,
    vhost: Arc<str>,
    channels: usize,
    outbox: Arc<Outbox>,
}

/// What a user or virtual host uses at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Connections.
    pub connections: usize,
    /// Channels in them.
    pub channels: usize,
}

impl Used {
    fn reached(used: usize, max: Option<u32>) -> Option<u32> {
        max.filter(|&max| usize::try_from(max).is_ok_and(|max| used >= max))
    }
}

impl Sessions {
    /// Enters a connection, or says with RabbitMQ's texts why there may be no more.
    pub(super) fn enter(
        &self,
        id: ConnectionId,
        (user, vhost): (&str, &str),
        (user_limits, vhost_limits): (UserLimits, VHostLimits),
        outbox: &Arc<Outbox>,
    ) -> Result<(), AmqpError> {
        let open = &mut *self.0.lock();
        let connections =
            |used: &HashMap<Arc<str>, Used>, name| used.get(name).map_or(0, |used| used.connections);
        if let Some(limit) = Used::reached(connections(&open.vhosts, vhost), vhost_limits.connections_max) {
            return Err(AmqpError::not_allowed(format!(
                "access to vhost '{vhost}' refused for user '{user}': connection limit ({limit}) is reached"
            )));
        }
        if let Some(limit) = Used::reached(connections(&open.users, user), user_limits.connections_max) {
            return Err(AmqpError::not_allowed(format!(
                "connection refused for user '{user}': user connection limit ({limit}) is reached"
            )));
        }
        let session = Session { user: user.into(), vhost: vhost.into(), channels: 0, outbox: outbox.clone() };
        open.users.entry(session.user.clone()).or_default().connections += 1;
        open.vhosts.entry(session.vhost.clone()).or_default().connections += 1;
        open.by_id.insert(id, session);
        Ok(())
    }

    /// Removes a connection, if it was entered.
    pub(super) fn leave(&self, id: ConnectionId) {
        let open = &mut *self.0.lock();
        let Some(session) = open.by_id.remove(&id) else { return };
        let Open { users, vhosts, .. } = open;
        for (all, name) in [(users, &session.user), (vhosts, &session.vhost)] {
            if let Some(used) = all.get_mut(name) {
                used.connections -= 1;
                used.channels -= session.channels;
                if *used == Used::default() {
                    all.remove(name);
                }
            }
        }
    }

    /// Counts one more channel, unless the user may have no more.
    pub(super) fn open_channel(&self, id: ConnectionId, limits: UserLimits) -> Result<(), AmqpError> {
        let open = &mut *self.0.lock();
        let Some(session) = open.by_id.get_mut(&id) else { return Ok(()) };
        let user = &session.user;
        let used = open.users.get(user).map_or(0, |used| used.channels);
        if let Some(limit) = Used::reached(used, limits.channels_max) {
            return Err(AmqpError::not_allowed(format!(
                "number of channels opened for user '{user}' has reached the maximum allowed user limit of ({limit})"
            )));
        }
        session.channels += 1;
        open.count_channels(id, |channels| channels + 1);
        Ok(())
    }

    /// Counts one channel less.
    pub(super) fn close_channel(&self, id: ConnectionId) {
        let open = &mut *self.0.lock();
        if let Some(session) = open.by_id.get_mut(&id)
            && session.channels > 0
        {
            session.channels -= 1;
            open.count_channels(id, |channels| channels - 1);
        }
    }

    /// Tells the connections of a user to end. Returns how many there are.
    pub(super) fn close_user(&self, user: &str, reason: &str) -> usize {
        self.close(reason, |session| *session.user == *user)
    }

    /// Tells the connections to a virtual host to end. Returns how many there are.
    pub(super) fn close_vhost(&self, vhost: &str, reason: &str) -> usize {
        self.close(reason, |session| *session.vhost == *vhost)
    }

    fn close(&self, reason: &str, which: impl Fn(&Session) -> bool) -> usize {
        let error = AmqpError::connection_forced(reason.to_owned());
        let open = self.0.lock();
        let closing = open.by_id.values().filter(|session| which(session));
        closing.inspect(|session| session.outbox.push_news(Event::Close(error.clone()))).count()
    }

    /// What a user uses.
    pub(super) fn of_user(&self, user: &str) -> Used {
        self.0.lock().users.get(user).copied().unwrap_or_default()
    }

    /// What is used of a virtual host.
    pub(super) fn of_vhost(&self, vhost: &str) -> Used {
        self.0.lock().vhosts.get(vhost).copied().unwrap_or_default()
    }
}

impl Open {
    fn count_channels(&mut self, id: ConnectionId, change: impl Fn(usize) -> usize) {
        let Some(session) = self.by_id.get(&id) else { return };
        for (all, name) in [(&mut self.users, &session.user), (&mut self.vhosts, &session.vhost)] {
            if let Some(used) = all.get_mut(name) {
                used.channels = change(used.channels);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FREE: (UserLimits, VHostLimits) = (
        UserLimits { connections_max: None, channels_max: None },
        VHostLimits { connections_max: None, queues_max: None },
    );

    #[test]
    fn limits_of_user_and_vhost_hold_and_what_ends_makes_room() {
        let (sessions, outbox) = (Sessions::default(), Arc::new(Outbox::default()));
        let limits = (
            UserLimits { connections_max: Some(2), channels_max: Some(1) },
            VHostLimits { connections_max: Some(3), queues_max: None },
        );
        let enter = |id, user| sessions.enter(ConnectionId(id), (user, "/"), limits, &outbox);
        enter(1, "a").unwrap();
        enter(2, "a").unwrap();
        let text = enter(3, "a").unwrap_err().reply_text();
        assert_eq!(
            text,
            "NOT_ALLOWED - connection refused for user 'a': user connection limit (2) is reached"
        );
        enter(4, "b").unwrap();
        let text = enter(5, "b").unwrap_err().reply_text();
        assert_eq!(
            text,
            "NOT_ALLOWED - access to vhost '/' refused for user 'b': connection limit (3) is reached"
        );
        sessions.open_channel(ConnectionId(1), limits.0).unwrap();
        let text = sessions.open_channel(ConnectionId(2), limits.0).unwrap_err().reply_text();
        assert_eq!(
            text,
            "NOT_ALLOWED - number of channels opened for user 'a' has reached the maximum allowed user limit of (1)"
        );
        assert_eq!(sessions.of_vhost("/"), Used { connections: 3, channels: 1 });
        sessions.close_channel(ConnectionId(1));
        sessions.open_channel(ConnectionId(2), limits.0).unwrap();
        sessions.leave(ConnectionId(2));
        sessions.leave(ConnectionId(2));
        assert_eq!(sessions.of_user("a"), Used { connections: 1, channels: 0 });
        enter(2, "a").unwrap();
    }

    #[test]
    fn nothing_is_kept_of_those_who_are_gone() {
        let (sessions, outbox) = (Sessions::default(), Arc::new(Outbox::default()));
        sessions.enter(ConnectionId(1), ("a", "/"), FREE, &outbox).unwrap();
        sessions.open_channel(ConnectionId(1), FREE.0).unwrap();
        assert_eq!((sessions.close_user("b", "x"), sessions.close_vhost("/", "x")), (0, 1));
        sessions.leave(ConnectionId(1));
        let open = sessions.0.lock();
        assert!(open.by_id.is_empty() && open.users.is_empty() && open.vhosts.is_empty());
    }
}
