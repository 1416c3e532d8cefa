//! The faults that the session itself finds, each as one [`AmqpError`] with the text RabbitMQ gives it.
//!
//! Client programs match on these texts, so that they stand together here, byte for byte. Faults that need the broker's
//! state (missing queues, permissions) are the server's.

use crate::error::AmqpError;

/// `basic.publish`, which contents are blamed on.
pub(super) const BASIC_PUBLISH: (u16, u16) = (60, 40);

/// `connection.tune`, which RabbitMQ blames for a bad `tune-ok`.
const CONNECTION_TUNE: (u16, u16) = (10, 30);

/// Which of the negotiated limits a `tune-ok` broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TuneField {
    ChannelMax,
    FrameMax,
}

fn blame_publish(error: AmqpError) -> AmqpError {
    error.at(BASIC_PUBLISH.0, BASIC_PUBLISH.1)
}

pub(super) fn unknown_delivery_tag(tag: u64) -> AmqpError {
    AmqpError::precondition_failed(format!("unknown delivery tag {tag}"))
}

pub(super) fn no_previously_declared_queue() -> AmqpError {
    AmqpError::not_found("no previously declared queue")
}

pub(super) fn message_too_large(body_bytes: u64, body_bytes_max: u64) -> AmqpError {
    let text = format!("message size {body_bytes} is larger than configured max size {body_bytes_max}");
    blame_publish(AmqpError::precondition_failed(text))
}

/// RabbitMQ waits for ever when a body is longer than announced; the specification (4.2.6.2) asks for a frame error.
pub(super) fn body_too_long(excess_bytes: u64) -> AmqpError {
    blame_publish(AmqpError::frame_error(format!(
        "content body is {excess_bytes} bytes longer than its header announced"
    )))
}

pub(super) fn invalid_expiration(expiration: &str, reason: &str) -> AmqpError {
    let text = format!("invalid expiration '{expiration}': {reason}");
    blame_publish(AmqpError::precondition_failed(text))
}

pub(super) fn unknown_delivery_mode(mode: u8) -> AmqpError {
    let text = format!("invalid message: {{delivery_mode_unknown,{mode}}}");
    blame_publish(AmqpError::precondition_failed(text))
}

pub(super) fn no_reply_consumer() -> AmqpError {
    blame_publish(AmqpError::precondition_failed("fast reply consumer does not exist"))
}

pub(super) fn reply_consumer_cannot_acknowledge() -> AmqpError {
    AmqpError::precondition_failed("reply consumer cannot acknowledge")
}

pub(super) fn reply_consumer_already_set() -> AmqpError {
    AmqpError::precondition_failed("reply consumer already set")
}

pub(super) fn immediate() -> AmqpError {
    AmqpError::not_implemented("immediate=true")
}

pub(super) fn prefetch_size(bytes: u32) -> AmqpError {
    AmqpError::not_implemented(format!("prefetch_size!=0 ({bytes})"))
}

pub(super) fn recover_without_requeue() -> AmqpError {
    AmqpError::not_implemented("requeue=false")
}

pub(super) fn flow_inactive() -> AmqpError {
    AmqpError::not_implemented("active=false")
}

pub(super) fn confirm_in_tx_channel() -> AmqpError {
    AmqpError::precondition_failed("cannot switch from tx to confirm mode")
}

pub(super) fn tx_in_confirm_channel() -> AmqpError {
    AmqpError::precondition_failed("cannot switch from confirm to tx mode")
}

pub(super) fn not_transactional() -> AmqpError {
    AmqpError::precondition_failed("channel is not transactional")
}

pub(super) fn method_during_commit() -> AmqpError {
    AmqpError::channel_error("unexpected command while processing 'tx.commit'")
}

pub(super) fn transaction_too_large(max: usize, unit: &str) -> AmqpError {
    AmqpError::resource_error(format!("transaction exceeds {max} {unit}"))
}

pub(super) fn consumer_tag_in_use(tag: &str) -> AmqpError {
    AmqpError::not_allowed(format!("attempt to reuse consumer tag '{tag}'"))
}

pub(super) fn too_many_consumers(max: u32) -> AmqpError {
    AmqpError::not_allowed(format!("reached maximum ({max}) of consumers per channel"))
}

pub(super) fn too_many_channels(open: usize, channel_max: u16) -> AmqpError {
    AmqpError::not_allowed(format!(
        "number of channels opened ({open}) has reached the negotiated channel_max ({channel_max})"
    ))
}

pub(super) fn second_channel_open() -> AmqpError {
    AmqpError::channel_error("second 'channel.open' seen")
}

pub(super) fn channel_not_open() -> AmqpError {
    AmqpError::channel_error("expected 'channel.open'")
}

pub(super) fn acknowledgement_timed_out(channel: u16, timeout_ms: u64) -> AmqpError {
    AmqpError::precondition_failed(format!(
        "delivery acknowledgement on channel {channel} timed out. Timeout value used: {timeout_ms} ms. This timeout value can \
         be configured, see consumers doc guide to learn more"
    ))
}

pub(super) fn unimplemented_method() -> AmqpError {
    AmqpError::command_invalid("unimplemented method")
}

pub(super) fn unexpected_method(connection_state: &str) -> AmqpError {
    AmqpError::channel_error(format!("unexpected method in connection state {connection_state}"))
}

/// A content frame where a method is due.
pub(super) fn expected_method() -> AmqpError {
    AmqpError::unexpected_frame("expected method frame, got non method frame instead")
}

/// Anything but a content header after `basic.publish`.
pub(super) fn expected_header() -> AmqpError {
    blame_publish(AmqpError::unexpected_frame(
        "expected content header for class 60, got non content header frame instead",
    ))
}

