//! What one connection has to tell of itself: logins, its opening and end, channels and consumers. Each asks first whether anybody
//! wants to hear it.

use crate::engine::queue::{AckMode, ConsumerSpec};
use crate::server::events::Events;
use crate::server::events::fields::{add, channel_pid, connection_pid, fields, flag, number, table, text};
use crate::server::events::{INTERNAL_USER, NODE};
use crate::server::executor::Executor;
use crate::session::action::{ChannelId, Consume, Mechanism, SourceId};
use crate::session::connection::ConnectionDetails;
use crate::session::peer::ClientProperties;

use amq_protocol::types::{AMQPValue, FieldTable};

/// What RabbitMQ prints for AMQP 0-9-1.
const PROTOCOL: &str = "{0,9,1}";

/// What is told of a connection when it ends.
#[derive(Debug, Default)]
pub(super) struct Announced {
    client: FieldTable,
    user_provided_name: Option<String>,
}

impl Executor {
    /// Who does what this connection asks for.
    pub(in crate::server) fn user_name(&self) -> &str {
        self.user.as_ref().map_or(INTERNAL_USER, |user| &user.name)
    }

    fn vhost_name(&self) -> &str {
        self.vhost.as_ref().map_or("", |vhost| vhost.name())
    }

    fn events(&self) -> Option<&Events> {
        self.shared.events.wanted()
    }

    /// A login was allowed, or refused with these words.
    pub(super) fn tell_login(&self, mechanism: Mechanism, username: &str, refused: Option<&str>) {
        let Some(events) = self.events() else { return };
        let mut headers = fields([
            ("name", text(username)),
            ("connection_type", text("network")),
            ("connection_name", text(&self.connection_name())),
            ("protocol", text(PROTOCOL)),
            ("auth_mechanism", text(mechanism.name())),
            ("ssl", flag(false)),
        ]);
        self.add_ends(&mut headers);
        match refused {
            None => events.tell("user.authentication.success", headers),
            Some(error) => {
                add(&mut headers, [("error", text(error))]);
                events.tell("user.authentication.failure", headers);
            }
        }
    }

    /// The connection has its vhost.
    pub(in crate::server) fn tell_opened(&mut self, details: &ConnectionDetails<'_>) {
        let events = self.shared.events.clone();
        if events.wanted().is_none() {
            // Its end may be told all the same: somebody may listen by then.
            self.announced = Some(Box::default());
            return;
        }
        let peer = details.peer;
        let client = client_table(&peer.client);
        let user_provided_name = peer.client.connection_name.as_deref().map(str::to_owned);
        let mut headers = fields([
            ("pid", connection_pid(self.connection)),
            ("name", text(&self.connection_name())),
            ("node", text(NODE)),
            ("type", text("network")),
            ("protocol", text(PROTOCOL)),
            ("user", text(&peer.username)),
            ("user_who_performed_action", text(&peer.username)),
            ("vhost", text(&peer.vhost)),
            ("ssl", flag(false)),
            ("timeout", number(peer.heartbeat_s)),
            ("frame_max", number(peer.frame_max)),
            ("channel_max", number(peer.channel_max)),
            ("client_properties", table(&client)),
        ]);
        self.add_ends(&mut headers);
        if let Some(name) = &user_provided_name {
            add(&mut headers, [("user_provided_name", text(name))]);
        }
        events.tell("connection.created", headers);
        self.announced = Some(Box::new(Announced { client, user_provided_name }));
    }

    /// The connection is over.
    pub(super) fn tell_closed(&mut self) {
        let (Some(announced), Some(events)) = (self.announced.take(), self.events()) else { return };
        let mut headers = fields([
            ("pid", connection_pid(self.connection)),
            ("name", text(&self.connection_name())),
            ("node", text(NODE)),
            ("client_properties", AMQPValue::FieldTable(announced.client)),
        ]);
        if let Some(name) = &announced.user_provided_name {
            add(&mut headers, [("user_provided_name", text(name))]);
        }
        events.tell("connection.closed", headers);
    }

    /// A channel was opened.
    pub(super) fn tell_channel_opened(&self, channel: ChannelId) {
        let Some(events) = self.events() else { return };
        let name = format!("{} ({})", self.connection_name(), channel.0);
        events.tell(
            "channel.created",
            fields([
                ("pid", channel_pid(self.connection, channel)),
                ("connection", connection_pid(self.connection)),
                ("name", text(&name)),
                ("number", number(channel.0)),
                ("user", text(self.user_name())),
                ("user_who_performed_action", text(self.user_name())),
                ("vhost", text(self.vhost_name())),
            ]),
        );
    }

    /// A channel has ended, whoever ended it.
    pub(super) fn tell_channel_closed(&self, channel: ChannelId) {
        let Some(events) = self.events() else { return };
        let pid = channel_pid(self.connection, channel);
        let by = text(self.user_name());
        events.tell("channel.closed", fields([("pid", pid), ("user_who_performed_action", by)]));
    }

    /// A consumer was started.
    pub(super) fn tell_consumer_started(&self, consume: &Consume, spec: &ConsumerSpec) {
        let Some(events) = self.events() else { return };
        events.tell(
            "consumer.created",
            fields([
                ("consumer_tag", text(&consume.consumer_tag)),
                ("exclusive", flag(consume.exclusive)),
                ("ack_required", flag(spec.ack_mode == AckMode::Manual)),
                ("channel", channel_pid(self.connection, consume.channel)),
                ("queue", text(&consume.queue)),
                ("vhost", text(self.vhost_name())),
                ("prefetch_count", number(consume.prefetch)),
                ("arguments", table(&consume.arguments)),
                ("user_who_performed_action", text(self.user_name())),
            ]),
        );
    }

    /// A consumer has ended: cancelled by either side, or with its channel.
    pub(super) fn tell_consumer_ended(&mut self, source: SourceId) {
        if self.events().is_none() {
            return;
        }
        let Some(source) = self.sources.get_mut(source) else { return };
        let (channel, queue) = (source.channel, source.queue.clone());
        let Some(asked) = source.asked.as_mut() else { return };
        if std::mem::replace(&mut asked.end_told, true) {
            return;
        }
        let tag = asked.consumer_tag.clone();
        let Some(events) = self.events() else { return };
        events.tell(
            "consumer.deleted",
            fields([
                ("consumer_tag", text(&tag)),
                ("channel", channel_pid(self.connection, channel)),
                ("queue", text(&queue.options().name)),
                ("vhost", text(self.vhost_name())),
                ("user_who_performed_action", text(self.user_name())),
            ]),
        );
    }

    /// The two ends of the socket, or what is known of them.
    fn add_ends(&self, headers: &mut FieldTable) {
        add(headers, [("peer_host", text(&self.peer.to_canonical().to_string()))]);
        if let Some(ends) = self.endpoints {
            add(
                headers,
                [
                    ("peer_port", number(ends.peer.port())),
                    ("host", text(&ends.local.ip().to_canonical().to_string())),
                    ("port", number(ends.local.port())),
                ],
            );
        }
    }
}

/// What is kept of what the client says about itself.
fn client_table(client: &ClientProperties) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in [
        ("product", &client.product),
        ("version", &client.version),
        ("platform", &client.platform),
        ("connection_name", &client.connection_name),
    ] {
        if let Some(value) = value {
            add(&mut table, [(name, text(value))]);
        }
    }
    table
}
