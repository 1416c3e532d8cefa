//! The task behind a publisher: it sends what is in the ledger, and hears what became of it. It never waits for one thing
//! only, so that deadlines hold while the broker is away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use tokio::sync::{mpsc, watch};

use super::ledger::{Entry, Ledger};
use super::{Command, PublisherOptions};
use crate::link::{Blocked, Link};
use crate::{Error, random};

/// How long to wait before a channel is opened again on a connection that did not give one.
const PAUSE: Duration = Duration::from_millis(50);

/// How long lapin may take to say of every message on its way that the channel has failed.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// What is heard of one message.
type Heard = (u64, lapin::Result<Confirmation>);

pub(super) struct Driver {
    main: Link,
    publishing: Link,
    settings: Arc<PublisherOptions>,
    orders: mpsc::UnboundedReceiver<Command>,
    blocked: watch::Receiver<Option<Blocked>>,
    ledger: Ledger,
    channel: Option<Channel>,
    sent: FuturesUnordered<BoxFuture<'static, Heard>>,
    pausing: FuturesUnordered<BoxFuture<'static, u64>>,
}

impl Driver {
    pub(super) fn new(
        main: Link,
        publishing: Link,
        settings: Arc<PublisherOptions>,
        orders: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        Self {
            blocked: publishing.blocked(),
            main,
            publishing,
            settings,
            orders,
            ledger: Ledger::default(),
            channel: None,
            sent: FuturesUnordered::new(),
            pausing: FuturesUnordered::new(),
        }
    }

    /// Until the last publisher is dropped and all is settled, or the connection is closed.
    pub(super) async fn run(mut self) {
        let mut has_owner = true;
        let mut opening = open(self.main.clone(), self.publishing.clone()).boxed();
        let link = self.publishing.clone();
        let mut ended = async move { link.ended().await }.boxed();
        while has_owner || self.ledger.len() > 0 {
            self.send();
            let deadline = self.deadline();
            tokio::select! {
                order = self.orders.recv(), if has_owner => {
                    has_owner = order.is_some();
                    self.take(order);
                }
                opened = &mut opening, if self.channel.is_none() => match opened {
                    Ok(channel) => self.channel = Some(channel),
                    Err(end) => return self.end(&end),
                },
                Some(heard) = self.sent.next(), if !self.sent.is_empty() => {
                    self.hear(heard).await;
                    if self.channel.is_none() {
                        opening = open(self.main.clone(), self.publishing.clone()).boxed();
                    }
                }
                Some(number) = self.pausing.next(), if !self.pausing.is_empty() => self.ledger.again(number),
                () = sleep_until(deadline), if deadline.is_some() => self.give_up(),
                // lapin does not notice when a connection is closed without the broker's goodbye.
                end = &mut ended => {
                    while let Some(Some(heard)) = self.sent.next().now_or_never() {
                        self.hear(heard).await;
                    }
                    return self.end(&end);
                }
                // The link lives as long as this, so its news do not end.
                _ = self.blocked.changed() => {}
            }
        }
    }

    fn take(&mut self, order: Option<Command>) {
        match order {
            Some(Command::Publish(entry)) => self.ledger.add(entry),
            Some(Command::Flush(reply)) => self.ledger.flush(reply),
            None if self.ledger.len() > 0 => tracing::warn!(
                unconfirmed = self.ledger.len(),
                "a publisher was dropped with messages that the broker has not confirmed; they are published in the \
                 background as long as the program runs: flush it before"
            ),
            None => {}
        }
    }

    /// Sends what may be sent. lapin keeps the order, because each future is polled once before the next is made.
    fn send(&mut self) {
        let Some(channel) = &self.channel else { return };
        // What is given to lapin while the broker is blocked cannot be taken back.
        if self.blocked.borrow_and_update().is_some() {
            return;
        }
        let options =
            BasicPublishOptions { mandatory: self.settings.mandatory, ..BasicPublishOptions::default() };
        while let Some((number, entry)) = self.ledger.send_next() {
            let mut publish = publish(channel.clone(), number, entry, options).boxed();
            match (&mut publish).now_or_never() {
                Some(heard) => self.sent.push(std::future::ready(heard).boxed()),
                None => self.sent.push(publish),
            }
        }
    }

    /// Hears of a message, and of all others of which there is something to hear at this moment.
    async fn hear(&mut self, first: Heard) {
        let mut heard = BTreeMap::from([first]);
        if let Some(channel) = &self.channel {
            // One confirmation often covers many messages. lapin answers their futures one after the other, in no order,
            // and gives a returned message to any of them. This call waits for the lock that lapin holds meanwhile, so
            // that after it all of them are there, with all that was returned.
            let _ = channel.wait_for_confirms().now_or_never();
        }
        while let Some(Some(next)) = self.sent.next().now_or_never() {
            heard.extend([next]);
        }
        if heard.values().any(Result::is_err) {
            self.hear_the_rest(&mut heard).await;
        }
        self.note_returns(&heard);
        let mut failed = Vec::new();
        for (number, outcome) in heard {
            self.ledger.arrived(number);
            match outcome {
                Ok(Confirmation::Ack(_)) => self.confirmed(number),
                // NotRequested cannot be: the channel is in confirm mode. If it were, nothing would be known.
                Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => self.declined(number),
                Err(error) => failed.push((number, error)),
            }
        }
        self.channel_failed(&failed);
    }

