//! The HTTP API fuzzed by its own description with schemathesis, as an administrator and as a monitor. What is sent and checked is said
//! in `tests/clients/api_fuzz.py`.

use std::process::Command;

use warren_tests::{Broker, Program, clients, python};

/// How long each user goes on, in seconds. `FUZZ_SECONDS` says otherwise.
const SECONDS: &str = "15";

fn command(broker: &Broker, script: &str) -> Command {
    let mut command = Command::new(python());
    command.arg(clients().join(script)).env("AMQP_URL", broker.url()).env("NAMES", "fuzz");
    command.env("API", broker.api()).env("AMQP_PORT", broker.port().to_string());
    command
}

#[test]
fn the_api_keeps_to_its_description_whatever_is_sent() {
    // Dropped at the end, the broker has to say that nothing went wrong in it.
    let broker = Broker::warren(&[]);
    let seconds = std::env::var("FUZZ_SECONDS").unwrap_or_else(|_| SECONDS.to_owned());
    for who in ["administrator", "monitoring"] {
        let mut fuzz = command(&broker, "api_fuzz.py");
        fuzz.env("WHO", format!("fuzz-{who}:x")).env("TAG", who).env("SECONDS", &seconds);
        let lines = Program::start("api_fuzz.py", &mut fuzz).succeed();
        assert!(lines.iter().any(|line| line.starts_with("PASS ")), "{lines:?}");
        println!("{}", lines.join("\n"));
    }
    // It still does what it is for.
    Program::start("kombu_smoke.py", &mut command(&broker, "kombu_smoke.py")).succeed();
}
