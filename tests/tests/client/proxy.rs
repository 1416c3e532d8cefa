//! A TCP proxy that fails as networks do: it cuts connections, refuses them, or swallows what is sent.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does at the moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Network {
    /// It carries.
    Carries,
    /// New connections are accepted and ended, those that are there are ended.
    Cut,
    /// Connections stay, and nothing arrives.
    Swallows,
    /// What clients send arrives, answers do not.
    SwallowsAnswers,
    /// The same, and clients are told that the broker takes no messages, because it is `low on memory`.
    Blocks,
}

/// `connection.blocked`: a method frame on channel 0, with class 10, method 60 and the reason.
const BLOCKED: &[u8] = b"\x01\0\0\0\0\0\x12\0\x0a\0\x3c\x0dlow on memory\xce";

pub(crate) struct Proxy {
    address: SocketAddr,
    network: Arc<watch::Sender<Network>>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let network = Arc::new(watch::Sender::new(Network::Carries));
        let current = network.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *current.borrow() == Network::Cut {
                    continue;
                }
                tokio::spawn(carry(client, port, current.subscribe()));
            }
        });
        Self { address, network }
    }

    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@{}/%2F", self.address)
    }

    pub(crate) fn becomes(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// Ends what is connected, and carries what comes after.
    pub(crate) fn cut_once(&self) {
        self.becomes(Network::Cut);
        self.becomes(Network::Carries);
    }
}

async fn carry(mut client: TcpStream, port: u16, mut network: watch::Receiver<Network>) {
    let mut broker = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut from_client, mut from_broker) = ([0; 4096], [0; 4096]);
    network.mark_unchanged();
    loop {
        let state = *network.borrow();
        tokio::select! {
            // Also one that lasted for a moment only cuts.
            _ = network.changed() => {
                let network = *network.borrow_and_update();
                match network {
                    Network::Carries | Network::Cut => return,
                    Network::Blocks => client.write_all(BLOCKED).await.unwrap(),
                    Network::Swallows | Network::SwallowsAnswers => {}
                }
            }
            read = client.read(&mut from_client) => match read {
                Ok(count) if count > 0 => {
                    if state != Network::Swallows && broker.write_all(&from_client[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = broker.read(&mut from_broker) => match read {
                Ok(count) if count > 0 => {
                    if state == Network::Carries && client.write_all(&from_broker[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}
