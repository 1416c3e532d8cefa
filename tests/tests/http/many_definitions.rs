//! A RabbitMQ's export with 1,000 queues, imported, exported again, and after a restart. What is compared is said in
//! `tests/clients/definitions_many.py`.

use std::process::Command;

use tempfile::TempDir;
use warren_tests::{Broker, Program, clients, python};

#[test]
fn an_export_with_a_thousand_queues_is_imported_from_python_with_nothing_lost_and_survives_a_restart() {
    let folder = TempDir::new().unwrap();
    let mut broker = Broker::warren(&[]);
    for (step, queues) in [("import", 1000), ("compare", 875)] {
        let mut script = Command::new(python());
        script.arg(clients().join("definitions_many.py")).env("API", broker.api()).env("STEP", step);
        script.env("DEFINITIONS", folder.path().join("definitions.json"));
        let lines = Program::start("definitions_many.py", &mut script).succeed();
        assert!(lines.iter().any(|line| line.contains(&format!("queues: {queues}"))), "{lines:?}");
        broker.restart();
    }
}
