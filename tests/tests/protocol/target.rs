//! The broker under test: one Warren for the whole process, one with settings for a single test, or the broker that
//! `AMQP_URL` names. It knows addresses and names, and nothing of the protocol.

use std::cell::RefCell;
use std::env;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use amq_protocol::protocol::{AMQPClass, channel, exchange, queue};
use tokio::runtime::{Builder, Runtime};
use warren::{Broker, Config};
use warren_tests::eventually;

use crate::peer::{Options, Peer};

/// Says why a test is about Warren alone, and whether it is therefore to be passed over.
#[must_use]
pub(crate) fn differs_from_rabbitmq(reason: &str) -> bool {
    let is_foreign = env::var_os("AMQP_URL").is_some();
    if is_foreign {
        println!("passed over, Warren differs from RabbitMQ: {reason}");
    }
    is_foreign
}

/// The same for a test that needs a Warren of its own.
#[must_use]
pub(crate) fn needs_own_broker() -> bool {
    let is_foreign = env::var_os("AMQP_URL").is_some();
    if is_foreign {
        println!("passed over: needs a broker with settings of its own");
    }
    is_foreign
}

/// The same for a test of what RabbitMQ has as plugins, unless `AMQP_PLUGINS` says that the broker at hand has them.
#[must_use]
pub(crate) fn needs_plugins() -> bool {
    let lacks_them = env::var_os("AMQP_URL").is_some() && env::var_os("AMQP_PLUGINS").is_none();
    if lacks_them {
        println!("passed over: needs RabbitMQ's plugins, and AMQP_PLUGINS=1 to say that they are there");
    }
    lacks_them
}

/// One test: where its broker is, and what it named there. Whatever is left of that when the test ends is deleted.
#[derive(Debug)]
pub(crate) struct Test {
    address: SocketAddr,
    queues: RefCell<Vec<String>>,
    exchanges: RefCell<Vec<String>>,
}

impl Test {
    /// A test against the shared broker.
    pub(crate) fn start() -> Self {
        Self { address: shared_address(), queues: RefCell::default(), exchanges: RefCell::default() }
    }

    /// Where the broker listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A name for a queue that no other test uses.
    pub(crate) fn queue(&self, base: &str) -> String {
        let name = unique(base);
        self.queues.borrow_mut().push(name.clone());
        name
    }

    /// A name for an exchange that no other test uses.
    pub(crate) fn exchange(&self, base: &str) -> String {
        let name = unique(base);
        self.exchanges.borrow_mut().push(name.clone());
        name
    }

    /// An open connection with all capabilities and no heartbeats.
    pub(crate) fn connect(&self) -> Peer {
        self.connect_with(&Options::default())
    }

    /// An open connection.
    pub(crate) fn connect_with(&self, options: &Options) -> Peer {
        Peer::connect(self.address, options)
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        let (address, queues, exchanges) = (self.address, self.queues.take(), self.exchanges.take());
        if queues.is_empty() && exchanges.is_empty() {
            return;
        }
        // In a thread of its own, because this one may be unwinding already.
        let removal = thread::spawn(move || remove(address, &queues, &exchanges)).join();
        assert!(removal.is_ok() || thread::panicking(), "what the test named cannot be deleted");
    }
}

fn remove(address: SocketAddr, queues: &[String], exchanges: &[String]) {
    let peer = Peer::connect(address, &Options::default());
    for name in queues {
        // An exclusive queue may outlive its connection by a moment, and is locked as long.
        eventually("the queue can be deleted", || {
            let channel = peer.open(1);
            channel.send(queue::Delete { queue: name.as_str().into(), ..Default::default() });
            if let AMQPClass::Channel(_) = channel.next().method {
                channel.send(channel::CloseOk {});
                return None;
            }
            channel.close();
            Some(())
        });
    }
    let channel = peer.open(1);
    for name in exchanges {
        channel.call(exchange::Delete { exchange: name.as_str().into(), ..Default::default() });
    }
}

/// A Warren with settings, for one test.
#[derive(Debug)]
pub(crate) struct OwnBroker {
    broker: Option<Broker>,
    runtime: Runtime,
}

impl OwnBroker {
    /// Starts one whose settings `adjust` has changed.
    pub(crate) fn start(adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::in_process();
        adjust(&mut config);
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let broker = runtime.block_on(Broker::start(config)).expect("a broker starts on a free port");
        Self { broker: Some(broker), runtime }
    }

    /// The broker as a library.
    pub(crate) fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("it runs until it is shut down")
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.broker().local_addrs()[0]
    }

    /// An open connection.
    pub(crate) fn connect(&self) -> Peer {
        Peer::connect(self.address(), &Options::default())
    }

    /// Begins to shut it down; the handle ends when it is down.
    pub(crate) fn shut_down(&mut self) -> tokio::task::JoinHandle<()> {
        let broker = self.broker.take().expect("it is shut down once");
        self.runtime.spawn(broker.shutdown())
    }

    /// Waits for a task of its runtime.
    pub(crate) fn wait(&self, task: tokio::task::JoinHandle<()>) {
        self.runtime.block_on(task).expect("the task does not panic");
    }
}

/// A name that nothing else uses on this broker.
pub(crate) fn unique(base: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("proto.{base}.{}.{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn shared_address() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| match env::var("AMQP_URL") {
        Ok(url) => foreign_address(&url),
        Err(_) => {
            let own = OwnBroker::start(|_| ());
            let address = own.address();
            // It serves all tests of this process and ends with it.
            std::mem::forget(own);
            address
        }
    })
}

/// Host and port of a URL; user and vhost are the usual ones.
fn foreign_address(url: &str) -> SocketAddr {
    let rest = url.strip_prefix("amqp://").unwrap_or_else(|| panic!("AMQP_URL is no amqp:// URL: {url}"));
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:5672") };
    host.to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .unwrap_or_else(|| panic!("AMQP_URL names no host: {url}"))
}
