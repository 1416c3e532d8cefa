//! The calling side: many calls in flight on one channel, each known by its correlation id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Confirmation, Consumer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::answer::{self, CallError};
use super::options::{Replies, RpcOptions};
use crate::delivery::Incoming;
use crate::link::Link;
use crate::value::short;
use crate::{Connection, Delivery, Error, Message, random};

/// The name that stands for "to this channel" in brokers that know direct reply-to.
const DIRECT: &str = "amq.rabbitmq.reply-to";

/// How long to wait before a channel is opened again.
const PAUSE: Duration = Duration::from_millis(50);

/// Calls servers. It is cheap to clone, and made for many calls at once; answers may come in any order.
///
/// - A call for which there is no server, that is, no queue, fails at once ([`Error::NoServer`]).
/// - A call whose future is dropped is forgotten; its answer, if one comes, is dropped too. The server is not told.
/// - Calls that are in flight when the connection is lost fail with [`Error::Lost`], because nobody knows whether the server
///   worked on them. Calls that come later wait for the connection, within their timeout.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
/// # fn main() { connected(async |connection: Connection| {
/// let server = connection
///     .serve("square", 8, async |number: i64| number.checked_mul(number).ok_or("too large".to_owned()))
///     .await?;
///
/// let client = connection.rpc_client().await?;
/// let result = client.call::<i64, i64, String>("square", &12).await?;
/// assert_eq!(result, 144);
/// # Ok(())
/// # }) }
/// ```
#[derive(Clone, Debug)]
pub struct RpcClient {
    calls: Arc<Calls>,
    timeout: Duration,
    _task: Arc<Task>,
}

/// Ends the client's task with the last clone.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Answer = Result<Incoming, Error>;

#[derive(Debug)]
struct Calls {
    /// Those in flight, by correlation id.
    waiting: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
    ready: watch::Sender<Ready>,
}

/// Whether calls can be made.
#[derive(Clone, Debug)]
enum Ready {
    No,
    On { channel: Channel, reply_to: String },
    Never(Error),
}

