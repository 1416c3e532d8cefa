//! One connection with one channel: handshake, requests with answers, heartbeats, and unadorned reads and writes.
//!
//! It refuses to interpret deliveries and confirms: who sends or receives in bulk reads frames from `inbox` himself and
//! hands the rest to `notice`. Called by `topology`, `producer`, `consumer` and `memory`.

use std::net::TcpStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::clock::{MILLISECOND, SECOND, now_ns};
use crate::codec::encode::{self, Arguments, Table, Value};
use crate::codec::inbox::{Frame, Inbox};
use crate::codec::method::{self, MethodId, Reader};
use crate::codec::{CHANNEL, FRAME_MIN, HEARTBEAT, PROTOCOL_HEADER};
use crate::error::{Cause, Error, Result, Scope};
use crate::url::Url;

/// How long a request may go unanswered. A broker with a long backlog answers late, but not this late.
const ANSWER_TIMEOUT_NS: u64 = 60 * SECOND;
/// How long a blocking read waits, so that its caller looks at the stop flag and the heartbeat now and then.
const READ_TIMEOUT: Duration = Duration::from_millis(100);

/// What a connection asks for when it tunes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuning {
    /// Largest frame; the broker may lower it. Bytes.
    pub(crate) frame_max: u32,
    /// Heartbeat interval in seconds; 0 asks for none. The broker may lower it.
    pub(crate) heartbeat: u16,
    /// Size of the read buffer. Bytes.
    pub(crate) inbox_capacity: usize,
}

/// Which readiness to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    Readable,
    ReadableOrWritable,
}

/// Something the broker said that is no answer, no delivery and no confirm.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Nothing,
    Blocked(String),
    Unblocked,
    /// A message could not be routed and came back; its header and body follow.
    Returned,
}

/// An open connection with channel 1 open.
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) inbox: Inbox,
    pub(crate) frame_max: u32,
    heartbeat_ns: Option<u64>,
    last_sent: u64,
    last_received: u64,
}

impl Connection {
    /// Connects, authenticates with PLAIN, and opens channel 1.
    pub(crate) fn open(url: &Url, tuning: Tuning) -> Result<Self> {
        let mut connection = Self::connect(url, tuning)?;
        connection.handshake(url, tuning)?;
        connection.call(method::CHANNEL_OPEN, method::CHANNEL_OPEN_OK, |arguments| arguments.short(""))?;
        Ok(connection)
    }

