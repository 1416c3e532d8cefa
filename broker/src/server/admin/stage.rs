//! [`Stage`]: where definitions go, and [`Rehearsal`], the stage on which they are tried before the broker itself has them.
//!
//! A rehearsal goes by the same code as the broker: a copy of all that is known of users and virtual hosts, and for each virtual host a
//! topology with as much of what is there as the definitions name. So whatever the broker would refuse is found before anything
//! has changed. What others do between rehearsal and performance is not foreseen.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Admin, NewPassword};
use crate::access::password::{Hashing, PasswordHash};
use crate::access::{
    AccessError, Directory, Parameter, Permissions, Tags, TopicPermissions, User, UserLimits, VHostLimits,
    VHostSettings,
};
use crate::engine::exchange::ExchangeOptions;
use crate::engine::policy::{Policy, PolicyDeclare, PolicyKind};
use crate::engine::queue::{QueueDeclare, QueueOptions};
use crate::engine::topology::{Destination, Handle, Topology};
use crate::engine::{ConnectionId, QueueId};
use crate::error::AmqpError;
use crate::server::PolicyError;
use crate::server::executor::{add_default_type, check_queue_limit, naming_in_definitions};
use crate::server::vhost::VHost;
use crate::session::action::TopologyRequest;

/// What definitions can do. Users, permissions, limits, parameters and policies take the place of those that are there.
#[expect(missing_docs, reason = "the methods of Admin say what each does")]
pub trait Stage {
    fn settings(&self, vhost: &str) -> Option<Arc<VHostSettings>>;

    /// Adds a virtual host, or gives the one of this name other settings.
    fn put_vhost(&mut self, name: &str, settings: VHostSettings) -> Result<(), AccessError>;

    fn put_user(&mut self, name: &str, password: NewPassword, tags: Tags) -> Result<(), AccessError>;

    fn set_user_limits(&mut self, name: &str, limits: UserLimits) -> Result<(), AccessError>;

    fn set_vhost_limits(&mut self, name: &str, limits: VHostLimits) -> Result<(), AccessError>;

    fn set_permissions(
        &mut self,
        user: &str,
        vhost: &str,
        permissions: Permissions,
    ) -> Result<(), AccessError>;

    fn set_topic_permissions(
        &mut self,
        user: &str,
        vhost: &str,
        exchange: &str,
        permissions: TopicPermissions,
    ) -> Result<(), AccessError>;

    fn set_parameter(&mut self, parameter: Parameter) -> Result<(), AccessError>;

    fn set_global_parameter(&mut self, name: &str, value: serde_json::Value) -> Result<(), AccessError>;

    fn set_policy(
        &mut self,
        kind: PolicyKind,
        vhost: &str,
        name: &str,
        declare: PolicyDeclare,
    ) -> Result<(), PolicyError>;

    /// Declares or binds. An exchange or queue that is there stays as it is.
    fn declare(&mut self, vhost: &str, request: TopologyRequest) -> Result<(), AmqpError>;
}

/// The broker itself. Methods are named in full, so that they do not call themselves.
impl Stage for Admin {
    fn settings(&self, vhost: &str) -> Option<Arc<VHostSettings>> {
        Self::vhost(self, vhost)
    }

    fn put_vhost(&mut self, name: &str, settings: VHostSettings) -> Result<(), AccessError> {
        match Self::vhost(self, name) {
            Some(_) => Self::set_vhost(self, name, settings),
            None => Self::add_vhost(self, name, settings),
        }
    }

    fn put_user(&mut self, name: &str, password: NewPassword, tags: Tags) -> Result<(), AccessError> {
        Self::put_user(self, name, password, tags)
    }

    fn set_user_limits(&mut self, name: &str, limits: UserLimits) -> Result<(), AccessError> {
        Self::set_user_limits(self, name, limits)
    }

    fn set_vhost_limits(&mut self, name: &str, limits: VHostLimits) -> Result<(), AccessError> {
        Self::set_vhost_limits(self, name, limits)
    }

    fn set_permissions(
        &mut self,
        user: &str,
        vhost: &str,
        permissions: Permissions,
    ) -> Result<(), AccessError> {
        Self::set_permissions(self, user, vhost, permissions)
    }

    fn set_topic_permissions(
        &mut self,
        user: &str,
        vhost: &str,
        exchange: &str,
        permissions: TopicPermissions,
    ) -> Result<(), AccessError> {
        Self::set_topic_permissions(self, user, vhost, exchange, permissions)
    }

    fn set_parameter(&mut self, parameter: Parameter) -> Result<(), AccessError> {
        Self::set_parameter(self, parameter)
    }

    fn set_global_parameter(&mut self, name: &str, value: serde_json::Value) -> Result<(), AccessError> {
        Self::set_global_parameter(self, name, value)
    }

    fn set_policy(
        &mut self,
        kind: PolicyKind,
        vhost: &str,
        name: &str,
        declare: PolicyDeclare,
    ) -> Result<(), PolicyError> {
        Self::set_policy(self, kind, vhost, name, declare)
    }

