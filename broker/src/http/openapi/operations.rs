//! All operations, one row each. A route that has none here, or the other way round, fails a test.

use axum::http::StatusCode;

use super::operation::Access::{
    AnyPolicymaker, Anyone, Caller, Entered, Monitor, OwnOrAdministrator, OwnOrMonitor, Owner, Policymaker,
    Seen,
};
use super::operation::Success::{Created, Done, List, One, Pages, Stream};
use super::operation::{Operation, delete, get, post, put};

/// Parameters of what has rates and samples of messages.
const MESSAGES_PAST: &[&str] = &["msg_rates_age", "msg_rates_incr"];

/// The same of one object.
const ONE_MESSAGES_PAST: &[&str] = &["columns", "msg_rates_age", "msg_rates_incr"];

/// The same for what has a length, too.
const PAST: &[&str] = &["msg_rates_age", "msg_rates_incr", "lengths_age", "lengths_incr"];

/// The same for what counts bytes, too.
const DATA_PAST: &[&str] =
    &["msg_rates_age", "msg_rates_incr", "lengths_age", "lengths_incr", "data_rates_age", "data_rates_incr"];

/// A health check that has failed.
const UNWELL: &[StatusCode] = &[StatusCode::SERVICE_UNAVAILABLE];

/// The same of one object.
const ONE_PAST: &[&str] = &["columns", "msg_rates_age", "msg_rates_incr", "lengths_age", "lengths_incr"];

/// The same of one object that counts bytes.
const ONE_DATA_PAST: &[&str] = &[
    "columns",
    "msg_rates_age",
    "msg_rates_incr",
    "lengths_age",
    "lengths_incr",
    "data_rates_age",
    "data_rates_incr",
];

/// Which messages are looked at, and how much is shown of them.
const BROWSE: &[&str] = &[
    "from",
    "after",
    "count",
    "header",
    "text",
    "exchange",
    "routing_key",
    "message_id",
    "max_body_bytes",
    "encoding",
];

/// All resources.
pub(super) fn all() -> impl Iterator<Item = &'static Operation> {
    [NODE, HEALTH, CONNECTIONS, TOPOLOGY, QUEUES, USERS, VHOSTS, POLICIES, PARAMETERS, LOCAL]
        .into_iter()
        .flatten()
}

const NODE: &[Operation] = &[
    get("/auth", One("Auth"), "How to log in").by(Anyone),
    get("/openapi.json", One("Object"), "This description").by(Caller),
    get("/whoami", One("Who"), "Who asks").by(Caller),
    get("/overview", One("Overview"), "The broker as a whole").by(Caller).with(ONE_DATA_PAST),
    get("/cluster-name", One("Name"), "The name of the broker").by(Caller),
    put("/cluster-name", "Gives the broker another name").answers(Done).takes("Name"),
    get("/extensions", List("Object"), "What plugins add to this API: nothing").by(Caller),
    get("/feature-flags", List("Object"), "What waits to be switched on: nothing"),
    get("/events", Stream, "What happens, as server-sent events").by(Monitor).with(&["type"]).refuses(UNWELL),
    get("/deprecated-features", List("Object"), "What will be gone in later versions: nothing"),
    get("/deprecated-features/used", List("Object"), "What of that is used: nothing"),
    get("/nodes", List("Node"), "The broker's process").by(Monitor),
    get("/nodes/{name}", One("Node"), "The broker's process").by(Monitor).with(&["columns"]),
    get("/definitions", One("Definitions"), "All that is defined, with hashes of passwords")
        .with(&["download"]),
    post("/definitions", Done, "Defines all of this, beside what there is").takes("Definitions"),
    get("/definitions/{vhost}", One("Definitions"), "What is defined in a virtual host").with(&["download"]),
    post("/definitions/{vhost}", Done, "Defines all of this in a virtual host").takes("Definitions"),
];