    fn connect(url: &Url, tuning: Tuning) -> Result<Self> {
        let failed = |source| Error::Connect { address: url.address(), source };
        let stream = TcpStream::connect((url.host.as_str(), url.port)).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(READ_TIMEOUT)).map_err(failed)?;
        let now = now_ns();
        Ok(Self {
            stream,
            inbox: Inbox::new(tuning.frame_max, tuning.inbox_capacity),
            frame_max: tuning.frame_max,
            heartbeat_ns: None,
            last_sent: now,
            last_received: now,
        })
    }

    fn handshake(&mut self, url: &Url, tuning: Tuning) -> Result<()> {
        self.send_all(PROTOCOL_HEADER)?;
        self.answer(method::CONNECTION_START)?;
        let response = format!("\0{}\0{}", url.user, url.password);
        let mut request = Vec::new();
        encode::method(&mut request, 0, method::CONNECTION_START_OK, |arguments| {
            arguments.table(&client_properties());
            arguments.short("PLAIN");
            arguments.long(response.as_bytes());
            arguments.short("en_US");
        });
        self.send_all(&request)?;
        let tune = self.answer(method::CONNECTION_TUNE)?;
        let mut tune = Reader(&tune);
        let channel_max = tune.u16()?;
        self.frame_max = lower(tune.u32()?, tuning.frame_max).max(FRAME_MIN);
        let heartbeat = if tuning.heartbeat == 0 { 0 } else { lower_u16(tune.u16()?, tuning.heartbeat) };
        self.heartbeat_ns = (heartbeat > 0).then(|| u64::from(heartbeat) * SECOND);
        request.clear();
        encode::method(&mut request, 0, method::CONNECTION_TUNE_OK, |arguments| {
            arguments.u16(channel_max);
            arguments.u32(self.frame_max);
            arguments.u16(heartbeat);
        });
        encode::method(&mut request, 0, method::CONNECTION_OPEN, |arguments| {
            arguments.short(&url.vhost);
            arguments.short("");
            arguments.u8(0);
        });
        self.send_all(&request)?;
        self.answer(method::CONNECTION_OPEN_OK).map(drop)
    }

    /// Sends a method on channel 1 and waits for its answer, whose arguments it returns.
    pub(crate) fn call(
        &mut self,
        request: MethodId,
        expected: MethodId,
        write: impl FnOnce(&mut Arguments<'_>),
    ) -> Result<Vec<u8>> {
        self.cast(request, write)?;
        self.answer(expected)
    }

    /// Sends a method on channel 1 that has no answer.
    pub(crate) fn cast(&mut self, id: MethodId, write: impl FnOnce(&mut Arguments<'_>)) -> Result<()> {
        let mut bytes = Vec::new();
        encode::method(&mut bytes, CHANNEL, id, write);
        self.send_all(&bytes)
    }

    /// Waits for a method. Whatever else arrives, such as deliveries on their way, is dropped, except errors.
    fn answer(&mut self, expected: MethodId) -> Result<Vec<u8>> {
        let deadline = now_ns() + ANSWER_TIMEOUT_NS;
        loop {
            while let Some(frame) = self.inbox.next_frame()? {
                match frame {
                    Frame::Method { id, arguments } if id == expected => return Ok(arguments.to_vec()),
                    other => notice(&other)?,
                };
            }
            if now_ns() > deadline {
                let seconds = ANSWER_TIMEOUT_NS / SECOND;
                return Err(Error::Timeout(format!(
                    "the broker did not answer with {expected} in {seconds} s"
                )));
            }
            self.receive_waiting("while a request waited for its answer")?;
            self.keep_alive()?;
        }
    }

    /// Changes how long `receive_waiting` waits.
    pub(crate) fn set_read_timeout(&self, timeout: Duration) -> Result<()> {
        let failed = |source| Error::Io { what: "setting a read timeout".into(), source };
        self.stream.set_read_timeout(Some(timeout)).map_err(failed)
    }

    /// Reads what there is, waiting a moment when there is nothing; says whether bytes came.
    pub(crate) fn receive_waiting(&mut self, during: &'static str) -> Result<bool> {
        self.receive(RecvFlags::empty(), during)
    }

    /// Reads what there is without waiting; says whether bytes came.
    pub(crate) fn receive_now(&mut self, during: &'static str) -> Result<bool> {
        self.receive(RecvFlags::DONTWAIT, during)
    }

    fn receive(&mut self, flags: RecvFlags, during: &'static str) -> Result<bool> {
        match recv(&self.stream, self.inbox.spare(), flags) {
            Ok((0, _)) => Err(Error::Dropped { during }),
            Ok((count, _)) => {
                self.inbox.filled(count);
                self.last_received = now_ns();
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(Errno::CONNRESET | Errno::PIPE) => Err(Error::Dropped { during }),
            Err(error) => Err(Error::Io { what: "reading from the broker".into(), source: error.into() }),
        }
    }

    /// Writes as much as the socket takes without waiting.
    pub(crate) fn send_some(&mut self, bytes: &[u8]) -> Result<usize> {
        match send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => {
                self.last_sent = now_ns();
                Ok(count)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            // The broker may have said why before it hung up, and that is the better message.
            Err(Errno::CONNRESET | Errno::PIPE) => Err(self.last_words()),
            Err(error) => Err(Error::Io { what: "writing to the broker".into(), source: error.into() }),
        }
    }

    /// Writes everything, waiting for the socket; for short messages only, as nothing is read meanwhile.
    pub(crate) fn send_all(&mut self, mut bytes: &[u8]) -> Result<()> {
        let deadline = now_ns() + ANSWER_TIMEOUT_NS;
        while !bytes.is_empty() {
            let count = self.send_some(bytes)?;
            bytes = &bytes[count..];
            if count == 0 {
                if now_ns() > deadline {
                    return Err(Error::Timeout("the broker has stopped reading from a connection".into()));
                }
                self.wait(Readiness::ReadableOrWritable, 10 * MILLISECOND)?;
            }
        }
        Ok(())
    }

    /// Waits until the socket is ready or the time is over; says whether it is ready.
    pub(crate) fn wait(&self, readiness: Readiness, timeout_ns: u64) -> Result<bool> {
        let interest = match readiness {
            Readiness::Readable => PollFlags::IN,
            Readiness::ReadableOrWritable => PollFlags::IN | PollFlags::OUT,
        };
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout_ns / SECOND).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(timeout_ns % SECOND).unwrap_or(0),
        };
        match poll(&mut [PollFd::new(&self.stream, interest)], Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(Error::Io { what: "waiting for the broker".into(), source: error.into() }),
        }
    }

    /// Sends a heartbeat when one is due and notices a broker that has gone silent.
    pub(crate) fn keep_alive(&mut self) -> Result<()> {
        let Some(interval) = self.heartbeat_ns else { return Ok(()) };
        let now = now_ns();
        if now.saturating_sub(self.last_received) > interval * 2 {
            let seconds = interval * 2 / SECOND;
            return Err(Error::Timeout(format!(
                "the broker has been silent for {seconds} s: no heartbeat came"
            )));
        }
        if now.saturating_sub(self.last_sent) >= interval / 2 {
            self.send_all(HEARTBEAT)?;
        }
        Ok(())
    }

    /// For a connection that only waits: takes in what came, which may be an error, and keeps the connection alive.
    pub(crate) fn idle(&mut self) -> Result<()> {
        self.receive_now("while it was idle")?;
        while let Some(frame) = self.inbox.next_frame()? {
            notice(&frame)?;
        }
        self.keep_alive()
    }

    /// Closes the connection and waits for the broker to agree.
    pub(crate) fn close(mut self) -> Result<()> {
        let mut request = Vec::new();
        encode::method(&mut request, 0, method::CONNECTION_CLOSE, |arguments| {
            arguments.u16(200);
            arguments.short("done");
            arguments.u32(0);
        });
        self.send_all(&request)?;
        self.answer(method::CONNECTION_CLOSE_OK).map(drop)
    }

    /// Looks for the close method a broker sent before it hung up.
    fn last_words(&mut self) -> Error {
        let dropped = Error::Dropped { during: "while it was being written to" };
        loop {
            match self.inbox.next_frame() {
                Ok(Some(frame)) => {
                    if let Err(reason) = notice(&frame) {
                        return reason;
                    }
                }
                Ok(None) => match self.receive_now("") {
                    Ok(true) => {}
                    _ => return dropped,
                },
                Err(_) => return dropped,
            }
        }
    }
}

