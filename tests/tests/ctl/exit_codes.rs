//! What `warren ctl` refuses, in which words and with which exit code: those of `rabbitmqctl` 3.10.8 for the same command.

use warren_tests::Broker;

use super::{ctl, ok};

#[test]
fn exit_codes_and_errors_are_those_of_rabbitmqctl() {
    let broker = Broker::warren(&[]);
    let folder = broker.data().unwrap();
    ok(folder, "add_user alex 123");
    let table = [
        ("add_user alex 123", 70, "Error:\nUser \"alex\" already exists\n"),
        ("add_user bob", 65, "Error:\nPassword is not provided via argument or stdin\n"),
        ("set_user_tags nobody administrator", 67, "Error:\nUser \"nobody\" does not exist\n"),
        ("change_password nobody 1", 67, "Error:\nUser \"nobody\" does not exist\n"),
        ("delete_user nobody", 67, "Error:\nUser \"nobody\" does not exist\n"),
        ("set_permissions -p nope alex .* .* .*", 69, "Error:\nVirtual host nope does not exist\n"),
        ("set_permissions nobody .* .* .*", 67, "Error:\nUser \"nobody\" does not exist\n"),
        ("list_user_permissions nobody", 69, "Error:\nUser \"nobody\" does not exist\n"),
        ("change_password alex", 70, "Error:\nPassword is not provided via argument or stdin\n"),
        ("set_user_limits nobody {}", 69, "Error:\nUser \"nobody\" does not exist\n"),
        ("clear_user_limits nobody all", 69, "Error:\nUser \"nobody\" does not exist\n"),
        ("list_user_limits --user nobody", 69, "Error:\nUser \"nobody\" does not exist\n"),
        (
            "authenticate_user alex wrong",
            65,
            "Error:\nError: failed to authenticate user \"alex\"\nuser 'alex' - invalid credentials\n",
        ),
    ];
    for (arguments, code, error) in table {
        let done = ctl(folder, arguments);
        assert_eq!((done.code, &*done.err), (code, error), "{arguments}");
    }
    for arguments in
        ["nonsense", "add_user", "set_permissions alex .*", "list_users --formatter xml", "-n a@b ping"]
    {
        let done = ctl(folder, arguments);
        assert_eq!((done.code, &*done.out), (64, ""), "{arguments}: {done:?}");
    }
    assert_eq!(ctl(folder, "export_definitions /nowhere/definitions.json").code, 65);
    assert_eq!(ok(folder, "-q list_user_limits --global"), "");
    let bad = ctl(folder, "set_permissions alex ( .* .*");
    assert_eq!(bad.code, 69, "{bad:?}");
    assert_eq!(ctl(folder, "list_queues nonsense").code, 64);
}

#[test]
fn a_virtual_host_that_is_not_there_has_the_code_that_it_has_in_rabbitmqctl() {
    let broker = Broker::warren(&[]);
    let folder = broker.data().unwrap();
    for (code, commands) in [
        (
            65,
            &[
                "list_permissions",
                "list_topic_permissions",
                "set_vhost_limits {}",
                "list_vhost_limits",
                "set_policy p .* {\"max-length\":1}",
                "list_policies",
                "list_operator_policies",
                "set_parameter vhost-limits limits {}",
                "list_parameters",
                "close_all_connections bye",
            ][..],
        ),
        (69, &["clear_vhost_limits", "clear_policy p", "clear_parameter vhost-limits limits"][..]),
    ] {
        for command in commands {
            let done = ctl(folder, &format!("{command} -p nope"));
            assert_eq!(
                (done.code, &*done.err),
                (code, "Error:\nVirtual host 'nope' does not exist\n"),
                "{command}"
            );
        }
    }
}
