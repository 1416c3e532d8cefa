//! Keys, values and the loader, one by one; arguments of every type at random.

use amq_protocol::types::{AMQPValue, DecimalValue};
use proptest::prelude::*;

use super::*;
use crate::engine::policy::PolicyDeclare;
use crate::engine::queue::QueueDeclare;
use crate::wire::table::encode_table;

fn arguments(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn exchange(name: &str, kind: &str, arguments: &FieldTable) -> Definition {
    let options = ExchangeOptions::from_declare("/", name, kind, true, true, false, arguments).unwrap();
    Definition::Exchange { vhost: "/".into(), options }
}

fn queue(id: u64, name: &str, arguments: FieldTable) -> Definition {
    let declare = QueueDeclare { name: name.into(), durable: true, arguments, ..QueueDeclare::default() };
    let options = QueueOptions::from_declare("/", declare).unwrap();
    Definition::Queue { id: QueueId(id), options, notes: QueueNotes::default() }
}

fn binding(source: &str, destination: BoundTo, routing_key: &str, arguments: FieldTable) -> Definition {
    let (source, routing_key) = (source.into(), routing_key.into());
    Definition::Binding(BindingDefinition { vhost: "/".into(), source, destination, routing_key, arguments })
}

fn policy(kind: PolicyKind, name: &str, pattern: &str, definition: serde_json::Value) -> Definition {
    let declare = PolicyDeclare { priority: -3, ..PolicyDeclare::new(pattern, definition) };
    Definition::Policy(Policy::from_declare(kind, "/", name, declare).unwrap())
}

fn to_queue(name: &str) -> BoundTo {
    BoundTo::Queue(name.into())
}

fn pair(definition: &Definition) -> (Vec<u8>, Vec<u8>) {
    (definition.key(), definition.value())
}

/// All that was declared. Not compared with `==`, to which a float that is no number is different from itself.
fn described(definition: &Definition) -> String {
    format!("{definition:?}")
}

fn assert_comes_back(definition: &Definition) {
    let (key, value) = pair(definition);
    let decoded = decode(&key, &value).unwrap();
    assert_eq!(described(&decoded), described(definition));
    assert_eq!(pair(&decoded), (key, value));
}

#[test]
fn definitions_come_back_as_they_were() {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let none = FieldTable::default();
    for kind in ["direct", "fanout", "topic", "headers"] {
        assert_comes_back(&exchange("e", kind, &none));
    }
    let alternate = exchange("e", "topic", &arguments(&[("alternate-exchange", text("ä"))]));
    assert_comes_back(&alternate);
    let Definition::Exchange { options, .. } = decode(&alternate.key(), &alternate.value()).unwrap() else {
        panic!("not an exchange");
    };
    assert_eq!(options.alternate_exchange.as_deref(), Some("ä"));

    assert_comes_back(&queue(u64::MAX, "q \"ü\" \0", none.clone()));
    let single = [("x-single-active-consumer", AMQPValue::Boolean(true)), ("x-queue-type", text("quorum"))];
    let single = queue(7, "q", arguments(&single));
    assert_comes_back(&single);
    let Definition::Queue { options, .. } = decode(&single.key(), &single.value()).unwrap() else {
        panic!("not a queue");
    };
    assert!(options.durable && !options.exclusive && options.single_active_consumer);

    for kind in [PolicyKind::User, PolicyKind::Operator] {
        let limits = serde_json::json!({"max-length": 10, "message-ttl": u64::MAX, "delivery-limit": -1});
        assert_comes_back(&policy(kind, "p \"ü\" \0", r"^(?!amq\.)", limits));
    }

    assert_comes_back(&binding("amq.topic", to_queue("q"), "a.*.#", none.clone()));
    assert_comes_back(&binding("a", BoundTo::Exchange("b".into()), "", none));
    let any = arguments(&[("x-match", text("any")), ("n", AMQPValue::Double(f64::NAN))]);
    assert_comes_back(&binding("amq.headers", to_queue("q"), "", any));
}

/// What is on disk must not change by accident.
#[test]
fn values_are_legible_and_stay_as_they_are() {
    let text = |definition: &Definition| String::from_utf8(definition.value()).unwrap();
    let none = FieldTable::default();
    assert_eq!(
        text(&exchange("e", "topic", &none)),
        r#"{"version":1,"kind":"exchange","vhost":"/","name":"e","type":"topic","auto_delete":true,"internal":false}"#
    );
    assert_eq!(
        text(&queue(7, "q", arguments(&[("x-max-length", AMQPValue::LongInt(10))]))),
        "{\"version\":1,\"kind\":\"queue\",\"id\":7,\"vhost\":\"/\",\"name\":\"q\",\"auto_delete\":false,\
         \"arguments\":\"\\u0000\\u0000\\u0000\\u0012\\fx-max-lengthI\\u0000\\u0000\\u0000\\n\"}"
    );
    assert_eq!(
        text(&binding("amq.topic", to_queue("q"), "#", none.clone())),
        r##"{"version":1,"kind":"binding","vhost":"/","source":"amq.topic","destination":{"queue":"q"},"routing_key":"#"}"##
    );
    let limit = serde_json::json!({"overflow": "drop-head", "max-length": 1});
    assert_eq!(
        text(&policy(PolicyKind::User, "p", "^q", limit)),
        r#"{"version":1,"kind":"policy","vhost":"/","name":"p","pattern":"^q","apply_to":"all","priority":-3,"definition":{"max-length":1,"overflow":"drop-head"}}"#
    );
    let cap = policy(PolicyKind::Operator, "p", "", serde_json::json!({"max-length": 1}));
    assert!(text(&cap).starts_with(r#"{"version":1,"kind":"operator_policy","vhost":"/","name":"p","#));
    assert_eq!(cap.key(), b"\x09\0\0\0\x01/\0\0\0\x01p");
    assert_eq!(exchange("e", "topic", &none).key(), b"\x10\0\0\0\x01/\0\0\0\x01e");
    assert_eq!(queue(7, "q", none.clone()).key(), b"\x20\0\0\0\x01/\0\0\0\x01q");
    assert_eq!(
        binding("s", to_queue("q"), "k", none).key(),
        b"\x30\0\0\0\x01/\0\0\0\x01s\x01\0\0\0\x01q\0\0\0\x01k\0\0\0\0"
    );
}

#[test]
fn different_things_have_different_keys_which_sort_by_kind() {
    let none = FieldTable::default();
    let marked = arguments(&[("k", AMQPValue::LongInt(1))]);
    let limit = || serde_json::json!({"max-length": 1});
    let in_order = [
        vec![policy(PolicyKind::User, "p", "", limit()), policy(PolicyKind::Operator, "p", "", limit())],
        vec![exchange("", "direct", &none), exchange("b", "direct", &none), exchange("q", "direct", &none)],
        vec![queue(1, "a", none.clone()), queue(2, "q", none.clone())],
        vec![
            binding("s", to_queue("d"), "k", none.clone()),
            binding("s", to_queue("dk"), "", none.clone()),
            binding("sd", to_queue(""), "k", none.clone()),
            binding("s", BoundTo::Exchange("d".into()), "k", none),
            binding("s", to_queue("d"), "k", marked),
            binding("s", to_queue("d"), "k", arguments(&[("k", AMQPValue::LongLongInt(1))])),
        ],
    ];
    let mut keys: Vec<Vec<u8>> = in_order.iter().flatten().map(Definition::key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 13);
    let ranks: Vec<usize> = keys
        .iter()
        .map(|key| in_order.iter().position(|kind| kind.iter().any(|one| one.key() == *key)).unwrap())
        .collect();
    assert!(ranks.is_sorted(), "{ranks:?}");
}

#[test]
fn what_cannot_be_read_names_its_key_and_the_reason() {
    let good = queue(7, "q", FieldTable::default());
    let (key, value) = pair(&good);
    let value = String::from_utf8(value).unwrap();
    let with_arguments = |text: &str| value.replace('}', &format!(",\"arguments\":\"{text}\"}}"));
    let table = [
        (value.replace(":1,", ":2,"), "version 2 of its form is not known here, only 1"),
        (value.replace("\"version\":1,", ""), "missing field `version`"),
        (value.replace("\"queue\"", "\"stream\""), "unknown variant `stream`"),
        (value.replace("\"id\":7,", ""), "missing field `id`"),
        (value.replace(":7,", ":-7,"), "invalid value: integer `-7`"),
        (value.replace("\"q\"", "\"r\""), "its value is that of queue 'r' in vhost '/'"),
        (value[..value.len() - 1].to_owned(), "EOF"),
        (format!("{value}x"), "trailing characters"),
        (String::new(), "EOF"),
        (with_arguments("\u{100}"), "its arguments contain a character that is no byte"),
        (with_arguments("abc"), "its arguments are no field table: 502 SYNTAX_ERROR"),
        (
            with_arguments("\\u0000\\u0000\\u0000\\u0012\\fx-max-lengthI\u{ff}\u{ff}\u{ff}\u{ff}"),
            "invalid arg 'x-max-length'",
        ),
    ];
    for (damaged, reason) in table {
        assert_ne!(damaged, value);
        let error = decode(&key, damaged.as_bytes()).unwrap_err();
        assert_eq!(error.key, key);
        let text = error.to_string();
        assert!(
            text.starts_with("definition \" \\x00\\x00\\x00\\x01/\\x00\\x00\\x00\\x01q\" is unreadable: ")
        );
        assert!(text.contains(reason), "{text}, not {reason}");
    }
    let cap = policy(PolicyKind::Operator, "p", "", serde_json::json!({"max-length": 1}));
    let value = String::from_utf8(cap.value()).unwrap().replace("max-length", "overflow");
    let error = decode(&cap.key(), value.as_bytes()).unwrap_err();
    assert_eq!(error.reason, "[{<<\"overflow\">>,1}] are not recognised policy settings");
    let exchange = exchange("e", "topic", &FieldTable::default());
    let value = String::from_utf8(exchange.value()).unwrap().replace("topic", "x-strange");
    let error = decode(&exchange.key(), value.as_bytes()).unwrap_err();
    assert!(error.reason.contains("unknown exchange type 'x-strange'"), "{error}");
}

#[test]
fn the_loader_sorts_by_kind_and_keeps_what_it_cannot_read() {
    let none = FieldTable::default();
    let good = [
        binding("e", to_queue("a"), "", none.clone()),
        queue(1, "b", none.clone()),
        exchange("e", "direct", &none),
        policy(PolicyKind::User, "p", "", serde_json::json!({"max-length": 1})),
        queue(2, "a", none.clone()),
    ];
    let mut pairs: Vec<_> = good.iter().map(pair).collect();
    pairs.insert(1, (b"\x77key".to_vec(), b"value".to_vec()));
    // Its messages would be those of another.
    let twin = queue(1, "c", none);
    pairs.push(pair(&twin));
    let loaded = load(pairs);
    let listed: Vec<String> = loaded.definitions.iter().map(Definition::to_string).collect();
    assert_eq!(
        listed,
        [
            "policy 'p' in vhost '/'",
            "exchange 'e' in vhost '/'",
            "queue 'b' in vhost '/'",
            "queue 'a' in vhost '/'",
            "the binding from exchange 'e' to queue 'a' with key '' in vhost '/'",
        ]
    );
    assert!(loaded.definitions.iter().all(|definition| definition.vhost() == "/"));
    let [noise, number] = &loaded.unreadable[..] else { panic!("{:?}", loaded.unreadable) };
    assert_eq!((&noise.error.key[..], &noise.value[..]), (&b"\x77key"[..], &b"value"[..]));
    assert_eq!((&number.error.key, &number.value), (&twin.key(), &twin.value()));
    assert_eq!(number.error.reason, "its number 1 is that of queue 'b' in vhost '/', too");
}

fn any_value() -> impl Strategy<Value = AMQPValue> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let leaf = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        // From bits, so that those that are no numbers are among them.
        any::<u32>().prop_map(|bits| AMQPValue::Float(f32::from_bits(bits))),
        any::<u64>().prop_map(|bits| AMQPValue::Double(f64::from_bits(bits))),
        any::<(u8, u32)>().prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        bytes().prop_map(|bytes| AMQPValue::LongString(bytes.into())),
        bytes().prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
        Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5)
                .prop_map(|values| AMQPValue::FieldArray(values.into())),
            any_table_of(inner).prop_map(AMQPValue::FieldTable),
        ]
    })
}

