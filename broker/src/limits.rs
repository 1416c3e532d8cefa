//! Every bound that is not a setting, in one place, each with its reason.
//!
//! A bound that an operator may want to move is a field of the configuration instead.

use std::time::Duration;

/// The smallest `frame_max` a peer may ask for, in bytes (AMQP 0-9-1, section 4.2.3). RabbitMQ 4.1 raised it to 8192,
/// which broke older amqplib, amqprs and rascal programs; they work here.
pub const FRAME_MIN_BYTES: u32 = 4096;

/// What a frame may measure before `connection.tune-ok`, in bytes. Large enough for a JWT as password, small enough
/// that strangers cannot make the broker buffer much.
pub const FRAME_BEFORE_TUNE_BYTES_MAX: u32 = 8192;

/// How many tables and arrays may nest inside each other. The table parser recurses, so this bounds its stack; no
/// client library nests beyond a handful.
pub const TABLE_DEPTH_MAX: usize = 64;

/// Bodies up to this many bytes are copied into the message's own allocation, larger ones keep the buffer they were
/// gathered in: a small body must not pin a large read buffer.
pub const INLINE_BODY_BYTES_MAX: usize = 16 * 1024;

/// Deliveries a consumer may have between its queue and its socket, in messages. Bounds the outbox and keeps one
/// slow reader from draining a queue into the broker's memory twice.
pub const CONSUMER_WINDOW_MESSAGES: u32 = 2048;

/// The same bound in body bytes; one message may always pass, however large.
pub const CONSUMER_WINDOW_BYTES: usize = 1024 * 1024;

/// Consumers of one queue. Their ids carry twenty bits for it; real queues have up to some ten thousands.
pub const CONSUMERS_PER_QUEUE_MAX: u32 = 1 << 20;

/// While this many bytes wait to be written to a socket no further deliveries are encoded for it.
pub const OUT_BUFFER_HIGH_BYTES: usize = 256 * 1024;

/// While this many bytes wait to be written the socket is not read either: a peer that sends requests but never reads
/// the answers is held here.
pub const OUT_BUFFER_PAUSE_READ_BYTES: usize = 4 * 1024 * 1024;

/// What an output buffer that has been written out keeps for the next frames, in bytes: enough for a request and its
/// answer without the allocator, little enough for ten thousand connections.
pub const OUT_BUFFER_KEEP_BYTES: usize = 4 * 1024;

/// Entries in a connection's route cache before it is emptied.
pub const ROUTE_CACHE_ENTRIES_MAX: usize = 1024;

/// Bytes read from one socket before other work of the same connection gets its turn.
pub const READ_CHUNK_BYTES: usize = 64 * 1024;

/// Publishes and settled deliveries in the transaction of one channel. Each takes some dozens of bytes besides its message,
/// and a commit carries them all out in one go; programs commit after some thousands.
pub const TX_ITEMS_MAX: usize = 1_000_000;

/// Memory of the messages in the transaction of one channel, in bytes. They are in no queue yet, so that nobody can consume
/// them to make room. Twice the largest body that can be configured: no single message is stopped by it.
pub const TX_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Publishes of one connection that may wait for their confirm before its socket is not read any further. More than any
/// client's window, and a byte or two of memory each.
pub const UNCONFIRMED_MAX: usize = 1 << 21;

/// What the buffer that gathers contents keeps between two messages of one batch, in bytes: names, properties and an
/// inline body fit, an unusual header table is given back.
pub const CONTENT_SPARE_BYTES_MAX: usize = 64 * 1024;

/// Connections over a limit that are served until they can be told so, at a time. Few: they hold files that the limit is to save.
pub const REFUSED_CONNECTIONS_MAX: usize = 32;

/// How long a peer may take to answer `connection.close`. RabbitMQ waits as long.
pub const CLOSE_OK_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of each client property is kept for listings, in bytes; a stranger chooses them.
pub const CLIENT_PROPERTY_BYTES_MAX: usize = 256;

