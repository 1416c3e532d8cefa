//! Declaring on a channel, one thing at a time. An error says which thing it was.

use lapin::Channel;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};

use super::{Binding, DeclaredQueue, Exchange, Queue};
use crate::Error;
use crate::value::{short, table};

/// # Errors
///
/// [`Error::Topology`] if the broker objects, [`Error::Invalid`], and [`Error::Lost`].
pub(crate) async fn declare_exchange(channel: &Channel, exchange: &Exchange) -> Result<(), Error> {
    let options = ExchangeDeclareOptions {
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        ..ExchangeDeclareOptions::default()
    };
    let name = short("name of the exchange", &exchange.name)?;
    channel
        .exchange_declare(name, exchange.kind.clone(), options, table(&exchange.arguments)?)
        .await
        .map_err(|error| Error::from_declaring(&format!("exchange '{}'", exchange.name), error))
}

/// Declares the queue and gives `declared` the name that it has.
///
/// # Errors
///
/// As for [`declare_exchange`].
pub(crate) async fn declare_queue(
    channel: &Channel,
    queue: &Queue,
    declared: &DeclaredQueue,
) -> Result<(), Error> {
    let options = QueueDeclareOptions {
        durable: queue.durable,
        exclusive: queue.exclusive,
        auto_delete: queue.auto_delete,
        ..QueueDeclareOptions::default()
    };
    let name = short("name of the queue", &queue.name)?;
    let answer = channel
        .queue_declare(name, options, table(&queue.arguments)?)
        .await
        .map_err(|error| Error::from_declaring(&queue.described(), error))?;
    declared.rename(answer.name().as_str());
    Ok(())
}

/// # Errors
///
/// As for [`declare_exchange`].
pub(crate) async fn declare_binding(channel: &Channel, binding: &Binding) -> Result<(), Error> {
    let queue = binding.queue.name();
    channel
        .queue_bind(
            short("name of the queue", &queue)?,
            short("name of the exchange", &binding.exchange)?,
            short("routing key", &binding.key)?,
            QueueBindOptions::default(),
            table(&binding.arguments)?,
        )
        .await
        .map_err(|error| {
            let what = format!("a binding of queue '{queue}' to exchange '{}'", binding.exchange);
            Error::from_declaring(&what, error)
        })
}
