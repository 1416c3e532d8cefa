//! The harness of the end-to-end tests: a real broker process, and real programs that talk to it.
//!
//! It knows how to start, watch and stop processes, and nothing of what a broker should do: that is for the tests.
//! Everything here fails by panicking, with the output of the processes involved, because only tests call it.
//!
//! With `AMQP_URL` set, the same tests run against that broker instead of a fresh Warren, which shows whether they ask
//! for the right thing.

mod broker;
mod program;

use std::env;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

pub use broker::Broker;
pub use program::Program;

/// How long anything may take before a test gives up. Long, because it only decides how soon a broken broker is
/// reported: a healthy one takes milliseconds, but the machine may be busy with other tests.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition is looked at that cannot wake us.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a member of the workspace")
}

/// A program of this workspace, built in the same profile as the running test. For the broker `WARREN_BIN` names another.
pub fn built(name: &str) -> PathBuf {
    if let ("warren", Some(named)) = (name, env::var_os("WARREN_BIN")) {
        // A relative path is meant from the root of the workspace, where cargo is usually called.
        return workspace().join(named);
    }
    let test = env::current_exe().expect("a test knows its own path");
    // target/<profile>/deps/<test> and target/<profile>/<program>.
    let profile = test.parent().and_then(Path::parent).expect("a test lies in target/<profile>/deps");
    let path = profile.join(name);
    assert!(
        path.is_file(),
        "no program at {}: run `cargo build --workspace` with the same profile, or ./test, which does",
        path.display()
    );
    path
}

/// The program under test with these arguments, without the settings of the person who runs the tests.
pub fn warren<A: AsRef<OsStr>>(arguments: &[A]) -> Command {
    let mut command = Command::new(built("warren"));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WARREN_")) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// What the name of a test says that starts Python, so that `./test --fast` passes over it; beside the suites that it leaves
/// out as a whole. The same words are in that script.
const PYTHON_NAMES: [&str; 3] = ["pika", "python", "rabbitmqadmin"];

/// The Python interpreter that has the clients' packages. To be called by tests whose name says so.
pub fn python() -> PathBuf {
    assert!(
        env::var_os("WARREN_TEST_FAST").is_none(),
        "{:?} starts Python: its name has to have one of {PYTHON_NAMES:?} in it, for ./test --fast to pass over it",
        thread::current().name(),
    );
    let path =
        env::var_os("WARREN_TEST_PYTHON").map_or_else(|| workspace().join(".venv/bin/python"), PathBuf::from);
    assert!(path.is_file(), "no Python at {}: run ./test once, it prepares one", path.display());
    path
}

/// The scripts for clients in other languages.
pub fn clients() -> PathBuf {
    workspace().join("tests/clients")
}

/// An address where nobody answers, and nobody will: the port is taken until this is dropped, but not listened on.
#[derive(Debug)]
pub struct ClosedPort {
    _socket: OwnedFd,
    address: SocketAddrV4,
}

impl ClosedPort {
    /// Takes a free port on 127.0.0.1.
    pub fn take() -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket can be made");
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a free port can be taken");
        let address = getsockname(&socket).expect("a bound socket has an address");
        let address = address.try_into().expect("an IPv4 socket has an IPv4 address");
        Self { _socket: socket, address }
    }

    /// The address that refuses connections.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }
}

/// Waits until `look` finds something, or panics at the deadline saying `what` did not happen.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        thread::sleep(POLL_INTERVAL);
    }
}

/// The same as [`eventually`] for a look that has to ask somebody, such as a broker.
pub async fn eventually_async<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
