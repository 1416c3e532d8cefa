//! Permission: what each method needs, asked of the rights of the connection's user.
//!
//! Which method needs what is [`crate::access::required`]'s table. The rights are looked up once and again whenever anybody's may
//! have changed, so that the next method after a change is judged by it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::access::required::{Operation, Requirement, Resource};
use crate::access::{Grant, Pattern, Permission, Permissions, Rights, TopicContext, UserLimits};
use crate::error::AmqpError;
use crate::server::access::User;
use crate::server::executor::Executor;
use crate::server::oauth::Token;
use crate::server::vhost::VHost;

/// What the user of a connection may do in its vhost, as last looked up.
#[derive(Debug, Default)]
pub(super) struct HeldRights {
    /// What [`AccessControl::generation`](crate::server::access::AccessControl::generation) was then.
    generation: u64,
    rights: Option<Rights>,
    /// The token that says it instead, and the vhost.
    token: Option<(Arc<Token>, Arc<str>)>,
    /// Patterns for writing to and reading from topic exchanges, by name.
    topics: HashMap<String, [Option<Pattern>; 2]>,
    /// The exchange that was last found to be one that may be written to.
    written: RefCell<String>,
}

impl HeldRights {
    fn grant(&self) -> Option<&Arc<Grant>> {
        self.rights.as_ref()?.grant.as_ref()
    }

    /// The user's limits.
    pub(super) fn limits(&self) -> UserLimits {
        self.rights.as_ref().map(|rights| rights.user.limits).unwrap_or_default()
    }

    /// Whether the vhost may be entered.
    pub(super) fn open_vhost(&self) -> bool {
        match &self.token {
            Some((token, vhost)) => token.scopes.enter(vhost),
            None => self.grant().is_some_and(|grant| grant.permissions.is_some()),
        }
    }

    /// Whether an exchange is known to be one that may be written to: the question that every message asks, answered without
    /// looking at patterns.
    #[inline]
    pub(super) fn is_written(&self, exchange: &[u8]) -> bool {
        let name = if exchange.is_empty() { Resource::Exchange("").name().as_bytes() } else { exchange };
        self.written.borrow().as_bytes() == name
    }

    /// Whether routing keys of topic exchanges need permission.
    #[inline]
    pub(super) fn limit_keys(&self) -> bool {
        let limits = |(token, _): &(Arc<Token>, Arc<str>)| token.scopes.limit_routing_keys();
        !self.topics.is_empty() || self.token.as_ref().is_some_and(limits)
    }

    fn allow(&self, (permission, resource): Requirement<'_>) -> bool {
        let name = resource.name();
        let is_write = permission == Permission::Write && matches!(resource, Resource::Exchange(_));
        let permissions = self.grant().and_then(|grant| grant.permissions.as_ref());
        let allowed = match &self.token {
            Some((token, vhost)) => token.scopes.allow(permission, vhost, name),
            None => permissions.is_some_and(|permissions| permissions.allow(permission, name)),
        };
        if is_write && allowed {
            name.clone_into(&mut self.written.borrow_mut());
        }
        allowed
    }

    /// All there are, for who is no user.
    pub(super) fn all(user: Arc<crate::access::User>) -> Self {
        let grant = Grant { permissions: Some(Permissions::all()), ..Grant::default() };
        Self { rights: Some(Rights { user, grant: Some(Arc::new(grant)) }), ..Self::default() }
    }

    /// Takes a token's word for everything.
    fn replace_token(&mut self, generation: u64, token: Arc<Token>, vhost: Arc<str>) {
        if self.token.as_ref().is_none_or(|(held, _)| !Arc::ptr_eq(held, &token)) {
            self.written.borrow_mut().clear();
        }
        self.generation = generation;
        self.token = Some((token, vhost));
    }