    /// The channel has failed: waits for what is heard of everything that was on its way.
    async fn hear_the_rest(&mut self, heard: &mut BTreeMap<u64, lapin::Result<Confirmation>>) {
        let rest = async {
            while let Some(next) = self.sent.next().await {
                heard.extend([next]);
            }
        };
        if tokio::time::timeout(END_PATIENCE, rest).await.is_ok() {
            return;
        }
        let gone = lapin::ErrorKind::InvalidConnectionState(lapin::ConnectionState::Error);
        for number in self.ledger.on_their_way() {
            heard.entry(number).or_insert_with(|| Err(gone.clone().into()));
        }
        self.sent = FuturesUnordered::new();
    }

    fn note_returns(&mut self, heard: &BTreeMap<u64, lapin::Result<Confirmation>>) {
        for outcome in heard.values() {
            if let Ok(Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned))) = outcome
                && let Some(id) = returned.properties.message_id()
            {
                self.ledger.note_returned(id.as_str(), returned.reply_text.as_str());
            }
        }
    }

    fn confirmed(&mut self, number: u64) {
        let result = match (self.ledger.take_returned(number), self.ledger.entry(number)) {
            (Some(text), Some(entry)) => {
                let (exchange, routing_key) = entry.places();
                Err(Error::Returned { exchange, routing_key, text })
            }
            _ => Ok(()),
        };
        self.ledger.settle(number, result);
    }

    fn declined(&mut self, number: u64) {
        let Some(entry) = self.ledger.entry(number) else { return };
        let attempts = entry.attempts;
        if attempts >= self.settings.attempts {
            let (exchange, routing_key) = entry.places();
            return self.ledger.settle(number, Err(Error::Nacked { exchange, routing_key, attempts }));
        }
        let wait = self.settings.backoff.wait(attempts - 1, random::number());
        self.pausing.push(tokio::time::sleep(wait).map(move |()| number).boxed());
    }

    /// What was on its way when the channel failed is sent again, one by one if a message is to blame.
    fn channel_failed(&mut self, failed: &[(u64, lapin::Error)]) {
        let Some((_, first)) = failed.first() else { return };
        self.channel = None;
        // What came after the one at fault is told that the channel is not open.
        let objection =
            failed.iter().find(|(_, error)| error.is_amqp_error()).map_or(first, |(_, error)| error);
        let error = Error::from(objection.clone());
        let numbers: Vec<u64> = failed.iter().map(|(number, _)| *number).collect();
        match (&error, numbers.as_slice()) {
            (Error::Objection { .. }, [alone]) => self.ledger.settle(*alone, Err(error)),
            (Error::Objection { .. }, _) => self.ledger.suspect(&numbers),
            _ => {
                for number in numbers {
                    self.ledger.again(number);
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let blocked = self.blocked_deadline().filter(|_| self.ledger.len() > 0);
        [self.ledger.deadline(), blocked].into_iter().flatten().min()
    }

    fn blocked_deadline(&self) -> Option<Instant> {
        let since = self.blocked.borrow().as_ref().map(|blocked| blocked.since)?;
        self.settings.blocked_timeout.map(|patience| since + patience)
    }

    /// Gives up what is overdue.
    fn give_up(&mut self) {
        let now = Instant::now();
        let blocked = self.blocked.borrow().as_ref().map(|blocked| blocked.reason.clone());
        let unconfirmed = |entry: &Entry, patience: Option<Duration>| {
            let (exchange, routing_key) = entry.places();
            let (patience, blocked) = (patience.unwrap_or_default(), blocked.clone());
            Error::Unconfirmed { exchange, routing_key, patience, blocked }
        };
        let patience = self.settings.confirm_timeout;
        self.ledger.settle_overdue(now, |entry| unconfirmed(entry, patience));
        if self.blocked_deadline().is_some_and(|deadline| deadline <= now) {
            let patience = self.settings.blocked_timeout;
            let unsent = Error::Blocked { reason: blocked.clone().unwrap_or_default() };
            self.ledger.settle_blocked(&unsent, |entry| unconfirmed(entry, patience));
        }
    }

    /// The connection is closed for good.
    fn end(&mut self, end: &Error) {
        if self.ledger.len() > 0 {
            let unconfirmed = self.ledger.len();
            tracing::warn!(
                unconfirmed,
                "the connection was closed with messages that the broker has not confirmed"
            );
        }
        self.ledger.settle_all(end);
        // Those that come later find that nobody is there.
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Command::Publish(entry) => {
                    self.ledger.add(entry);
                    self.ledger.settle_all(end);
                }
                Command::Flush(reply) => self.ledger.flush(reply),
            }
        }
    }
}

/// A channel in confirm mode, once everything that was declared is there.
async fn open(main: Link, publishing: Link) -> Result<Channel, Error> {
    loop {
        main.live().await?;
        let live = publishing.live().await?;
        let opened = async {
            let channel = live.channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok::<_, Error>(channel)
        };
        match opened.await {
            Ok(channel) => return Ok(channel),
            Err(error) => tracing::debug!(%error, "no channel to publish on"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sends one message and waits for what becomes of it.
fn publish(
    channel: Channel,
    number: u64,
    entry: &Entry,
    options: BasicPublishOptions,
) -> impl Future<Output = Heard> + Send + 'static {
    let (exchange, routing_key) = (entry.exchange.clone(), entry.routing_key.clone());
    let message = entry.message.clone();
    async move {
        let properties = message.properties().clone();
        let sent = channel.basic_publish(exchange, routing_key, options, message.body(), properties).await;
        match sent {
            Ok(confirm) => (number, confirm.await),
            Err(error) => (number, Err(error)),
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