impl Connection {
    /// A client for remote calls with the usual settings.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # let server = connection.serve("square", 8, async |n: i64| n.checked_mul(n).ok_or("too large".to_owned())).await?;
    /// let client = connection.rpc_client().await?;
    /// assert_eq!(client.call::<i64, i64, String>("square", &12).await?, 144);
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] and [`Error::GaveUp`].
    pub async fn rpc_client(&self) -> Result<RpcClient, Error> {
        self.rpc_client_with(RpcOptions::default()).await
    }

    /// The same with settings of your own.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # let server = connection.serve("square", 8, async |n: i64| n.checked_mul(n).ok_or("too large".to_owned())).await?;
    /// use std::time::Duration;
    /// use warren_client::RpcOptions;
    ///
    /// let client = connection.rpc_client_with(RpcOptions::default().timeout(Duration::from_secs(2))).await?;
    /// assert_eq!(client.call::<i64, i64, String>("square", &12).await?, 144);
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Objection`] if the broker does not let us receive answers, [`Error::Closed`] and [`Error::GaveUp`].
    pub async fn rpc_client_with(&self, options: RpcOptions) -> Result<RpcClient, Error> {
        let calls = Arc::new(Calls { waiting: Mutex::default(), ready: watch::Sender::new(Ready::No) });
        let task = tokio::spawn(keep(self.main().clone(), options.replies, calls.clone()));
        let client = RpcClient { calls, timeout: options.timeout, _task: Arc::new(Task(task)) };
        client.calls.channel().await?;
        Ok(client)
    }
}

impl RpcClient {
    /// Calls the server of a queue with a request as JSON, and waits for its result. The types are those of the request,
    /// of the result, and of the error that the server's handler may return.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # let server = connection.serve("square", 8, async |n: i64| n.checked_mul(n).ok_or("too large".to_owned())).await?;
    /// # let client = connection.rpc_client().await?;
    /// use warren_client::{CallError, Error};
    ///
    /// assert_eq!(client.call::<i64, i64, String>("square", &12).await?, 144);
    /// match client.call::<i64, i64, String>("square", &i64::MAX).await {
    ///     Err(CallError::Server(reason)) => assert_eq!(reason, "too large"),
    ///     other => panic!("{other:?}"),
    /// }
    /// let nobody = client.call::<i64, i64, String>("cube", &12).await;
    /// assert!(matches!(nobody, Err(CallError::Failed(Error::NoServer { .. }))));
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn call<Q, R, E>(&self, queue: &str, request: &Q) -> Result<R, CallError<E>>
    where
        Q: Serialize + ?Sized,
        R: DeserializeOwned,
        E: DeserializeOwned,
    {
        self.call_within(self.timeout, queue, request).await
    }

    /// The same with a timeout of its own.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # let client = connection.rpc_client().await?;
    /// use std::time::Duration;
    /// use warren_client::{CallError, Error, Queue};
    ///
    /// connection.declare_queue(Queue::new("slow")).await?;
    /// let patience = Duration::from_millis(50);
    /// let late = client.call_within::<i64, i64, String>(patience, "slow", &12).await;
    /// assert!(matches!(late, Err(CallError::Failed(Error::NoAnswer { .. }))));
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn call_within<Q, R, E>(
        &self,
        patience: Duration,
        queue: &str,
        request: &Q,
    ) -> Result<R, CallError<E>>
    where
        Q: Serialize + ?Sized,
        R: DeserializeOwned,
        E: DeserializeOwned,
    {
        let incoming = self.exchange_within(patience, queue, Message::json(request)?).await?;
        answer::read(&incoming)
    }

    /// Calls a server that speaks anything but JSON. The answer is as the server sent it, needs no verdict, and is for you to
    /// judge.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # let server = connection.serve("square", 8, async |n: i64| n.checked_mul(n).ok_or("too large".to_owned())).await?;
    /// # let client = connection.rpc_client().await?;
    /// use warren_client::Message;
    ///
    /// let answer = client.request("square", Message::text("12")).await?;
    /// assert_eq!(answer.body(), b"144");
    /// # Ok(())
    /// # }) }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`CallError::Failed`].
    pub async fn request(&self, queue: &str, request: Message) -> Result<Delivery<Vec<u8>>, Error> {
        let incoming = self.exchange_within(self.timeout, queue, request).await?;
        Ok(Delivery::new(incoming.delivery.data.clone(), incoming))
    }

    /// How many calls wait for an answer.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { connected(async |connection: Connection| {
    /// # connection.declare_queue(warren_client::Queue::new("slow")).await?;
    /// let client = connection.rpc_client().await?;
    /// let mut call = Box::pin(client.call::<i64, i64, String>("slow", &12));
    /// assert!(futures::poll!(&mut call).is_pending());
    /// assert_eq!(client.in_flight(), 1);
    /// drop(call);
    /// assert_eq!(client.in_flight(), 0, "what is dropped is forgotten");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn in_flight(&self) -> usize {
        self.calls.waiting().len()
    }

    async fn exchange_within(&self, patience: Duration, queue: &str, request: Message) -> Answer {
        let message = request.transient().expires_after(patience);
        match tokio::time::timeout(patience, self.exchange(queue, message)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::NoAnswer { routing_key: queue.to_owned(), patience }),
        }
    }

    /// Sends a request, and waits for what comes back.
    async fn exchange(&self, queue: &str, message: Message) -> Answer {
        let routing_key = short("name of the server's queue", queue)?;
        let (channel, reply_to) = self.calls.channel().await?;
        let (call, answer) = self.calls.begin();
        let message = message.correlation_id(&call.id)?.reply_to(&reply_to)?;
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = message.properties().clone();
        let confirm =
            channel.basic_publish("".into(), routing_key, options, message.body(), properties).await?;
        // lapin gives a returned message to any confirmation, so each is heard, also when its own call was dropped.
        tokio::spawn(hear(self.calls.clone(), call.id.clone(), queue.to_owned(), confirm));
        answer.await.unwrap_or(Err(Error::Closed))
    }
}

/// A call in flight. It is forgotten when this is dropped.
struct Call {
    calls: Arc<Calls>,
    id: String,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.calls.waiting().remove(&self.id);
    }
}

impl Calls {
    fn waiting(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>) -> (Call, oneshot::Receiver<Answer>) {
        let (sender, answer) = oneshot::channel();
        let id = random::identifier();
        self.waiting().insert(id.clone(), sender);
        (Call { calls: self.clone(), id }, answer)
    }

    fn end(&self, id: &str, answer: Answer) {
        let waiting = self.waiting().remove(id);
        if let Some(waiting) = waiting {
            // Nobody to hear it is a call that was dropped in this moment.
            let _ = waiting.send(answer);
        }
    }

    fn end_all(&self, error: &Error) {
        let waiting = std::mem::take(&mut *self.waiting());
        for waiting in waiting.into_values() {
            let _ = waiting.send(Err(error.clone()));
        }
    }

    /// Where calls go and answers come to, as soon as that is known.
    async fn channel(&self) -> Result<(Channel, String), Error> {
        let mut ready = self.ready.subscribe();
        let known = ready.wait_for(|ready| !matches!(ready, Ready::No)).await;
        match known.as_deref() {
            Ok(Ready::On { channel, reply_to }) => Ok((channel.clone(), reply_to.clone())),
            Ok(Ready::Never(error)) => Err(error.clone()),
            _ => Err(Error::Closed),
        }
    }
}

/// Hears what became of a request on its way to the server.
async fn hear(calls: Arc<Calls>, id: String, queue: String, confirm: lapin::PublisherConfirm) {
    match confirm.await {
        Ok(Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned))) => {
            let routing_key = returned.routing_key.to_string();
            if let Some(id) = returned.properties.correlation_id() {
                calls.end(id.as_str(), Err(Error::NoServer { routing_key }));
            }
        }
        Ok(Confirmation::Nack(None)) => {
            let declined = Error::Nacked { exchange: String::new(), routing_key: queue, attempts: 1 };
            calls.end(&id, Err(declined));
        }
        // An error ends all calls, as soon as the answers end.
        _ => {}
    }
}

/// The client's task: keeps a channel on which answers come, and hands them out.
async fn keep(link: Link, replies: Replies, calls: Arc<Calls>) {
    loop {
        let end = match open(&link, replies).await {
            Ok((channel, reply_to, mut answers)) => {
                calls.ready.send_replace(Ready::On { channel: channel.clone(), reply_to });
                let lost = listen(&channel, &mut answers, &calls).await;
                calls.ready.send_replace(Ready::No);
                calls.end_all(&lost);
                tracing::debug!(error = %lost, "answers to calls ended, and begin again");
                continue;
            }
            Err(error) => error,
        };
        if end.is_final() {
            calls.end_all(&end);
            calls.ready.send_replace(Ready::Never(end));
            return;
        }
        tracing::debug!(error = %end, "no channel for calls");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Hands out answers until there are no more, and says why.
async fn listen(channel: &Channel, answers: &mut Consumer, calls: &Calls) -> Error {
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(delivery) => {
                let id = delivery.properties.correlation_id().clone();
                if let Some(id) = id {
                    calls.end(id.as_str(), Ok(Incoming::new(delivery, channel.clone())));
                }
            }
            Err(error) => return error.into(),
        }
    }
    Error::Lost { cause: lapin::ErrorKind::InvalidConnectionState(lapin::ConnectionState::Closed).into() }
}

async fn open(link: &Link, replies: Replies) -> Result<(Channel, String, Consumer), Error> {
    let channel = link.live().await?.channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let reply_to = match replies {
        Replies::Direct => DIRECT.to_owned(),
        Replies::Queue => {
            let options =
                QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
            let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
            queue.name().to_string()
        }
    };
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let queue = short("name of the queue for replies", &reply_to)?;
    let answers = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
    Ok((channel, reply_to, answers))
}