fn any_table_of(value: impl Strategy<Value = AMQPValue>) -> impl Strategy<Value = FieldTable> {
    prop::collection::btree_map("\\PC{0,20}", value, 0..5).prop_map(|fields| {
        fields
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect::<std::collections::BTreeMap<_, _>>()
            .into()
    })
}

proptest! {
    #[test]
    fn arguments_of_every_type_come_back(
        table in any_table_of(any_value()),
        names in prop::array::uniform3("\\PC{0,30}"),
    ) {
        let [source, destination, key] = names;
        let definition = binding(&source, to_queue(&destination), &key, table.clone());
        let decoded = decode(&definition.key(), &definition.value()).unwrap();
        prop_assert_eq!(decoded.key(), definition.key());
        let Definition::Binding(decoded) = decoded else { panic!("not a binding") };
        // The bytes tell apart what `==` does not, and know a float that is no number again.
        prop_assert_eq!(encode_table(&decoded.arguments), encode_table(&table));
        prop_assert_eq!((decoded.source, decoded.routing_key), (source, key));
        prop_assert_eq!(decoded.destination, to_queue(&destination));
    }

    #[test]
    fn damaged_values_never_panic(at: prop::sample::Index, to: u8, table in any_table_of(any_value())) {
        let definition = binding("e", to_queue("q"), "k", table);
        let mut value = definition.value();
        let at = at.index(value.len());
        value[at] = to;
        let _ = decode(&definition.key(), &value);
    }
}
