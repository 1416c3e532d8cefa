//! The examples of what makes programs reliable: confirms, retries, priorities, a stop that finishes what was begun, and
//! a broker inside of tests.

use std::process::Command;

use warren_tests::{Program, built, python, workspace};

use super::{Language, Python, Rust, Stage, in_every_language};

in_every_language! {
    a_failed_task_comes_back_after_a_delay_and_is_given_up_after_some
    the_highest_priority_comes_first
    a_worker_told_to_stop_finishes_its_task_and_takes_no_other
}

fn retry(stage: &Stage, language: Language, program: &str, arguments: &[&str]) -> Program {
    let mut command = stage.command(language, program, arguments);
    command.env("RETRY_DELAY_MS", "50").env("MAX_ATTEMPTS", "3");
    for queue in ["wait", "dead"] {
        stage.broker.forget_at_the_end(&format!("{}.{queue}", stage.queue));
    }
    Program::start(&format!("{program} ({language:?})"), &mut command)
}

fn a_failed_task_comes_back_after_a_delay_and_is_given_up_after_some(sender: Language, receiver: Language) {
    let stage = Stage::new("retry");
    for task in ["Easy", "Flaky!!", "Broken!!!!!!"] {
        let sent = retry(&stage, sender, "retry_send", &[task]).succeed();
        assert_eq!(sent, [format!(" [x] Sent '{task}'")]);
    }
    let worker = retry(&stage, receiver, "retry_worker", &[]);
    worker.wait_for_count(" [x] Done", 2);
    worker.wait_for(&format!(" [ ] Failed for good, kept in {}.dead", stage.queue));
    let attempts = |task: &str| worker.lines().iter().filter(|line| line.contains(task)).count();
    assert_eq!(["Easy", "Flaky", "Broken"].map(attempts), [1, 3, 3]);
    let dead = stage.receiver_at(&format!("{}.dead", stage.queue), receiver);
    dead.wait_for(" [x] Received 'Broken!!!!!!'");
}

fn the_highest_priority_comes_first(sender: Language, receiver: Language) {
    let stage = Stage::new("priorities");
    for (level, line) in [("1", "first"), ("1", "second"), ("0", "last"), ("9", "urgent")] {
        let sent = stage.run(sender, "priority_send", &[level, line]);
        assert_eq!(sent, [format!(" [x] Sent {level}:'{line}'")]);
    }
    let receiver = stage.receiver(receiver, "priority_receive", &[]);
    receiver.wait_for("last");
    assert_eq!(
        receiver.lines()[1..],
        [" [x] 9:'urgent'", " [x] 1:'first'", " [x] 1:'second'", " [x] 0:'last'"]
    );
}

fn a_worker_told_to_stop_finishes_its_task_and_takes_no_other(sender: Language, receiver: Language) {
    let stage = Stage::new("graceful");
    for task in ["one.", "two."] {
        stage.run(sender, "new_task", &[task]);
    }
    let mut command = stage.command(receiver, "graceful_shutdown", &[]);
    // Long enough that the signal comes in the middle of it.
    let mut worker = Program::start("graceful_shutdown", command.env("SECONDS_PER_DOT", "2"));
    worker.wait_for(" [x] Received 'one.'");
    worker.terminate();
    assert!(worker.wait_for_exit().success());
    assert_eq!(
        worker.lines(),
        [
            " [*] Waiting for messages. To exit press CTRL+C",
            " [x] Received 'one.'",
            " [x] Done",
            " [x] Stopped"
        ]
    );
    let heir = stage.worker(sender, "0");
    heir.wait_for(" [x] Done");
    assert_eq!(heir.lines()[1], " [x] Received 'two.'", "the finished task is acknowledged");
}

#[test]
fn each_way_of_confirming_confirms_everything_and_what_is_refused_is_told() {
    for language in [Python, Rust] {
        let stage = Stage::new("confirms");
        let lines = stage.run(language, "confirms", &["120"]);
        for (line, way) in lines.iter().zip(["One by one", "In batches of 50", "Pipelined, 50 on their way"])
        {
            assert!(line.starts_with(&format!(" [x] {way}: 120 confirmed in ")), "{lines:#?}");
        }
        assert_eq!(
            lines[3..],
            [
                " [x] Into a queue with room for two: ack, ack, nack",
                " [x] Mandatory, without a queue: returned with 312 NO_ROUTE",
                " [x] Not mandatory, without a queue: confirmed, and gone",
                " [x] The queue held 360 messages; it is deleted, so that the next run begins anew",
            ]
        );
    }
}

#[test]
fn python_tests_start_a_broker_of_their_own() {
    let mut command = Command::new(python());
    command.arg(workspace().join("examples/python/embedded_broker_in_tests.py"));
    let program = Program::start("embedded_broker_in_tests", command.env("WARREN_BIN", built("warren")));
    program.wait_for("Ran 3 tests");
    program.succeed();
}
