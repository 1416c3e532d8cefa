//! Publishing: checks in RabbitMQ's order, routing, and transactions.

use crate::access::Permission;
use crate::access::required::Operation;
use crate::engine::exchange::MessageView;
use crate::engine::queue::type_name;
use crate::engine::topology::Topology;
use crate::error::AmqpError;
use crate::server::executor::batch::{Batch, PendingConfirm};
use crate::server::executor::routes::Route;
use crate::server::executor::{Answer, Executor};
use crate::server::history::Attempt;
use crate::server::queue_handle::QueueHandle;
use crate::server::vhost::{REPLY_TO_PREFIX, Registry};
use crate::session::action::{Publish, Reply, Settle, Settlement};
use crate::wire::message::Message;
use crate::wire::properties::Properties;

use amq_protocol::types::{AMQPValue, FieldTable};

/// Property flags that ask for more than routing by key: headers, reply-to and user-id.
const FLAGS_TO_INSPECT: u16 = 1 << 13 | 1 << 9 | 1 << 4;

/// The header whose keys route in addition and stay in the message.
const CC: &str = "CC";

/// The header whose keys route in addition and are removed.
const BCC: &str = "BCC";

/// A message after its properties were looked at.
struct Prepared {
    message: Message,
    /// Routing keys beside the message's own; such a message is not routed from the cache.
    more_keys: Vec<String>,
}

impl Executor {
    /// Routes a message and gathers it for its queues.
    pub(super) fn publish(&mut self, publish: Publish) -> Answer {
        match self.route_and_gather(publish) {
            Ok(None) => None,
            Ok(Some(returned)) => Some(Ok(Reply::Returned(returned))),
            Err(error) => Some(Err(error)),
        }
    }

    /// Commits a transaction: the publishes in order, then the settlements. If it fails, what was to be settled returns to
    /// its queues with everything else of the channel, which the error closes. If a queue refuses a message the rest is done all
    /// the same, as in RabbitMQ: a transaction spans queues, but is not atomic over them.
    pub(super) fn commit(
        &mut self,
        publishes: Vec<Publish>,
        settles: Vec<Settle>,
    ) -> Result<Reply, AmqpError> {
        let published = publishes.into_iter().try_for_each(|publish| self.publish_committed(publish));
        let settled = !settles.is_empty();
        for mut settle in settles {
            if published.is_err() {
                settle.settlement = Settlement::Requeue;
            }
            self.settle(&settle);
        }
        self.batch.take_refused();
        self.apply_batch();
        published?;
        if self.batch.take_refused() {
            return Err(AmqpError::precondition_failed("partial tx completion"));
        }
        if settled {
            self.epoch = self.epoch.max(self.shared.store.barrier());
        }
        Ok(Reply::Committed(self.durability()))
    }

    /// Everything was checked when the publish arrived; only its exchange may be gone since, and then it reaches nobody.
    fn publish_committed(&mut self, publish: Publish) -> Result<(), AmqpError> {
        let exchange = text(publish.message.exchange());
        let returned = match self.vhost()?.read(|registry| registry.topology.check_publish(exchange)) {
            Ok(()) => self.route_and_gather(publish)?,
            Err(_) => Some(publish.message).filter(|_| publish.mandatory),
        };
        self.returned.extend(returned);
        Ok(())
    }

    /// What can be said against a publish before it is routed, in RabbitMQ's order.
    pub(super) fn check_publish(&self, publish: &Publish) -> Result<(), AmqpError> {
        let exchange = text(publish.message.exchange());
        self.permit(Operation::Publish(exchange))?;
        self.vhost()?.read(|registry| registry.topology.check_publish(exchange))?;
        publish.fault.as_deref().cloned().map_or(Ok(()), Err)?;
        let Prepared { message, more_keys } = self.prepare(publish.message.clone(), None)?;
        self.permit_keys(&message, &more_keys)
    }

