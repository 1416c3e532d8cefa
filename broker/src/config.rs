//! The broker's settings: one typed [`Config`] with a default for every value, so nothing has to be configured.
//!
//! [`Sources::load`] lays a TOML file, the `WARREN_*` environment and the command line's flags over the defaults, and
//! refuses what it does not know or cannot read, naming the place, the key and what would be valid. The tables in
//! `config/knobs/` say for every knob its key, variable, flag, valid values and reason; everything printed about
//! settings comes from them.
//!
//! It opens no socket and creates no folder. The command line calls it, the server reads the result, and programs
//! that embed a broker start from [`Config::in_process`].

mod error;
mod file;
mod http;
mod knobs;
mod load;
mod memory;
mod network;
mod oauth;
mod reload;
mod report;
mod show;
mod sync;
mod tls;
mod value;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use error::ConfigError;
pub use http::Http;
pub use load::{Loaded, Sources};
pub use network::{BadNetwork, Network};
pub use oauth::{OAuth, TokenAlgorithm};
pub use reload::{Change, Takes};
pub use report::{effective, reference, running};
pub use sync::Sync;
pub use tls::{CertificateLogin, Tls, TlsVersion};
pub use value::{DiskFreeLimit, MemoryLimit};

/// Every setting of a broker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Where the broker accepts connections.
    pub listen: Listen,
    /// Encrypted connections.
    pub tls: Tls,
    /// The HTTP API.
    pub http: Http,
    /// Where the broker keeps its files.
    pub data: Data,
    /// How messages are made durable.
    pub store: Store,
    /// What is logged, and how. Only the binary sets up logging; a program that embeds a broker brings its own.
    pub log: Log,
    /// What clients are told about the broker.
    pub server: Server,
    /// Who may connect.
    pub auth: Auth,
    /// Tokens in place of passwords.
    pub oauth: OAuth,
    /// The bounds an operator may move. Bounds that are not for operators are constants of the code.
    pub limits: Limits,
}

impl Config {
    /// Settings for a broker inside another program, above all inside tests: a free port on 127.0.0.1, no data folder, no HTTP API.
    #[must_use]
    pub fn in_process() -> Self {
        Self {
            listen: Listen { bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], port: 0, ..Listen::default() },
            tls: Tls { port: 0, ..Tls::default() },
            http: Http {
                enabled: false,
                bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
                port: 0,
                ..Http::default()
            },
            data: Data { folder: None },
            ..Self::default()
        }
    }
}

/// The `[listen]` section: where the broker accepts connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Addresses to listen on, all with the same port. Default: both loopback families, because some clients resolve
    /// `localhost` to `::1` first; a machine without IPv6 is served on the rest.
    pub bind: Vec<IpAddr>,
    /// TCP port, 0 for a free one. Default 5672, the port registered for AMQP.
    pub port: u16,
    /// Whether connections that are not encrypted are accepted. Default true.
    pub plaintext: bool,
    /// Load balancers, whose connections begin with the PROXY protocol. Default none.
    pub proxy_from: Vec<Network>,
}

impl Default for Listen {
    fn default() -> Self {
        let bind = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        Self { bind, port: 5672, plaintext: true, proxy_from: Vec::new() }
    }
}

impl Listen {
    /// The socket addresses to bind, in the order of `bind`.
    pub fn addrs(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.addrs_at(self.port)
    }

    /// Whether connections from this address begin with the PROXY protocol.
    #[must_use]
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxy_from.iter().any(|network| network.contains(address))
    }

    /// The same with another port.
    pub fn addrs_at(&self, port: u16) -> impl Iterator<Item = SocketAddr> + '_ {
        self.bind.iter().map(move |ip| SocketAddr::new(*ip, port))
    }
}

/// The `[data]` section: where the broker keeps its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// The data folder; `None` for a broker that keeps everything in memory and touches no disk. Default `./warren-data`.
    pub folder: Option<PathBuf>,
}

impl Default for Data {
    fn default() -> Self {
        Self { folder: Some(PathBuf::from("warren-data")) }
    }
}

/// The `[store]` section: how messages are made durable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Store {
    /// What a confirm of a persistent message waits for. Default [`Sync::Always`].
    pub sync: Sync,
}

