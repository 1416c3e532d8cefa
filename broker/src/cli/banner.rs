//! The few lines a starting broker prints: where it listens, where its data is and what can still be lost, how to connect,
//! how to stop.
//!
//! Text only; `run.rs` prints it once the listeners are open.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use warren::config::Config;

/// The banner for a broker that listens on `addrs`, on `tls_addrs` for TLS, and on `http_addrs` and `https_addrs` for the HTTP API.
pub(super) fn banner(
    config: &Config,
    addrs: &[SocketAddr],
    tls_addrs: &[SocketAddr],
    (http_addrs, https_addrs): (&[SocketAddr], &[SocketAddr]),
) -> String {
    let mut out = format!("Warren {}, an AMQP 0-9-1 broker\n", env!("CARGO_PKG_VERSION"));
    for addr in addrs {
        let _ = writeln!(out, "  listening  amqp://{addr}");
    }
    for addr in tls_addrs {
        let _ = writeln!(out, "  listening  amqps://{addr}");
    }
    for addr in http_addrs {
        let _ = writeln!(out, "  http api   http://{addr}/api");
    }
    for addr in https_addrs {
        let _ = writeln!(out, "  http api   https://{addr}/api");
    }
    match &config.data.folder {
        Some(folder) => {
            let sync = config.store.sync;
            let _ = writeln!(out, "  data       {}", folder.display());
            let _ = writeln!(out, "  sync       {sync}: {}", sync.loses());
        }
        None => {
            out.push_str("  data       none: everything is kept in memory and gone when the broker stops\n");
        }
    }
    if let Some(addr) = addrs.first() {
        let _ = writeln!(out, "  connect    amqp://{}", connect(config, reachable(*addr)));
    } else if let Some(addr) = tls_addrs.first() {
        let _ = writeln!(out, "  connect    amqps://{}", connect(config, reachable(*addr)));
    }
    out.push_str("  stop       Ctrl-C, or SIGTERM; a second one stops at once\n");
    out
}

fn connect(config: &Config, addr: SocketAddr) -> String {
    let auth = &config.auth;
    let password = if auth.password.0 == "guest" { "guest" } else { "<password>" };
    let is_open = config.listen.bind.iter().any(|ip| !ip.is_loopback());
    let from = match (auth.is_user_loopback_only(), is_open) {
        (true, true) => "from this machine only, until auth.loopback_only does not name it",
        (true, false) => "from this machine only",
        (false, true) => "from other machines, too, by their name for this one",
        (false, false) => "from this machine; no other can reach these addresses",
    };
    format!("{}:{password}@{addr} ({from})", auth.user)
}

/// An address that a client on this machine can use: a listener on all addresses has none of its own.
pub(super) fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use warren::config::{Data, Secret, Sync};

    use super::*;

    #[test]
    fn every_listener_has_a_line_and_the_first_is_the_one_to_connect_to() {
        let addrs = ["0.0.0.0:4242".parse().unwrap(), "[::1]:4242".parse().unwrap()];
        let text = banner(&Config::default(), &addrs, &[], (&[], &[]));
        assert!(
            text.contains("  listening  amqp://0.0.0.0:4242\n  listening  amqp://[::1]:4242\n"),
            "{text}"
        );
        assert!(text.contains("amqp://guest:guest@127.0.0.1:4242 (from this machine only)"), "{text}");
    }

    #[test]
    fn where_tls_is_spoken_is_said_too() {
        let tls = ["127.0.0.1:5671".parse().unwrap()];
        let text = banner(&Config::default(), &["127.0.0.1:5672".parse().unwrap()], &tls, (&[], &[]));
        assert!(text.contains("  listening  amqps://127.0.0.1:5671\n"), "{text}");
        assert!(text.contains("  connect    amqp://guest:guest@127.0.0.1:5672 "), "{text}");
        let text = banner(&Config::default(), &[], &tls, (&[], &[]));
        assert!(text.contains("  connect    amqps://guest:guest@127.0.0.1:5671 "), "{text}");
    }

    #[test]
    fn where_the_http_api_is_served_is_said_too() {
        let plain: [SocketAddr; 1] = ["127.0.0.1:15672".parse().unwrap()];
        let encrypted: [SocketAddr; 1] = ["127.0.0.1:15671".parse().unwrap()];
        let text = banner(&Config::default(), &[], &[], (&plain, &encrypted));
        assert!(text.contains("  http api   http://127.0.0.1:15672/api\n"), "{text}");
        assert!(text.contains("  http api   https://127.0.0.1:15671/api\n"), "{text}");
    }

    #[test]
    fn a_password_of_ones_own_is_not_shown() {
        let mut config = Config { data: Data { folder: None }, ..Config::default() };
        config.auth.password = Secret("tulip".to_owned());
        config.auth.loopback_only.clear();
        let text = banner(&config, &["127.0.0.1:1".parse().unwrap()], &[], (&[], &[]));
        assert!(!text.contains("tulip"), "{text}");
        assert!(
            text.contains(
                "amqp://guest:<password>@127.0.0.1:1 (from this machine; no other can reach these addresses)"
            ),
            "{text}"
        );
        assert!(
            text.contains("  data       none: everything is kept in memory and gone when the broker stops\n")
        );
        assert!(!text.contains("sync"), "{text}");
    }

    #[test]
    fn the_data_folder_is_named_with_what_its_sync_mode_loses() {
        let mut config = Config::default();
        let text = banner(&config, &[], &[], (&[], &[]));
        assert!(
            text.contains(
                "  data       warren-data\n  sync       always: nothing confirmed is lost when the process is killed \
                 or the power fails\n"
            ),
            "{text}"
        );
        config.store.sync = Sync::Interval(Duration::from_millis(200));
        let text = banner(&config, &[], &[], (&[], &[]));
        assert!(
            text.contains(
                "  sync       interval=200ms: nothing confirmed is lost when the process is killed; a power failure \
                 takes what was confirmed in the last 200 ms\n"
            ),
            "{text}"
        );
    }
}
