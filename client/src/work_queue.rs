//! Working through a queue: a stream of tasks, each of which is acknowledged when it is done. It does not spawn anything:
//! how many tasks run at once is the caller's choice, up to the prefetch.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Connection, Consumer};
use serde::de::DeserializeOwned;

use crate::Error;

/// A stream of the tasks of one queue. It ends when the broker cancels it, for example because the queue is deleted.
///
/// ```no_run
/// use futures::StreamExt;
///
/// # async fn example(client: warren_client::Client) -> Result<(), warren_client::Error> {
/// let mut thumbnails = client.work_queue("thumbnails", 1).await?;
/// while let Some(task) = thumbnails.next().await {
///     let task = task?;
///     println!("a picture of {} bytes", task.body().len());
///     task.done().await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WorkQueue {
    consumer: Consumer,
}

impl WorkQueue {
    pub(crate) async fn open(connection: &Connection, queue: &str, prefetch: u16) -> Result<Self, Error> {
        let channel = connection.create_channel().await?;
        channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), FieldTable::default()).await?;
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let consumer = channel
            .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await?;
        Ok(Self { consumer })
    }
}

impl Stream for WorkQueue {
    type Item = Result<Task, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.consumer
            .poll_next_unpin(context)
            .map(|next| next.map(|delivery| delivery.map(|delivery| Task { delivery }).map_err(Error::from)))
    }
}

/// One message to work on. If it is dropped without a verdict, the broker keeps it reserved until the connection ends,
/// and then gives it to somebody else.
#[derive(Debug)]
#[must_use = "a task needs a verdict: done, retry or discard"]
pub struct Task {
    delivery: Delivery,
}

impl Task {
    /// The bytes of the message.
    pub fn body(&self) -> &[u8] {
        &self.delivery.data
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] if it is something else.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(self.body()).map_err(Error::Decode)
    }

    /// Whether somebody was given this message before and did not finish it, so that part of the work may be done.
    pub fn is_redelivered(&self) -> bool {
        self.delivery.redelivered
    }

    /// The message as lapin has it, with its properties.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The work is done: the broker forgets the message.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] or [`Error::Closed`] if the broker cannot be told; somebody else will be given the task.
    pub async fn done(self) -> Result<(), Error> {
        self.delivery.ack(BasicAckOptions::default()).await?;
        Ok(())
    }

    /// The work could not be done now: the broker gives the message to a consumer again, maybe to this one at once.
    ///
    /// # Errors
    ///
    /// As for [`Task::done`].
    pub async fn retry(self) -> Result<(), Error> {
        self.delivery.reject(BasicRejectOptions { requeue: true }).await?;
        Ok(())
    }

    /// The work can never be done: the broker drops the message, or hands it to the queue's dead-letter exchange.
    ///
    /// # Errors
    ///
    /// As for [`Task::done`].
    pub async fn discard(self) -> Result<(), Error> {
        self.delivery.reject(BasicRejectOptions { requeue: false }).await?;
        Ok(())
    }
}
