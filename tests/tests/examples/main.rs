//! The example programs, run as a reader of the README would run them: separate processes, judged by what they print.
//! Every pair runs in each language and mixed.
//!
//! That something does not arrive is proved without waiting: a later message that must arrive by the same queue has.

mod applications;
mod moving;
mod reliable;

use std::net::TcpListener;
use std::process::Command;

use warren_tests::{Broker, ClosedPort, Program, built, python, workspace};

#[derive(Clone, Copy, Debug)]
enum Language {
    Python,
    Rust,
}

use Language::{Python, Rust};

impl Language {
    fn command(self, program: &str) -> Command {
        match self {
            Python => {
                let mut command = Command::new(python());
                command.arg(workspace().join(format!("examples/python/{program}.py")));
                command
            }
            Rust => Command::new(built(program)),
        }
    }
}

/// One test's broker and the queue and exchange that its programs share.
struct Stage {
    broker: Broker,
    queue: String,
    exchange: String,
}

impl Stage {
    fn new(scenario: &str) -> Self {
        let broker = Broker::start();
        let queue = broker.queue(scenario);
        let exchange = broker.exchange(scenario);
        Self { broker, queue, exchange }
    }

    fn command(&self, language: Language, program: &str, arguments: &[&str]) -> Command {
        let mut command = language.command(program);
        command
            .args(arguments)
            .env("AMQP_URL", self.broker.url())
            .env("QUEUE", &self.queue)
            .env("EXCHANGE", &self.exchange);
        command
    }

    fn spawn(&self, language: Language, program: &str, arguments: &[&str]) -> Program {
        Program::start(&format!("{program} ({language:?})"), &mut self.command(language, program, arguments))
    }

    /// Runs a sender to its end and returns what it printed.
    fn run(&self, language: Language, program: &str, arguments: &[&str]) -> Vec<String> {
        self.spawn(language, program, arguments).succeed()
    }

    /// Starts a receiver and waits until it is subscribed.
    fn receiver(&self, language: Language, program: &str, arguments: &[&str]) -> Program {
        let receiver = self.spawn(language, program, arguments);
        receiver.wait_for(". To exit press CTRL+C");
        receiver
    }

    /// Starts a receiver of `hello` at another queue.
    fn receiver_at(&self, queue: &str, language: Language) -> Program {
        let mut command = self.command(language, "receive", &[]);
        Program::start(&format!("receive ({language:?})"), command.env("QUEUE", queue))
    }

    /// Starts a worker to which each dot of a task is that long, and waits until it is subscribed.
    fn worker(&self, language: Language, seconds_per_dot: &str) -> Program {
        let mut command = self.command(language, "worker", &[]);
        let worker = Program::start(
            &format!("worker ({language:?}, {seconds_per_dot} s per dot)"),
            command.env("SECONDS_PER_DOT", seconds_per_dot),
        );
        worker.wait_for(" [*] Waiting for messages. To exit press CTRL+C");
        worker
    }
}

/// A dot of this length is a task that does not end during a test.
const FOREVER: &str = "3600";

/// Runs a scenario, a function of the sender's and the receiver's language, in every combination.
macro_rules! in_every_language {
    ($($scenario:ident)*) => {$(
        mod $scenario {
            use super::{Python, Rust};

            #[test]
            fn from_python_to_python() {
                super::$scenario(Python, Python);
            }

            #[test]
            fn from_python_to_rust() {
                super::$scenario(Python, Rust);
            }

            #[test]
            fn from_rust_to_python() {
                super::$scenario(Rust, Python);
            }

            #[test]
            fn from_rust_to_rust() {
                super::$scenario(Rust, Rust);
            }
        }
    )*};
}

use in_every_language;

