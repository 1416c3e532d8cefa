//! The commands and what each takes, with `rabbitmqctl`'s names. Text only; the modules beside this one carry them out.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

pub(super) mod chosen;

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// Add a user, who is permitted nothing yet
    AddUser(AddUser),
    /// Give a user another password
    ChangePassword {
        username: String,
        /// Read from standard input if it is not given
        password: Option<String>,
    },
    /// Delete a user, and close its connections
    DeleteUser { username: String },
    /// Give a user these tags and no others: administrator, monitoring, policymaker, management, impersonator
    SetUserTags { username: String, tag: Vec<String> },
    /// List users and their tags
    ListUsers,
    /// Check a user's password
    AuthenticateUser {
        username: String,
        /// Read from standard input if it is not given
        password: Option<String>,
    },
    /// Print a salted hash of a password, for definitions and add_user --pre-hashed-password
    HashPassword {
        /// Read from standard input if it is not given
        password: Option<String>,
    },
    /// Limit a user's connections and channels
    SetUserLimits {
        username: String,
        /// JSON, such as {"max-connections":10,"max-channels":100}
        limits: String,
    },
    /// Take limits of a user away: max-connections, max-channels, or all
    ClearUserLimits { username: String, limit: String },
    /// List the limits of users
    ListUserLimits {
        #[arg(long = "user", value_name = "USERNAME")]
        username: Option<String>,
        /// Of all users, as without --user
        #[arg(long, conflicts_with = "username")]
        global: bool,
    },
    /// Set what a user may configure, write and read in a virtual host, each as a regular expression
    SetPermissions { username: String, configure: String, write: String, read: String },
    /// Take a user's permissions in a virtual host away
    ClearPermissions { username: String },
    /// List who may do what in a virtual host
    ListPermissions,
    /// List what a user may do
    ListUserPermissions { username: String },
    /// Set which routing keys of a topic exchange a user may use
    SetTopicPermissions { username: String, exchange: String, write: String, read: String },
    /// Take a user's topic permissions in a virtual host away, for one exchange or for all
    ClearTopicPermissions { username: String, exchange: Option<String> },
    /// List topic permissions in a virtual host
    ListTopicPermissions,
    /// List the topic permissions of a user
    ListUserTopicPermissions { username: String },
    /// Add a virtual host
    AddVhost(AddVhost),
    /// Delete a virtual host with everything in it
    DeleteVhost { vhost_name: String },
    /// Give a virtual host these tags and no others
    SetVhostTags { vhost_name: String, tag: Vec<String> },
    /// List virtual hosts
    ListVhosts { column: Vec<String> },
    /// Limit the connections and queues of a virtual host
    SetVhostLimits {
        /// JSON, such as {"max-connections":100,"max-queues":1000}
        limits: String,
    },
    /// Take the limits of a virtual host away
    ClearVhostLimits,
    /// Show the limits of a virtual host
    ListVhostLimits {
        /// Of all virtual hosts
        #[arg(long)]
        global: bool,
    },
    /// Set a policy
    SetPolicy(SetPolicy),
    /// Clear a policy
    ClearPolicy { name: String },
    /// List policies
    ListPolicies,
    /// Set a policy that others cannot override
    SetOperatorPolicy(SetPolicy),
    /// Clear an operator policy
    ClearOperatorPolicy { name: String },
    /// List operator policies
    ListOperatorPolicies,
    /// Set a parameter of a virtual host: the limits vhost-limits, or an operator_policy
    SetParameter { component_name: String, name: String, value: String },
    /// Clear a parameter of a virtual host
    ClearParameter { component_name: String, name: String },
    /// List the parameters of a virtual host
    ListParameters,
    /// Set a parameter of the whole broker
    SetGlobalParameter {
        name: String,
        /// JSON
        value: String,
    },
    /// Clear a parameter of the whole broker
    ClearGlobalParameter { name: String },
    /// List the parameters of the whole broker
    ListGlobalParameters,
    /// Give the cluster, which is this broker, another name
    SetClusterName { name: String },
    /// List queues
    ListQueues(ListQueues),
    /// List exchanges
    ListExchanges { column: Vec<String> },
    /// List bindings
    ListBindings { column: Vec<String> },
    /// List connections
    ListConnections { column: Vec<String> },
    /// List channels
    ListChannels { column: Vec<String> },
    /// List consumers
    ListConsumers { column: Vec<String> },
    /// Remove the ready messages of a queue
    PurgeQueue { queue: String },
    /// Delete a queue
    DeleteQueue(DeleteQueue),
    /// Close a connection, which is named as list_connections name shows it
    CloseConnection { connection: String, explanation: String },
    /// Close connections to a virtual host, or all of them
    CloseAllConnections(CloseAllConnections),
    /// Write all definitions to a file, or to standard output for -
    ExportDefinitions {
        file: PathBuf,
        /// Only json is there
        #[arg(long, value_parser = ["json"], default_value = "json", hide = true)]
        format: String,
    },
    /// Read definitions from a file, or from standard input for - or nothing
    ImportDefinitions {
        file: Option<PathBuf>,
        /// Only json is there
        #[arg(long, value_parser = ["json"], default_value = "json", hide = true)]
        format: String,
    },
    /// Publish a message
    Publish(Publish),
    /// Take messages out of a queue, or look at them and put them back
    Get(Get),
    /// Look at the messages of a queue without touching them
    Browse(chosen::Browse),
    /// List the messages of a queue that await acknowledgement, the oldest first: who has them, and for how long
    ListUnacked(chosen::Unacked),
    /// Move messages of a queue to another queue or an exchange
    Move(chosen::Move),
    /// Delete chosen messages of a queue
    DeleteMessages(chosen::Delete),
    /// Have a queue give nobody messages, until resume_queue
    PauseQueue { queue: String },
    /// Have a paused queue give messages again
    ResumeQueue { queue: String },
    /// Say how the broker is
    Status,
    /// Check that the broker answers
    Ping,
    /// Wait until the broker answers
    AwaitStartup,
    /// Stop the broker, and wait until it has stopped; local only
    Stop,
    /// Have the broker read its configuration again, and say what changed; local only
    Reload,
    /// Print the settings that the broker runs with; local only
    Environment,
    /// Copy all definitions and persistent messages to a new folder, for 'warren restore'; local only
    Backup(Backup),
}