    fn declare(&mut self, vhost: &str, request: TopologyRequest) -> Result<(), AmqpError> {
        let is_there = match &request {
            TopologyRequest::DeclareExchange { name, .. } => self.has_exchange(vhost, name),
            TopologyRequest::DeclareQueue { name, .. } => self.has_queue(vhost, name),
            _ => false,
        };
        if is_there {
            return Ok(());
        }
        let mut actor = self.act_as(None, vhost).ok_or_else(|| no_vhost(vhost))?;
        match request {
            TopologyRequest::DeclareQueue { name, durable, exclusive, auto_delete, arguments, .. } => {
                let declare = QueueDeclare { name, durable, exclusive, auto_delete, arguments };
                actor.executor.define_queue(declare)
            }
            other => actor.topology(other).map(drop),
        }
    }
}

fn no_vhost(vhost: &str) -> AmqpError {
    AmqpError::not_found(format!("no vhost '{vhost}'"))
}

/// What stands for a queue in a rehearsal.
#[derive(Debug, Clone)]
struct Prop;

impl Handle for Prop {
    type History = ();
    type Meter = ();

    fn id(&self) -> QueueId {
        QueueId(0)
    }
}

/// A virtual host on the rehearsal stage.
#[derive(Debug)]
struct Scene {
    /// The one that is there, if it is.
    real: Option<Arc<VHost>>,
    topology: Topology<Prop>,
    /// Queues, with those that are there and were not named.
    queues: usize,
}

/// See the module's documentation. Holds as much memory as the definitions that are tried, and a reference to each user.
#[derive(Debug)]
pub struct Rehearsal<'a> {
    admin: &'a Admin,
    directory: Directory,
    scenes: HashMap<String, Scene>,
    /// Queues that would be new, in all virtual hosts.
    new_queues: usize,
    /// Who declares: nobody who owns anything.
    nobody: ConnectionId,
}

impl<'a> Rehearsal<'a> {
    /// Begins with the broker as it is.
    #[must_use]
    pub fn new(admin: &'a Admin) -> Self {
        let directory = admin.shared().access.read(Directory::clone);
        let nobody = admin.shared().new_connection_id();
        Self { admin, directory, scenes: HashMap::new(), new_queues: 0, nobody }
    }

    fn scene(&mut self, vhost: &str) -> &mut Scene {
        let admin = self.admin;
        self.scenes.entry(vhost.to_owned()).or_insert_with(|| {
            let real = admin.shared().vhost(vhost);
            let mut topology = Topology::new(vhost);
            let mut queues = 0;
            if let Some(real) = &real {
                real.read(|registry| {
                    topology.adopt_policies(registry.topology.all_policies());
                    queues = registry.topology.queue_count();
                });
            }
            Scene { real, topology, queues }
        })
    }

    fn declare_queue(&mut self, vhost: &str, mut declare: QueueDeclare) -> Result<(), AmqpError> {
        if self.scene(vhost).has_queue(&declare.name) {
            return Ok(());
        }
        let settings = self.directory.vhost(vhost).cloned().unwrap_or_default();
        add_default_type(&mut declare, &settings);
        let name = declare.name.clone();
        let options = QueueOptions::from_declare(vhost, declare)?;
        let shared = self.admin.shared();
        shared.queue_limit.turn(|| shared.queue_count() + self.new_queues).check(&name)?;
        let nobody = self.nobody;
        let scene = self.scene(vhost);
        check_queue_limit(&settings, scene.queues, &name, vhost)?;
        scene.topology.declare_queue(options, naming_in_definitions(&name), None, nobody, |_| Prop)?;
        scene.queues += 1;
        self.new_queues += 1;
        Ok(())
    }
}

impl Scene {
    /// Whether there is an exchange of this name. One of the broker is there from now on.
    fn has_exchange(&mut self, name: &str) -> bool {
        if self.topology.exchange_options(name).is_some() {
            return true;
        }
        let real = self.real.as_ref();
        let found = real.and_then(|real| real.read(|all| all.topology.exchange_options(name).cloned()));
        found.is_some_and(|options| self.topology.restore_exchange(options).is_ok())
    }

    /// The same of a queue.
    fn has_queue(&mut self, name: &str) -> bool {
        if self.topology.find_queue(name).is_some() {
            return true;
        }
        let real = self.real.as_ref();
        let queue = real.and_then(|real| real.read(|all| all.topology.find_queue(name).cloned()));
        queue.is_some_and(|queue| self.topology.restore_queue(queue.options().clone(), Prop).is_ok())
    }

