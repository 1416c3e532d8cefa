//! The broker as a service of systemd: what the manager is told (ready, stopping, alive; sd_notify(3)), and the sockets that it
//! may have opened (sd_listen_fds(3)).
//!
//! Without a manager, that is without its variables in the environment, it does nothing. `run.rs` calls it.

use std::env;
use std::time::Duration;

use anyhow::{Context as _, bail};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tracing::debug;
use warren::{Broker, Sockets};

/// How many signs of life fit into the time after which the service manager takes the broker for dead.
const SIGNS_PER_TIMEOUT: u32 = 3;

/// The sockets that the service manager has opened, by the name that it gives them: `FileDescriptorName=` amqp, amqps or http.
/// One without a name is for AMQP.
pub(super) fn sockets() -> anyhow::Result<Sockets> {
    let mut inherited = ListenFd::from_env();
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = Sockets::default();
    for place in 0..inherited.len() {
        let name = names.next().unwrap_or_default();
        let socket = inherited.take_tcp_listener(place);
        let socket = socket
            .with_context(|| format!("socket {place} of the service manager is no listening TCP socket"))?;
        let kind = match name {
            // systemd names a socket after its unit when it is given no name.
            "amqp" | "" | "unknown" | "warren.socket" => &mut sockets.amqp,
            "amqps" => &mut sockets.amqps,
            "http" => &mut sockets.http,
            other => bail!(
                "the service manager hands over a socket named {other}; use FileDescriptorName=amqp, amqps or http"
            ),
        };
        kind.extend(socket);
    }
    Ok(sockets)
}

/// Clients are served. `status` is what `systemctl status` shows.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The broker stops, and may take a while.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Gives signs of life for as long as the runtime runs tasks and the broker answers, if a service manager wants them
/// (`WATCHDOG_USEC`).
pub(super) fn keep_alive(broker: &Broker) {
    let Some(timeout) = sd_notify::watchdog_enabled() else { return };
    let pause = (timeout / SIGNS_PER_TIMEOUT).max(Duration::from_millis(1));
    let admin = broker.admin();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(pause);
        loop {
            ticks.tick().await;
            let admin = admin.clone();
            // It takes the locks that every connection takes; a broker that is stuck never comes back from here.
            if tokio::task::spawn_blocking(move || admin.probe()).await.is_ok() {
                tell(&[NotifyState::Watchdog]);
            }
        }
    });
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "the service manager cannot be told");
    }
}
