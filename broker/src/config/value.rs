//! Values of settings: how one is read from a file, a variable or a flag.
//!
//! It knows no setting by name: `knobs.rs` says which reading belongs to which key.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;
use tracing_subscriber::EnvFilter;

use super::{CertificateLogin, LogFormat, Network, Sync, TlsVersion, TokenAlgorithm};

/// A value as it was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Input {
    /// From a variable or a flag, where all is text.
    Plain(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array.
    List(Vec<Self>),
    /// Any other TOML value, as written; no setting has this form.
    Other(String),
}

impl Input {
    pub(super) fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Self::Integer(number),
                Err(_) => Self::Other(number.to_string()),
            },
            DeValue::Boolean(flag) => Self::Boolean(*flag),
            DeValue::Array(items) => {
                Self::List(items.iter().map(|item| Self::from_toml(item.get_ref())).collect())
            }
            DeValue::Float(number) => Self::Other(number.to_string()),
            DeValue::Datetime(time) => Self::Other(time.to_string()),
            DeValue::Table(_) => Self::Other("{ .. }".to_owned()),
        }
    }

    /// The text, whether typed or not.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Plain(text) | Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A text with at least one character, at most 255 bytes: AMQP's short string.
    pub(super) fn short_text(&self) -> Option<String> {
        self.text().filter(|text| !text.is_empty() && text.len() <= 255).map(str::to_owned)
    }

    pub(super) fn integer<T: TryFrom<i64> + PartialOrd>(&self, range: RangeInclusive<T>) -> Option<T> {
        let number: i64 = match self {
            Self::Integer(number) => *number,
            Self::Plain(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        T::try_from(number).ok().filter(|number| range.contains(number))
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(flag) => Some(*flag),
            Self::Plain(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A limit from 1 to a million; 0 is none.
    #[allow(clippy::option_option, reason = "the outer level is 'not readable', the inner one 'no limit'")]
    pub(super) fn optional_limit(&self) -> Option<Option<u32>> {
        self.integer(0..=1_000_000_u32).map(|limit| (limit > 0).then_some(limit))
    }

    /// A TCP port; an empty text is none.
    #[allow(clippy::option_option, reason = "the outer level is 'not readable', the inner one 'no port'")]
    pub(super) fn optional_port(&self) -> Option<Option<u16>> {
        if self.text().is_some_and(|text| text.trim().is_empty()) {
            return Some(None);
        }
        self.integer(0..=u16::MAX).map(Some)
    }

    /// Bytes: a number of them, or a text such as `64MiB`.
    pub(super) fn bytes(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let bytes = match self {
            Self::Integer(number) => u64::try_from(*number).ok()?,
            _ => parse_bytes(self.text()?)?,
        };
        range.contains(&bytes).then_some(bytes)
    }

    /// A text such as `10s`, `500ms` or `2min`. A bare number is refused: its unit would be a guess.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        parse_duration(self.text()?).filter(|duration| range.contains(duration))
    }

    /// A memory limit: a percentage of the machine's memory, or bytes.
    pub(super) fn memory(&self) -> Option<MemoryLimit> {
        if let Some(percent) = self.text().and_then(|text| text.trim().strip_suffix('%')) {
            let percent = percent.trim().parse().ok()?;
            return (1..=95).contains(&percent).then_some(MemoryLimit::Percent(percent));
        }
        self.bytes(MEMORY_BYTES_MIN..=u64::MAX).map(MemoryLimit::Bytes)
    }

    /// Disk space to be kept free: a percentage of the disk, or bytes.
    pub(super) fn disk_free(&self) -> Option<DiskFreeLimit> {
        if let Some(percent) = self.text().and_then(|text| text.trim().strip_suffix('%')) {
            let percent = percent.trim().parse().ok()?;
            return (0..=95).contains(&percent).then_some(DiskFreeLimit::Percent(percent));
        }
        self.bytes(0..=u64::MAX).map(DiskFreeLimit::Bytes)
    }

    /// What confirms wait for.
    pub(super) fn sync(&self) -> Option<Sync> {
        Sync::parse(self.text()?, parse_duration)
    }

    /// IP addresses: an array of them, or in plain text separated by commas. At least one.
    pub(super) fn addresses(&self) -> Option<Vec<IpAddr>> {
        let parse = |text: &str| text.trim().trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let addresses: Vec<IpAddr> = match self {
            Self::List(items) => items.iter().map(|item| parse(item.text()?)).collect::<Option<_>>()?,
            _ => self.text()?.split(',').map(parse).collect::<Option<_>>()?,
        };
        (!addresses.is_empty()).then_some(addresses)
    }

    /// Names of users: an array of them, or in plain text separated by commas; `false` for none, `true` for `guest`.
    pub(super) fn names(&self) -> Option<Vec<String>> {
        match (self.boolean(), self) {
            (Some(true), _) => Some(vec!["guest".to_owned()]),
            (Some(false), _) => Some(Vec::new()),
            (None, Self::List(items)) => items.iter().map(Self::short_text).collect(),
            (None, _) => {
                let names = self.text()?.split(',').map(|name| name.trim().to_owned());
                Some(names.filter(|name| !name.is_empty()).collect())
            }
        }
    }

    /// A folder; an empty text stands for none.
    #[allow(clippy::option_option, reason = "the outer level is 'not readable', the inner one 'no folder'")]
    pub(super) fn folder(&self) -> Option<Option<PathBuf>> {
        let text = self.text()?;
        Some((!text.is_empty()).then(|| PathBuf::from(text)))
    }

    pub(super) fn tls_version(&self) -> Option<TlsVersion> {
        match self.text()? {
            "1.2" => Some(TlsVersion::Tls12),
            "1.3" => Some(TlsVersion::Tls13),
            _ => None,
        }
    }

    pub(super) fn certificate_login(&self) -> Option<CertificateLogin> {
        let text = self.text()?;
        CertificateLogin::NAMED.iter().find(|(name, _)| *name == text).map(|(_, login)| *login)
    }

    /// A text of at most 255 bytes, which may be empty.
    pub(super) fn optional_text(&self) -> Option<String> {
        self.text().filter(|text| text.len() <= 255).map(str::to_owned)
    }

    /// Words: an array of texts, or in plain text separated by commas. At least one.
    pub(super) fn words(&self) -> Option<Vec<String>> {
        let words: Vec<String> = match self {
            Self::List(items) => items.iter().map(Self::short_text).collect::<Option<_>>()?,
            _ => self.text()?.split(',').map(|word| word.trim().to_owned()).collect(),
        };
        (!words.is_empty() && words.iter().all(|word| !word.is_empty())).then_some(words)
    }

    /// How tokens may be signed.
    pub(super) fn token_algorithms(&self) -> Option<Vec<TokenAlgorithm>> {
        let named =
            |word: &String| TokenAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name() == word);
        self.words()?.iter().map(named).collect()
    }

    /// Networks: an array of them, or in plain text separated by commas; none if it is empty.
    pub(super) fn networks(&self) -> Option<Vec<Network>> {
        match self {
            Self::List(items) => items.iter().map(|item| item.text()?.trim().parse().ok()).collect(),
            _ => {
                let texts = self.text()?.split(',').map(str::trim).filter(|text| !text.is_empty());
                texts.map(|text| text.parse().ok()).collect()
            }
        }
    }

    pub(super) fn log_format(&self) -> Option<LogFormat> {
        match self.text()? {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        }
    }

    pub(super) fn log_filter(&self) -> Option<String> {
        self.text().filter(|text| is_log_filter(text)).map(str::to_owned)
    }
}

/// As a message quotes it.
impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => write!(f, "'{text}'"),
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(flag) => write!(f, "{flag}"),
            Self::Other(text) => f.write_str(text),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}