const HEALTH: &[Operation] = &[
    get("/health/checks/alarms", One("Health"), "No alarm is in effect").by(Caller).refuses(UNWELL),
    get("/health/checks/local-alarms", One("Health"), "No alarm is in effect").by(Caller).refuses(UNWELL),
    get("/health/checks/port-listener/{port}", One("Health"), "Somebody listens there")
        .by(Caller)
        .refuses(UNWELL),
    get("/health/checks/protocol-listener/{protocol}", One("Health"), "This protocol is spoken")
        .by(Caller)
        .refuses(UNWELL),
    get(
        "/health/checks/certificate-expiration/{within}/{unit}",
        One("Health"),
        "No certificate expires so soon",
    )
    .by(Caller)
    .refuses(UNWELL),
    get("/health/checks/virtual-hosts", One("Health"), "All virtual hosts are served").by(Caller),
    get("/health/checks/is-in-service", One("Health"), "The broker is not stopping")
        .by(Caller)
        .refuses(UNWELL),
    get("/health/checks/ready-to-serve-clients", One("Health"), "Clients can connect")
        .by(Caller)
        .refuses(UNWELL),
    get("/health/checks/node-is-quorum-critical", One("Health"), "Others depend on this node: never")
        .by(Caller),
    get("/health/checks/node-is-mirror-sync-critical", One("Health"), "Others depend on this node: never")
        .by(Caller),
    get("/aliveness-test/{vhost}", One("Health"), "A virtual host is served").by(Entered),
];

const CONNECTIONS: &[Operation] = &[
    get("/connections", Pages("Connection"), "Connections: one's own, or all for monitors")
        .by(Caller)
        .with(DATA_PAST),
    get("/vhosts/{name}/connections", Pages("Connection"), "Connections to a virtual host")
        .by(Seen)
        .with(DATA_PAST),
    get("/connections/{name}", One("Connection"), "A connection").by(OwnOrMonitor).with(ONE_DATA_PAST),
    delete("/connections/{name}", "Closes a connection").by(OwnOrAdministrator).with(&["X-Reason"]),
    get("/connections/username/{user}", List("Connection"), "Connections of a user")
        .by(OwnOrMonitor)
        .with(DATA_PAST),
    delete("/connections/username/{user}", "Closes all connections of a user")
        .by(OwnOrAdministrator)
        .with(&["X-Reason"]),
    get("/connections/{name}/channels", List("Channel"), "Channels of a connection")
        .by(OwnOrMonitor)
        .with(MESSAGES_PAST),
    get("/channels", Pages("Channel"), "Channels").by(Caller).with(MESSAGES_PAST),
    get("/vhosts/{name}/channels", Pages("Channel"), "Channels in a virtual host")
        .by(Seen)
        .with(MESSAGES_PAST),
    get("/channels/{name}", One("Channel"), "A channel with its consumers")
        .by(OwnOrMonitor)
        .with(ONE_MESSAGES_PAST),
    get("/consumers", List("Consumer"), "Consumers").by(Caller),
    get("/consumers/{vhost}", List("Consumer"), "Consumers in a virtual host").by(Seen),
];

const TOPOLOGY: &[Operation] = &[
    get("/exchanges", Pages("Exchange"), "Exchanges").by(Caller).with(MESSAGES_PAST),
    get("/exchanges/{vhost}", Pages("Exchange"), "Exchanges of a virtual host").by(Seen).with(MESSAGES_PAST),
    get("/exchanges/{vhost}/{name}", One("Exchange"), "An exchange").by(Seen).with(ONE_MESSAGES_PAST),
    put("/exchanges/{vhost}/{name}", "Declares an exchange").by(Entered).takes("NewExchange"),
    delete("/exchanges/{vhost}/{name}", "Deletes an exchange").by(Entered).with(&["if-unused"]),
    get("/exchanges/{vhost}/{name}/bindings/source", List("Binding"), "Where it leads").by(Seen),
    get("/exchanges/{vhost}/{name}/bindings/destination", List("Binding"), "What leads to it").by(Seen),
    post("/exchanges/{vhost}/{name}/publish", One("Routed"), "Publishes a message")
        .by(Entered)
        .takes("NewMessage"),
    get("/bindings", List("Binding"), "Bindings").by(Caller),
    get("/bindings/{vhost}", List("Binding"), "Bindings in a virtual host").by(Seen),
    get("/bindings/{vhost}/e/{source}/{kind}/{destination}", List("Binding"), "Bindings between two")
        .by(Seen),
    post("/bindings/{vhost}/e/{source}/{kind}/{destination}", Created, "Binds")
        .by(Entered)
        .takes("NewBinding"),
    get("/bindings/{vhost}/e/{source}/{kind}/{destination}/{key}", One("Binding"), "A binding")
        .by(Seen)
        .with(&["columns"]),
    delete("/bindings/{vhost}/e/{source}/{kind}/{destination}/{key}", "Unbinds").by(Entered),
];