/// The `[log]` section: what is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Filter such as `info` or `info,warren::server=debug`. Default `info`.
    pub level: String,
    /// Form of a line. Default [`LogFormat::Text`].
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, message, fields.
    Text,
    /// For log collectors: one JSON object a line.
    Json,
}

/// The `[server]` section: what clients are told of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `product`. Default `Warren`; some programs insist on `RabbitMQ`.
    pub product: String,
    /// `cluster_name`. Default `warren`; some clients require it to be there.
    pub cluster_name: String,
    /// Whether what happens in the broker is told to `amq.rabbitmq.event`. Default false.
    pub event_exchange: bool,
    /// A file with definitions that are read into the broker whenever it starts. Default none.
    pub definitions: Option<PathBuf>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            product: "Warren".to_owned(),
            cluster_name: "warren".to_owned(),
            event_exchange: false,
            definitions: None,
        }
    }
}

/// The `[auth]` section: the first user, and who may try to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Name of the user that a new data folder begins with. Default `guest`.
    pub user: String,
    /// Its password. Default `guest`.
    pub password: Secret,
    /// Users who may log in over a loopback address only. Default `guest`.
    pub loopback_only: Vec<String>,
    /// Pause before a refused login is answered. Default 1 s.
    pub failure_delay: Duration,
    /// Refused logins of one address within a minute, after which its others are refused, too. Default 60.
    pub failures_per_minute_max: u32,
}

impl Auth {
    /// Whether the first user may log in over a loopback address only.
    #[must_use]
    pub fn is_user_loopback_only(&self) -> bool {
        self.loopback_only.contains(&self.user)
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            user: "guest".to_owned(),
            password: Secret("guest".to_owned()),
            loopback_only: vec!["guest".to_owned()],
            failure_delay: Duration::from_secs(1),
            failures_per_minute_max: 60,
        }
    }
}

/// A string that is not shown when its owner is printed for debugging.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// The `[limits]` section: the bounds an operator may move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Time a client has from connecting to `connection.open`. Default 10 s.
    pub handshake_timeout: Duration,
    /// Heartbeat interval suggested to clients, in whole seconds; 0 suggests none. Default 60 s.
    pub heartbeat: Duration,
    /// Largest frame in bytes, its 8 bytes of framing included. Default 131072.
    pub frame_max: u32,
    /// Most channels of one connection. Default 2047.
    pub channel_max: u16,
    /// Most client connections at a time. Default 65536; the binary lowers it to what open files allow.
    pub connections_max: u32,
    /// Most connections of one address, or one IPv6 network of 64 bits. Default no limit.
    pub connections_per_address_max: Option<u32>,
    /// Most new connections within a second. Default no limit.
    pub connections_per_second_max: Option<u32>,
    /// Most queues in all virtual hosts together. Default no limit.
    pub queues_max: Option<u32>,
    /// Largest message body in bytes. Default 128 MiB.
    pub message_bytes_max: u64,
    /// Most consumers of one channel. Default 10000.
    pub consumers_per_channel_max: u32,
    /// Memory above which publishers have to wait. Default 40 % of the machine's memory.
    pub memory: MemoryLimit,
    /// Free space on the data folder's disk below which publishers have to wait. Default 1 GiB.
    pub disk_free: DiskFreeLimit,
    /// Time clients get to answer `connection.close` when the broker stops. Default 5 s.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(60),
            frame_max: 131_072,
            channel_max: 2047,
            connections_max: 65_536,
            connections_per_address_max: None,
            connections_per_second_max: None,
            queues_max: None,
            message_bytes_max: 128 * 1024 * 1024,
            consumers_per_channel_max: 10_000,
            memory: MemoryLimit::Percent(40),
            disk_free: DiskFreeLimit::Bytes(1024 * 1024 * 1024),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// The heartbeat interval as `connection.tune` carries it.
    #[must_use]
    pub fn heartbeat_secs(&self) -> u16 {
        u16::try_from(self.heartbeat.as_secs()).unwrap_or(u16::MAX)
    }

    /// The memory limit in bytes, a percentage being taken of what this process may use: the machine's memory, or
    /// its container's if that is less.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        match self.memory {
            MemoryLimit::Bytes(bytes) => bytes,
            MemoryLimit::Percent(percent) => memory::available_bytes() / 100 * u64::from(percent),
        }
    }
}