in_every_language! {
    hello_world_arrives
    a_message_waits_for_its_receiver
    the_task_of_a_killed_worker_goes_to_another
    a_slow_task_does_not_hold_up_the_tasks_behind_it
    tasks_survive_a_restart_and_a_crash_of_the_broker
    every_receiver_gets_every_log_line
    direct_logs_go_by_severity
    topic_logs_go_by_pattern
    headers_go_by_all_or_any
    a_procedure_call_is_answered
    a_procedure_call_is_answered_by_direct_reply_to
}

fn hello_world_arrives(sender: Language, receiver: Language) {
    let stage = Stage::new("hello");
    let receiver = stage.receiver(receiver, "receive", &[]);
    assert_eq!(stage.run(sender, "send", &[]), [" [x] Sent 'Hello World!'"]);
    receiver.wait_for(" [x] Received 'Hello World!'");
    assert_eq!(
        receiver.lines(),
        [" [*] Waiting for messages. To exit press CTRL+C", " [x] Received 'Hello World!'"]
    );
}

fn a_message_waits_for_its_receiver(sender: Language, receiver: Language) {
    let stage = Stage::new("waiting");
    stage.run(sender, "send", &[]);
    stage.run(sender, "send", &[]);
    let receiver = stage.receiver(receiver, "receive", &[]);
    receiver.wait_for_count(" [x] Received 'Hello World!'", 2);
}

fn the_task_of_a_killed_worker_goes_to_another(sender: Language, receiver: Language) {
    let stage = Stage::new("killed");
    let victim = stage.worker(receiver, FOREVER);
    assert_eq!(stage.run(sender, "new_task", &["Dig", "a", "hole."]), [" [x] Sent 'Dig a hole.'"]);
    victim.wait_for(" [x] Received 'Dig a hole.'");
    let heir = stage.worker(receiver, "0");
    victim.kill();
    heir.wait_for(" [x] Received 'Dig a hole.'");
    heir.wait_for(" [x] Done");
}

fn a_slow_task_does_not_hold_up_the_tasks_behind_it(sender: Language, receiver: Language) {
    let stage = Stage::new("fair");
    let slow = stage.worker(receiver, FOREVER);
    stage.run(sender, "new_task", &["slow."]);
    slow.wait_for(" [x] Received 'slow.'");
    let quick = stage.worker(receiver, "0");
    for task in ["one.", "two.", "three.", "four."] {
        stage.run(sender, "new_task", &[task]);
    }
    quick.wait_for_count(" [x] Done", 4);
    let received: Vec<String> = quick.lines().into_iter().filter(|line| line.contains("Received")).collect();
    assert_eq!(
        received,
        ["one.", "two.", "three.", "four."].map(|task| format!(" [x] Received '{task}'")),
        "all of them went to the free worker, in order"
    );
    assert_eq!(
        slow.lines(),
        [" [*] Waiting for messages. To exit press CTRL+C", " [x] Received 'slow.'"],
        "the slow worker is still at its first task"
    );
}

fn tasks_survive_a_restart_and_a_crash_of_the_broker(sender: Language, receiver: Language) {
    let mut stage = Stage::new("surviving");
    if stage.broker.is_foreign() {
        println!("passed over: restarts its broker");
        return;
    }
    for task in ["one.", "two.", "three.", "four."] {
        stage.run(sender, "new_task", &[task]);
    }
    let lost_with_the_broker = stage.worker(receiver, FOREVER);
    lost_with_the_broker.wait_for(" [x] Received 'one.'");
    stage.broker.restart();
    stage.run(sender, "new_task", &["five."]);
    stage.broker.crash();
    stage.broker.start_again();
    let worker = stage.worker(receiver, "0");
    worker.wait_for_count(" [x] Done", 5);
    let received: Vec<String> = worker.lines().into_iter().filter(|line| line.contains("Received")).collect();
    assert_eq!(
        received,
        ["one.", "two.", "three.", "four.", "five."].map(|task| format!(" [x] Received '{task}'")),
        "all of them in order, also the one that was being worked at"
    );
}