/// What a frame means that its reader did not expect: an error, or news.
pub(crate) fn notice(frame: &Frame<'_>) -> Result<Notice> {
    let Frame::Method { id, arguments } = *frame else { return Ok(Notice::Nothing) };
    match id {
        method::CONNECTION_CLOSE => Err(closed(Scope::Connection, arguments)?),
        method::CHANNEL_CLOSE => Err(closed(Scope::Channel, arguments)?),
        method::CANCEL => Err(Error::Cancelled),
        method::CONNECTION_BLOCKED => Ok(Notice::Blocked(Reader(arguments).text()?)),
        method::CONNECTION_UNBLOCKED => Ok(Notice::Unblocked),
        method::RETURN => Ok(Notice::Returned),
        _ => Ok(Notice::Nothing),
    }
}

fn closed(scope: Scope, arguments: &[u8]) -> Result<Error> {
    let mut reader = Reader(arguments);
    let (code, text) = (reader.u16()?, reader.text()?);
    let cause = Cause(MethodId { class: reader.u16()?, method: reader.u16()? });
    Ok(Error::Closed { scope, code, text, cause })
}

fn client_properties() -> Table {
    let capability = |name: &str| (name.to_owned(), Value::Flag(true));
    let capabilities = vec![
        capability("authentication_failure_close"),
        capability("basic.nack"),
        capability("connection.blocked"),
        capability("consumer_cancel_notify"),
        capability("publisher_confirms"),
    ];
    vec![
        ("product".into(), Value::Text("warren-perf".into())),
        ("version".into(), Value::Text(env!("CARGO_PKG_VERSION").into())),
        ("capabilities".into(), Value::Table(capabilities)),
    ]
}

/// The lower of two limits of which 0 means none.
fn lower(theirs: u32, ours: u32) -> u32 {
    if theirs == 0 { ours } else { theirs.min(ours) }
}

fn lower_u16(theirs: u16, ours: u16) -> u16 {
    if theirs == 0 { ours } else { theirs.min(ours) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_close_is_an_error_with_code_text_and_cause() {
        let mut arguments = vec![1, 148, 4];
        arguments.extend_from_slice(b"GONE");
        arguments.extend_from_slice(&[0, 60, 0, 40]);
        let frame = Frame::Method { id: method::CHANNEL_CLOSE, arguments: &arguments };
        let text = notice(&frame).unwrap_err().to_string();
        assert_eq!(text, "the broker closed the channel: 404 GONE (caused by basic.publish)");
    }

    #[test]
    fn heartbeats_and_unknown_methods_are_no_news() {
        assert_eq!(notice(&Frame::Heartbeat).unwrap(), Notice::Nothing);
        let unknown = Frame::Method { id: MethodId { class: 99, method: 1 }, arguments: &[] };
        assert_eq!(notice(&unknown).unwrap(), Notice::Nothing);
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        assert_eq!((lower(0, 5), lower(4, 5), lower(9, 5)), (5, 4, 5));
    }
}