#[derive(Debug, Args)]
pub(super) struct AddUser {
    pub(super) username: String,
    /// Read from standard input if it is not given
    pub(super) password: Option<String>,
    /// The password is what hash_password printed
    #[arg(long)]
    pub(super) pre_hashed_password: bool,
}

#[derive(Debug, Args)]
pub(super) struct AddVhost {
    pub(super) vhost_name: String,
    /// What it is for
    #[arg(long)]
    pub(super) description: Option<String>,
    /// Several separated by commas
    #[arg(long)]
    pub(super) tags: Option<String>,
    /// Type of queues that are declared without one
    #[arg(long)]
    pub(super) default_queue_type: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct SetPolicy {
    pub(super) name: String,
    /// Regular expression that names are matched with
    pub(super) pattern: String,
    /// JSON, such as {"message-ttl":60000}
    pub(super) definition: String,
    /// The highest priority that matches counts
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    pub(super) priority: i64,
    /// What it is for: queues, exchanges, classic_queues, quorum_queues, streams or all
    #[arg(long, default_value = "all")]
    pub(super) apply_to: String,
}

#[derive(Debug, Args)]
pub(super) struct ListQueues {
    pub(super) column: Vec<String>,
    /// Those that are available, which are all
    #[arg(long)]
    pub(super) online: bool,
    /// Those of this node, which are all
    #[arg(long)]
    pub(super) local: bool,
}

#[derive(Debug, Args)]
pub(super) struct DeleteQueue {
    pub(super) queue: String,
    /// Only if it has no ready messages
    #[arg(long, short = 'e')]
    pub(super) if_empty: bool,
    /// Only if it has no consumers
    #[arg(long, short = 'u')]
    pub(super) if_unused: bool,
}

#[derive(Debug, Args)]
pub(super) struct CloseAllConnections {
    pub(super) explanation: String,
    /// In all virtual hosts
    #[arg(long)]
    pub(super) global: bool,
    /// At most this many; 0 for all
    #[arg(long, default_value_t = 0)]
    pub(super) limit: usize,
    /// Milliseconds between two of them
    #[arg(long, default_value_t = 0)]
    pub(super) per_connection_delay: u64,
}

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// A folder that is not there or empty, on the broker's machine and writable for its user
    pub(super) folder: PathBuf,
    /// MiB a second at most; 0 for as fast as it goes
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    pub(super) rate: u32,
}

#[derive(Debug, Args)]
pub(super) struct Publish {
    /// Routing key; the queue's name with the default exchange
    pub(super) routing_key: String,
    /// Body of the message; - for standard input
    pub(super) payload: String,
    /// The default exchange if none is given
    #[arg(long, default_value = "")]
    pub(super) exchange: String,
    /// JSON, such as {"delivery_mode":2,"content_type":"text/plain"}
    #[arg(long, default_value = "{}")]
    pub(super) properties: String,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    pub(super) queue: String,
    /// At most this many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) count: u32,
    /// What becomes of them
    #[arg(long, value_enum, default_value_t = AckMode::Requeue)]
    pub(super) ack: AckMode,
    /// Cut bodies off after this many bytes
    #[arg(long)]
    pub(super) truncate: Option<u64>,
}

/// What becomes of messages that were got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AckMode {
    /// They go back, marked as delivered once
    Requeue,
    /// They are gone
    Remove,
}
