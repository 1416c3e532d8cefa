//! The broker as a service of systemd, whose part the tests take: what it is told, and sockets that are open before it starts.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use tempfile::TempDir;
use warren_tests::{DEADLINE, Program, built};

/// A broker that is started like a service, and its manager's end.
struct Service {
    program: Program,
    manager: UnixDatagram,
    _folder: TempDir,
}

impl Service {
    fn start(environment: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        manager.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let mut command = Command::new(built("warren"));
        command
            .args(["--port", "0", "--http-port", "0", "--data"])
            .arg(folder.path().join("data"))
            .env("NOTIFY_SOCKET", path)
            .envs(environment.iter().copied());
        Self { program: Program::start("warren", &mut command), manager, _folder: folder }
    }

    /// What the manager is told next.
    fn told(&self) -> String {
        let mut bytes = [0; 4096];
        let len = self.manager.recv(&mut bytes).expect("the broker says something in time");
        String::from_utf8(bytes[..len].to_vec()).expect("text")
    }
}

#[test]
fn a_service_manager_hears_when_the_broker_is_ready_and_when_it_stops() {
    let mut service = Service::start(&[]);
    let told = service.told();
    assert!(told.contains("READY=1\n") && told.contains("STATUS=listening on 127.0.0.1:"), "{told}");
    let address = told.split("listening on ").nth(1).and_then(|text| text.split(',').next()).unwrap();
    std::net::TcpStream::connect(address.parse::<SocketAddr>().unwrap()).unwrap();
    service.program.terminate();
    assert!(service.told().contains("STOPPING=1\n"));
    assert!(service.program.wait_for_exit().success());
}

#[test]
fn a_watchdog_gets_signs_of_life() {
    let service = Service::start(&[("WATCHDOG_USEC", "60000000")]);
    assert!(service.told().contains("READY=1\n"));
    assert_eq!(service.told().trim_end(), "WATCHDOG=1", "at once, and then three times a minute");

    let impatient = Service::start(&[("WATCHDOG_USEC", "30000")]);
    assert!(impatient.told().contains("READY=1\n"));
    for _ in 0..5 {
        assert_eq!(impatient.told().trim_end(), "WATCHDOG=1");
    }
}

/// Starts a broker with the listener as its third file descriptor.
fn start_on(listener: &TcpListener, data: &TempDir, name: &str) -> Program {
    // Children inherit it from here on; tests of other files run in other processes.
    fcntl_setfd(listener.as_fd(), FdFlags::empty()).expect("an open socket");
    let script = format!(
        "exec 3<&{}; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={name} exec \"$0\" \"$@\"",
        listener.as_raw_fd()
    );
    // Not sh: where that is dash it knows file descriptors of one digit only.
    let mut command = Command::new("bash");
    command.args(["-c", &script]).arg(built("warren")).args(["--http-port", "0", "--data"]).arg(data.path());
    Program::start("warren", &mut command)
}

#[tokio::test]
async fn a_client_that_came_before_the_broker_is_served_on_the_socket_that_was_open() {
    let data = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("amqp://guest:guest@127.0.0.1:{port}/%2F");
    let early = tokio::spawn(async move {
        lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await
    });
    let program = start_on(&listener, &data, "amqp");
    assert!(program.wait_for("listening").ends_with(&format!("amqp://127.0.0.1:{port}")));
    let connection = tokio::time::timeout(DEADLINE, early).await.expect("in time").unwrap().unwrap();
    connection.close(200, "".into()).await.unwrap();
}

#[test]
fn a_socket_with_an_unknown_name_is_refused_with_what_to_do() {
    let data = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut program = start_on(&listener, &data, "telnet");
    assert!(!program.wait_for_exit().success());
    let said = program.error_lines().join("\n");
    assert!(said.contains("named telnet; use FileDescriptorName=amqp, amqps or http"), "{said}");
}
