//! Making one connection: socket, TLS and handshake, within a time. lapin does each of them and waits for ever; what it
//! began in its own thread ends here when the time is over, by closing the socket under it.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPScheme;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use tokio::time::timeout;

use crate::address::Address;
use crate::{Error, Options};

/// A second handle of the socket of a connection that is being made.
type Socket = Arc<Mutex<Option<TcpStream>>>;

/// # Errors
///
/// [`Error::Unreachable`], [`Error::Silent`] and [`Error::Refused`].
pub(super) async fn dial(address: &Address, options: &Options) -> Result<Connection, Error> {
    let patience = options.connect_timeout;
    let socket = Socket::default();
    let attempt = connect(address, options, socket.clone());
    match timeout(patience, attempt).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(Error::from_connecting(&address.shown(), error)),
        Err(_) => {
            // lapin's thread waits for this socket, and would do so for as long as it is open.
            if let Some(socket) = socket.lock().unwrap_or_else(PoisonError::into_inner).take() {
                let _ = socket.shutdown(Shutdown::Both);
            }
            Err(Error::Silent { address: address.shown(), patience })
        }
    }
}

async fn connect(address: &Address, options: &Options, socket: Socket) -> lapin::Result<Connection> {
    let patience = options.connect_timeout;
    let tls: OwnedTLSConfig = options.tls.config();
    let mut properties = ConnectionProperties::default();
    if let Some(name) = &options.name {
        properties = properties.with_connection_name(name.as_str().into());
    }
    Connection::connector(
        address.uri.clone(),
        lapin::runtime::default_runtime()?,
        async move |uri, runtime| {
            let (host, port) = (uri.authority.host.clone(), uri.authority.port);
            let addresses = runtime.to_socket_addrs((host.clone(), port));
            let stream = match timeout(patience, AsyncTcpStream::connect(&runtime, addresses)).await {
                Ok(stream) => stream?,
                Err(_) => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            };
            if let AsyncTcpStream::Plain(plain) = &stream {
                let handle = plain.get_ref().as_fd().try_clone_to_owned()?;
                *socket.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle.into());
            }
            match uri.scheme {
                AMQPScheme::AMQP => Ok(stream),
                AMQPScheme::AMQPS => Ok(stream.into_tls(&host, tls.as_ref()).await?),
            }
        },
        properties,
    )
    .await
}