fn every_receiver_gets_every_log_line(sender: Language, receiver: Language) {
    let stage = Stage::new("logs");
    let receivers =
        [stage.receiver(receiver, "receive_logs", &[]), stage.receiver(sender, "receive_logs", &[])];
    assert_eq!(stage.run(sender, "emit_log", &["first", "line"]), [" [x] Sent 'first line'"]);
    stage.run(sender, "emit_log", &["second", "line"]);
    for receiver in &receivers {
        receiver.wait_for("second line");
        assert_eq!(
            receiver.lines(),
            [" [*] Waiting for logs. To exit press CTRL+C", " [x] first line", " [x] second line"]
        );
    }
}

fn direct_logs_go_by_severity(sender: Language, receiver: Language) {
    let stage = Stage::new("direct");
    let urgent = stage.receiver(receiver, "receive_logs_direct", &["warning", "error"]);
    let all = stage.receiver(receiver, "receive_logs_direct", &["info", "warning", "error"]);
    assert_eq!(
        stage.run(sender, "emit_log_direct", &["info", "All", "is", "well"]),
        [" [x] Sent 'info':'All is well'"]
    );
    stage.run(sender, "emit_log_direct", &["warning", "Low on disk"]);
    stage.run(sender, "emit_log_direct", &["error", "Out of disk"]);
    let (info, warning, error) =
        (" [x] 'info':'All is well'", " [x] 'warning':'Low on disk'", " [x] 'error':'Out of disk'");
    urgent.wait_for(error);
    assert_eq!(urgent.lines()[1..], [warning, error], "no info for those who did not ask for it");
    all.wait_for(error);
    assert_eq!(all.lines()[1..], [info, warning, error]);
}

fn topic_logs_go_by_pattern(sender: Language, receiver: Language) {
    let stage = Stage::new("topics");
    let one_word = stage.receiver(receiver, "receive_logs_topic", &["old.*"]);
    let any_words = stage.receiver(receiver, "receive_logs_topic", &["old.#"]);
    let two_patterns = stage.receiver(receiver, "receive_logs_topic", &["*.*.python", "#.boy"]);
    assert_eq!(
        stage.run(sender, "emit_log_topic", &["old.boy.python", "three"]),
        [" [x] Sent 'old.boy.python':'three'"]
    );
    stage.run(sender, "emit_log_topic", &["older.boy", "other"]);
    stage.run(sender, "emit_log_topic", &["old", "one"]);
    stage.run(sender, "emit_log_topic", &["old.boy", "two"]);
    let three = " [x] 'old.boy.python':'three'";
    let other = " [x] 'older.boy':'other'";
    let (one, two) = (" [x] 'old':'one'", " [x] 'old.boy':'two'");
    one_word.wait_for(two);
    assert_eq!(one_word.lines()[1..], [two], "`*` is exactly one word");
    any_words.wait_for(two);
    assert_eq!(any_words.lines()[1..], [three, one, two], "`#` is any number of words, also none");
    two_patterns.wait_for(two);
    assert_eq!(two_patterns.lines()[1..], [three, other, two]);
}

fn headers_go_by_all_or_any(sender: Language, receiver: Language) {
    let stage = Stage::new("headers");
    let all = stage.receiver(receiver, "receive_headers", &["all", "format=pdf", "type=report"]);
    let any = stage.receiver(receiver, "receive_headers", &["any", "format=pdf", "type=report"]);
    assert_eq!(
        stage.run(sender, "emit_headers", &["a log", "format=pdf", "type=log"]),
        [" [x] Sent 'a log'"]
    );
    stage.run(sender, "emit_headers", &["a picture", "format=png"]);
    stage.run(sender, "emit_headers", &["a report", "format=pdf", "type=report", "year=2001"]);
    let log = " [x] 'a log' (format=pdf, type=log)";
    let report = " [x] 'a report' (format=pdf, type=report, year=2001)";
    all.wait_for(report);
    assert_eq!(all.lines()[1..], [report]);
    any.wait_for(report);
    assert_eq!(any.lines()[1..], [log, report]);
}

