//! The generator against a broker that loses, doubles, reorders, refuses and hangs up: does it notice, and say so?
//!
//! With `AMQP_URL` set, the last test also runs it against a real broker.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, unreachable_pub, missing_docs)]

mod mock;

use std::net::SocketAddr;
use std::process::{Command, Output};

use mock::{Fault, Writing};

fn perf(url: &str, options: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_warren-perf"))
        .args(["--quiet", "--url", url])
        .args(options.split_ascii_whitespace())
        .output()
        .unwrap()
}

fn url(address: SocketAddr) -> String {
    format!("amqp://guest:guest@{address}/")
}

/// Exit code and everything printed.
fn run(fault: Fault, writing: Writing, options: &str) -> (i32, String) {
    let address = mock::start(fault, writing).unwrap();
    let output = perf(&url(address), options);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn a_correct_broker_passes_however_it_writes() {
    for writing in [Writing::Whole, Writing::Shredded] {
        for options in [
            "",
            "--confirms 10",
            "--ack manual --prefetch 7",
            "--fill 500 --drain",
            "--size 5000 --frame-max 4096",
        ] {
            let count = if options.contains("--fill") { "" } else { "--messages 500" };
            let (code, text) = run(Fault::None, writing, &format!("{options} {count}"));
            assert_eq!(code, 0, "{writing:?} {options}: {text}");
            assert!(text.contains("500 messages: none lost, doubled or reordered"), "{text}");
        }
    }
}

#[test]
fn every_fault_of_a_broker_is_found_counted_and_named() {
    let cases = [
        (Fault::Lose(99), "1 lost"),
        // The last message leaves no gap behind it.
        (Fault::Lose(499), "1 lost"),
        (Fault::Double(99), "1 doubled"),
        (Fault::Double(499), "1 doubled"),
        (Fault::Delay(99), "1 reordered"),
        (Fault::Refuse(99), "1 refused with basic.nack"),
        (Fault::Pad(99), "1 of another size"),
    ];
    for (fault, words) in cases {
        let (code, text) = run(fault, Writing::Whole, "--messages 500 --confirms 100 --timeout 2s");
        assert_eq!(code, 1, "{fault:?}: {text}");
        assert!(text.contains("check FAILED") && text.contains(words), "{fault:?}: {text}");
    }
}

#[test]
fn a_broker_that_ends_the_run_is_an_error_that_says_why() {
    let cases = [
        (Fault::CloseChannel(99), "the broker closed the channel: 404 GONE (caused by basic.publish)"),
        (Fault::Hangup(99), "dropped the connection without connection.close"),
    ];
    for (fault, words) in cases {
        for confirms in ["", "--confirms 10"] {
            let (code, text) = run(fault, Writing::Whole, &format!("--messages 500 --timeout 2s {confirms}"));
            assert_eq!(code, 2, "{fault:?}: {text}");
            assert!(text.contains(words), "{fault:?} {confirms}: {text}");
        }
    }
}

#[test]
fn without_a_broker_it_says_what_to_do() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let output = perf(&url(address), "");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("cannot connect") && text.contains("--url"), "{text}");
}

#[test]
fn json_is_one_object_with_all_figures() {
    let address = mock::start(Fault::None, Writing::Whole).unwrap();
    let output = perf(&url(address), "--json --messages 500 --confirms 10");
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let phase = &figures["phases"][0];
    assert_eq!(phase["check"]["consumed"], 500);
    assert_eq!(phase["publish_to_deliver"]["count"], 500);
    assert_eq!(phase["publish_to_confirm"]["count"], 500);
    assert_eq!(phase["published"]["messages"], 500);
}

#[test]
fn a_real_broker_passes() {
    let Ok(url) = std::env::var("AMQP_URL") else { return };
    for options in [
        "--messages 5000",
        "--messages 5000 --confirms 100 --ack manual --prefetch 50 --producers 2 --consumers 3 --queues 2",
        "--messages 1000 --exchange fanout --queues 3 --consumers 3",
        "--messages 1000 --exchange topic --queues 3",
        "--fill 2000 --drain --durable --persistent --confirms 100",
    ] {
        let prefix = format!("--queue warren-perf-test-{}", std::process::id());
        let output = perf(&url, &format!("{options} {prefix}"));
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{options}: {text}");
    }
}