    fn bind(
        &mut self,
        destination: Destination<'_>,
        source: &str,
        (routing_key, arguments): (&str, &amq_protocol::types::FieldTable),
        nobody: ConnectionId,
    ) -> Result<(), AmqpError> {
        self.has_exchange(source);
        match destination {
            Destination::Exchange(name) => drop(self.has_exchange(name)),
            Destination::Queue(name) => {
                self.has_queue(name);
                if let Some(real) = &self.real {
                    // It may belong to a connection.
                    real.read(|all| match all.topology.find_queue(name) {
                        Some(_) => all.topology.queue(name, nobody).map(drop),
                        None => Ok(()),
                    })?;
                }
            }
        }
        self.topology.bind(destination, source, routing_key, arguments, nobody).map(drop)
    }
}

impl Stage for Rehearsal<'_> {
    fn settings(&self, vhost: &str) -> Option<Arc<VHostSettings>> {
        self.directory.vhost(vhost).cloned()
    }

    fn put_vhost(&mut self, name: &str, settings: VHostSettings) -> Result<(), AccessError> {
        match self.directory.vhost(name) {
            Some(_) => self.directory.set_vhost(name, settings),
            None => self.directory.add_vhost(name, settings),
        }
    }

    fn put_user(&mut self, name: &str, password: NewPassword, tags: Tags) -> Result<(), AccessError> {
        let password = match password {
            // Whether it can be hashed: with a hash that takes no time, and goes nowhere.
            NewPassword::Plain(password) => PasswordHash::new(&password, Hashing::Fast, [0; 16])?,
            NewPassword::Hash(hash) => hash,
            NewPassword::None => PasswordHash::none(),
        };
        let limits = self.directory.user(name).map(|user| user.limits).unwrap_or_default();
        self.directory.put_user(User { name: name.to_owned(), password, tags, limits })
    }

    fn set_user_limits(&mut self, name: &str, limits: UserLimits) -> Result<(), AccessError> {
        self.directory.set_user_limits(name, limits)
    }

    fn set_vhost_limits(&mut self, name: &str, limits: VHostLimits) -> Result<(), AccessError> {
        self.directory.set_vhost_limits(name, limits)
    }

    fn set_permissions(
        &mut self,
        user: &str,
        vhost: &str,
        permissions: Permissions,
    ) -> Result<(), AccessError> {
        self.directory.set_permissions(user, vhost, permissions)
    }

    fn set_topic_permissions(
        &mut self,
        user: &str,
        vhost: &str,
        exchange: &str,
        permissions: TopicPermissions,
    ) -> Result<(), AccessError> {
        self.directory.set_topic_permissions(user, vhost, exchange, permissions)
    }

    fn set_parameter(&mut self, parameter: Parameter) -> Result<(), AccessError> {
        self.directory.set_parameter(parameter)
    }

    fn set_global_parameter(&mut self, name: &str, value: serde_json::Value) -> Result<(), AccessError> {
        self.directory.set_global_parameter(name, value)
    }

    fn set_policy(
        &mut self,
        kind: PolicyKind,
        vhost: &str,
        name: &str,
        declare: PolicyDeclare,
    ) -> Result<(), PolicyError> {
        if self.directory.vhost(vhost).is_none() {
            return Err(PolicyError::NoVhost(vhost.to_owned()));
        }
        let policy = Policy::from_declare(kind, vhost, name, declare)?;
        let scene = self.scene(vhost);
        scene.topology.set_policy(policy)?;
        // Nothing of it is kept.
        drop(scene.topology.take_changes());
        Ok(())
    }

    fn declare(&mut self, vhost: &str, request: TopologyRequest) -> Result<(), AmqpError> {
        use TopologyRequest as Request;
        if self.directory.vhost(vhost).is_none() {
            return Err(no_vhost(vhost));
        }
        let nobody = self.nobody;
        match request {
            Request::DeclareExchange { name, kind, durable, auto_delete, internal, arguments, .. } => {
                let scene = self.scene(vhost);
                if !scene.has_exchange(&name) {
                    let options = ExchangeOptions::from_declare(
                        vhost,
                        &name,
                        &kind,
                        durable,
                        auto_delete,
                        internal,
                        &arguments,
                    )?;
                    scene.topology.declare_exchange(options)?;
                }
            }
            Request::DeclareQueue { name, durable, exclusive, auto_delete, arguments, .. } => {
                let declare = QueueDeclare { name, durable, exclusive, auto_delete, arguments };
                self.declare_queue(vhost, declare)?;
            }
            Request::BindQueue { queue, exchange, routing_key, arguments, .. } => {
                let key = (routing_key.as_str(), &arguments);
                self.scene(vhost).bind(Destination::Queue(&queue), &exchange, key, nobody)?;
            }
            Request::BindExchange { destination, source, routing_key, arguments, .. } => {
                let key = (routing_key.as_str(), &arguments);
                self.scene(vhost).bind(Destination::Exchange(&destination), &source, key, nobody)?;
            }
            Request::DeleteExchange { .. } | Request::PurgeQueue { .. } | Request::DeleteQueue { .. } => {
                return Err(AmqpError::not_implemented("definitions delete nothing"));
            }
        }
        drop(self.scene(vhost).topology.take_changes());
        Ok(())
    }
}
