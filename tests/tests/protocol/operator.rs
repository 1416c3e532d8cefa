//! [`Operator`]: who makes users and virtual hosts for a test: a Warren as a library, or with `AMQP_URL` the `rabbitmqctl` that the
//! variable `RABBITMQCTL` names (several words are allowed: `sudo rabbitmqctl -n rabbit@host`).

use std::cell::RefCell;
use std::env;
use std::net::SocketAddr;
use std::process::Command;

use warren::access::{Permissions, Tags, TopicPermissions, UserLimits, VHostLimits, VHostSettings};
use warren::server::admin::{Admin, NewPassword};

use crate::peer::{Options, Peer};
use crate::target::{OwnBroker, Test, unique};

/// The password of all users made here.
pub(crate) const PASSWORD: &str = "a password";

/// A broker with its operator. What is made for a test is removed at its end.
pub(crate) struct Operator {
    broker: Operated,
    /// The command that removes it, and its name.
    made: RefCell<Vec<(&'static str, String)>>,
}

enum Operated {
    Warren(Box<OwnBroker>),
    RabbitMq(Test),
}

impl Operator {
    /// A Warren of its own, or the broker that `AMQP_URL` names if there is a way to operate it.
    pub(crate) fn start() -> Option<Self> {
        let broker = if env::var_os("AMQP_URL").is_none() {
            Operated::Warren(Box::new(OwnBroker::start(|_| ())))
        } else if env::var_os("RABBITMQCTL").is_some() {
            Operated::RabbitMq(Test::start())
        } else {
            println!("passed over: needs RABBITMQCTL to make users");
            return None;
        };
        Some(Self { broker, made: RefCell::default() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match &self.broker {
            Operated::Warren(own) => own.address(),
            Operated::RabbitMq(test) => test.address(),
        }
    }

    pub(crate) fn is_rabbitmq(&self) -> bool {
        matches!(self.broker, Operated::RabbitMq(_))
    }

    /// The library, where it is a Warren.
    pub(crate) fn admin(&self) -> Option<Admin> {
        match &self.broker {
            Operated::Warren(own) => Some(own.broker().admin()),
            Operated::RabbitMq(_) => None,
        }
    }

    /// A user who is permitted nothing.
    pub(crate) fn user(&self, base: &str) -> String {
        let name = unique(base);
        match self.admin() {
            Some(admin) => admin.add_user(&name, PASSWORD.as_bytes(), Tags::default()).expect("a new user"),
            None => ctl(&["add_user", &name, PASSWORD]),
        }
        self.made.borrow_mut().push(("delete_user", name.clone()));
        name
    }

    /// A virtual host that nobody may enter.
    pub(crate) fn vhost(&self, base: &str) -> String {
        let name = unique(base);
        match self.admin() {
            Some(admin) => admin.add_vhost(&name, VHostSettings::default()).expect("a new vhost"),
            None => ctl(&["add_vhost", &name]),
        }
        self.made.borrow_mut().push(("delete_vhost", name.clone()));
        name
    }

    pub(crate) fn permit(&self, user: &str, vhost: &str, [configure, write, read]: [&str; 3]) {
        match self.admin() {
            Some(admin) => {
                let permissions = Permissions::new(configure, write, read).expect("patterns");
                admin.set_permissions(user, vhost, permissions).expect("user and vhost exist");
            }
            None => ctl(&["set_permissions", "-p", vhost, user, configure, write, read]),
        }
    }

    pub(crate) fn tag(&self, user: &str, tag: &str) {
        match self.admin() {
            Some(admin) => admin.set_user_tags(user, Tags::new([tag])).expect("it exists"),
            None => ctl(&["set_user_tags", user, tag]),
        }
    }

    pub(crate) fn permit_topics(&self, user: &str, exchange: &str, [write, read]: [&str; 2]) {
        match self.admin() {
            Some(admin) => {
                let permissions = TopicPermissions::new(write, read).expect("patterns");
                admin.set_topic_permissions(user, "/", exchange, permissions).expect("user and vhost exist");
            }
            None => ctl(&["set_topic_permissions", "-p", "/", user, exchange, write, read]),
        }
    }

    pub(crate) fn limit_vhost(&self, vhost: &str, limits: VHostLimits) {
        match self.admin() {
            Some(admin) => admin.set_vhost_limits(vhost, limits).expect("it exists"),
            None => {
                let limits =
                    json([("max-connections", limits.connections_max), ("max-queues", limits.queues_max)]);
                ctl(&["set_vhost_limits", "-p", vhost, &limits]);
            }
        }
    }

    pub(crate) fn limit_user(&self, user: &str, limits: UserLimits) {
        match self.admin() {
            Some(admin) => admin.set_user_limits(user, limits).expect("it exists"),
            None => {
                let limits = json([
                    ("max-connections", limits.connections_max),
                    ("max-channels", limits.channels_max),
                ]);
                ctl(&["set_user_limits", user, &limits]);
            }
        }
    }

    pub(crate) fn change_password(&self, user: &str, password: &str) {
        match self.admin() {
            Some(admin) => {
                admin.change_password(user, NewPassword::Plain(password.into())).expect("it exists");
            }
            None => ctl(&["change_password", user, password]),
        }
    }

    pub(crate) fn delete_user(&self, user: &str) {
        self.made.borrow_mut().retain(|(_, name)| name != user);
        match self.admin() {
            Some(admin) => admin.delete_user(user).expect("it exists"),
            None => ctl(&["delete_user", user]),
        }
    }

    pub(crate) fn delete_vhost(&self, vhost: &str) {
        self.made.borrow_mut().retain(|(_, name)| name != vhost);
        match self.admin() {
            Some(admin) => admin.delete_vhost(vhost).expect("it exists"),
            None => ctl(&["delete_vhost", vhost]),
        }
    }

    /// How to connect as a user made here.
    pub(crate) fn options(user: &str, vhost: &str) -> Options {
        Options {
            user: (user.to_owned(), PASSWORD.to_owned()),
            vhost: vhost.to_owned(),
            ..Options::default()
        }
    }

    pub(crate) fn connect(&self, user: &str, vhost: &str) -> Peer {
        Peer::connect(self.address(), &Self::options(user, vhost))
    }

    /// A connection as guest, who may do everything in `/`.
    pub(crate) fn connect_as_guest(&self) -> Peer {
        Peer::connect(self.address(), &Options::default())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if self.is_rabbitmq() && !std::thread::panicking() {
            for (command, name) in self.made.take() {
                ctl(&[command, &name]);
            }
        }
    }
}

fn ctl(arguments: &[&str]) {
    let command = env::var("RABBITMQCTL").expect("it was there at the start");
    let mut words = command.split_whitespace();
    let program = words.next().expect("RABBITMQCTL names a program");
    let output = Command::new(program).args(words).args(arguments).output().expect("rabbitmqctl runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// `rabbitmqctl`'s form of limits.
fn json(limits: [(&str, Option<u32>); 2]) -> String {
    let limits: Vec<String> = limits
        .into_iter()
        .map(|(name, limit)| format!("\"{name}\": {}", limit.map_or(-1, i64::from)))
        .collect();
    format!("{{{}}}", limits.join(", "))
}
