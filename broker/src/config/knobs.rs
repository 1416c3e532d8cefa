//! The table of settings: for each its key, variable, flag, valid values, meaning and the reason for its default.
//!
//! Loading, error messages, `warren config` and its reference all read this table, so they cannot disagree. It holds
//! no values: defaults are those of [`Config`].

use std::time::Duration;

use super::value::{Input, MIB, show};
use super::{Config, Secret};

/// One setting.
#[derive(Debug)]
pub(super) struct Knob {
    /// `section.name`, as in the file.
    pub(super) key: &'static str,
    /// The environment variable.
    pub(super) env: &'static str,
    /// The flag of `warren`, where there is one.
    pub(super) flag: Option<&'static str>,
    /// What a valid value is, with its unit. Completes "expected ...".
    pub(super) expects: &'static str,
    /// What it does and why the default is what it is; lines of at most 100 characters.
    pub(super) about: &'static [&'static str],
    /// Takes a value into the configuration; `None` when the value is not valid.
    pub(super) set: fn(&mut Config, &Input) -> Option<()>,
    /// The value in TOML.
    pub(super) show: fn(&Config) -> String,
    /// Whether the value is kept out of what `warren config` prints.
    pub(super) secret: bool,
}

impl Knob {
    pub(super) fn section(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(section, _)| section)
    }

    pub(super) fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }
}