/// How much memory the broker may use before publishers have to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Percent of the memory of the machine or container, 1 to 95.
    Percent(u8),
    /// Bytes.
    Bytes(u64),
}

/// How much of the data folder's disk must stay free, else publishers have to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFreeLimit {
    /// Percent of the disk, 0 to 95.
    Percent(u8),
    /// Bytes; 0 lets the disk fill up.
    Bytes(u64),
}

impl DiskFreeLimit {
    /// The limit in bytes on a disk of `total_bytes`.
    #[must_use]
    pub fn bytes(self, total_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => total_bytes / 100 * u64::from(percent),
        }
    }
}

/// Less than this and the broker's own footprint with a few connections could hold publishers back for good.
const MEMORY_BYTES_MIN: u64 = 32 * MIB;

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
pub(super) const GIB: u64 = 1024 * MIB;

const BYTE_UNITS: [(&str, u64); 8] = [
    ("B", 1),
    ("KiB", KIB),
    ("MiB", MIB),
    ("GiB", GIB),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

const DURATION_UNITS_MS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000)];

fn parse_bytes(text: &str) -> Option<u64> {
    with_unit(text, &BYTE_UNITS, Some(1))
}

pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    // A zero needs no unit.
    if text.trim() == "0" {
        return Some(Duration::ZERO);
    }
    with_unit(text, &DURATION_UNITS_MS, None).map(Duration::from_millis)
}

