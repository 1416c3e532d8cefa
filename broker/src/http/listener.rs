//! Accepting connections of the API, a bounded number of them, and serving requests on each until the broker stops.
//!
//! A connection that takes too long to send the head of a request is cut here; bodies are `body`'s.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::caller::Peer;
use super::{Api, Listeners, router, socket};
use crate::limits::HTTP_CONNECTIONS_MAX;
use crate::server::admin::Admin;

/// How long the head of a request may take, and a connection may idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest head of a request, in bytes. Also what a connection's buffer grows to.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long to wait before accepting again after the system refused.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How long answers may take to leave when the broker stops.
const LEAVE_GRACE: Duration = Duration::from_secs(2);

/// Serves until `stopping` says so.
pub(super) async fn serve(api: Api, listeners: Listeners, mut stopping: watch::Receiver<bool>) {
    let (open, mut last) = mpsc::channel::<Infallible>(1);
    let server = Arc::new(Server {
        admin: api.admin.clone(),
        router: router::router(api),
        stopping: stopping.clone(),
        _open: open.clone(),
    });
    // Those who bring passwords cannot keep out those in the data folder.
    let (tcp_room, local_room) = (room(), room());
    let plain = listeners.tcp.into_iter().map(|listener| (listener, Transport::Plain));
    let encrypted = listeners.tls.into_iter().map(|listener| (listener, Transport::Tls));
    for (listener, transport) in plain.chain(encrypted) {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                drop(tokio::spawn(accept_tcp(server.clone(), listener, transport, tcp_room.clone())));
            }
            Err(error) => tracing::error!(%error, "the HTTP API cannot listen"),
        }
    }
    if let Some(listener) = listeners.local {
        match UnixListener::from_std(listener) {
            Ok(listener) => drop(tokio::spawn(accept_local(server.clone(), listener, local_room))),
            Err(error) => tracing::error!(%error, "the local socket cannot listen"),
        }
    }
    drop((server, open));
    stopped(&mut stopping).await;
    // Nobody ever sends: this ends when the last connection has.
    let _ = tokio::time::timeout(LEAVE_GRACE, last.recv()).await;
}

/// Waits until the broker stops.
pub(super) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // The error says that it was dropped, which ends it as well.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX))
}

struct Server {
    admin: Admin,
    router: Router,
    stopping: watch::Receiver<bool>,
    /// Dropped with the last connection.
    _open: mpsc::Sender<Infallible>,
}

/// What is spoken below HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Plain,
    Tls,
}

async fn accept_tcp(server: Arc<Server>, listener: TcpListener, transport: Transport, room: Arc<Semaphore>) {
    let mut stopping = server.stopping.clone();
    let accepting = async {
        while let Ok(permit) = room.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // An error means that the peer is gone already, which the first read will show.
                    let _ = stream.set_nodelay(true);
                    let (server, peer) = (server.clone(), Peer::Tcp(peer.ip()));
                    match transport {
                        Transport::Plain => drop(tokio::spawn(server.serve(stream, peer, permit))),
                        Transport::Tls => drop(tokio::spawn(server.serve_encrypted(stream, peer, permit))),
                    }
                }
                Err(error) => pause(&error).await,
            }
        }
    };
    tokio::select! { () = accepting => {}, () = stopped(&mut stopping) => {} }
}

async fn accept_local(server: Arc<Server>, listener: UnixListener, room: Arc<Semaphore>) {
    let mut stopping = server.stopping.clone();
    let accepting = async {
        while let Ok(permit) = room.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => match stream.peer_cred() {
                    Ok(peer) if socket::is_owner(peer.uid()) => {
                        tokio::spawn(server.clone().serve(stream, Peer::Local, permit));
                    }
                    Ok(peer) => tracing::warn!(uid = peer.uid(), "local socket: not this user's broker"),
                    Err(error) => tracing::warn!(%error, "local socket: the peer is not known"),
                },
                Err(error) => pause(&error).await,
            }
        }
    };
    tokio::select! { () = accepting => {}, () = stopped(&mut stopping) => {} }
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "the HTTP API cannot accept a connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

impl Server {
    async fn serve_encrypted(self: Arc<Self>, stream: TcpStream, peer: Peer, permit: OwnedSemaphorePermit) {
        match self.admin.accept_https(stream).await {
            Ok(stream) => self.serve(stream, peer, permit).await,
            Err(error) => tracing::debug!(?peer, %error, "no TLS with a client of the HTTP API"),
        }
    }

    async fn serve<S>(self: Arc<Self>, stream: S, peer: Peer, _permit: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let answer = |request: hyper::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            router::answer(self.router.clone(), request)
        };
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::pin!(connection);
        let mut stopping = self.stopping.clone();
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped(&mut stopping) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(?peer, %error, "a connection of the HTTP API ended");
        }
    }
}