fn a_procedure_call_is_answered(sender: Language, receiver: Language) {
    calls_are_answered("rpc_client", sender, receiver);
}

fn a_procedure_call_is_answered_by_direct_reply_to(sender: Language, receiver: Language) {
    calls_are_answered("rpc_direct_client", sender, receiver);
}

fn calls_are_answered(client: &str, sender: Language, receiver: Language) {
    let stage = Stage::new("rpc");
    let server = stage.spawn(receiver, "rpc_server", &[]);
    server.wait_for(" [x] Awaiting RPC requests");
    // At the same time, so that each must find its own answer.
    let questions =
        [("30", "832040"), ("1", "1"), ("90", "2880067194370816120"), ("ninety", "error: expected")];
    let clients = questions.map(|(question, _)| stage.spawn(sender, client, &[question]));
    for (client, (question, answer)) in clients.into_iter().zip(questions) {
        let lines = client.succeed();
        assert_eq!(lines[0], format!(" [x] Requesting fib({question})"));
        assert!(
            lines[1].starts_with(&format!(" [.] Got {answer}")),
            "fib({question}) is {answer}: {lines:?}"
        );
    }
    server.wait_for(" [.] fib(90)");
}

#[test]
fn receivers_end_quietly_with_ctrl_c() {
    let stage = Stage::new("interrupted");
    for language in [Python, Rust] {
        let inner = stage.command(language, "receive", &[]);
        // A shell that starts the tests in the background makes them, and what they start, ignore CTRL+C.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(inner.get_program()).args(inner.get_args());
        command.env("AMQP_URL", stage.broker.url()).env("QUEUE", &stage.queue);
        let mut receiver = Program::start(&format!("receive ({language:?})"), &mut command);
        receiver.wait_for("To exit press CTRL+C");
        receiver.interrupt();
        assert!(receiver.wait_for_exit().success());
        assert_eq!(receiver.error_lines(), [""; 0]);
    }
}

#[test]
fn programs_say_what_to_do_when_there_is_no_broker() {
    let closed = ClosedPort::take();
    // The system accepts connections for it, and nobody speaks.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mute_address = mute.local_addr().expect("a bound address");
    let addresses = [
        (format!("amqp://guest:guest@{}", closed.address()), "cannot reach a broker at 127.0.0.1:"),
        (format!("amqp://guest:guest@{mute_address}"), "does not answer as a broker does"),
        ("nonsense".to_owned(), "AMQP_URL is not usable"),
    ];
    // All at once, because those at the mute address give up only after some seconds.
    let programs = [Python, Rust].map(|language| {
        addresses.clone().map(|(url, sentence)| {
            (Program::start("send", language.command("send").env("AMQP_URL", url)), sentence)
        })
    });
    for (program, sentence) in programs.into_iter().flatten() {
        let complaints = program.fail();
        assert_eq!(complaints.len(), 1, "one sentence and no traceback: {complaints:?}");
        assert!(complaints[0].contains(sentence), "{complaints:?}");
    }
}

#[test]
fn programs_say_what_to_do_when_the_broker_refuses_them_and_hide_the_password() {
    let broker = Broker::start();
    let url = broker.url().replacen("guest:guest@", "guest:sesame@", 1);
    for language in [Python, Rust] {
        let complaints = Program::start("send", language.command("send").env("AMQP_URL", &url)).fail();
        assert_eq!(complaints.len(), 1, "one sentence and no traceback: {complaints:?}");
        assert!(complaints[0].contains("refused the connection"), "{complaints:?}");
        assert!(complaints[0].contains("Check the user, password and virtual host"), "{complaints:?}");
        assert!(!complaints[0].contains("sesame"), "{complaints:?}");
    }
}
