//! What the commands take that look at, move or delete chosen messages.

use clap::Args;

/// Which messages, by what is in them. All conditions have to hold.
#[derive(Debug, Clone, Default, Args)]
#[group(id = "conditions", multiple = true)]
pub(in crate::ctl) struct Conditions {
    /// Only with this header: NAME, or NAME=VALUE; can be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(in crate::ctl) header: Vec<String>,
    /// Only with this text in the body
    #[arg(long)]
    pub(in crate::ctl) text: Option<String>,
    /// Only those published to this exchange; amq.default for the default one
    #[arg(long)]
    pub(in crate::ctl) exchange: Option<String>,
    /// Only those with this routing key
    #[arg(long)]
    pub(in crate::ctl) routing_key: Option<String>,
    /// Only with this message_id
    #[arg(long)]
    pub(in crate::ctl) message_id: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::ctl) struct Browse {
    pub(in crate::ctl) queue: String,
    /// At most this many
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(in crate::ctl) count: u32,
    /// Begin behind this many messages
    #[arg(long, default_value_t = 0)]
    pub(in crate::ctl) from: u64,
    /// Begin behind the message with this id
    #[arg(long, value_name = "ID", conflicts_with = "from")]
    pub(in crate::ctl) after: Option<String>,
    #[command(flatten)]
    pub(in crate::ctl) conditions: Conditions,
    /// Cut bodies off after this many bytes
    #[arg(long, default_value_t = 200)]
    pub(in crate::ctl) body_bytes: u64,
}

#[derive(Debug, Args)]
pub(in crate::ctl) struct Unacked {
    pub(in crate::ctl) queue: String,
    /// At most this many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(in crate::ctl) count: u32,
    /// Only those that were delivered so many seconds ago, or earlier
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(in crate::ctl) min_age: u64,
    /// Cut bodies off after this many bytes
    #[arg(long, default_value_t = 200)]
    pub(in crate::ctl) body_bytes: u64,
}

/// Which messages are moved or deleted. Something has to be said, so that a slip does not mean all of them.
#[derive(Debug, Args)]
pub(in crate::ctl) struct Choice {
    /// Those with these ids, as browse shows them
    #[arg(long, value_name = "ID", value_delimiter = ',', conflicts_with_all = ["conditions", "all", "count"])]
    pub(in crate::ctl) ids: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "conditions")]
    pub(in crate::ctl) all: bool,
    #[command(flatten)]
    pub(in crate::ctl) conditions: Conditions,
    /// At most this many
    #[arg(long)]
    pub(in crate::ctl) count: Option<u64>,
}

#[derive(Debug, Args)]
pub(in crate::ctl) struct Move {
    /// The queue that they are in
    pub(in crate::ctl) source: String,
    /// The queue that they go to
    pub(in crate::ctl) destination: String,
    /// The destination is an exchange
    #[arg(long)]
    pub(in crate::ctl) to_exchange: bool,
    /// Routing key to publish to the exchange with; each message's own if there is none
    #[arg(long, value_name = "KEY", requires = "to_exchange")]
    pub(in crate::ctl) to_key: Option<String>,
    #[command(flatten)]
    pub(in crate::ctl) choice: Choice,
}

#[derive(Debug, Args)]
pub(in crate::ctl) struct Delete {
    pub(in crate::ctl) queue: String,
    #[command(flatten)]
    pub(in crate::ctl) choice: Choice,
}
