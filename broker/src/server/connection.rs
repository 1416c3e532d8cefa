//! [`ConnectionTask`]: a socket and a clock for a [`Driver`].
//!
//! One task owns both directions of one connection. Each time it wakes it reads what there is, lets the driver work, and
//! writes; it never waits in between. An idle connection holds no buffers: all connections of a thread read into one.

use std::cell::RefCell;
use std::future::Future;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::limits::READ_CHUNK_BYTES;
use crate::server::driver::Driver;
use crate::server::journal::{self, LastSeen, SocketEnd};

/// Rounds of reading and writing before other tasks get their turn. Few: a worker looks for sockets that have become
/// ready only every so many turns, and a consumer's acknowledgements must not wait for ten publishers' megabytes.
const ROUNDS_MAX: u32 = 2;

/// Slices handed to one vectored write.
const SLICES_MAX: usize = 16;

thread_local! {
    /// What the thread's connections read into; a partial frame is copied out before the task sleeps.
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The task of one connection; ready when the connection is over.
#[derive(Debug)]
pub(super) struct ConnectionTask<S> {
    stream: S,
    peer: SocketAddr,
    driver: Driver,
    /// Read and not taken in: the beginning of a frame whose end has not arrived.
    partial: Vec<u8>,
    /// `partial` holds more than that: the driver stopped in front of whole frames.
    held_back: bool,
    /// The client has been logged as connected.
    opened: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What a round achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Something was read or written.
    Some,
    /// Everything waits.
    None,
    /// The connection is over.
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ConnectionTask<S> {
    /// A task for a freshly accepted socket.
    pub(super) fn new(stream: S, peer: SocketAddr, driver: Driver) -> Self {
        Self { stream, peer, driver, partial: Vec::new(), held_back: false, opened: false, timer: None }
    }

    fn round(&mut self, cx: &mut Context<'_>) -> Progress {
        let mut progress = Progress::None;
        if self.driver.handle_events() {
            progress = Progress::Some;
        }
        if self.driver.wants_input() {
            match self.poll_input(cx) {
                Poll::Ready(Ok(0)) => {
                    return self.end(SocketEnd::Eof);
                }
                Poll::Ready(Ok(_)) => progress = Progress::Some,
                Poll::Ready(Err(error)) => return self.end(SocketEnd::Failed(&error)),
                Poll::Pending => {}
            }
        }
        self.driver.end_round();
        match self.poll_output(cx) {
            Ok(true) => progress = Progress::Some,
            Ok(false) => {}
            Err(error) => return self.end(SocketEnd::Failed(&error)),
        }
        if self.driver.is_over() {
            return self.end(SocketEnd::Finished);
        }
        if !self.opened && self.driver.session().is_open() {
            self.opened = true;
            journal::opened(self.peer, &self.driver.session().details());
        }
        progress
    }

    /// Reads once, unless something read waits already, and lets the driver work on it; 0 bytes are the end of the stream.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if self.held_back {
            let consumed = self.driver.handle_input(&self.partial, Instant::now());
            self.partial.drain(..consumed);
            self.held_back = !self.partial.is_empty() && !self.driver.wants_input();
            return Poll::Ready(Ok(consumed.max(1)));
        }
        READ_BUFFER.with_borrow_mut(|buffer| {
            let kept = self.partial.len();
            let needed = kept + READ_CHUNK_BYTES;
            if buffer.len() < needed {
                buffer.resize(needed, 0);
            }
            buffer[..kept].copy_from_slice(&self.partial);
            let mut read = ReadBuf::new(&mut buffer[kept..needed]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            let count = read.filled().len();
            let filled = kept + count;
            let consumed = self.driver.handle_input(&buffer[..filled], Instant::now());
            self.partial.clear();
            self.partial.extend_from_slice(&buffer[consumed.min(filled)..filled]);
            self.held_back = consumed < filled && !self.driver.wants_input();
            Poll::Ready(Ok(count))
        })
    }

    /// Writes until nothing is left or the socket is full; says whether anything was written.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> std::io::Result<bool> {
        let mut written_any = false;
        while self.driver.may_write() && !self.driver.out().is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = self.driver.out().fill_slices(&mut slices);
            let written = match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]) {
                Poll::Ready(Ok(0)) => return Err(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => written?,
                Poll::Pending => break,
            };
            self.driver.handle_written(written);
            written_any = true;
        }
        if written_any {
            // TLS streams hold bytes back until they are flushed; a TCP stream does nothing here.
            let _ = Pin::new(&mut self.stream).poll_flush(cx)?;
        }
        Ok(written_any)
    }

    fn end(&mut self, end: SocketEnd<'_>) -> Progress {
        // Why the session finished by itself; disconnecting gives it a reason too.
        let reason = self.driver.session().finish_reason().cloned();
        let last = match (self.opened, self.driver.session().is_open()) {
            (false, _) => LastSeen::Handshake,
            (true, true) => LastSeen::Running,
            (true, false) => LastSeen::Closing,
        };
        self.driver.disconnect();
        journal::ended(self.peer, reason.as_ref(), last, end);
        Progress::Over
    }

    /// Arms the timer for the driver's deadline. A deadline that only moved away leaves the timer as it is: it fires
    /// early once and is armed anew, which is cheaper than moving it with every frame.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let Some(deadline) = self.driver.poll_timeout() else { return false };
            let deadline = tokio::time::Instant::from_std(deadline);
            match &mut self.timer {
                Some(timer) if timer.deadline() <= deadline => {}
                Some(timer) => timer.as_mut().reset(deadline),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
            }
            let Some(timer) = &mut self.timer else { return false };
            if timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            let now = Instant::now();
            self.timer = None;
            if self.driver.poll_timeout().is_some_and(|deadline| deadline <= now) {
                self.driver.handle_timeout(now);
                // Once a heartbeat is often enough to give back what a busy time left behind, and rare enough to cost
                // nothing while it lasts.
                self.driver.end_round();
                self.driver.shrink();
                self.partial.shrink_to_fit();
                return true;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for ConnectionTask<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        // Before looking whether anything waits, so that nothing that comes meanwhile is missed.
        task.driver.outbox().register(cx.waker());
        if task.driver.outbox().is_killed() {
            task.driver.disconnect();
            return Poll::Ready(());
        }
        // Also while there is always something to read: the peer waits for heartbeats.
        task.poll_timer(cx);
        for _ in 0..ROUNDS_MAX {
            match task.round(cx) {
                Progress::Over => {
                    // A TLS client takes a connection that just breaks off for an attack. What cannot be sent at once is not
                    // waited for.
                    let _ = Pin::new(&mut task.stream).poll_shutdown(cx);
                    return Poll::Ready(());
                }
                Progress::Some => {}
                // The round may have moved a deadline nearer.
                Progress::None if task.poll_timer(cx) => {}
                Progress::None => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