/// The longest time a setting takes; more than a day is a slip of the unit.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// All settings, sections together.
pub(super) static KNOBS: &[Knob] = &[
    Knob {
        key: "listen.bind",
        env: "WARREN_BIND",
        flag: Some("--bind"),
        expects: "one or more IP addresses, such as [\"127.0.0.1\", \"::1\"] in a file or 127.0.0.1,::1 elsewhere",
        about: &[
            "Addresses to listen on. The default is this machine only, on both IP versions, because some",
            "clients resolve localhost to ::1 first; without IPv6 the rest is served. 0.0.0.0 means every",
            "IPv4 address of the machine: traffic is not encrypted, so mind who can reach it.",
        ],
        set: |config, input| input.addresses().map(|bind| config.listen.bind = bind),
        show: |config| show::addresses(&config.listen.bind),
        secret: false,
    },
    Knob {
        key: "listen.port",
        env: "WARREN_PORT",
        flag: Some("--port"),
        expects: "a TCP port from 0 to 65535, 0 meaning a free one",
        about: &["TCP port. 5672 is the port registered for AMQP, which every client library tries first."],
        set: |config, input| input.integer(0..=u16::MAX).map(|port| config.listen.port = port),
        show: |config| config.listen.port.to_string(),
        secret: false,
    },
    Knob {
        key: "listen.plaintext",
        env: "WARREN_PLAINTEXT",
        flag: None,
        expects: "true or false",
        about: &[
            "Whether connections that are not encrypted are accepted. When false there must be a [tls] section;",
            "then passwords and messages never cross the network in the clear.",
        ],
        set: |config, input| input.boolean().map(|plaintext| config.listen.plaintext = plaintext),
        show: |config| config.listen.plaintext.to_string(),
        secret: false,
    },
    Knob {
        key: "listen.proxy_from",
        env: "WARREN_PROXY_FROM",
        flag: None,
        expects: "addresses or networks, such as [\"10.0.0.1\", \"10.1.0.0/16\"] in a file or 10.0.0.1,10.1.0.0/16 elsewhere",
        about: &[
            "Load balancers. Connections from there must begin with the PROXY protocol, version 1 or 2; the address",
            "in it is then the client's for everything: who may log in from where, limits, listings, the log. No",
            "client of its own can connect from such an address. Nobody else's header is read.",
        ],
        set: |config, input| input.networks().map(|networks| config.listen.proxy_from = networks),
        show: |config| show::networks(&config.listen.proxy_from),
        secret: false,
    },
    Knob {
        key: "tls.cert",
        env: "WARREN_TLS_CERT",
        flag: Some("--tls-cert"),
        expects: "the path of a file, or an empty text for no TLS",
        about: &[
            "Certificate chain in PEM, the broker's own first. With it and tls.key the broker speaks TLS on",
            "tls.port. When the file changes, new connections get the new one within seconds.",
        ],
        set: |config, input| input.folder().map(|path| config.tls.cert = path),
        show: |config| show::folder(config.tls.cert.as_deref()),
        secret: false,
    },
    Knob {
        key: "tls.key",
        env: "WARREN_TLS_KEY",
        flag: Some("--tls-key"),
        expects: "the path of a file, or an empty text for no TLS",
        about: &[
            "Private key of the certificate in PEM, not encrypted. Only the broker should be able to read it.",
        ],
        set: |config, input| input.folder().map(|path| config.tls.key = path),
        show: |config| show::folder(config.tls.key.as_deref()),
        secret: false,
    },
    Knob {
        key: "tls.port",
        env: "WARREN_TLS_PORT",
        flag: Some("--tls-port"),
        expects: "a TCP port from 0 to 65535, 0 meaning a free one",
        about: &["TCP port for TLS. 5671 is the port registered for AMQP over TLS."],
        set: |config, input| input.integer(0..=u16::MAX).map(|port| config.tls.port = port),
        show: |config| config.tls.port.to_string(),
        secret: false,
    },
    Knob {
        key: "tls.client_ca",
        env: "WARREN_TLS_CLIENT_CA",
        flag: None,
        expects: "the path of a file, or an empty text for none",
        about: &[
            "Certificates in PEM that clients' certificates must be signed by. Without it clients need none.",
        ],
        set: |config, input| input.folder().map(|path| config.tls.client_ca = path),
        show: |config| show::folder(config.tls.client_ca.as_deref()),
        secret: false,
    },
    Knob {
        key: "tls.require_client_cert",
        env: "WARREN_TLS_REQUIRE_CLIENT_CERT",
        flag: None,
        expects: "true or false",
        about: &[
            "Whether clients without a certificate are turned away. Has an effect with tls.client_ca only.",
        ],
        set: |config, input| input.boolean().map(|required| config.tls.require_client_cert = required),
        show: |config| config.tls.require_client_cert.to_string(),
        secret: false,
    },
    Knob {
        key: "tls.login_from",
        env: "WARREN_TLS_LOGIN_FROM",
        flag: None,
        expects: "distinguished_name, common_name, san_dns, san_email, san_uri or san_ip",
        about: &[
            "Where a client's certificate names its user, who may then log in without a password (EXTERNAL). The",
            "subject is written as by RFC 4514, CN=alex,O=Burrow; of alternative names the first of the kind",
            "counts. Offered to clients with a certificate that tls.client_ca vouches for. RabbitMQ's default.",
        ],
        set: |config, input| input.certificate_login().map(|login| config.tls.login_from = login),
        show: |config| show::certificate_login(config.tls.login_from),
        secret: false,
    },
    Knob {
        key: "tls.min_version",
        env: "WARREN_TLS_MIN_VERSION",
        flag: None,
        expects: "\"1.2\" or \"1.3\"",
        about: &[
            "Lowest version of TLS that is spoken. 1.2 is safe, and what some clients in use do not exceed.",
        ],
        set: |config, input| input.tls_version().map(|version| config.tls.min_version = version),
        show: |config| show::tls_version(config.tls.min_version),
        secret: false,
    },
    Knob {
        key: "http.enabled",
        env: "WARREN_HTTP_ENABLED",
        flag: None,
        expects: "true or false",
        about: &[
            "Whether the HTTP API is served over TCP. A broker with a data folder has it on the socket ctl.sock",
            "there in any case, for whoever owns the folder.",
        ],
        set: |config, input| input.boolean().map(|enabled| config.http.enabled = enabled),
        show: |config| config.http.enabled.to_string(),
        secret: false,
    },
    Knob {
        key: "http.bind",
        env: "WARREN_HTTP_BIND",
        flag: None,
        expects: "one or more IP addresses, such as [\"127.0.0.1\", \"::1\"] in a file or 127.0.0.1,::1 elsewhere",
        about: &[
            "Addresses of the HTTP API. The default is this machine only, whatever listen.bind says: passwords",
            "cross the network with every request, and not encrypted.",
        ],
        set: |config, input| input.addresses().map(|bind| config.http.bind = bind),
        show: |config| show::addresses(&config.http.bind),
        secret: false,
    },
    Knob {
        key: "http.port",
        env: "WARREN_HTTP_PORT",
        flag: Some("--http-port"),
        expects: "a TCP port from 0 to 65535, 0 meaning a free one",
        about: &["TCP port of the HTTP API. RabbitMQ's value, which programs that administer it expect."],
        set: |config, input| input.integer(0..=u16::MAX).map(|port| config.http.port = port),
        show: |config| config.http.port.to_string(),
        secret: false,
    },
    Knob {
        key: "data.folder",
        env: "WARREN_DATA",
        flag: Some("--data"),
        expects: "the path of a folder, or an empty text for none",
        about: &[
            "Folder for durable queues, exchanges, bindings and messages, relative to where the broker is",
            "started. Created if missing; only one broker at a time can use it. An empty text means none: all",
            "is kept in memory and gone when the broker stops.",
        ],
        set: |config, input| input.folder().map(|folder| config.data.folder = folder),
        show: |config| show::folder(config.data.folder.as_deref()),
        secret: false,
    },
    Knob {
        key: "store.sync",
        env: "WARREN_SYNC",
        flag: Some("--sync"),
        expects: "always, never, or interval= and a time from 1ms to 60s, such as interval=100ms; milliseconds need no unit",
        about: &[
            "What a confirm of a persistent message waits for, and so what of the confirmed can be lost:",
            "  always        for the disk. Killing the process loses nothing, a power failure loses nothing.",
            "  interval=...  for the operating system, and the disk is synced at this interval. Killing the",
            "                process loses nothing; a power failure loses what came in the last interval.",
            "  never         for the operating system, which writes when it likes. Killing the process loses",
            "                nothing; a power failure loses what was not written, commonly up to 30 s.",
            "The default is what a confirm promises. One sync serves all that wait, so it costs some",
            "milliseconds of latency rather than throughput.",
        ],
        set: |config, input| input.sync().map(|sync| config.store.sync = sync),
        show: |config| show::sync(config.store.sync),
        secret: false,
    },
    Knob {
        key: "log.level",
        env: "WARREN_LOG",
        flag: Some("--log"),
        expects: "off, error, warn, info, debug or trace, and after commas module=level, such as info,warren::server=debug",
        about: &[
            "What is logged to standard error. info shows starts, stops, and clients that come, go or misbehave.",
        ],
        set: |config, input| input.log_filter().map(|level| config.log.level = level),
        show: |config| show::text(&config.log.level),
        secret: false,
    },
    Knob {
        key: "log.format",
        env: "WARREN_LOG_FORMAT",
        flag: Some("--log-format"),
        expects: "text or json",
        about: &["Form of a log line: text for people, json for collectors, one object a line."],
        set: |config, input| input.log_format().map(|format| config.log.format = format),
        show: |config| show::log_format(config.log.format),
        secret: false,
    },
    Knob {
        key: "server.product",
        env: "WARREN_SERVER_PRODUCT",
        flag: None,
        expects: "a text of 1 to 255 bytes",
        about: &[
            "The product that clients are told in connection.start. Some programs insist on RabbitMQ or choose",
            "another kind of prefetch by it; the default is the truth.",
        ],
        set: |config, input| input.short_text().map(|product| config.server.product = product),
        show: |config| show::text(&config.server.product),
        secret: false,
    },
    Knob {
        key: "server.cluster_name",
        env: "WARREN_SERVER_CLUSTER_NAME",
        flag: None,
        expects: "a text of 1 to 255 bytes",
        about: &[
            "The cluster name that clients are told. A label without further effect, which some clients require.",
        ],
        set: |config, input| input.short_text().map(|name| config.server.cluster_name = name),
        show: |config| show::text(&config.server.cluster_name),
        secret: false,
    },
    Knob {
        key: "server.event_exchange",
        env: "WARREN_SERVER_EVENT_EXCHANGE",
        flag: None,
        expects: "true or false",
        about: &[
            "Whether the topic exchange amq.rabbitmq.event in the vhost / tells what happens: queues, exchanges,",
            "bindings, connections, channels and consumers that come and go, logins, policies and alarms. Off,",
            "because whoever may bind to it learns of everybody else; the keys are those of RabbitMQ's plugin.",
        ],
        set: |config, input| input.boolean().map(|on| config.server.event_exchange = on),
        show: |config| config.server.event_exchange.to_string(),
        secret: false,
    },
    Knob {
        key: "server.definitions",
        env: "WARREN_DEFINITIONS",
        flag: Some("--definitions"),
        expects: "the path of a file, or an empty text for none",
        about: &[
            "A file with definitions in JSON, exported by Warren or RabbitMQ, that are read in at every start before",
            "clients are let in. Queues and exchanges that are there stay as they are; users, permissions and",
            "policies become those of the file.",
        ],
        set: |config, input| input.folder().map(|path| config.server.definitions = path),
        show: |config| show::folder(config.server.definitions.as_deref()),
        secret: false,
    },
    Knob {
        key: "auth.user",
        env: "WARREN_AUTH_USER",
        flag: None,
        expects: "a text of 1 to 255 bytes",
        about: &[
            "Name of the user that a new data folder begins with: an administrator with all permissions. Once",
            "there are users in the data folder this has no effect. guest is what client libraries send when",
            "told nothing.",
        ],
        set: |config, input| input.short_text().map(|user| config.auth.user = user),
        show: |config| show::text(&config.auth.user),
        secret: false,
    },
    Knob {
        key: "auth.password",
        env: "WARREN_AUTH_PASSWORD",
        flag: None,
        expects: "a text of 1 to 255 bytes",
        about: &[
            "Its password. There is no flag for it: the command lines of processes are public. The data folder",
            "keeps a hash.",
        ],
        set: |config, input| input.short_text().map(|password| config.auth.password = Secret(password)),
        show: |config| show::text(&config.auth.password.0),
        secret: true,
    },
    Knob {
        key: "auth.loopback_only",
        env: "WARREN_AUTH_LOOPBACK_ONLY",
        flag: None,
        expects: "names of users, such as [\"a\", \"b\"] or a,b, or false for none",
        about: &[
            "Users who may log in only from this machine. guest, because everybody knows its password. Set it to",
            "false in a container, together with a password of your own. true means guest.",
        ],
        set: |config, input| input.names().map(|names| config.auth.loopback_only = names),
        show: |config| show::texts(&config.auth.loopback_only),
        secret: false,
    },
    Knob {
        key: "auth.failure_delay",
        env: "WARREN_AUTH_FAILURE_DELAY",
        flag: None,
        expects: "a time with its unit, such as 500ms or 1s, at most 1min",
        about: &[
            "Pause before a refused login is answered. Slows guessing down and keeps a program that retries at",
            "once from doing it thousands of times a second.",
        ],
        set: |config, input| {
            let range = Duration::ZERO..=Duration::from_secs(60);
            input.duration(range).map(|delay| config.auth.failure_delay = delay)
        },
        show: |config| show::duration(config.auth.failure_delay),
        secret: false,
    },
    Knob {
        key: "auth.failures_per_minute_max",
        env: "WARREN_AUTH_FAILURES_PER_MINUTE_MAX",
        flag: None,
        expects: "a whole number from 1 to 1000000",
        about: &[
            "Refused logins of one address (IPv6: of one /64 network) within a minute, after which all others are",
            "refused, too, except of users who have logged in since the broker was started. Against guessing",
            "over many connections at once.",
        ],
        set: |config, input| {
            input.integer(1..=1_000_000_u32).map(|failures| config.auth.failures_per_minute_max = failures)
        },
        show: |config| config.auth.failures_per_minute_max.to_string(),
        secret: false,
    },
    Knob {
        key: "oauth.resource_server_id",
        env: "WARREN_OAUTH_RESOURCE_SERVER_ID",
        flag: None,
        expects: "a text of at most 255 bytes, empty for no tokens",
        about: &[
            "Name of this broker in tokens (JWT), which clients may send as a password once it is set. A token",
            "must have it in its audience (aud), have an end (exp), and be signed with a key of oauth.keys. What",
            "its user may do is in its scopes, as for RabbitMQ: read:vhost/name, write, configure, and",
            "tag:administrator.",
        ],
        set: |config, input| input.optional_text().map(|value| config.oauth.resource_server_id = value),
        show: |config| show::text(&config.oauth.resource_server_id),
        secret: false,
    },
    Knob {
        key: "oauth.keys",
        env: "WARREN_OAUTH_KEYS",
        flag: None,
        expects: "the path of a file, or an empty text for none",
        about: &[
            "File with the keys that tokens are signed with, as a JWK set. Read at the start and on SIGHUP.",
        ],
        set: |config, input| input.folder().map(|value| config.oauth.keys = value),
        show: |config| show::folder(config.oauth.keys.as_deref()),
        secret: false,
    },
    Knob {
        key: "oauth.algorithms",
        env: "WARREN_OAUTH_ALGORITHMS",
        flag: None,
        expects: "one or more of RS256, ES256 and HS256, such as [\"RS256\"] in a file or RS256,ES256 elsewhere",
        about: &[
            "How tokens may be signed. Not HS256 unless asked for: whoever has its key can make tokens, too. Tokens",
            "that are not signed are never accepted.",
        ],
        set: |config, input| input.token_algorithms().map(|value| config.oauth.algorithms = value),
        show: |config| show::token_algorithms(&config.oauth.algorithms),
        secret: false,
    },
    Knob {
        key: "oauth.issuer",
        env: "WARREN_OAUTH_ISSUER",
        flag: None,
        expects: "a text of at most 255 bytes, empty for any issuer",
        about: &["Who must have issued the tokens (iss)."],
        set: |config, input| input.optional_text().map(|value| config.oauth.issuer = value),
        show: |config| show::text(&config.oauth.issuer),
        secret: false,
    },
    Knob {
        key: "oauth.scope_prefix",
        env: "WARREN_OAUTH_SCOPE_PREFIX",
        flag: None,
        expects: "a text of at most 255 bytes, empty for the resource server's id and a dot",
        about: &["What the scopes that are meant for this broker begin with; all others are passed over."],
        set: |config, input| input.optional_text().map(|value| config.oauth.scope_prefix = value),
        show: |config| show::text(&config.oauth.scope_prefix),
        secret: false,
    },
    Knob {
        key: "oauth.additional_scopes",
        env: "WARREN_OAUTH_ADDITIONAL_SCOPES",
        flag: None,
        expects: "names separated by dots, such as realm_access.roles, or an empty text for none",
        about: &["A claim with scopes besides scope, as some authorization servers have it."],
        set: |config, input| input.optional_text().map(|value| config.oauth.additional_scopes = value),
        show: |config| show::text(&config.oauth.additional_scopes),
        secret: false,
    },
    Knob {
        key: "oauth.username_claims",
        env: "WARREN_OAUTH_USERNAME_CLAIMS",
        flag: None,
        expects: "one or more names of claims, such as [\"sub\", \"client_id\"] in a file or sub,client_id elsewhere",
        about: &["The claims that may name the user; the first that is there counts."],
        set: |config, input| input.words().map(|value| config.oauth.username_claims = value),
        show: |config| show::texts(&config.oauth.username_claims),
        secret: false,
    },
    Knob {
        key: "limits.handshake_timeout",
        env: "WARREN_LIMITS_HANDSHAKE_TIMEOUT",
        flag: None,
        expects: "a time with its unit, such as 10s, from 100ms to 24h",
        about: &[
            "Time a client has from connecting until its connection is open. Enough for a slow link, short",
            "enough that half-open connections of strangers do not pile up. RabbitMQ's value.",
        ],
        set: |config, input| {
            let range = Duration::from_millis(100)..=DAY;
            input.duration(range).map(|timeout| config.limits.handshake_timeout = timeout)
        },
        show: |config| show::duration(config.limits.handshake_timeout),
        secret: false,
    },
    Knob {
        key: "limits.heartbeat",
        env: "WARREN_LIMITS_HEARTBEAT",
        flag: None,
        expects: "a time in whole seconds, such as 60s, at most 65535s; 0 suggests none",
        about: &[
            "Heartbeat interval suggested to clients, who may ask for another. A dead peer is noticed after two",
            "to three of them. RabbitMQ's value: short enough to keep most firewalls from forgetting the",
            "connection, long enough not to punish programs that are busy for a while.",
        ],
        set: |config, input| {
            let heartbeat = input.duration(Duration::ZERO..=Duration::from_secs(u16::MAX.into()))?;
            (heartbeat.subsec_nanos() == 0).then(|| config.limits.heartbeat = heartbeat)
        },
        show: |config| show::duration(config.limits.heartbeat),
        secret: false,
    },
    Knob {
        key: "limits.frame_max",
        env: "WARREN_LIMITS_FRAME_MAX",
        flag: None,
        expects: "a number of bytes from 4096 to 1048576",
        about: &[
            "Largest frame in bytes that is agreed on with clients; larger messages are split. RabbitMQ's value,",
            "a good balance between few frames and fairness between the channels of a connection.",
        ],
        set: |config, input| {
            let bytes = input.bytes(4096..=MIB).and_then(|bytes| u32::try_from(bytes).ok());
            bytes.map(|bytes| config.limits.frame_max = bytes)
        },
        show: |config| config.limits.frame_max.to_string(),
        secret: false,
    },
    Knob {
        key: "limits.channel_max",
        env: "WARREN_LIMITS_CHANNEL_MAX",
        flag: None,
        expects: "a whole number from 1 to 65535",
        about: &[
            "Most channels of one connection. RabbitMQ's value; a program that needs more is leaking them.",
        ],
        set: |config, input| input.integer(1..=u16::MAX).map(|channels| config.limits.channel_max = channels),
        show: |config| config.limits.channel_max.to_string(),
        secret: false,
    },
    Knob {
        key: "limits.connections_max",
        env: "WARREN_LIMITS_CONNECTIONS_MAX",
        flag: None,
        expects: "a whole number from 1 to 1000000",
        about: &[
            "Most client connections at a time; further ones are refused. Each needs an open file, so at the",
            "start it is lowered to what the process may open (ulimit -n).",
        ],
        set: |config, input| {
            input.integer(1..=1_000_000_u32).map(|connections| config.limits.connections_max = connections)
        },
        show: |config| config.limits.connections_max.to_string(),
        secret: false,
    },
    Knob {
        key: "limits.connections_per_address_max",
        env: "WARREN_LIMITS_CONNECTIONS_PER_ADDRESS_MAX",
        flag: None,
        expects: "a whole number from 1 to 1000000, or 0 for no limit",
        about: &[
            "Most connections of one address at a time (IPv6: of one /64 network). None by default, because all",
            "programs of a machine, or behind a gateway, come from one. Behind a load balancer that speaks the",
            "PROXY protocol it is the client's own address that counts.",
        ],
        set: |config, input| {
            input.optional_limit().map(|limit| config.limits.connections_per_address_max = limit)
        },
        show: |config| config.limits.connections_per_address_max.unwrap_or(0).to_string(),
        secret: false,
    },
    Knob {
        key: "limits.connections_per_second_max",
        env: "WARREN_LIMITS_CONNECTIONS_PER_SECOND_MAX",
        flag: None,
        expects: "a whole number from 1 to 1000000, or 0 for no limit",
        about: &[
            "Most new connections within a second; who comes after them is refused and may try again. Against",
            "programs that all come back at once, or that open a connection for each message.",
        ],
        set: |config, input| {
            input.optional_limit().map(|limit| config.limits.connections_per_second_max = limit)
        },
        show: |config| config.limits.connections_per_second_max.unwrap_or(0).to_string(),
        secret: false,
    },
    Knob {
        key: "limits.queues_max",
        env: "WARREN_LIMITS_QUEUES_MAX",
        flag: None,
        expects: "a whole number from 1 to 1000000, or 0 for no limit",
        about: &[
            "Most queues in all virtual hosts together; declaring one more closes the channel with 406. A virtual",
            "host has a limit of its own, max-queues.",
        ],
        set: |config, input| input.optional_limit().map(|limit| config.limits.queues_max = limit),
        show: |config| config.limits.queues_max.unwrap_or(0).to_string(),
        secret: false,
    },
    Knob {
        key: "limits.message_bytes_max",
        env: "WARREN_LIMITS_MESSAGE_BYTES_MAX",
        flag: None,
        expects: "a size in bytes or with a unit, such as 16MiB, from 1 to 512MiB",
        about: &[
            "Largest message body; publishing a larger one closes the channel with 406. What RabbitMQ 3 allows,",
            "so that programs written for it keep working; RabbitMQ 4 lowered it to 16MiB.",
        ],
        set: |config, input| input.bytes(1..=512 * MIB).map(|bytes| config.limits.message_bytes_max = bytes),
        show: |config| show::bytes(config.limits.message_bytes_max),
        secret: false,
    },
    Knob {
        key: "limits.consumers_per_channel_max",
        env: "WARREN_LIMITS_CONSUMERS_PER_CHANNEL_MAX",
        flag: None,
        expects: "a whole number from 1 to 1000000",
        about: &[
            "Most consumers of one channel; one more closes the connection with 530. Only there to stop a leak.",
        ],
        set: |config, input| {
            input
                .integer(1..=1_000_000_u32)
                .map(|consumers| config.limits.consumers_per_channel_max = consumers)
        },
        show: |config| config.limits.consumers_per_channel_max.to_string(),
        secret: false,
    },
    Knob {
        key: "limits.memory",
        env: "WARREN_LIMITS_MEMORY",
        flag: Some("--memory-limit"),
        expects: "a percentage of the memory from \"1%\" to \"95%\", or a size of at least 32MiB, such as 2GiB",
        about: &[
            "Memory above which publishers have to wait until consumers have caught up. A percentage is of the",
            "machine's memory, or of the container's if that is less. The default leaves room for what is being",
            "delivered, for the system's file cache and for other programs.",
        ],
        set: |config, input| input.memory().map(|limit| config.limits.memory = limit),
        show: |config| show::memory(config.limits.memory),
        secret: false,
    },
    Knob {
        key: "limits.disk_free",
        env: "WARREN_DISK_FREE_LIMIT",
        flag: Some("--disk-free-limit"),
        expects: "a size, such as 5GiB, or a percentage of the disk from \"0%\" to \"95%\"; 0 lets the disk fill up",
        about: &[
            "Free space on the data folder's disk below which publishers have to wait until there is more;",
            "consumers go on. The default leaves room for what is already on its way, for rewriting files while",
            "queues drain, and for other programs to fail less suddenly. Without a data folder it has no effect.",
        ],
        set: |config, input| input.disk_free().map(|limit| config.limits.disk_free = limit),
        show: |config| show::disk_free(config.limits.disk_free),
        secret: false,
    },
    Knob {
        key: "limits.shutdown_grace",
        env: "WARREN_LIMITS_SHUTDOWN_GRACE",
        flag: None,
        expects: "a time with its unit, such as 5s, at most 24h",
        about: &[
            "Time clients get to answer connection.close when the broker stops. Less than the 10 seconds after",
            "which container engines kill.",
        ],
        set: |config, input| {
            input.duration(Duration::ZERO..=DAY).map(|grace| config.limits.shutdown_grace = grace)
        },
        show: |config| show::duration(config.limits.shutdown_grace),
        secret: false,
    },
];