    /// Returns the message if it is mandatory and no queue takes it.
    fn route_and_gather(&mut self, publish: Publish) -> Result<Option<Message>, AmqpError> {
        if publish.fault.is_some() {
            self.check_publish(&publish)?;
        }
        let Publish { channel, message, mandatory, confirm, direct_reply_to, .. } = publish;
        if !self.rights.is_written(message.exchange()) {
            self.permit(Operation::Publish(text(message.exchange())))?;
        }
        let inspect = message
            .properties()
            .first_chunk()
            .is_some_and(|&flags| u16::from_be_bytes(flags) & FLAGS_TO_INSPECT != 0);
        let Prepared { message, more_keys } = if inspect {
            let reply_address =
                direct_reply_to.and_then(|source| self.sources.get_mut(source)?.reply_address.clone());
            self.prepare(message, reply_address.as_deref())?
        } else {
            Prepared { message, more_keys: Vec::new() }
        };
        if self.rights.limit_keys() {
            self.permit_keys(&message, &more_keys)?;
        }
        let traced = self.is_traced().then(|| self.begin_trace(&message, &more_keys));
        let guarded_before = self.batch.guarded_count();
        let gathered = if more_keys.is_empty() {
            self.gather_by_cache(message)
        } else {
            self.gather_by_keys(message, &more_keys)
        };
        let guarded = guarded_before..self.batch.guarded_count();
        if let Some(traced) = traced {
            self.trace_published(channel, traced, gathered.is_ok());
        }
        let gathered = gathered?;
        if let Some(number) = confirm {
            let pending = PendingConfirm { channel, number, stored: gathered.stored, refused: false };
            self.batch.await_confirm(pending, guarded);
        }
        self.tally.publish += 1;
        let Some(unrouted) = gathered.unrouted else { return Ok(None) };
        if mandatory {
            self.tally.return_unroutable += 1;
            return Ok(Some(unrouted));
        }
        self.tally.drop_unroutable += 1;
        if let Some(meter) = self.traffic.channels.of(channel) {
            meter.count_dropped();
        }
        Ok(None)
    }

    /// Gathers the message for the queues that its exchange and key lead to.
    fn gather_by_cache(&mut self, message: Message) -> Result<Gathered, AmqpError> {
        let vhost = self.vhost.as_ref().ok_or_else(|| AmqpError::command_invalid("no vhost is open"))?;
        // Read before the routes are: a route found under the lock may be newer than this, never older.
        let generation = vhost.generation();
        let (exchange, routing_key) = (message.exchange(), message.routing_key());
        let at = match self.routes.find(generation, exchange, routing_key) {
            Some(at) => at,
            None => {
                let keys = [text(routing_key)];
                let random = self.chance.next_bits();
                let (route, varies) = vhost.read(|registry| find_route(registry, &message, &keys, random))?;
                if varies {
                    return self.gather_uncached(&route, message, &[]);
                }
                self.routes.insert(exchange, routing_key, route)
            }
        };
        let route = self.routes.get(at);
        if route.keep(&message, Attempt::First, &self.shared.histories).is_err() {
            // What the cache has of this generation is too old already.
            self.routes.clear();
            return self.gather_again(message, &[]);
        }
        let gathered = gather(&mut self.batch, route, message);
        self.routes.count(at);
        Ok(gathered)
    }

    /// Gathers the message for the queues of a route that was found for it alone.
    fn gather_uncached(
        &mut self,
        route: &Route,
        message: Message,
        more_keys: &[String],
    ) -> Result<Gathered, AmqpError> {
        if route.keep(&message, Attempt::First, &self.shared.histories).is_err() {
            return self.gather_again(message, more_keys);
        }
        route.count_one();
        Ok(gather(&mut self.batch, route, message))
    }

    /// A binding was made from a recent history exchange after the message was routed: finds the way anew, until it fits.
    #[cold]
    fn gather_again(&mut self, message: Message, more_keys: &[String]) -> Result<Gathered, AmqpError> {
        loop {
            let random = self.chance.next_bits();
            let keys = all_keys(&message, more_keys);
            let (route, _) = self.vhost()?.read(|registry| find_route(registry, &message, &keys, random))?;
            if route.keep(&message, Attempt::Again, &self.shared.histories).is_ok() {
                route.count_one();
                return Ok(gather(&mut self.batch, &route, message));
            }
        }
    }

    /// The same for a message with CC or BCC keys, which are its own.
    fn gather_by_keys(&mut self, message: Message, more_keys: &[String]) -> Result<Gathered, AmqpError> {
        let random = self.chance.next_bits();
        let keys = all_keys(&message, more_keys);
        let (route, _) = self.vhost()?.read(|registry| find_route(registry, &message, &keys, random))?;
        self.gather_uncached(&route, message, more_keys)
    }

    /// Whether all keys may be written to, if the exchange is one with topic permissions. RabbitMQ asks for those in headers, too.
    #[inline]
    fn permit_keys(&self, message: &Message, more_keys: &[String]) -> Result<(), AmqpError> {
        let keys = std::iter::once(text(message.routing_key())).chain(more_keys.iter().map(String::as_str));
        self.permit_topic(Permission::Write, text(message.exchange()), keys)
    }

