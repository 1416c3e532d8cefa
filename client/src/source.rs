//! Receiving from a queue, over every loss of the connection. Subscriptions, workers and servers are made of this.

use std::time::Duration;

use futures::StreamExt;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};

use crate::delivery::Incoming;
use crate::link::Link;
use crate::value::short;
use crate::{DeclaredQueue, Error};

/// How long to wait before consuming again on a connection that stands.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether deliveries are acknowledged by whoever works on them, or by the broker as soon as they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acks {
    ByUs,
    ByBroker,
}

/// One consumer of one queue.
#[derive(Debug)]
pub(crate) struct Source {
    link: Link,
    queue: DeclaredQueue,
    prefetch: u16,
    acks: Acks,
    current: Option<(Channel, Consumer)>,
    /// Whether the queue is there for this consumer only, and need not be declared again once this is dropped.
    is_temporary: bool,
}

impl Source {
    /// Begins to consume.
    ///
    /// # Errors
    ///
    /// As for [`Source::next`].
    pub(crate) async fn open(
        link: Link,
        queue: DeclaredQueue,
        prefetch: u16,
        acks: Acks,
    ) -> Result<Self, Error> {
        let mut source = Self { link, queue, prefetch, acks, current: None, is_temporary: false };
        source.subscribe().await?;
        Ok(source)
    }

    /// The queue is there for this consumer only.
    pub(crate) fn temporary(mut self) -> Self {
        self.is_temporary = true;
        self
    }

    /// The next delivery, as soon as there is one. It can be cancelled without losing any.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] when the queue is gone, [`Error::Objection`] when the broker does not let us consume from it,
    /// [`Error::Closed`] and [`Error::GaveUp`]. There is nothing more to receive after any of them.
    pub(crate) async fn next(&mut self) -> Result<Incoming, Error> {
        loop {
            let (channel, consumer) = match &mut self.current {
                Some(current) => current,
                None => self.subscribe().await?,
            };
            match consumer.next().await {
                Some(Ok(delivery)) => return Ok(Incoming::new(delivery, channel.clone())),
                Some(Err(error)) => tracing::debug!(%error, "consuming failed, and begins again"),
                None => tracing::debug!("consuming ended, and begins again"),
            }
            self.current = None;
        }
    }

    /// Asks the broker for no more deliveries. Those that are here can still be acknowledged.
    pub(crate) async fn cancel(&mut self) {
        if let Some((channel, consumer)) = self.current.take() {
            // If that fails, the connection is lost, and with it the consumer.
            let _ = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await;
        }
    }

    async fn subscribe(&mut self) -> Result<&mut (Channel, Consumer), Error> {
        loop {
            match self.try_subscribe().await {
                Ok(subscribed) => return Ok(self.current.insert(subscribed)),
                Err(Error::Objection { code: 404, .. }) => {
                    return Err(Error::Cancelled { queue: self.queue.name() });
                }
                Err(error) if error.is_final() => return Err(error),
                Err(error) => tracing::debug!(%error, "cannot consume, and tries again"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_subscribe(&self) -> Result<(Channel, Consumer), Error> {
        let channel = self.link.live().await?.channel().await?;
        if self.prefetch > 0 {
            channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
        }
        let options =
            BasicConsumeOptions { no_ack: self.acks == Acks::ByBroker, ..BasicConsumeOptions::default() };
        let queue = short("name of the queue", &self.queue.name())?;
        let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        Ok((channel, consumer))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.is_temporary {
            self.link.record(|topology| topology.forget_queue(&self.queue));
        }
    }
}
