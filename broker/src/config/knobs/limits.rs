//! Bounds on what clients and the broker may take.

use std::time::Duration;

use super::{DAY, Knob};
use crate::config::show;
use crate::config::value::MIB;

pub(super) static KNOBS: &[Knob] = &[
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
