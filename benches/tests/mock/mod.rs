//! A tiny AMQP broker that can be told to misbehave.
//!
//! It knows just the methods `warren-perf` uses with the default exchange, and does one thing wrong on request. It refuses
//! to be fast or complete, and shares no code with the generator. Called by the tests beside it.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What goes wrong, with the message of this number (from 0) or from it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    Lose(u64),
    Double(u64),
    /// Delivers it after the one that follows.
    Delay(u64),
    /// Refuses it with basic.nack.
    Refuse(u64),
    /// Closes the channel instead of taking it.
    CloseChannel(u64),
    /// Drops the connection without a word.
    Hangup(u64),
    /// Delivers it with another body size.
    Pad(u64),
}

/// How frames leave the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    Whole,
    /// In pieces of a few bytes, with heartbeats between frames.
    Shredded,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Vec<u8>>,
    consumer: Option<Consumer>,
}

struct Consumer {
    stream: TcpStream,
    tag: Vec<u8>,
    delivered: u64,
}

struct Broker {
    fault: Fault,
    writing: Writing,
    queues: HashMap<Vec<u8>, Queue>,
    published: u64,
    held: Option<Vec<u8>>,
}

/// Starts a broker on a free port. It ends with the process.
pub fn start(fault: Fault, writing: Writing) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let queues = HashMap::new();
    let broker = Arc::new(Mutex::new(Broker { fault, writing, queues, published: 0, held: None }));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let broker = Arc::clone(&broker);
            std::thread::spawn(move || serve(&stream, &broker));
        }
    });
    Ok(address)
}

/// Serves a connection until either side hangs up.
fn serve(stream: &TcpStream, broker: &Mutex<Broker>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = io::BufReader::new(stream.try_clone()?);
    input.read_exact(&mut [0; 8])?;
    let writing = lock(broker).writing;
    // connection.start: version, empty properties, mechanisms, locales.
    let mut start = vec![0, 9, 0, 0, 0, 0];
    start.extend_from_slice(&[0, 0, 0, 5]);
    start.extend_from_slice(b"PLAIN\0\0\0\x05en_US");
    send(stream, writing, &method(10, 10, &start))?;
    let (mut confirms, mut published) = (false, 0);
    let (mut routing_key, mut body) = (Vec::new(), Vec::new());
    let mut left = 0;
    loop {
        let (kind, payload) = read_frame(&mut input)?;
        match kind {
            1 if payload.starts_with(&[0, 60, 0, 40]) => {
                routing_key = short(&payload[6 + 1 + usize::from(payload[6])..]).to_vec();
            }
            1 => {
                confirms |= payload.starts_with(&[0, 85, 0, 10]);
                answer(stream, broker, &payload)?;
            }
            2 => {
                left = u64::from_be_bytes(payload[4..12].try_into().unwrap_or_default());
                body.clear();
            }
            3 => {
                body.extend_from_slice(&payload);
                left -= payload.len() as u64;
                if left == 0 {
                    published += 1;
                    let taken = lock(broker).publish(stream, &routing_key, &body)?;
                    if confirms {
                        let mut tag = u64::to_be_bytes(published).to_vec();
                        tag.push(0);
                        let id = if taken { 80 } else { 120 };
                        send(stream, writing, &method(60, id, &tag))?;
                    }
                }
            }
            _ => {}
        }
    }
}

/// Does what a method other than basic.publish asks.
fn answer(stream: &TcpStream, broker: &Mutex<Broker>, payload: &[u8]) -> io::Result<()> {
    let mut broker = lock(broker);
    let id = (u16::from_be_bytes([payload[0], payload[1]]), u16::from_be_bytes([payload[2], payload[3]]));
    let arguments = &payload[4..];
    let reply = match id {
        (10, 11) => method(10, 30, &[0, 1, 0, 2, 0, 0, 0, 0]),
        (10, 40) => method(10, 41, &[0]),
        (10, 50) => method(10, 51, &[]),
        (20, 10) => method(20, 11, &[0; 4]),
        (50, 10) => {
            let name = short(&arguments[2..]);
            let queue = broker.queues.entry(name.to_vec()).or_default();
            let mut reply = vec![name.len() as u8];
            reply.extend_from_slice(name);
            reply.extend_from_slice(&(queue.waiting.len() as u32).to_be_bytes());
            reply.extend_from_slice(&[0; 4]);
            method(50, 11, &reply)
        }
        (50, 40) => {
            broker.queues.remove(short(&arguments[2..]));
            method(50, 41, &[0; 4])
        }
        (60, 10) => method(60, 11, &[]),
        (60, 20) => return broker.consume(stream, arguments),
        (85, 10) => method(85, 11, &[]),
        _ => return Ok(()),
    };
    send(stream, broker.writing, &reply)
}

