//! Clients that nobody here wrote, in other languages: each runs its scenarios in a process of its own against a real
//! broker. What the scenarios are is said in the scripts, in `tests/clients`.

use std::path::PathBuf;
use std::process::Command;

use warren_tests::{Broker, Program, clients, python};

/// Runs one client's script to its end, and checks that it had something to say.
fn run_scenarios(name: &str, broker: &Broker, script: &mut Command) {
    script.env("AMQP_URL", broker.url()).env("NAMES", broker.queue("smoke"));
    let lines = Program::start(name, script).succeed();
    let passed = lines.iter().filter(|line| line.starts_with("PASS ")).count();
    assert!(passed > 0, "{name} ran no scenario: {lines:?}");
}

fn run_python(script: &str) {
    let broker = Broker::start();
    run_scenarios(script, &broker, Command::new(python()).arg(clients().join(script)));
}

fn run_node(script: &str) {
    let folder: PathBuf = clients().join("node");
    assert!(
        folder.join("node_modules").is_dir(),
        "no packages in {}: run ./test once, it installs them",
        folder.display()
    );
    let broker = Broker::start();
    run_scenarios(script, &broker, Command::new("node").arg(folder.join(script)));
}

#[test]
fn aio_pika_works() {
    run_python("aio_pika_smoke.py");
}

#[test]
fn py_amqp_works() {
    run_python("amqp_smoke.py");
}

#[test]
fn kombu_works() {
    run_python("kombu_smoke.py");
}

#[test]
fn a_celery_worker_does_its_tasks() {
    let broker = Broker::start();
    let names = broker.queue("celery-smoke");
    broker.forget_at_the_end(&format!("{names}.celery"));
    let celery = |arguments: &[&str]| {
        let mut command = Command::new(python());
        command.args(arguments).current_dir(clients()).env("AMQP_URL", broker.url()).env("NAMES", &names);
        command
    };
    let arguments =
        ["-m", "celery", "-A", "celery_app", "worker", "--concurrency", "2", "--loglevel", "INFO"];
    let mut worker = Program::start("celery worker", &mut celery(&arguments));
    worker.wait_for(" ready.");
    Program::start("celery_smoke.py", &mut celery(&["celery_smoke.py"])).succeed();
    if !broker.is_foreign() {
        let mut script = celery(&["celery_management.py"]);
        Program::start("celery_management.py", script.env("API", broker.api())).succeed();
    }
    worker.terminate();
    assert!(worker.wait_for_exit().success(), "the worker says goodbye when asked to stop");
}

#[test]
fn libraries_for_the_http_api_work() {
    let broker = Broker::warren(&[]);
    let mut script = Command::new(python());
    script.arg(clients().join("management_libraries.py")).env("API", broker.api());
    run_scenarios("management_libraries.py", &broker, &mut script);
}

#[test]
fn pika_hashes_consistently_over_a_restart() {
    let mut broker = Broker::start();
    if broker.is_foreign() {
        println!("passed over: needs a broker that can be restarted");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let script = "pika_exchanges.py";
    for step in ["before", "after"] {
        let mut command = Command::new(python());
        command.arg(clients().join(script)).env("STEP", step).env("PLACES", folder.path().join("places"));
        command.env("AMQP_URL", broker.url()).env("NAMES", "restart");
        Program::start(script, &mut command).succeed();
        if step == "before" {
            broker.restart();
        }
    }
}

#[test]
fn queue_features_work_with_pika() {
    run_python("pika_features.py");
}

#[test]
fn queue_features_survive_a_restart() {
    run_around("pika_restart.py", Broker::restart);
}

#[test]
fn queue_features_survive_a_crash() {
    run_around("pika_restart.py", |broker| {
        broker.crash();
        broker.start_again();
    });
}

/// Runs one client's script before and after something that happens to a Warren.
fn run_around(script: &str, happens: impl FnOnce(&mut Broker)) {
    let mut broker = Broker::warren(&[]);
    let run = |broker: &Broker, step: &str| {
        let mut command = Command::new(python());
        command.arg(clients().join(script)).env("STEP", step);
        command.env("AMQP_URL", broker.url()).env("NAMES", "around");
        Program::start(script, &mut command).succeed();
    };
    run(&broker, "before");
    happens(&mut broker);
    run(&broker, "after");
}

#[test]
fn amqplib_works() {
    run_node("amqplib_smoke.js");
}

#[test]
fn rabbitmq_client_works() {
    run_node("rabbitmq_client_smoke.js");
}
