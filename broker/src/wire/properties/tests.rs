//! The view and the rewriting of properties against amq-protocol's own, over every subset of flags.

use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::basic::{AMQPProperties, gen_properties, parse_properties};
use amq_protocol::types::{AMQPValue, FieldTable};
use proptest::prelude::*;

use super::*;

fn headers() -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("a".into(), AMQPValue::LongInt(1));
    table.insert("x-death".into(), AMQPValue::FieldArray(vec![AMQPValue::Void].into()));
    table.insert("z".into(), AMQPValue::LongString("last".into()));
    table
}

fn encoded(properties: &AMQPProperties) -> Vec<u8> {
    gen_properties(properties)(WriteContext::from(Vec::new())).unwrap().into_inner().0
}

/// The properties of one of the 2^14 subsets.
fn subset(bits: u16) -> AMQPProperties {
    let mut properties = AMQPProperties::default();
    for property in P::ALL.into_iter().filter(|property| bits & property.flag() != 0) {
        properties = match property {
            P::ContentType => properties.with_content_type("text/plain".into()),
            P::ContentEncoding => properties.with_content_encoding("utf-8".into()),
            P::Headers => properties.with_headers(headers()),
            P::DeliveryMode => properties.with_delivery_mode(2),
            P::Priority => properties.with_priority(5),
            P::CorrelationId => properties.with_correlation_id("correlation".into()),
            P::ReplyTo => properties.with_reply_to("answers".into()),
            P::Expiration => properties.with_expiration("60000".into()),
            P::MessageId => properties.with_message_id("id".into()),
            P::Timestamp => properties.with_timestamp(1_700_000_000),
            P::Type => properties.with_type("type".into()),
            P::UserId => properties.with_user_id("guest".into()),
            P::AppId => properties.with_app_id("app".into()),
            P::ClusterId => properties.with_cluster_id("cluster".into()),
        };
    }
    properties
}

fn subsets() -> impl Iterator<Item = u16> {
    (0..1 << 14).map(|bits: u16| bits << 2)
}

fn same(ours: Option<&str>, theirs: &Option<amq_protocol::types::ShortString>) -> bool {
    ours == theirs.as_ref().map(amq_protocol::types::ShortString::as_str)
}

#[test]
fn every_subset_of_properties_is_read() {
    for bits in subsets() {
        let expected = subset(bits);
        let bytes = encoded(&expected);
        let view = Properties::parse(&bytes).unwrap();
        assert_eq!(view.raw(), bytes);
        assert_eq!(view.delivery_mode(), *expected.delivery_mode());
        assert_eq!(view.priority(), *expected.priority());
        assert_eq!(view.timestamp(), *expected.timestamp());
        assert!(same(view.expiration(), expected.expiration()), "{bits:#x}");
        assert!(same(view.user_id(), expected.user_id()), "{bits:#x}");
        assert!(same(view.reply_to(), expected.reply_to()), "{bits:#x}");
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        assert!(same(text(view.correlation_id()).as_deref(), expected.correlation_id()), "{bits:#x}");
        assert!(same(text(view.message_id()).as_deref(), expected.message_id()), "{bits:#x}");
        assert_eq!(view.headers(), *expected.headers());
    }
}

#[test]
fn every_cut_and_every_leftover_is_refused() {
    for bits in [0, P::DeliveryMode.flag(), P::Timestamp.flag(), P::ClusterId.flag(), 0xFFFC] {
        let bytes = encoded(&subset(bits));
        for end in 0..bytes.len() {
            assert!(Properties::parse(&bytes[..end]).is_err(), "{bits:#x} cut at {end}");
        }
        let error = Properties::parse(&[&bytes[..], &[0]].concat()).unwrap_err();
        assert_eq!(error.to_string(), "502 SYNTAX_ERROR - malformed basic properties");
    }
}

#[test]
fn the_two_lowest_flags_are_no_properties() {
    // A continuation would bring a second flag word, which basic has no use for. RabbitMQ takes the bit above.
    assert!(Properties::parse(&[0, 1, 0, 0]).is_err());
    assert!(Properties::parse(&[0, 2]).is_ok());
}

#[test]
fn texts_that_the_broker_reads_must_be_utf8_and_others_need_not() {
    for property in P::ALL {
        let bytes = [&property.flag().to_be_bytes()[..], &[1, 0xFF]].concat();
        match property {
            P::UserId | P::Expiration | P::ReplyTo => {
                let error = Properties::parse(&bytes).unwrap_err();
                assert_eq!(error.to_string(), "501 FRAME_ERROR - Malformed UTF-8 in shortstr");
            }
            P::Headers | P::DeliveryMode | P::Priority | P::Timestamp => {}
            _ => assert!(Properties::parse(&bytes).is_ok(), "{property:?}"),
        }
    }
}

#[test]
fn malformed_headers_are_refused() {
    let of = |table: &[u8]| [&P::Headers.flag().to_be_bytes()[..], table].concat();
    for (table, text) in [
        (&[0, 0, 0, 3, 1, b'k', b'Z'][..], "502 SYNTAX_ERROR - unknown field table type 90"),
        (&[0, 0, 0, 9, 1, b'k', b'V'], "502 SYNTAX_ERROR - a field table's contents exceed its length"),
        (&[0, 0, 0, 3, 1, 0xFF, b'V'], "501 FRAME_ERROR - Malformed UTF-8 in shortstr"),
    ] {
        assert_eq!(Properties::parse(&of(table)).unwrap_err().to_string(), text);
    }
}