/// Entries of a message's `x-death` header at most; the oldest are forgotten. Far more than the queues of any sensible circuit,
/// and few enough to fit a frame.
pub const DEATHS_PER_MESSAGE_MAX: usize = 128;

/// The name of a user or virtual host, in bytes: `connection.open` carries a virtual host's as a short string.
pub const ACCESS_NAME_BYTES_MAX: usize = 255;

/// A password, in bytes. What a frame before `connection.tune-ok` can carry, tokens among them.
pub const PASSWORD_BYTES_MAX: usize = FRAME_BEFORE_TUNE_BYTES_MAX as usize;

/// A token in place of a password, in bytes.
pub const TOKEN_BYTES_MAX: usize = PASSWORD_BYTES_MAX;

/// Scopes of one token that are looked at. What a frame can carry has some hundreds.
pub const SCOPES_MAX: usize = 1000;

/// The file with the keys of tokens, in bytes.
pub const KEYS_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Keys of tokens. A token that names none is tried with each.
pub const KEYS_MAX: usize = 32;

/// Users. They are in memory, and all of them in each listing.
pub const USERS_MAX: usize = 100_000;

/// Virtual hosts. Each has its predeclared exchanges and takes some kilobytes.
pub const VHOSTS_MAX: usize = 10_000;

/// Exchanges for which one user has topic permissions in one virtual host.
pub const TOPIC_PERMISSIONS_MAX: usize = 1000;

/// Parameters of virtual hosts, and as many of the whole broker.
pub const PARAMETERS_MAX: usize = 10_000;

/// The value of a parameter, in bytes of JSON.
pub const PARAMETER_BYTES_MAX: usize = 64 * 1024;

/// The pattern of a permission, in bytes. Enough for a list of some dozens of names.
pub const PERMISSION_BYTES_MAX: usize = 4096;

/// What the pattern of a permission may take up when it is compiled, in bytes.
pub const PERMISSION_COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// How often matching a name with a permission may turn back before that counts as no match: well below a millisecond, because
/// it happens while a client's methods are carried out.
pub const PERMISSION_BACKTRACKS_MAX: usize = 10_000;

/// The name of a policy, in bytes: as long as names of queues may be.
pub const POLICY_NAME_BYTES_MAX: usize = 255;

/// The pattern of a policy, in bytes. Enough for a list of some dozens of names.
pub const POLICY_PATTERN_BYTES_MAX: usize = 4096;

/// What the pattern of a policy may take up when it is compiled, in bytes.
pub const POLICY_PATTERN_COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// How often matching a name with the pattern of a policy may turn back before that counts as no match. A few milliseconds for the
/// worst pattern; patterns that neither look around nor refer back never turn back at all.
pub const POLICY_PATTERN_BACKTRACKS_MAX: usize = 100_000;

/// Policies of one vhost, and operator policies as many. Each is tried on each queue that is declared.
pub const POLICIES_PER_VHOST_MAX: usize = 1000;

/// Who listen to events over the HTTP API, at a time. Each is a connection that others may need.
pub const EVENT_LISTENERS_MAX: usize = 32;

/// Connections to the HTTP API at a time; further ones wait to be accepted. Programs that administer need few, and each is a file.
pub const HTTP_CONNECTIONS_MAX: usize = 256;

/// The body of a request to the HTTP API, in bytes. RabbitMQ's bound; definitions of 50,000 queues fit.
pub const HTTP_BODY_BYTES_MAX: usize = 20_000_000;

/// Bodies of requests that are being read or worked on, together, in bytes: further ones wait for room.
pub const HTTP_BODIES_BYTES_MAX: usize = 4 * HTTP_BODY_BYTES_MAX;

/// Requests to the HTTP API that are worked on at a time. They have threads of their own, which must not take all cores.
pub const HTTP_WORKERS_MAX: usize = 4;
