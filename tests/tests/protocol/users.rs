//! Users and virtual hosts: who gets in and how far, what changes while clients are connected, and what survives a restart.

use std::path::Path;

use amq_protocol::protocol::{channel, connection, queue};
use warren::access::password::PasswordHash;
use warren::access::{Permissions, Tags, TopicPermissions, UserLimits, VHostLimits, VHostSettings};
use warren::config::{Data, Secret};
use warren::server::admin::NewPassword;

use crate::operator::{Operator, PASSWORD};
use crate::peer::{ALL_CAPABILITIES, Channel, Options, Peer, passive, table, text};
use crate::target::{OwnBroker, needs_own_broker};

#[test]
fn who_has_no_permissions_in_a_vhost_cannot_open_it() {
    let Some(operator) = Operator::start() else { return };
    let (user, vhost) = (operator.user("stranger"), operator.vhost("closed"));
    let refused = |name: &str, text: &str| {
        let peer = Peer::authenticated(operator.address(), &Operator::options(&user, name));
        peer.control().send(connection::Open { virtual_host: name.into() });
        peer.expect_close(530, text, (10, 40));
    };
    refused(&vhost, &format!("NOT_ALLOWED - access to vhost '{vhost}' refused for user '{user}'"));
    refused("missing", "NOT_ALLOWED - vhost missing not found");
    // Permission to nothing at all is enough to enter.
    operator.permit(&user, &vhost, ["", "", ""]);
    operator.connect(&user, &vhost).open(1);
}

#[test]
fn vhosts_share_nothing() {
    let Some(operator) = Operator::start() else { return };
    let (user, one, two) = (operator.user("both"), operator.vhost("one"), operator.vhost("two"));
    for vhost in [&one, &two] {
        operator.permit(&user, vhost, [".*", ".*", ".*"]);
    }
    let (in_one, in_two) = (operator.connect(&user, &one), operator.connect(&user, &two));
    let (first, second) = (in_one.open(1), in_two.open(1));
    first.queue("q");
    first.bind("q", "amq.fanout", "");
    second.publish("amq.fanout", "", "lost");
    second.publish("", "q", "lost");
    second.call(channel::Flow { active: true });
    first.publish("amq.fanout", "", "m");
    assert_eq!(first.drain("q"), ["m"]);
    second.send(passive("q"));
    second.expect_close(404, &format!("NOT_FOUND - no queue 'q' in vhost '{two}'"), (50, 10));
}

#[test]
fn limits_of_users_and_vhosts_have_their_texts() {
    let Some(operator) = Operator::start() else { return };
    let (user, vhost) = (operator.user("limited"), operator.vhost("limited"));
    operator.permit(&user, &vhost, [".*", ".*", ".*"]);
    let refused = |text: String| {
        let peer = Peer::authenticated(operator.address(), &Operator::options(&user, &vhost));
        peer.control().send(connection::Open { virtual_host: vhost.as_str().into() });
        peer.expect_close(530, &text, (10, 40));
    };
    let peer = operator.connect(&user, &vhost);
    let channel = peer.open(1);
    channel.queue("q");
    operator.limit_vhost(&vhost, VHostLimits { connections_max: Some(1), queues_max: Some(1) });
    let access = format!("access to vhost '{vhost}' refused for user '{user}'");
    refused(format!("NOT_ALLOWED - {access}: connection limit (1) is reached"));
    channel.queue("q");
    channel.send(queue::Declare { queue: "r".into(), ..Default::default() });
    let text = format!("cannot declare queue 'r': queue limit in vhost '{vhost}' (1) is reached");
    channel.expect_close(406, &format!("PRECONDITION_FAILED - {text}"), (50, 10));
    operator.limit_vhost(&vhost, VHostLimits::default());
    operator.limit_user(&user, UserLimits { connections_max: Some(1), channels_max: Some(2) });
    refused(format!(
        "NOT_ALLOWED - connection refused for user '{user}': user connection limit (1) is reached"
    ));
    peer.open(1);
    peer.open(2).close();
    peer.open(2);
    peer.channel(3).send(channel::Open {});
    let text = format!("opened for user '{user}' has reached the maximum allowed user limit of (2)");
    peer.expect_close(530, &format!("NOT_ALLOWED - number of channels {text}"), (0, 0));
}

