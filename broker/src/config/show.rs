//! The TOML forms of values, each of which the reading in `value.rs` accepts.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::value::{GIB, KIB, MIB};
use super::{
    CertificateLogin, DiskFreeLimit, LogFormat, MemoryLimit, Network, Sync, TlsVersion, TokenAlgorithm,
};

pub(super) fn text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

pub(super) fn addresses(addresses: &[IpAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(|ip| text(&ip.to_string())).collect();
    format!("[{}]", addresses.join(", "))
}

pub(super) fn texts(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|one| text(one)).collect();
    format!("[{}]", texts.join(", "))
}

pub(super) fn folder(folder: Option<&Path>) -> String {
    text(&folder.map_or_else(String::new, |folder| folder.display().to_string()))
}

pub(super) fn tls_version(version: TlsVersion) -> String {
    text(match version {
        TlsVersion::Tls12 => "1.2",
        TlsVersion::Tls13 => "1.3",
    })
}

pub(super) fn token_algorithms(algorithms: &[TokenAlgorithm]) -> String {
    let names: Vec<String> = algorithms.iter().map(|one| text(one.name())).collect();
    format!("[{}]", names.join(", "))
}

pub(super) fn networks(networks: &[Network]) -> String {
    let networks: Vec<String> = networks.iter().map(|one| text(&one.to_string())).collect();
    format!("[{}]", networks.join(", "))
}

pub(super) fn certificate_login(login: CertificateLogin) -> String {
    let named = CertificateLogin::NAMED.iter().find(|(_, named)| *named == login);
    text(named.map_or("", |(name, _)| name))
}

pub(super) fn log_format(format: LogFormat) -> String {
    text(match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    })
}

pub(super) fn duration(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms % 1_000 == 0 => text(&format!("{}s", duration.as_secs())),
        ms => text(&format!("{ms}ms")),
    }
}

pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        b if b > 0 && b % GIB == 0 => text(&format!("{}GiB", b / GIB)),
        b if b > 0 && b % MIB == 0 => text(&format!("{}MiB", b / MIB)),
        b if b > 0 && b % KIB == 0 => text(&format!("{}KiB", b / KIB)),
        b => b.to_string(),
    }
}

pub(super) fn memory(limit: MemoryLimit) -> String {
    match limit {
        MemoryLimit::Percent(percent) => text(&format!("{percent}%")),
        MemoryLimit::Bytes(limit) => bytes(limit),
    }
}

pub(super) fn disk_free(limit: DiskFreeLimit) -> String {
    match limit {
        DiskFreeLimit::Percent(percent) => text(&format!("{percent}%")),
        DiskFreeLimit::Bytes(limit) => bytes(limit),
    }
}

pub(super) fn sync(sync: Sync) -> String {
    text(&sync.to_string())
}
