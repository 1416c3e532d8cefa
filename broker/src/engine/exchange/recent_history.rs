//! [`RecentHistory`]: the last messages that passed an `x-recent-history` exchange.
//!
//! A ring with a bound on its length, and one on its bytes that the server moves. It is not kept over a restart; RabbitMQ's is not
//! either. The server puts a lock around it.

use std::collections::VecDeque;

use crate::wire::message::Message;

/// Messages, the oldest first.
#[derive(Debug, Default)]
pub struct RecentHistory {
    messages: VecDeque<Message>,
    memory_bytes: usize,
}

impl RecentHistory {
    /// Adds a message; the oldest go while there are more than `messages_max`, or more than `bytes_max` in memory: even the one
    /// just added if it is too large.
    pub fn push(&mut self, message: Message, messages_max: u32, bytes_max: usize) {
        self.memory_bytes += message.memory_bytes();
        self.messages.push_back(message);
        let messages_max = usize::try_from(messages_max).unwrap_or(usize::MAX);
        while (self.messages.len() > messages_max || self.memory_bytes > bytes_max)
            && let Some(oldest) = self.messages.pop_front()
        {
            self.memory_bytes -= oldest.memory_bytes();
        }
    }

    /// Whether this very message is there.
    #[must_use]
    pub fn contains(&self, message: &Message) -> bool {
        self.messages.iter().any(|kept| kept.identity() == message.identity())
    }

    /// What it holds, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }

    /// What its messages occupy, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str) -> Message {
        Message::new("x", "", &[0, 0], false, body.as_bytes())
    }

    fn bodies(history: &RecentHistory) -> Vec<&str> {
        history.iter().map(|message| std::str::from_utf8(message.body()).unwrap_or_default()).collect()
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_they_are_too_large() {
        let mut history = RecentHistory::default();
        for body in ["a", "b", "c"] {
            history.push(message(body), 2, usize::MAX);
        }
        assert_eq!(bodies(&history), ["b", "c"]);
        let one = message("d").memory_bytes();
        assert_eq!(history.memory_bytes(), 2 * one);
        history.push(message("d"), 9, 2 * one);
        assert_eq!(bodies(&history), ["c", "d"]);
        history.push(message(&"e".repeat(1000)), 9, 2 * one);
        assert_eq!(
            (bodies(&history).len(), history.memory_bytes()),
            (0, 0),
            "nothing older than what is missing"
        );
    }

    #[test]
    fn a_message_is_known_by_itself_and_not_by_its_content() {
        let mut history = RecentHistory::default();
        let kept = message("a");
        history.push(kept.clone(), 2, usize::MAX);
        assert!(history.contains(&kept) && !history.contains(&message("a")));
    }
}