#[test]
fn a_deleted_user_is_disconnected() {
    let Some(operator) = Operator::start() else { return };
    let user = operator.user("deleted");
    operator.permit(&user, "/", [".*", ".*", ".*"]);
    let peer = operator.connect(&user, "/");
    operator.delete_user(&user);
    peer.expect_close(320, &format!("CONNECTION_FORCED - user '{user}' was deleted"), (0, 0));
    let peer = Peer::dial(operator.address());
    peer.log_in_as(ALL_CAPABILITIES, &user, PASSWORD);
    assert_eq!(peer.control().expect::<connection::Close>().reply_code, 403);
}

#[test]
fn a_deleted_vhost_is_gone_with_its_queues_and_connections() {
    let Some(operator) = Operator::start() else { return };
    let (user, vhost) = (operator.user("left"), operator.vhost("deleted"));
    operator.permit(&user, &vhost, [".*", ".*", ".*"]);
    let peer = operator.connect(&user, &vhost);
    peer.open(1).queue("q");
    operator.delete_vhost(&vhost);
    peer.expect_close(320, &format!("CONNECTION_FORCED - vhost '{vhost}' is deleted"), (0, 0));
    let again = Peer::authenticated(operator.address(), &Operator::options(&user, &vhost));
    again.control().send(connection::Open { virtual_host: vhost.as_str().into() });
    again.expect_close(530, &format!("NOT_ALLOWED - vhost {vhost} not found"), (10, 40));
}

/// In RabbitMQ a channel remembers for a while what it was permitted, so this is about Warren alone.
#[test]
fn changed_permissions_hold_from_the_next_method_on() {
    let Some(operator) = Operator::start() else { return };
    let Some(admin) = operator.admin() else { return };
    let user = operator.user("changing");
    operator.permit(&user, "/", ["", "^amq\\.(direct|fanout)$", ""]);
    let peer = operator.connect(&user, "/");
    let channel = peer.open(1);
    let refused = |channel: Channel<'_>, exchange: &str| {
        channel.publish(exchange, "k", "m");
        let text = format!("write access to exchange '{exchange}' in vhost '/' refused for user '{user}'");
        channel.expect_close(403, &format!("ACCESS_REFUSED - {text}"), (60, 40));
    };
    for exchange in ["amq.direct", "amq.fanout", "amq.direct"] {
        channel.publish(exchange, "k", "m");
    }
    channel.call(channel::Flow { active: true });
    operator.permit(&user, "/", ["", "^amq\\.fanout$", ""]);
    channel.publish("amq.fanout", "k", "m");
    channel.call(channel::Flow { active: true });
    refused(channel, "amq.direct");
    admin.clear_permissions(&user, "/").unwrap();
    refused(peer.open(2), "amq.fanout");
    operator.permit(&user, "/", ["", ".*", ""]);
    let channel = peer.open(3);
    channel.publish("amq.fanout", "k", "m");
    channel.call(channel::Flow { active: true });
}

#[test]
fn a_changed_password_keeps_connections_and_refuses_the_old_one() {
    let Some(operator) = Operator::start() else { return };
    let user = operator.user("secret");
    operator.permit(&user, "/", ["", "", ""]);
    let peer = operator.connect(&user, "/");
    operator.change_password(&user, "another");
    peer.open(1);
    let old = Peer::dial(operator.address());
    old.log_in_as(ALL_CAPABILITIES, &user, PASSWORD);
    assert_eq!(old.control().expect::<connection::Close>().reply_code, 403);
    let options = Options { user: (user, "another".to_owned()), ..Options::default() };
    Peer::connect(operator.address(), &options).open(1);
}