const QUEUES: &[Operation] = &[
    get("/queues", Pages("Queue"), "Queues").by(Caller).with(PAST),
    get("/queues/{vhost}", Pages("Queue"), "Queues of a virtual host").by(Seen).with(PAST),
    get("/queues/{vhost}/{name}", One("Queue"), "A queue with its consumers").by(Seen).with(ONE_PAST),
    put("/queues/{vhost}/{name}", "Declares a queue").by(Entered).takes("NewQueue"),
    delete("/queues/{vhost}/{name}", "Deletes a queue").by(Entered).with(&["if-unused", "if-empty"]),
    get("/queues/{vhost}/{name}/bindings", List("Binding"), "What leads to it").by(Seen),
    delete("/queues/{vhost}/{name}/contents", "Purges a queue").by(Entered),
    post("/queues/{vhost}/{name}/actions", Done, "Pauses or resumes a queue").by(Entered).takes("Action"),
    post("/queues/{vhost}/{name}/get", List("Message"), "Gets messages").by(Entered).takes("Get"),
    get("/queues/{vhost}/{name}/messages", One("Browsed"), "Looks at messages without touching them")
        .by(Entered)
        .with(BROWSE),
    get("/queues/{vhost}/{name}/unacked", One("Unacked"), "Messages that await settlement, and who has them")
        .by(Entered)
        .with(&["after", "count", "min_age", "max_body_bytes", "encoding"]),
    post("/queues/{vhost}/{name}/messages/delete", One("ChosenDone"), "Deletes chosen messages")
        .by(Entered)
        .takes("Choice"),
    post("/queues/{vhost}/{name}/messages/move", One("ChosenDone"), "Moves chosen messages")
        .by(Entered)
        .takes("Move"),
];

const USERS: &[Operation] = &[
    get("/users", List("User"), "Users with the hashes of their passwords"),
    get("/users/without-permissions", List("User"), "Users who may enter no virtual host"),
    post("/users/bulk-delete", Done, "Deletes users").takes("Users"),
    get("/users/{name}", One("User"), "A user"),
    put("/users/{name}", "Adds or changes a user").takes("NewUser"),
    delete("/users/{name}", "Deletes a user and closes its connections"),
    get("/users/{name}/permissions", List("Permissions"), "Where a user may do what"),
    get("/users/{name}/topic-permissions", List("TopicPermissions"), "The same by routing key"),
    get("/permissions", List("Permissions"), "Who may do what where"),
    get("/permissions/{vhost}/{user}", One("Permissions"), "What a user may do in a virtual host"),
    put("/permissions/{vhost}/{user}", "Permits").takes("NewPermissions"),
    delete("/permissions/{vhost}/{user}", "Permits nothing any more"),
    get("/topic-permissions", List("TopicPermissions"), "Permissions by routing key"),
    get("/topic-permissions/{vhost}/{user}", List("TopicPermissions"), "Those of a user in a virtual host"),
    put("/topic-permissions/{vhost}/{user}", "Permits by routing key").takes("NewTopicPermissions"),
    delete("/topic-permissions/{vhost}/{user}", "Lets routing keys pass in all exchanges"),
    delete("/topic-permissions/{vhost}/{user}/{exchange}", "Lets routing keys pass in one exchange"),
    get("/user-limits", List("UserLimits"), "Limits of users").by(Caller),
    get("/user-limits/{user}", List("UserLimits"), "Limits of a user").by(Caller),
    put("/user-limits/{user}/{name}", "Limits a user").answers(Done).takes("NewLimit"),
    delete("/user-limits/{user}/{name}", "Lifts a limit"),
];

