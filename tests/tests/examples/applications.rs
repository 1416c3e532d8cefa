//! The applications among the examples: Celery, the write-behind service and the orders. Each has a program that starts all
//! its parts, kills some of them and counts; it is judged by its count.

use std::process::Command;

use warren_tests::{Broker, Program, built, python, workspace};

fn demo(folder: &str) -> Command {
    let mut command = Command::new(python());
    command.arg(workspace().join("examples").join(folder).join("demo.py"));
    command.env_remove("AMQP_URL").env_remove("DATABASE_URL").env("WARREN_BIN", built("warren"));
    command
}

#[test]
fn celery_tasks_outlive_their_worker() {
    let broker = Broker::start();
    let mut command = demo("celery");
    command.env("AMQP_URL", broker.url()).env("QUEUE", broker.queue("celery-demo"));
    let lines = Program::start("celery/demo.py", &mut command).succeed();
    assert_eq!(
        lines[..5],
        [
            " [x] A task: the square of 12 is 144",
            " [x] Retries: fetched the weather, at attempt 3",
            " [x] A time limit: in time",
            " [x] A group of 100, and a task with all their results: 328350",
            " [x] A chain: 2, squared three times, is 256",
        ]
    );
    assert_eq!(
        lines[6..],
        [
            " [x] Another worker did the rest: 12 of 12 results, all as expected",
            " [x] The worker stopped with 0"
        ]
    );
}

#[test]
fn each_accepted_request_is_one_row_whatever_is_killed() {
    let lines = Program::start("write_behind/demo.py", demo("write_behind").env("READINGS", "400")).succeed();
    assert_eq!(
        lines[lines.len() - 3..],
        [
            " [x] The writer stopped with 0, the gateway with 0",
            " [x] 392 rows, 0 twice; 8 readings cannot be stored; 0 lost",
            " [x] Every accepted reading is there, once"
        ],
        "{lines:#?}"
    );
}

#[test]
fn no_order_is_lost_whatever_is_killed() {
    let mut command = demo("orders");
    let lines = Program::start("orders/demo.py", command.env("ORDERS", "60").env("KILLS", "6")).succeed();
    let last = &lines[lines.len() - 4..];
    assert_eq!(last[3], "Nothing was lost, and nothing was done twice.");
    assert_eq!(last[2], "     lost: 0 orders");
    assert_eq!(last[1], "  refused: 3 orders, kept in payment.dead");
    assert_eq!(last[0], "     mail: 57 orders, 0 of them twice");
}