    fn replace(&mut self, generation: u64, rights: Option<Rights>, vhost: &str) {
        let same = |one: &Arc<Grant>| {
            rights
                .as_ref()
                .and_then(|rights| rights.grant.as_ref())
                .is_some_and(|other| Arc::ptr_eq(one, other))
        };
        let is_same_grant = self.grant().is_some_and(same);
        self.generation = generation;
        self.rights = rights;
        if is_same_grant {
            return;
        }
        self.written.borrow_mut().clear();
        self.topics.clear();
        let Some(Rights { user, grant: Some(grant) }) = &self.rights else { return };
        let context = TopicContext { username: &user.name, vhost, client_id: None };
        for (exchange, permissions) in &grant.topics {
            // One that is too large with this user's name in it permits nothing.
            let pattern = |permission| permissions.pattern(permission, context).ok();
            let patterns = [pattern(Permission::Write), pattern(Permission::Read)];
            self.topics.insert(exchange.clone(), patterns);
        }
    }
}

impl Executor {
    /// Notices that rights may have changed. Cheap when nothing has.
    #[inline]
    pub(super) fn refresh_rights(&mut self) {
        if self.shared.access.generation() != self.rights.generation {
            self.look_up_rights();
        }
    }

    /// Looks up what the user may do in the vhost.
    #[cold]
    pub(super) fn look_up_rights(&mut self) {
        let (Some(user), Some(vhost)) = (&mut self.user, &self.vhost) else { return };
        if let Some(token) = &user.token {
            let generation = self.shared.access.generation();
            self.rights.replace_token(generation, token.clone(), vhost.name().clone());
            return;
        }
        let (generation, rights) = self.shared.access.rights(&user.name, vhost.name());
        if let Some(rights) = &rights {
            *user = User::of(&rights.user);
        }
        self.rights.replace(generation, rights, vhost.name());
    }

    /// Whether the user may do this, or 403 with RabbitMQ's text.
    pub(super) fn permit(&self, operation: Operation<'_>) -> Result<(), AmqpError> {
        for requirement in operation.required() {
            if !self.rights.allow(requirement) {
                return Err(self.refused(requirement));
            }
        }
        Ok(())
    }

    #[cold]
    fn refused(&self, (permission, resource): Requirement<'_>) -> AmqpError {
        let (kind, name) = (resource.kind(), resource.name());
        let (user, vhost) = (self.user_name(), self.vhost.as_deref().map_or("", |vhost| VHost::name(vhost)));
        AmqpError::access_refused(format!(
            "{permission} access to {kind} '{name}' in vhost '{vhost}' refused for user '{user}'"
        ))
    }

    /// Whether the user may use these routing keys with this exchange. Asks nothing unless there are topic permissions for it and it
    /// is a topic exchange.
    #[inline]
    pub(super) fn permit_topic<'a>(
        &self,
        permission: Permission,
        exchange: &str,
        routing_keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), AmqpError> {
        let token = self.rights.token.as_ref().filter(|(token, _)| token.scopes.limit_routing_keys());
        if !self.rights.limit_keys() {
            return Ok(());
        }
        let pattern = match (self.rights.topics.get(exchange), permission) {
            (None, _) if token.is_none() => return Ok(()),
            (None, _) => &None,
            (Some([write, _]), Permission::Write) => write,
            (Some([_, read]), Permission::Read | Permission::Configure) => read,
        };
        let permits = |key: &str| match token {
            Some((token, vhost)) => token.scopes.allow_topic(permission, vhost, exchange, key),
            None => pattern.as_ref().is_some_and(|pattern| pattern.matches(key)),
        };
        let vhost = self.vhost()?;
        let is_topic = vhost.read(|registry| {
            registry.topology.exchange_options(exchange).is_some_and(|options| options.kind.name() == "topic")
        });
        if !is_topic {
            return Ok(());
        }
        let mut refused = routing_keys.into_iter().filter(|key| !permits(key));
        match refused.next() {
            None => Ok(()),
            Some(key) => Err(AmqpError::access_refused(format!(
                "{permission} access to topic '{key}' in exchange '{exchange}' in vhost '{}' refused for user '{}'",
                vhost.name(),
                self.user_name()
            ))),
        }
    }
}