const VHOSTS: &[Operation] = &[
    get("/vhosts", Pages("VHost"), "Virtual hosts").by(Caller),
    get("/vhosts/{name}", One("VHost"), "A virtual host").with(&["columns"]),
    put("/vhosts/{name}", "Adds or changes a virtual host").takes("NewVHost"),
    delete("/vhosts/{name}", "Deletes a virtual host with all that is in it")
        .refuses(&[StatusCode::PRECONDITION_FAILED]),
    post("/vhosts/{name}/deletion/protection", Done, "Protects from deletion"),
    delete("/vhosts/{name}/deletion/protection", "Protects no longer"),
    post("/vhosts/{name}/start/{node}", Done, "Starts a virtual host, which runs already"),
    get("/vhosts/{name}/permissions", List("Permissions"), "Who may do what in it"),
    get("/vhosts/{name}/topic-permissions", List("TopicPermissions"), "The same by routing key"),
    get("/vhost-limits", List("VHostLimits"), "Limits of virtual hosts").by(Caller),
    get("/vhost-limits/{vhost}", List("VHostLimits"), "Limits of a virtual host").by(Seen),
    put("/vhost-limits/{vhost}/{name}", "Limits a virtual host").answers(Done).takes("NewLimit"),
    delete("/vhost-limits/{vhost}/{name}", "Lifts a limit"),
];

const POLICIES: &[Operation] = &[
    get("/policies", List("Policy"), "Policies").by(Caller),
    get("/policies/{vhost}", List("Policy"), "Policies of a virtual host").by(Seen),
    get("/policies/{vhost}/{name}", One("Policy"), "A policy").by(Policymaker).with(&["columns"]),
    put("/policies/{vhost}/{name}", "Sets a policy").by(Policymaker).takes("NewPolicy"),
    delete("/policies/{vhost}/{name}", "Removes a policy").by(Policymaker),
    get("/operator-policies", List("Policy"), "Operator policies").by(Caller),
    get("/operator-policies/{vhost}", List("Policy"), "Operator policies of a virtual host").by(Seen),
    get("/operator-policies/{vhost}/{name}", One("Policy"), "An operator policy").with(&["columns"]),
    put("/operator-policies/{vhost}/{name}", "Sets an operator policy").takes("NewOperatorPolicy"),
    delete("/operator-policies/{vhost}/{name}", "Removes an operator policy"),
];

const PARAMETERS: &[Operation] = &[
    get("/parameters", List("Parameter"), "Parameters of virtual hosts").by(AnyPolicymaker),
    get("/parameters/{component}", List("Parameter"), "Those of a component").by(AnyPolicymaker),
    get("/parameters/{component}/{vhost}", List("Parameter"), "Those in a virtual host").by(Policymaker),
    get("/parameters/{component}/{vhost}/{name}", One("Parameter"), "A parameter")
        .by(Policymaker)
        .with(&["columns"]),
    put(
        "/parameters/{component}/{vhost}/{name}",
        "Sets limits, an operator policy, or, as a policymaker, what is kept for others",
    )
    .takes("NewParameter"),
    delete("/parameters/{component}/{vhost}/{name}", "Removes a parameter"),
    get("/global-parameters", List("GlobalParameter"), "Parameters of the broker").by(AnyPolicymaker),
    get("/global-parameters/{name}", One("GlobalParameter"), "A parameter of the broker")
        .by(AnyPolicymaker)
        .with(&["columns"]),
    put("/global-parameters/{name}", "Sets a parameter of the broker").takes("NewGlobalParameter"),
    delete("/global-parameters/{name}", "Removes a parameter of the broker"),
];

const LOCAL: &[Operation] = &[
    post("/local/stop", One("Process"), "Stops the broker").by(Owner),
    post("/local/reload", One("Reloaded"), "Reads the configuration again").by(Owner),
    get("/local/environment", One("Environment"), "The settings").by(Owner),
    post("/local/backup", Done, "Begins a backup").by(Owner).takes("NewBackup"),
    get("/local/backup", One("Backup"), "How the backup gets on, or how the last one ended").by(Owner),
    delete("/local/backup", "Gives the backup up that is being made").by(Owner),
    post("/local/authenticate", Done, "Checks a password").by(Owner).takes("Credentials"),
];
