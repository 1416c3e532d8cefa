//! Who may log in from another machine: `add_user alex 123`, `set_user_tags alex administrator`, `set_permissions -p / alex '.*' '.*' '.*'`,
//! and pika, whose peer address is not loopback.
//!
//! In network namespaces of their own for broker and client where the system permits that; elsewhere through the PROXY protocol from
//! an address that is trusted. The test prints which.

// Helpers of tests are tests, which clippy cannot know.
#![allow(clippy::unwrap_used)]

use std::io::{Write as _, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use tempfile::TempDir;
use warren::Broker;
use warren::access::{Permissions, Tags};
use warren::config::Config;
use warren_tests::{Program, built, clients, python};

fn add_alex(broker: &Broker) {
    let admin = broker.admin();
    admin.add_user("alex", b"123", Tags::new(["administrator"])).unwrap();
    admin.set_permissions("alex", "/", Permissions::new(".*", ".*", ".*").unwrap()).unwrap();
}

/// The command in a network namespace of its own, as its root.
fn apart(command: &[&str]) -> Command {
    let mut apart = Command::new("unshare");
    apart.args(["--user", "--map-root-user", "--net"]).args(command);
    apart
}

/// Whether namespaces and virtual cables between them may be made here.
fn can_go_apart() -> bool {
    let cable = "ip link add name near0 type veth peer name far0 && unshare --net true && command -v nsenter";
    let result = apart(&["sh", "-c", cable]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    result.is_ok_and(|status| status.success())
}

fn assert_both_passed(lines: &[String]) {
    let passed: Vec<&String> = lines.iter().filter(|line| line.starts_with("PASS ")).collect();
    assert_eq!(passed, ["PASS guest is refused", "PASS alex is let in"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pika_is_refused_as_guest_and_let_in_as_alex_from_another_machine() {
    let folder = TempDir::new().unwrap();
    if can_go_apart() {
        println!("by network namespaces: the client's address is 10.231.0.2");
        let (broker, script) = (built("warren"), clients().join("remote_login.py"));
        let shell = clients().join("remote_login.sh");
        let arguments = [broker.as_path(), folder.path(), &python(), &script];
        let mut command = apart(&["sh"]);
        command.arg(shell).args(arguments);
        let run = move || Program::start("remote login", &mut command).succeed();
        assert_both_passed(&tokio::task::spawn_blocking(run).await.unwrap());
    }
    println!("by the PROXY protocol: the client's address is 192.0.2.7");
    let mut config = Config::in_process();
    config.listen.proxy_from = vec!["127.0.0.1".parse().unwrap()];
    let broker = Broker::start(config).await.unwrap();
    add_alex(&broker);
    let balancer = balance_load(broker.local_addrs()[0]);
    let mut script = Command::new(python());
    script.arg(clients().join("remote_login.py"));
    script.env("HOST", "127.0.0.1").env("PORT", balancer.port().to_string());
    let run = move || Program::start("remote login", &mut script).succeed();
    assert_both_passed(&tokio::task::spawn_blocking(run).await.unwrap());
    broker.shutdown().await;
}

/// A load balancer in front of the broker that says of everybody that they come from 192.0.2.7. It ends with the process.
fn balance_load(broker: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(broker).unwrap());
            server.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 5672\r\n").unwrap();
            let (mut answers, mut answered) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || {
                let _ = copy(&mut answers, &mut answered);
                let _ = answered.shutdown(Shutdown::Both);
            });
            thread::spawn(move || {
                let _ = copy(&mut client, &mut server);
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    address
}
