//! A sync that takes its time: only those wait for it who asked for something that has to be on the disk.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use futures::{FutureExt as _, StreamExt as _};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Consumer};
use tempfile::TempDir;
use tokio::time::timeout;
use warren_tests::{DEADLINE, eventually};

use crate::shim::Shim;
use crate::warren::Warren;

/// How many heartbeats must come while the sync goes on. The client asked for one a second.
const HEARTBEATS: usize = 5;

async fn confirming(warren: &Warren) -> Channel {
    let channel = warren.connect().await.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

async fn declare(channel: &Channel, queue: &str, durable: bool) {
    let options = QueueDeclareOptions { durable, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
}

/// Publishes; the confirm is for the caller to await.
async fn publish(
    channel: &Channel,
    queue: &str,
    mode: u8,
) -> impl Future<Output = lapin::Result<Confirmation>> + use<> {
    let properties = BasicProperties::default().with_delivery_mode(mode);
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), queue.into(), options, b"a message", properties).await.unwrap()
}

async fn consume(channel: &Channel, queue: &str) -> Consumer {
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.unwrap()
}

/// Receives and acknowledges so many.
async fn work(consumer: &mut Consumer, count: usize) {
    for _ in 0..count {
        let delivery =
            timeout(DEADLINE, consumer.next()).await.expect("a delivery in time").unwrap().unwrap();
        delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_confirms_of_persistent_messages_wait_for_a_slow_sync() {
    let place = TempDir::new().unwrap();
    let data = place.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let slow = place.path().join("slow");
    let rules = format!("calls=sync while={} holds", slow.display());
    let shim = Shim { rules, struck: Some(place.path().join("struck")), ..Shim::default() };
    let warren = Warren::run(&data, Some(&shim), &[]);
    let persistent = confirming(&warren).await;
    declare(&persistent, "durable", true).await;
    for _ in 0..20 {
        assert!(matches!(publish(&persistent, "durable", 2).await.await.unwrap(), Confirmation::Ack(_)));
    }
    let mut heartbeats = Heartbeats::connect(&warren);

    std::fs::write(&slow, "").unwrap();
    let confirm = publish(&persistent, "durable", 2).await;
    eventually("a sync begins and takes its time", || (!shim.strikes().is_empty()).then_some(()));

    // Transient traffic, with all it needs.
    let transient = confirming(&warren).await;
    declare(&transient, "transient", false).await;
    let mut consumer = consume(&transient, "transient").await;
    for _ in 0..100 {
        let confirm = publish(&transient, "transient", 1).await;
        let confirmed = timeout(DEADLINE, confirm).await.expect("confirmed while the sync goes on").unwrap();
        assert!(matches!(confirmed, Confirmation::Ack(_)));
    }
    work(&mut consumer, 100).await;
    // Acknowledgements make room for deliveries, of persistent messages too.
    let durable = warren.connect().await.create_channel().await.unwrap();
    durable.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    let mut consumer = consume(&durable, "durable").await;
    work(&mut consumer, 20).await;
    // And nobody is taken for dead.
    heartbeats.wait_for(HEARTBEATS);

    let mut confirm = Box::pin(confirm);
    assert!((&mut confirm).now_or_never().is_none(), "confirmed before it was synced");
    std::fs::remove_file(&slow).unwrap();
    let confirmed = timeout(DEADLINE, confirm).await.expect("confirmed after the sync").unwrap();
    assert!(matches!(confirmed, Confirmation::Ack(_)));
    let ended = warren.stop();
    assert!(ended.status.success(), "{}\n{}", ended.status, ended.log);
}

/// A connection that does nothing but exchange heartbeats, in plain bytes, as clients keep theirs to themselves.
struct Heartbeats {
    stream: TcpStream,
}

const HEARTBEAT: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 0xce];

impl Heartbeats {
    fn connect(warren: &Warren) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", warren.port())).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut this = Self { stream };
        this.stream.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
        assert_eq!(this.read_method(), (10, 10), "connection.start");
        // No client properties, PLAIN, a null-separated user and password, and a locale.
        this.send_method((10, 11), b"\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US");
        assert_eq!(this.read_method(), (10, 30), "connection.tune");
        // Channels, bytes of a frame, and a heartbeat every second.
        this.send_method((10, 31), b"\0\x10\0\x01\0\0\0\x01");
        this.send_method((10, 40), b"\x01/\0\0");
        assert_eq!(this.read_method(), (10, 41), "connection.open-ok");
        this
    }

    /// Answers so many heartbeats.
    fn wait_for(&mut self, count: usize) {
        // Those that came before are answered, and do not count.
        self.stream.set_nonblocking(true).unwrap();
        while self.stream.read_exact(&mut [0; HEARTBEAT.len()]).is_ok() {}
        self.stream.set_nonblocking(false).unwrap();
        for _ in 0..count {
            self.stream.write_all(&HEARTBEAT).unwrap();
            let (kind, _) = self.read_frame();
            assert_eq!(kind, HEARTBEAT[0], "something else than a heartbeat");
        }
    }

    fn send_method(&mut self, (class, method): (u16, u16), arguments: &[u8]) {
        let length = u32::try_from(arguments.len() + 4).unwrap();
        let mut frame = vec![1, 0, 0];
        frame.extend(length.to_be_bytes());
        frame.extend(class.to_be_bytes());
        frame.extend(method.to_be_bytes());
        frame.extend(arguments);
        frame.push(0xce);
        self.stream.write_all(&frame).unwrap();
    }

    fn read_method(&mut self) -> (u16, u16) {
        let (kind, payload) = self.read_frame();
        assert_eq!(kind, 1, "a method");
        let word = |at| u16::from_be_bytes([payload[at], payload[at + 1]]);
        (word(0), word(2))
    }

    fn read_frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 7];
        self.stream.read_exact(&mut head).expect("a frame in time");
        let length = u32::from_be_bytes(head[3..].try_into().unwrap());
        let mut payload = vec![0; usize::try_from(length).unwrap() + 1];
        self.stream.read_exact(&mut payload).expect("a whole frame");
        (head[0], payload)
    }
}
