//! Names: cleaning those that clients send and making up those that the broker gives.
//!
//! Randomness is handed in, so that a name is a pure function of it. Used by the session, and by the server for queues
//! without a name.

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The queue that direct reply-to consumers pretend to consume from.
pub const REPLY_TO_QUEUE: &str = "amq.rabbitmq.reply-to";

/// A name nobody can guess: `prefix` and 22 characters of base64url, as RabbitMQ's `amq.gen-` and `amq.ctag-` names.
#[must_use]
pub fn unique_name(prefix: &str, random: [u8; 16]) -> String {
    let mut name = String::with_capacity(prefix.len() + 22);
    name.push_str(prefix);
    for chunk in random.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for place in 0..=chunk.len() {
            let digit = (bits >> (18 - 6 * place)) & 63;
            name.push(char::from(BASE64_URL[digit as usize]));
        }
    }
    name
}

/// Carriage returns and line feeds are taken out of names, as RabbitMQ does.
pub(super) fn strip_line_ends(name: &str) -> String {
    name.chars().filter(|character| !matches!(character, '\r' | '\n')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_names_are_a_prefix_and_22_characters_of_base64url() {
        assert_eq!(unique_name("amq.gen-", [0; 16]), format!("amq.gen-{}", "A".repeat(22)));
        assert_eq!(unique_name("", [0xff; 16]), format!("{}w", "_".repeat(21)));
        assert_eq!(unique_name("", *b"sixteen bytes ok"), "c2l4dGVlbiBieXRlcyBvaw");
    }

    #[test]
    fn line_ends_leave_names() {
        assert_eq!(strip_line_ends("a\r\nb\n"), "ab");
    }
}
