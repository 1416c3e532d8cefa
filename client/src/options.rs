//! How to connect: where to, as whom, and how patiently.

use std::time::Duration;

use crate::address::Address;
use crate::{Backoff, Error, Tls};

/// How long one attempt to connect may take unless said otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of a [`Connection`](crate::Connection). A plain URL is enough for most programs.
///
/// ```
/// use std::time::Duration;
/// use warren_client::Options;
///
/// let options = Options::new("amqp://guest:guest@rabbit-1.example/%2F")
///     .address("amqp://guest:guest@rabbit-2.example/%2F")
///     .name("invoice-mailer")
///     .heartbeat(Duration::from_secs(20));
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a connection is opened with them"]
pub struct Options {
    urls: Vec<Url>,
    pub(crate) name: Option<String>,
    heartbeat: Option<Duration>,
    pub(crate) tls: Tls,
    pub(crate) backoff: Backoff,
    pub(crate) connect_timeout: Duration,
    pub(crate) patient_start: bool,
}

/// Not printed, because it may hold a password.
#[derive(Clone)]
struct Url(String);

impl std::fmt::Debug for Url {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("(address)")
    }
}

impl Options {
    /// Connects to an address such as `amqp://user:password@host:5672/%2F`, or with TLS to one that begins with
    /// `amqps://`. The path is the virtual host, `%2F` for the one that every broker has.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { run(async |url: String| {
    /// # use warren_client::{Connection, Options};
    /// // Such as amqp://guest:guest@127.0.0.1:5672/%2F
    /// let connection = Connection::open(Options::new(url)).await?;
    /// assert!(connection.watch().borrow().is_connected());
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            urls: vec![Url(url.into())],
            name: None,
            heartbeat: None,
            tls: Tls::default(),
            backoff: Backoff::default(),
            connect_timeout: CONNECT_TIMEOUT,
            patient_start: false,
        }
    }

    /// One more address, which is tried when those before it do not answer. After a loss the search begins at the first
    /// again.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { run(async |url: String| {
    /// # use warren_client::{Connection, Options};
    /// // Nobody is at the first of them.
    /// let options = Options::new("amqp://127.0.0.1:1").address(url);
    /// let connection = Connection::open(options).await?;
    /// assert!(connection.watch().borrow().is_connected());
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn address(mut self, url: impl Into<String>) -> Self {
        self.urls.push(Url(url.into()));
        self
    }

    /// What the broker calls the connection in its logs and lists: usually the name of the program.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { run(async |url: String| {
    /// # use warren_client::{Connection, Options};
    /// let connection = Connection::open(Options::new(url).name("invoice-mailer")).await?;
    /// assert!(connection.watch().borrow().is_connected());
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How often each side lets the other know that it is there. Twice this time without a sign of the broker, and the
    /// connection counts as lost. Whole seconds up to 65535; the broker may ask for less. The default is the broker's,
    /// or what the URL says (`?heartbeat=10`).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { run(async |url: String| {
    /// # use std::time::Duration;
    /// # use warren_client::{Connection, Error, Options};
    /// let often = Options::new(&url).heartbeat(Duration::from_secs(5));
    /// assert!(Connection::open(often).await.is_ok());
    /// let hardly = Options::new(&url).heartbeat(Duration::from_secs(100_000));
    /// assert!(matches!(Connection::open(hardly).await, Err(Error::Invalid { .. })));
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = Some(heartbeat);
        self
    }

    /// Whom to trust, and who we are, for addresses that begin with `amqps://`.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest_tls.in"));
    /// # fn main() { secured(Clients::WithoutCertificate, async |url: String, folder: &Path| {
    /// # use warren_client::{Connection, Options, Tls};
    /// # let authority = std::fs::read_to_string(folder.join("ca.pem"))?;
    /// let connection = Connection::open(Options::new(url).tls(Tls::new().authority(authority))).await?;
    /// assert!(connection.watch().borrow().is_connected());
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// How long to wait between attempts to connect again.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { run(async |url: String| {
    /// # use std::time::Duration;
    /// # use warren_client::{Connection, Options};
    /// use warren_client::Backoff;
    ///
    /// let quick = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    /// let connection = Connection::open(Options::new(url).backoff(quick)).await?;
    /// assert!(connection.watch().borrow().is_connected());
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long one attempt at one address may take, 10 seconds unless said otherwise. It is also how long
    /// [`Connection::close`](crate::Connection::close) waits for the broker's goodbye.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { run(async |url: String| {
    /// # use std::time::Duration;
    /// # use warren_client::{Connection, Error, Options};
    /// // It accepts connections and says nothing.
    /// let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let url = format!("amqp://{}", silent.local_addr()?);
    /// let options = Options::new(url).connect_timeout(Duration::from_millis(50));
    /// assert!(matches!(Connection::open(options).await, Err(Error::Silent { .. })));
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Has [`Connection::open`](crate::Connection::open) wait for a broker that is not there yet, as it does later when
    /// one has gone. Otherwise the first attempt must succeed, so that a wrong address is noticed at once.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctest.in"));
    /// # fn main() { run(async |url: String| {
    /// # use std::time::Duration;
    /// # use warren_client::{Connection, Options};
    /// # use tokio::time::timeout;
    /// let opening = Connection::open(Options::new("amqp://127.0.0.1:1").patient_start());
    /// assert!(timeout(Duration::from_millis(50), opening).await.is_err(), "it is still being looked for");
    /// # Ok(())
    /// # }) }
    /// ```
    pub fn patient_start(mut self) -> Self {
        self.patient_start = true;
        self
    }

    /// # Errors
    ///
    /// [`Error::Url`], and [`Error::Invalid`] for a heartbeat out of range.
    pub(crate) fn addresses(&self) -> Result<Vec<Address>, Error> {
        let seconds = match self.heartbeat {
            None => None,
            Some(heartbeat) => Some(u16::try_from(heartbeat.as_secs()).map_err(|_| {
                Error::invalid("the heartbeat is longer than 65535 seconds: choose a shorter one")
            })?),
        };
        let parse = |url: &Url| {
            let mut address = Address::parse(&url.0)?;
            address.uri.query.heartbeat = seconds.or(address.uri.query.heartbeat);
            Ok(address)
        };
        self.urls.iter().map(parse).collect()
    }
}

impl From<&str> for Options {
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

impl From<String> for Options {
    fn from(url: String) -> Self {
        Self::new(url)
    }
}

impl From<&String> for Options {
    fn from(url: &String) -> Self {
        Self::new(url.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heartbeat_of_the_options_wins_over_the_one_of_the_url() {
        let options = Options::new("amqp://h?heartbeat=7").address("amqp://i");
        let heartbeats = |options: &Options| -> Vec<Option<u16>> {
            options.addresses().unwrap().iter().map(|address| address.uri.query.heartbeat).collect()
        };
        assert_eq!(heartbeats(&options), [Some(7), None]);
        assert_eq!(heartbeats(&options.clone().heartbeat(Duration::from_secs(3))), [Some(3), Some(3)]);
        let longest = options.clone().heartbeat(Duration::from_secs(65535));
        assert!(longest.addresses().is_ok());
        let too_long = options.heartbeat(Duration::from_secs(65536));
        assert!(matches!(too_long.addresses(), Err(Error::Invalid { .. })));
    }

    #[test]
    fn passwords_are_not_printed() {
        let options = Options::new("amqp://user:sesame@localhost");
        assert!(!format!("{options:?}").contains("sesame"));
    }
}
