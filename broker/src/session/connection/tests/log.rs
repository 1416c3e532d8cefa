//! What the log says of channels and connections that are closed.

use std::io;
use std::sync::{Arc, Mutex};

use super::*;

/// Gathers what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `work` logs.
fn logged(work: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

const WHO: [&str; 3] = ["user=\"guest\"", "vhost=\"/\"", "name=\"test\""];

#[test]
fn the_log_says_whose_channel_is_closed_and_a_name_cannot_forge_a_line() {
    let mut peer = TestPeer::with_channel();
    let error = AmqpError::not_found("no queue 'x\nWARN all is lost' in vhost '/'");
    let lines = logged(|| drop(peer.connection.fail(1, error)));
    let [line] = &lines[..] else { panic!("{lines:?}") };
    for part in WHO.iter().chain(&["INFO", "closing a channel", "channel=1", "'x\\nWARN all is lost'"]) {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn a_connection_closed_for_a_fault_is_a_warning_and_one_the_broker_ends_is_not() {
    let forced = Event::Close(AmqpError::connection_forced("broker shutdown"));
    for (level, event) in [("INFO", forced), ("WARN", Event::Close(AmqpError::not_allowed("no")))] {
        let mut peer = TestPeer::with_channel();
        let lines = logged(|| drop(peer.connection.handle_event(event)));
        let [line] = &lines[..] else { panic!("{lines:?}") };
        for part in WHO.iter().chain(&[level, "closing a connection"]) {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
}
