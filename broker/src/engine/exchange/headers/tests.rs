//! The matching rules as a table, and the errors.

use amq_protocol::types::FieldArray;

use super::*;

fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in fields {
        table.insert((*key).into(), value.clone());
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn int(value: i32) -> AMQPValue {
    AMQPValue::LongInt(value)
}

#[test]
fn bindings_match_by_mode() {
    let both = [("a", int(1)), ("b", text("x"))];
    let x = [("a", int(1)), ("x-k", int(2))];
    // Mode, conditions, headers of the message, whether they match.
    let rules: &[(Option<&str>, &[_], &[_], bool)] = &[
        (None, &both, &both, true),
        (None, &both, &both[..1], false),
        (None, &[], &both, true),
        (None, &[], &[], true),
        (Some("all"), &both, &[("a", int(1)), ("b", text("x")), ("c", int(3))], true),
        (Some("all"), &both, &[("a", int(1)), ("b", text("y"))], false),
        (Some("all"), &[], &[], true),
        (Some("any"), &both, &both[..1], true),
        (Some("any"), &both, &[("a", int(2)), ("b", text("y"))], false),
        (Some("any"), &both, &[], false),
        (Some("any"), &[], &both, false),
        (Some("all"), &x, &[("a", int(1))], true),
        (Some("any"), &x, &[("x-k", int(2))], false),
        (Some("all-with-x"), &x, &[("a", int(1))], false),
        (Some("all-with-x"), &x, &x, true),
        (Some("any-with-x"), &x, &[("x-k", int(2))], true),
        (Some("any-with-x"), &x, &[("x-k", int(3))], false),
        // `x-match` itself is never a condition.
        (Some("all-with-x"), &[], &[], true),
        (Some("any-with-x"), &[], &[("x-match", text("any-with-x"))], false),
        // Nor is a header that is there but void a value.
        (None, &[("a", int(1))], &[("a", AMQPValue::Void)], false),
    ];
    for (mode, conditions, headers, expected) in rules {
        let mut arguments = table(conditions);
        if let Some(mode) = mode {
            arguments.insert("x-match".into(), text(mode));
        }
        let rule = HeadersRule::parse(&arguments).unwrap();
        assert_eq!(rule.matches(&table(headers)), *expected, "{mode:?} {conditions:?} on {headers:?}");
    }
}

#[test]
fn values_match_by_class_not_by_wire_type() {
    let array = |value| AMQPValue::FieldArray(FieldArray::from(vec![value]));
    let rules = [
        (AMQPValue::Void, int(1), true),
        (AMQPValue::Void, text(""), true),
        (AMQPValue::Void, AMQPValue::Void, true),
        (int(5), AMQPValue::ShortShortUInt(5), true),
        (int(5), AMQPValue::LongLongInt(5), true),
        (int(5), AMQPValue::Timestamp(5), true),
        (int(-1), AMQPValue::LongUInt(u32::MAX), false),
        (int(5), AMQPValue::Double(5.0), false),
        (int(5), text("5"), false),
        (int(1), AMQPValue::Boolean(true), false),
        (AMQPValue::Float(0.5), AMQPValue::Double(0.5), true),
        (AMQPValue::Double(f64::NAN), AMQPValue::Double(f64::NAN), false),
        (text("x"), AMQPValue::ByteArray(b"x".to_vec().into()), true),
        (text("x"), AMQPValue::ShortString("x".into()), true),
        (text("x"), text("X"), false),
        (AMQPValue::Boolean(true), AMQPValue::Boolean(true), true),
        (array(int(1)), array(int(1)), true),
        // Inside compound values the types count.
        (array(int(1)), array(AMQPValue::LongLongInt(1)), false),
    ];
    for (wanted, found, expected) in rules {
        assert_eq!(satisfies(&wanted, &found), expected, "{wanted:?} on {found:?}");
    }
}

#[test]
fn a_bad_x_match_is_refused_in_rabbitmqs_words() {
    let refusal = |value| HeadersRule::parse(&table(&[("x-match", value)])).unwrap_err().reply_text();
    assert_eq!(
        refusal(text("foo")),
        "PRECONDITION_FAILED - Invalid x-match field value <<\"foo\">>; expected all, any, all-with-x, or any-with-x"
    );
    assert_eq!(
        refusal(int(5)),
        "PRECONDITION_FAILED - Invalid x-match field type signedint (value 5); expected longstr"
    );
    assert_eq!(
        refusal(AMQPValue::ShortShortInt(1)),
        "PRECONDITION_FAILED - Invalid x-match field type byte (value 1); expected longstr"
    );
}