fn with_unit(text: &str, units: &[(&str, u64)], bare: Option<u64>) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" => bare?,
        unit => units.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Whether a log filter can be read. A bare word must be a level: the filter's own parser would take `inof` for the
/// name of a module and silence everything else.
fn is_log_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    let plausible = text.split(',').map(str::trim).all(|directive| {
        directive.contains('[') || level(directive.rsplit_once('=').map_or(directive, |(_, level)| level))
    });
    plausible && EnvFilter::builder().parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_bytes_and_units() {
        let table = [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("64MiB", Some(64 * MIB)),
            (" 64 MiB ", Some(64 * MIB)),
            ("1GiB", Some(GIB)),
            ("5kB", Some(5_000)),
            ("2GB", Some(2_000_000_000)),
            ("64M", None),
            ("64mib", None),
            ("-1", None),
            ("1.5GiB", None),
            ("MiB", None),
            ("", None),
            ("99999999999999999999", None),
            ("18446744073709551615GiB", None),
        ];
        for (text, bytes) in table {
            assert_eq!(parse_bytes(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn durations_need_a_unit_unless_zero() {
        let table = [
            ("10s", Some(10_000)),
            ("500ms", Some(500)),
            ("2min", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("10", None),
            ("s", None),
            ("ten s", None),
            ("-1s", None),
        ];
        for (text, ms) in table {
            assert_eq!(parse_duration(text), ms.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn memory_takes_percent_and_bytes_within_bounds() {
        let table = [
            ("40%", Some(MemoryLimit::Percent(40))),
            ("1%", Some(MemoryLimit::Percent(1))),
            ("95 %", Some(MemoryLimit::Percent(95))),
            ("0%", None),
            ("96%", None),
            ("x%", None),
            ("32MiB", Some(MemoryLimit::Bytes(32 * MIB))),
            ("33554431", None),
        ];
        for (text, limit) in table {
            assert_eq!(Input::Plain(text.to_owned()).memory(), limit, "{text:?}");
        }
    }

    #[test]
    fn free_disk_space_takes_percent_and_bytes() {
        let table = [
            ("10%", Some(DiskFreeLimit::Percent(10))),
            ("0%", Some(DiskFreeLimit::Percent(0))),
            ("95%", Some(DiskFreeLimit::Percent(95))),
            ("96%", None),
            ("-1%", None),
            ("0", Some(DiskFreeLimit::Bytes(0))),
            ("50GB", Some(DiskFreeLimit::Bytes(50_000_000_000))),
            ("1GiB", Some(DiskFreeLimit::Bytes(GIB))),
            ("much", None),
            ("", None),
        ];
        for (text, limit) in table {
            assert_eq!(Input::Plain(text.to_owned()).disk_free(), limit, "{text:?}");
        }
        assert_eq!(DiskFreeLimit::Percent(10).bytes(5_000), 500);
        assert_eq!(DiskFreeLimit::Bytes(7).bytes(5_000), 7);
    }

    #[test]
    fn a_bare_word_in_a_log_filter_must_be_a_level() {
        for good in ["info", "INFO", "warn,warren::server=debug", "off", "warren[connection]=trace"] {
            assert!(is_log_filter(good), "{good:?}");
        }
        for bad in ["", "inof", "info,", "warren", "warren::server=loud", "info;debug"] {
            assert!(!is_log_filter(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_number_in_quotes_is_a_number_only_where_all_is_text() {
        assert_eq!(Input::Plain("7".to_owned()).integer(0..=9_u16), Some(7));
        assert_eq!(Input::Text("7".to_owned()).integer(0..=9_u16), None);
        assert_eq!(Input::Integer(10).integer(0..=9_u16), None);
        assert_eq!(Input::Integer(-1).integer(0..=9_u16), None);
    }

    #[test]
    fn addresses_come_as_an_array_or_separated_by_commas() {
        let both: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        let list = Input::List(vec![Input::Text("127.0.0.1".to_owned()), Input::Text("::1".to_owned())]);
        assert_eq!(list.addresses().as_ref(), Some(&both));
        assert_eq!(Input::Plain("127.0.0.1, [::1]".to_owned()).addresses(), Some(both));
        assert_eq!(Input::Plain("localhost".to_owned()).addresses(), None);
        assert_eq!(Input::List(vec![]).addresses(), None);
        assert_eq!(Input::Plain(String::new()).addresses(), None);
    }
}