    /// Checks and rewrites properties: user-id, the address of a direct reply, CC and BCC.
    fn prepare(&self, message: Message, reply_address: Option<&str>) -> Result<Prepared, AmqpError> {
        let properties = Properties::parse(message.properties())?;
        if let (Some(claimed), Some(user)) = (properties.user_id(), &self.user)
            && claimed != user.name
            && !user.impersonator
        {
            return Err(AmqpError::precondition_failed(format!(
                "user_id property set to '{claimed}' but authenticated user was '{}'",
                user.name
            )));
        }
        let mut more_keys = Vec::new();
        let mut rewritten = None;
        if properties.has_header(CC.as_bytes()) || properties.has_header(BCC.as_bytes()) {
            let headers = properties.headers().unwrap_or_default();
            for name in [CC, BCC] {
                more_keys.extend(extra_keys(&headers, name)?);
            }
            if properties.has_header(BCC.as_bytes()) {
                rewritten = Some(crate::wire::properties::without_header(properties.raw(), BCC)?);
            }
        }
        if let Some(address) = reply_address {
            let current = rewritten.as_deref().unwrap_or(properties.raw());
            rewritten = Some(crate::wire::properties::with_reply_to(current, address)?);
        }
        let message = match rewritten {
            Some(bytes) => message.with_properties(&bytes),
            None => message,
        };
        Ok(Prepared { message, more_keys })
    }
}

/// What became of a message that was routed.
pub(super) struct Gathered {
    /// Whether any queue stores it.
    stored: bool,
    /// The message, if no queue takes it.
    unrouted: Option<Message>,
}

/// Notes a message for all queues of a route; the last one gets it without another reference being counted.
pub(super) fn gather(batch: &mut Batch, route: &Route, message: Message) -> Gathered {
    let stored = route.durable && message.is_persistent();
    if let Some(routed) = &mut batch.routed {
        routed.extend_from_slice(&route.queues);
    }
    let Some((last, others)) = route.queues.split_last() else {
        return Gathered { stored: false, unrouted: Some(message) };
    };
    for queue in others {
        batch.publish(queue, message.clone(), route.may_reject);
    }
    batch.publish(last, message, route.may_reject);
    Gathered { stored, unrouted: None }
}

/// Names in a message were checked to be UTF-8 when they were read.
pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// The message's own routing key, then those of its headers.
fn all_keys<'a>(message: &'a Message, more_keys: &'a [String]) -> Vec<&'a str> {
    [text(message.routing_key())].into_iter().chain(more_keys.iter().map(String::as_str)).collect()
}

/// Finds the queues for a message under the given keys, and says whether another message with the same keys may go elsewhere.
fn find_route(
    registry: &Registry,
    message: &Message,
    keys: &[&str],
    random: u64,
) -> Result<(Route, bool), AmqpError> {
    let exchange = text(message.exchange());
    let topology: &Topology<QueueHandle> = &registry.topology;
    let mut routed = topology.route(exchange, keys, &MessageView::new(message.properties(), random))?;
    if exchange.is_empty() {
        let replies = keys.iter().filter(|key| key.starts_with(REPLY_TO_PREFIX));
        routed.queues.extend(replies.filter_map(|key| registry.replies.get(*key).cloned()));
    }
    Ok((Route::new(routed), topology.varies_by_message(exchange)))
}

/// The keys in the CC header of a message that was checked when it came.
pub(super) fn cc_keys(message: &Message) -> Vec<String> {
    Properties::parse(message.properties())
        .ok()
        .filter(|properties| properties.has_header(CC.as_bytes()))
        .and_then(|properties| extra_keys(&properties.headers()?, CC).ok())
        .unwrap_or_default()
}

/// The keys in a CC or BCC header. What is no text among them is passed over, as in RabbitMQ.
fn extra_keys(headers: &FieldTable, name: &str) -> Result<Vec<String>, AmqpError> {
    let Some(value) = headers.inner().get(name) else { return Ok(Vec::new()) };
    let AMQPValue::FieldArray(values) = value else {
        let kind = type_name(value);
        return Err(AmqpError::precondition_failed(format!(
            "invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}"
        )));
    };
    let keys = values.as_slice().iter().filter_map(|value| match value {
        AMQPValue::LongString(key) => Some(String::from_utf8_lossy(key.as_bytes()).into_owned()),
        _ => None,
    });
    Ok(keys.collect())
}
