//! How a broker and its model are compared.

use warren_tests::eventually;

use super::{ASKING, BARRIER, EXCHANGES, KEYS, LOOKING, Pair, QUEUES};
use crate::connection::{Closed, Delivery};
use crate::message::without_story;
use crate::model::{Entry, Outcome};
use crate::rules::GRAVES;

impl Pair {
    /// Waits until all dead letters are where they belong: until then it is not known in which order things happen.
    pub(super) fn await_burials(&mut self) {
        if !self.model.has_buried() {
            return;
        }
        for name in
            QUEUES.iter().filter(|(_, _, rules)| rules.is_fleeting()).map(|(name, ..)| *name).chain(GRAVES)
        {
            let Some(expected) = self.model.count(name) else { continue };
            eventually("dead letters are buried", || {
                let count = self.connection().count(ASKING, name).unwrap();
                (usize::try_from(count) == Ok(expected)).then_some(())
            });
        }
    }

    pub(super) fn compare(&mut self, queue: &str, delivery: Option<&Delivery>, expected: Option<Entry>) {
        let is = delivery.map(|delivery| {
            let mut content = delivery.content.clone();
            let own = without_story(&content.properties);
            let is_dead = own.is_some();
            content.properties = own.unwrap_or(content.properties);
            let identity = self.messages.identify(&content);
            let (id, mode) = identity.unwrap_or_else(|problem| panic!("queue {queue}: {problem}"));
            Entry { id, mode, redelivered: delivery.redelivered, is_dead }
        });
        assert_eq!(is, expected, "from queue {queue}, seed {}", self.messages.seed);
        self.compared += 1;
    }

    /// Publishes to each exchange by each key, and looks where it arrived.
    pub(super) fn probe_bindings(&mut self) {
        for (exchange, ..) in EXCHANGES {
            for key in KEYS {
                if self.model.has_exchange(exchange) {
                    self.publish((exchange, key));
                    QUEUES.iter().for_each(|(name, ..)| self.compare_count(name));
                }
            }
        }
    }

    pub(super) fn compare_count(&mut self, name: &'static str) {
        let expected = self.model.count(name);
        if expected.is_some() && QUEUES.iter().any(|(queue, _, rules)| *queue == name && rules.has_limit()) {
            // After a restart it has to be read from the disk before it is dropped.
            return eventually(&format!("{expected:?} messages in queue {name}"), || {
                let count = usize::try_from(self.connection().count(ASKING, name).unwrap()).unwrap();
                (expected == Some(count)).then_some(())
            });
        }
        let count = self.connection().count(ASKING, name);
        let count = self.exists(count).map(|count| usize::try_from(count).unwrap());
        assert_eq!(count, expected, "messages in queue {name}, seed {}", self.messages.seed);
    }

    /// None if the broker says that there is no such thing.
    pub(super) fn exists<T>(&mut self, answer: Result<T, Closed>) -> Option<T> {
        match answer {
            Ok(value) => Some(value),
            Err(closed) => {
                assert_eq!(closed.code, 404, "{closed}");
                self.connection().channel(ASKING);
                None
            }
        }
    }

    /// Compares all messages of all queues, and puts them back.
    pub(super) fn look_at_everything(&mut self) {
        self.note("look at everything".to_owned());
        for name in QUEUES.iter().map(|(name, ..)| *name).chain(GRAVES).chain([BARRIER]) {
            if !self.model.has_queue(name) {
                continue;
            }
            self.connection().channel(LOOKING);
            self.connection().consume(LOOKING, name);
            for expected in self.model.ready(name) {
                let delivery = self.connection().delivery(LOOKING);
                self.model.hold(name, LOOKING, delivery.tag);
                self.compare(name, Some(&delivery), Some(expected));
            }
            self.connection().cancel(LOOKING);
            let more = self.connection().get(LOOKING, name, false).unwrap();
            assert!(more.is_none(), "queue {name} has more than it should: {more:?}");
            self.connection().close_channel(LOOKING);
            self.model.settle(LOOKING, |_| true, Outcome::Returned);
            self.await_burials();
        }
    }
}