/// A Warren on a data folder, with another password in its settings each time.
fn on_folder(folder: &Path, password: &str) -> OwnBroker {
    OwnBroker::start(|config| {
        config.data = Data { folder: Some(folder.to_owned()) };
        config.auth.password = Secret(password.to_owned());
    })
}

#[test]
fn users_vhosts_and_permissions_survive_a_restart() {
    if needs_own_broker() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let options = Operator::options("alex", "kept");
    let mut first = on_folder(folder.path(), "guest");
    let admin = first.broker().admin();
    admin.add_user("alex", PASSWORD.as_bytes(), Tags::new(["monitoring"])).unwrap();
    admin.add_user("gone", b"x", Tags::default()).unwrap();
    for vhost in ["kept", "dropped"] {
        admin.add_vhost(vhost, VHostSettings { description: "d".to_owned(), ..Default::default() }).unwrap();
        admin.set_permissions("alex", vhost, Permissions::all()).unwrap();
    }
    admin
        .set_topic_permissions("alex", "kept", "amq.topic", TopicPermissions::new("^a", "").unwrap())
        .unwrap();
    admin.set_vhost_limits("kept", VHostLimits { connections_max: None, queues_max: Some(1) }).unwrap();
    for vhost in ["kept", "dropped"] {
        Peer::connect(first.address(), &Operator::options("alex", vhost)).open(1).queue("q");
    }
    admin.delete_user("gone").unwrap();
    admin.delete_vhost("dropped").unwrap();
    let (users, vhosts, grants) = (admin.users(), admin.vhosts(), admin.grants());
    let down = first.shut_down();
    first.wait(down);

    let again = on_folder(folder.path(), "another");
    let admin = again.broker().admin();
    assert_eq!((admin.users(), admin.vhosts(), admin.grants()), (users, vhosts, grants));
    assert!(admin.users().iter().all(|user| user.password.algorithm() == "argon2id"));
    let peer = Peer::connect(again.address(), &options);
    let channel = peer.open(1);
    assert_eq!(channel.count("q"), 0);
    channel.send(queue::Declare { queue: "r".into(), ..Default::default() });
    assert_eq!(channel.expect::<channel::Close>().reply_code, 406);
    // The settings name the first user of a new folder only: the password is still the old one.
    again.connect().open(1);
}

#[test]
fn imported_hashes_let_in_and_are_renewed() {
    let Some(operator) = Operator::start() else { return };
    let Some(admin) = operator.admin() else { return };
    let user = operator.user("imported");
    operator.permit(&user, "/", ["", "", ""]);
    // From RabbitMQ's documentation of passwords.
    let hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
    let hash = PasswordHash::parse("rabbit_password_hashing_sha256", hash).unwrap();
    admin.change_password(&user, NewPassword::Hash(hash.clone())).unwrap();
    let options = Options { user: (user.clone(), "test12".to_owned()), ..Options::default() };
    for _ in 0..2 {
        Peer::connect(operator.address(), &options).open(1);
    }
    assert_ne!(admin.user(&user).unwrap().password, hash);
}

#[test]
fn a_vhost_gives_queues_its_default_type() {
    let Some(operator) = Operator::start() else { return };
    let Some(admin) = operator.admin() else { return };
    let (user, vhost) = (operator.user("typed"), operator.vhost("typed"));
    operator.permit(&user, &vhost, [".*", ".*", ".*"]);
    let quorum = VHostSettings { default_queue_type: Some("quorum".to_owned()), ..Default::default() };
    admin.set_vhost(&vhost, quorum).unwrap();
    let peer = operator.connect(&user, &vhost);
    let channel = peer.open(1);
    channel.queue("q");
    let typed = |kind: &str| queue::Declare {
        queue: "q".into(),
        durable: true,
        arguments: table([("x-queue-type", text(kind))]),
        ..Default::default()
    };
    channel.call(typed("quorum"));
    channel.temp_queue();
    channel.send(typed("classic"));
    assert_eq!(channel.expect::<channel::Close>().reply_code, 406);
}