#[test]
fn content_headers_are_for_published_messages() {
    let header = |class_id: u16, weight: u16| {
        let numbers = [class_id.to_be_bytes(), weight.to_be_bytes()].concat();
        [&numbers[..], &u64::MAX.to_be_bytes(), &[0x10, 0, 2]].concat()
    };
    let good = header(60, 0);
    let parsed = parse_content_header(&good).unwrap();
    assert_eq!((parsed.body_bytes, parsed.properties.delivery_mode()), (u64::MAX, Some(2)));

    // The first three texts are RabbitMQ's; it fails with 541 where properties are malformed.
    for (payload, text) in [
        (
            header(50, 0),
            "505 UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead",
        ),
        (
            header(60, 5),
            "505 UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
        ),
        (vec![0, 60, 0], "501 FRAME_ERROR - type 2, all octets = <<0,60,0>>: unknown_frame"),
        (good[..14].to_vec(), "502 SYNTAX_ERROR - malformed basic properties"),
        (good[..12].to_vec(), "502 SYNTAX_ERROR - malformed basic properties"),
    ] {
        assert_eq!(parse_content_header(&payload).unwrap_err().to_string(), text);
    }
    let error = parse_content_header(&good[..14]).unwrap_err();
    assert_eq!((error.class_id, error.method_id), (60, 40));
}

#[test]
fn headers_are_found_by_name_without_decoding() {
    let bytes = encoded(&subset(0xFFFC));
    let view = Properties::parse(&bytes).unwrap();
    for (name, found) in
        [("a", true), ("x-death", true), ("z", true), ("x", false), ("", false), ("last", false)]
    {
        assert_eq!(view.has_header(name.as_bytes()), found, "{name}");
    }
    assert!(!Properties::parse(&[0, 0]).unwrap().has_header(b"a"));
}

#[test]
fn rewriting_changes_one_property_in_every_subset() {
    let mut others = FieldTable::default();
    others.insert("new".into(), AMQPValue::Boolean(true));
    for bits in subsets() {
        let properties = subset(bits);
        let bytes = encoded(&properties);
        let expected = encoded(&properties.clone().with_reply_to("elsewhere".into()));
        assert_eq!(with_reply_to(&bytes, "elsewhere").unwrap(), expected);
        let expected = encoded(&properties.with_headers(others.clone()));
        assert_eq!(with_headers(&bytes, &others).unwrap(), expected);
    }
}

#[test]
fn a_reply_to_is_a_short_string() {
    let longest = "r".repeat(255);
    assert_eq!(
        Properties::parse(&with_reply_to(&[0, 0], &longest).unwrap()).unwrap().reply_to(),
        Some(longest.as_str())
    );
    assert!(with_reply_to(&[0, 0], &"r".repeat(256)).is_err());
}

#[test]
fn an_empty_header_table_is_kept_as_such() {
    let emptied = with_headers(&encoded(&subset(0xFFFC)), &FieldTable::default()).unwrap();
    assert_eq!(Properties::parse(&emptied).unwrap().headers(), Some(FieldTable::default()));
}

#[test]
fn removing_a_header_leaves_the_other_fields_as_they_were() {
    // Not in alphabetical order, one name twice, one type that amq-protocol would write otherwise.
    let table = b"\0\0\0\x15\x01zV\x01aV\x01zt\x07\x01bL\0\0\0\0\0\0\0\x01";
    let bytes = [&[0x30, 0][..], table, &[2]].concat();
    let without = without_header(&bytes, "z").unwrap();
    assert_eq!(without, b"\x30\0\0\0\0\x0e\x01aV\x01bL\0\0\0\0\0\0\0\x01\x02");
    assert_eq!(without_header(&bytes, "missing").unwrap(), bytes);
    assert_eq!(without_header(&[0x10, 0, 2], "z").unwrap(), [0x10, 0, 2]);
    let last = without_header(b"\x20\0\0\0\0\x03\x01zV", "z").unwrap();
    assert_eq!(last, [0x20, 0, 0, 0, 0, 0], "an emptied table stays");
}

#[test]
fn rewriting_refuses_malformed_properties() {
    for bytes in [&[][..], &[0x10], &[0x10, 0], &[0x10, 0, 2, 2]] {
        assert!(with_reply_to(bytes, "r").is_err());
        assert!(with_headers(bytes, &FieldTable::default()).is_err());
        assert!(without_header(bytes, "a").is_err());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = parse_content_header(&bytes);
        let _ = with_reply_to(&bytes, "r");
        let _ = without_header(&bytes, "r");
    }

    /// What we take amq-protocol takes too, unless the texts it holds to be UTF-8 are not.
    #[test]
    fn damaged_properties_never_panic(bits: u16, at: prop::sample::Index, to: u8) {
        let mut bytes = encoded(&subset(bits & 0xFFFC));
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let (Ok(view), Ok((rest, theirs))) = (Properties::parse(&bytes), parse_properties(&bytes[..])) {
            prop_assert!(rest.is_empty());
            prop_assert_eq!(view.headers(), theirs.headers().clone());
        }
    }
}
