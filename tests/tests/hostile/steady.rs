//! [`Steady`]: a well-behaved client. It publishes a message, receives and acknowledges it, and so on, while others misbehave;
//! each message must arrive in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use warren_tests::Broker;

use crate::peer::{Peer, method, publish};

/// How long a message may take. Tests run beside each other on few cores; a client that was really held up waits for
/// ever.
const IN_TIME: Duration = Duration::from_secs(10);

/// A client in a thread of its own.
pub(crate) struct Steady {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Duration)>,
}

impl Steady {
    pub(crate) fn start(broker: &Broker) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (port, stopped) = (broker.port(), stop.clone());
        let thread = std::thread::spawn(move || run(port, &stopped));
        Self { stop, thread }
    }

    /// Ends it; prints and checks how it went.
    pub(crate) fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (messages, slowest) = self.thread.join().expect("the well-behaved client was disturbed");
        println!("the well-behaved client got {messages} messages, the slowest after {slowest:?}");
        assert!(messages > 0);
        assert!(slowest < IN_TIME, "a message took {slowest:?}");
    }
}

fn run(port: u16, stopped: &AtomicBool) -> (u64, Duration) {
    let mut peer = Peer::tuned(port, 131_072, 0);
    peer.declare("steady");
    peer.consume(1, "steady", "steady", false);
    let (mut messages, mut slowest) = (0_u64, Duration::ZERO);
    while !stopped.load(Ordering::Relaxed) || messages == 0 {
        let sent = Instant::now();
        peer.send(&publish("steady", &messages.to_be_bytes()));
        peer.wait_for((60, 60));
        let (_header, body) = (peer.frame(), peer.frame());
        assert_eq!(body.payload, messages.to_be_bytes(), "messages arrive in order");
        slowest = slowest.max(sent.elapsed());
        messages += 1;
        peer.send(&method(1, (60, 80), &[&messages.to_be_bytes()[..], b"\0"].concat()));
        // Not to compete for the processor with the test itself.
        std::thread::sleep(Duration::from_millis(5));
    }
    (messages, slowest)
}
