//! Working on what a queue delivers: several at a time, until it is told to stop, and then to the end of what runs. What the
//! work is, and what becomes of each delivery, is for those who call it.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::Error;
use crate::delivery::Incoming;
use crate::source::Source;

/// Work on one delivery, including its verdict.
pub(crate) type Work = Box<dyn Fn(Incoming) -> BoxFuture<'static, ()> + Send + Sync>;

/// A pool that runs. Dropping it ends the work at once; deliveries without a verdict go back to the queue.
#[derive(Debug)]
pub(crate) struct Pool {
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<Result<usize, Error>>,
}

impl Pool {
    pub(crate) fn start(source: Source, concurrency: usize, work: Work) -> Self {
        let (stop, stopping) = watch::channel(None);
        Self { stop, task: tokio::spawn(run(source, concurrency.max(1), work, stopping)) }
    }

    /// Takes no more deliveries, and lets what runs end within this time. Says how much did not.
    ///
    /// # Errors
    ///
    /// Why the work ended before.
    pub(crate) async fn shutdown(mut self, patience: Duration) -> Result<usize, Error> {
        self.stop.send_replace(Some(Instant::now() + patience));
        (&mut self.task).await.unwrap_or(Err(Error::Closed))
    }

    /// Waits until the work ends by itself.
    ///
    /// # Errors
    ///
    /// Why it ended.
    pub(crate) async fn ended(&mut self) -> Result<(), Error> {
        (&mut self.task).await.unwrap_or(Err(Error::Closed)).map(drop)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    mut source: Source,
    concurrency: usize,
    work: Work,
    mut stop: watch::Receiver<Option<Instant>>,
) -> Result<usize, Error> {
    let mut running = JoinSet::new();
    let ended = loop {
        tokio::select! {
            _ = stop.wait_for(Option::is_some) => break Ok(()),
            Some(_) = running.join_next(), if !running.is_empty() => {}
            next = source.next(), if running.len() < concurrency => match next {
                Ok(incoming) => { running.spawn(work(incoming)); }
                Err(error) => break Err(error),
            },
        }
    };
    source.cancel().await;
    // Without a connection there is no deadline either: what runs may end.
    let deadline = *stop.borrow();
    let rest = async { while running.join_next().await.is_some() {} };
    match deadline {
        Some(deadline) => drop(timeout_at(deadline, rest).await),
        None => rest.await,
    }
    let left = running.len();
    // What is ended here gives no verdict, and with the source goes the channel: its messages return to the queue.
    running.shutdown().await;
    ended.map(|()| left)
}
