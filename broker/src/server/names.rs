//! Names that the broker makes up: queues, consumer tags and reply addresses, 128 random bits each.

/// The letters of base64url (RFC 4648, section 5), which RabbitMQ uses for generated names too.
const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// 128 random bits as 22 letters of base64url.
#[must_use]
pub(super) fn random_token() -> String {
    encode(u128::from_ne_bytes(random_bytes()))
}

/// `amq.gen-<22 letters>`, the name of a queue declared without one.
#[must_use]
pub(super) fn generated_queue_name() -> String {
    format!("amq.gen-{}", random_token())
}

/// Random bytes from the operating system: reply addresses must not be guessable.
#[must_use]
pub(super) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Only a kernel without the system call (before Linux 3.17) or a sandbox that forbids it fails here, and a broker
    // that made up predictable names would be worse than none.
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

fn encode(bits: u128) -> String {
    // 22 letters hold 132 bits; the first letter carries the uppermost two.
    (0..22)
        .rev()
        .map(|letter| {
            let index = (bits >> (letter * 6)) & 63;
            char::from(BASE64URL[usize::try_from(index).unwrap_or_default()])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_22_letters_and_differ() {
        let tokens: std::collections::HashSet<_> = (0..1000).map(|_| random_token()).collect();
        assert_eq!(tokens.len(), 1000);
        assert!(tokens.iter().all(|token| token.len() == 22));
        assert_eq!(encode(0), "A".repeat(22));
        assert_eq!(encode(u128::MAX), format!("D{}", "_".repeat(21)));
    }
}