/// Anything but a body frame while a body is incomplete.
pub(super) fn expected_body() -> AmqpError {
    blame_publish(AmqpError::unexpected_frame("expected content body, got non content body frame instead"))
}

/// A frame that the connection itself cannot take: a heartbeat on a channel, content on channel 0.
pub(super) fn misplaced_frame(kind: u8, payload: &[u8]) -> AmqpError {
    let octets: Vec<String> = payload.iter().take(16).map(u8::to_string).collect();
    let which = if payload.len() > 16 { "first 16" } else { "all" };
    AmqpError::unexpected_frame(format!("type {kind}, {which} octets = <<{}>>", octets.join(",")))
}

pub(super) fn unknown_mechanism(name: &str) -> AmqpError {
    AmqpError::command_invalid(format!("unknown authentication mechanism '{name}'"))
}

/// The credentials are wrong, or unreadable. Public: the server refuses credentials with it.
#[must_use]
pub fn login_refused(mechanism: &str) -> AmqpError {
    AmqpError::access_refused(format!(
        "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
    ))
    .on_connection()
}

pub(super) fn tune_too_low(field: TuneField, value: u32, min: u32) -> AmqpError {
    tune(field, value, "lower", "minimum", min)
}

pub(super) fn tune_too_high(field: TuneField, value: u32, max: u32) -> AmqpError {
    tune(field, value, "higher", "maximum", max)
}

fn tune(field: TuneField, value: u32, comparison: &str, bound: &str, limit: u32) -> AmqpError {
    let (name, detail) = match (field, value) {
        (TuneField::ChannelMax, 0) => ("channel_max", " (no limit)"),
        (TuneField::ChannelMax, _) => ("channel_max", ""),
        (TuneField::FrameMax, _) => ("frame_max", ""),
    };
    AmqpError::not_allowed(format!(
        "negotiated {name} = {value}{detail} is {comparison} than the {bound} allowed value ({limit})"
    ))
    .at(CONNECTION_TUNE.0, CONNECTION_TUNE.1)
}

/// The server answered something else than it was asked: a fault of ours, told to the peer as 541.
pub(super) fn unexpected_reply() -> AmqpError {
    AmqpError::internal_error("the broker's answer does not fit the request")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_rabbitmq() {
        let table: &[(AmqpError, &str)] = &[
            (unknown_delivery_tag(9), "PRECONDITION_FAILED - unknown delivery tag 9"),
            (no_previously_declared_queue(), "NOT_FOUND - no previously declared queue"),
            (
                message_too_large(11, 10),
                "PRECONDITION_FAILED - message size 11 is larger than configured max size 10",
            ),
            (
                invalid_expiration("foo", "no_integer"),
                "PRECONDITION_FAILED - invalid expiration 'foo': no_integer",
            ),
            (unknown_delivery_mode(3), "PRECONDITION_FAILED - invalid message: {delivery_mode_unknown,3}"),
            (no_reply_consumer(), "PRECONDITION_FAILED - fast reply consumer does not exist"),
            (reply_consumer_cannot_acknowledge(), "PRECONDITION_FAILED - reply consumer cannot acknowledge"),
            (reply_consumer_already_set(), "PRECONDITION_FAILED - reply consumer already set"),
            (immediate(), "NOT_IMPLEMENTED - immediate=true"),
            (prefetch_size(7), "NOT_IMPLEMENTED - prefetch_size!=0 (7)"),
            (recover_without_requeue(), "NOT_IMPLEMENTED - requeue=false"),
            (flow_inactive(), "NOT_IMPLEMENTED - active=false"),
            (confirm_in_tx_channel(), "PRECONDITION_FAILED - cannot switch from tx to confirm mode"),
            (tx_in_confirm_channel(), "PRECONDITION_FAILED - cannot switch from confirm to tx mode"),
            (not_transactional(), "PRECONDITION_FAILED - channel is not transactional"),
            (method_during_commit(), "CHANNEL_ERROR - unexpected command while processing 'tx.commit'"),
            (consumer_tag_in_use("x"), "NOT_ALLOWED - attempt to reuse consumer tag 'x'"),
            (too_many_consumers(3), "NOT_ALLOWED - reached maximum (3) of consumers per channel"),
            (
                too_many_channels(3, 3),
                "NOT_ALLOWED - number of channels opened (3) has reached the negotiated channel_max (3)",
            ),
            (second_channel_open(), "CHANNEL_ERROR - second 'channel.open' seen"),
            (channel_not_open(), "CHANNEL_ERROR - expected 'channel.open'"),
            (unimplemented_method(), "COMMAND_INVALID - unimplemented method"),
            (unexpected_method("running"), "CHANNEL_ERROR - unexpected method in connection state running"),
            (expected_method(), "UNEXPECTED_FRAME - expected method frame, got non method frame instead"),
            (misplaced_frame(8, &[]), "UNEXPECTED_FRAME - type 8, all octets = <<>>"),
            (misplaced_frame(2, &[0, 60]), "UNEXPECTED_FRAME - type 2, all octets = <<0,60>>"),
            (unknown_mechanism("X"), "COMMAND_INVALID - unknown authentication mechanism 'X'"),
            (
                login_refused("PLAIN"),
                "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.",
            ),
            (
                tune_too_low(TuneField::FrameMax, 100, 4096),
                "NOT_ALLOWED - negotiated frame_max = 100 is lower than the minimum allowed value (4096)",
            ),
            (
                tune_too_high(TuneField::ChannelMax, 0, 2047),
                "NOT_ALLOWED - negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)",
            ),
        ];
        for (error, text) in table {
            assert_eq!(error.reply_text(), *text);
        }
    }
}
