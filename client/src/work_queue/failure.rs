//! What becomes of a job that failed: the message that is published in its place. Pure.

use lapin::BasicProperties;

use crate::{Message, Value};

/// The headers that are added. `x-attempts` is also read, when the job comes back.
pub(crate) const ATTEMPTS: &str = "x-attempts";
const REASON: &str = "x-reason";
const ERROR: &str = "x-error";
const QUEUE: &str = "x-queue";

/// How much of an error's text is kept, in bytes. Headers have to fit into one frame.
const ERROR_BYTES: usize = 1000;

/// Why a job did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Failed,
    Panicked,
    Undecodable,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::Undecodable => "undecodable",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) error: String,
}

/// The job once more, with what is known of its failure. It keeps everything but its expiration, which would hold in the
/// queue that it goes to.
pub(super) fn copy(
    body: &[u8],
    properties: &BasicProperties,
    queue: &str,
    attempt: u32,
    failure: &Failure,
) -> Message {
    let mut headers = properties.headers().clone().unwrap_or_default();
    for (name, value) in [
        (ATTEMPTS, Value::Int(attempt.into())),
        (REASON, Value::from(failure.reason.as_str())),
        (ERROR, Value::from(shortened(&failure.error))),
        (QUEUE, Value::from(queue)),
    ] {
        headers.insert(name.into(), value.to_amqp());
    }
    Message::with_properties(body, without_expiration(properties).with_headers(headers))
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(ERROR_BYTES)]
}

/// A copy with all properties but the expiration; lapin has no way to take one away.
fn without_expiration(from: &BasicProperties) -> BasicProperties {
    let mut to = BasicProperties::default();
    macro_rules! keep {
        ($($get:ident $with:ident),*) => {
            $(if let Some(value) = from.$get().clone() { to = to.$with(value); })*
        };
    }
    keep!(
        content_type with_content_type,
        content_encoding with_content_encoding,
        delivery_mode with_delivery_mode,
        priority with_priority,
        correlation_id with_correlation_id,
        reply_to with_reply_to,
        message_id with_message_id,
        timestamp with_timestamp,
        kind with_type,
        user_id with_user_id,
        app_id with_app_id
    );
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_all_but_the_expiration_and_says_what_happened() {
        let properties = BasicProperties::default()
            .with_message_id("m".into())
            .with_priority(3)
            .with_expiration("5".into());
        let failure = Failure { reason: Reason::Panicked, error: "ü".repeat(600) };
        let message = copy(b"body", &properties, "jobs", 2, &failure);
        let headers = message.properties().headers().clone().unwrap();
        let header = |name: &str| Value::from_amqp(&headers.inner()[name]);
        assert_eq!(header(ATTEMPTS), Value::Int(2));
        assert_eq!(header(REASON), Value::from("panicked"));
        assert_eq!(header(QUEUE), Value::from("jobs"));
        assert_eq!(header(ERROR).as_text().map(str::len), Some(1000));
        assert_eq!(message.properties().expiration(), &None);
        assert_eq!(*message.properties().priority(), Some(3));
        assert_eq!(message.body(), b"body");
    }
}