impl Broker {
    fn consume(&mut self, stream: &TcpStream, arguments: &[u8]) -> io::Result<()> {
        let name = short(&arguments[2..]);
        let rest = &arguments[3 + name.len()..];
        let tag = short(rest);
        let no_wait = rest[1 + tag.len()] & 8 != 0;
        if !no_wait {
            let mut reply = vec![tag.len() as u8];
            reply.extend_from_slice(tag);
            send(stream, self.writing, &method(60, 21, &reply))?;
        }
        let queue = self.queues.entry(name.to_vec()).or_default();
        queue.consumer = Some(Consumer { stream: stream.try_clone()?, tag: tag.to_vec(), delivered: 0 });
        for body in std::mem::take(&mut queue.waiting) {
            self.deliver(name, &body)?;
        }
        Ok(())
    }

    /// Takes a message or does what the fault says. Says whether it was taken.
    fn publish(&mut self, publisher: &TcpStream, queue: &[u8], body: &[u8]) -> io::Result<bool> {
        let number = self.published;
        self.published += 1;
        match self.fault {
            Fault::Lose(which) if which == number => return Ok(true),
            Fault::Double(which) if which == number => self.deliver(queue, body)?,
            Fault::Delay(which) if which == number => {
                self.held = Some(body.to_vec());
                return Ok(true);
            }
            Fault::Refuse(which) if which == number => return Ok(false),
            Fault::CloseChannel(which) if which <= number => {
                let close = b"\x01\x94\x04GONE\0\x3c\0\x28";
                send(publisher, self.writing, &method(20, 40, close))?;
                return Ok(true);
            }
            Fault::Hangup(which) if which <= number => {
                publisher.shutdown(std::net::Shutdown::Both)?;
                return Ok(true);
            }
            Fault::Pad(which) if which == number => {
                let padded = [body, b"!"].concat();
                self.deliver(queue, &padded)?;
                return Ok(true);
            }
            _ => {}
        }
        self.deliver(queue, body)?;
        if let Some(held) = self.held.take() {
            self.deliver(queue, &held)?;
        }
        Ok(true)
    }

    fn deliver(&mut self, name: &[u8], body: &[u8]) -> io::Result<()> {
        let queue = self.queues.entry(name.to_vec()).or_default();
        let Some(consumer) = &mut queue.consumer else {
            queue.waiting.push(body.to_vec());
            return Ok(());
        };
        consumer.delivered += 1;
        let mut arguments = vec![consumer.tag.len() as u8];
        arguments.extend_from_slice(&consumer.tag);
        arguments.extend_from_slice(&consumer.delivered.to_be_bytes());
        arguments.extend_from_slice(&[0, 0, name.len() as u8]);
        arguments.extend_from_slice(name);
        let mut bytes = method(60, 60, &arguments);
        let mut header = vec![0, 60, 0, 0];
        header.extend_from_slice(&(body.len() as u64).to_be_bytes());
        header.extend_from_slice(&[0, 0]);
        bytes.extend(frame(2, &header));
        // A body may be cut anywhere, even inside the stamp at its beginning.
        let (first, second) = body.split_at(if self.writing == Writing::Shredded { 5 } else { 0 });
        for part in first.chunks(4_000).chain(second.chunks(4_000)) {
            bytes.extend(frame(3, part));
        }
        send(&consumer.stream, self.writing, &bytes)
    }
}

fn send(mut stream: &TcpStream, writing: Writing, bytes: &[u8]) -> io::Result<()> {
    match writing {
        Writing::Whole => stream.write_all(bytes),
        Writing::Shredded => {
            let heartbeat: &[u8] = &[8, 0, 0, 0, 0, 0, 0, 0xCE];
            let bytes = [heartbeat, bytes].concat();
            bytes.chunks(7).try_for_each(|piece| stream.write_all(piece))
        }
    }
}

fn method(class: u16, id: u16, arguments: &[u8]) -> Vec<u8> {
    frame(1, &[&class.to_be_bytes(), &id.to_be_bytes(), arguments].concat())
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    // Methods of the connection class go on channel 0; the generator does not look.
    [&[kind, 0, 1], &(payload.len() as u32).to_be_bytes()[..], payload, &[0xCE]].concat()
}

fn read_frame(input: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 7];
    input.read_exact(&mut header)?;
    let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    let mut payload = vec![0; size as usize + 1];
    input.read_exact(&mut payload)?;
    if payload.pop() != Some(0xCE) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok((header[0], payload))
}

fn short(bytes: &[u8]) -> &[u8] {
    &bytes[1..=usize::from(bytes[0])]
}

fn lock(broker: &Mutex<Broker>) -> MutexGuard<'_, Broker> {
    broker.lock().unwrap_or_else(PoisonError::into_inner)
}
