//! The passage of messages: in, out to consumers, settled or given up; and the rules for each effect.

use super::super::features::{Publish, number_of};
use super::super::paging::Unlimited;
use super::*;

impl World {
    /// A message leaves the queue without a consumer; the reason is what the rules allow.
    pub(super) fn end(&mut self, place: Place, reason: Option<DeathReason>) {
        let incoming = self.incoming.take_if(|incoming| incoming.place == place);
        let is_last = self.last().is_some_and(|last| last.place == place) || incoming.is_some();
        let over = (self.exceeds() || incoming.is_some()) && self.drops();
        let entry = incoming.or_else(|| self.ready.remove(&place));
        let entry = entry.unwrap_or_else(|| panic!("{place:?} is not waiting"));
        let because = match reason {
            Some(reason) => reason,
            None if self.is_due(&entry) => DeathReason::Expired,
            None => DeathReason::MaxLength,
        };
        match because {
            DeathReason::Expired => {
                assert!(self.is_due(&entry), "{place:?} is not due");
                self.counters.expired += 1;
            }
            DeathReason::MaxLength => {
                assert!(over && is_last && !entry.paged, "{place:?} is not too much");
                self.counters.dropped += 1;
            }
            other => panic!("unexpected {other:?}"),
        }
        if entry.stored && reason.is_some() {
            self.dying.insert(place);
        } else if entry.stored {
            self.store.remove(&place).unwrap();
        }
    }

    /// A message goes to a consumer or to who asked; gives what is outstanding.
    pub(super) fn hand_out(&mut self, number: u32) -> Entry {
        let incoming = self.incoming.take_if(|incoming| number_of(&incoming.message) == number);
        let direct = incoming.is_some();
        assert!(!direct || self.ready.is_empty(), "{number} overtakes others");
        let place = incoming.as_ref().or_else(|| self.next()).unwrap().place;
        let entry = incoming.or_else(|| self.ready.remove(&place)).unwrap();
        assert_eq!(number_of(&entry.message), number, "{entry:?} of {:?}", self.settings());
        assert!(!entry.paged && (direct || !self.is_due(&entry)), "{number} has expired");
        let end = self.delivered_end.entry(place.0).or_default();
        *end = (*end).max(place.1 + 1);
        entry
    }

    pub(super) fn check_effects(&mut self, effects: Vec<Effect>) {
        let (mut automatic, mut last_due_ms) = (None, 0);
        let any_paged = self.ready.values().any(|entry| entry.paged);
        for (level, seq) in self.queue.expired_paged() {
            self.end((level, seq.0), Some(DeathReason::Expired));
            self.counters.dead_lettered += 1;
            self.to_bury.push((level, seq.0));
        }
        for effect in effects {
            match effect {
                Effect::Deliver { consumer, slot, redelivered, message, .. } => {
                    self.queue.written(consumer, 1, message.body().len());
                    let entry = self.hand_out(number_of(&message));
                    assert!(redelivered || entry.returned == 0);
                    if slot == NO_SLOT {
                        automatic = entry.stored.then_some(entry.place);
                    } else {
                        self.outstanding.insert(slot, (entry, Some(consumer)));
                    }
                }
                Effect::Settled { level, seq } if automatic == Some((level, seq.0)) => {
                    self.store.remove(&(level, seq.0)).unwrap();
                    automatic = None;
                }
                Effect::Settled { level, seq } => self.end((level, seq.0), None),
                Effect::Dead { stored: false, reason: DeathReason::MaxLength, message, .. }
                    if !self.drops() =>
                {
                    let refused = self.incoming.take().unwrap();
                    assert_eq!(refused.message.identity(), message.identity());
                }
                Effect::Dead { level, seq, stored, reason, message } => {
                    self.counters.dead_lettered += 1;
                    assert!(self.dead_letters);
                    let found = self.ready.get(&(level, seq.0)).or(self.incoming.as_ref()).unwrap();
                    assert_eq!((found.stored, number_of(&found.message)), (stored, number_of(&message)));
                    if reason == DeathReason::Expired {
                        let due_ms = self.due_ms(found).unwrap();
                        // What lies behind paged messages is not known to be due by its age.
                        let in_order = last_due_ms <= due_ms || self.incoming.is_some();
                        assert!(in_order || any_paged);
                        last_due_ms = last_due_ms.max(due_ms);
                    }
                    self.end((level, seq.0), Some(reason));
                }
                Effect::Delivered { .. } => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    pub(super) fn enqueue(&mut self) {
        self.published += 1;
        let publish = Publish {
            number: self.published,
            priority: u8::try_from(self.random.below(7)).unwrap(),
            persistent: !self.dead_letters || !self.random.one_in(4),
            arrived_ms: self.now_ms,
            more_bytes: self.random.below(40),
            expiration_ms: self.random.one_in(3).then(|| self.random.next() % 150),
        };
        let message = publish.message();
        let level = publish.priority.min(self.levels());
        let next = self.next_seq.entry(level).or_default();
        let place = (level, *next);
        let entry = Entry {
            place,
            message: message.clone(),
            returned: 0,
            stored: publish.persistent,
            paged: false,
            known: true,
        };
        *next += 1;
        if publish.persistent {
            self.store.insert(place, (message.clone(), 0));
        }
        self.incoming = Some(entry);
        let mut effects = Vec::new();
        let enqueued = self.queue.enqueue(message, self.now_ms, &mut Unlimited, &mut effects);
        let refused_dead = effects.iter().any(|effect| matches!(effect, Effect::Dead { stored: false, .. }));
        match enqueued {
            Enqueued::Accepted { level, seq } => {
                assert_eq!((level, seq.0), place);
                self.check_effects(effects);
                if let Some(entry) = self.incoming.take() {
                    assert!(!self.is_due(&entry), "{place:?} should have expired at once");
                    self.ready.insert(place, entry);
                }
                let stuck = self.last().is_some_and(|last| last.paged);
                assert!(!self.drops() || !self.exceeds() || stuck, "too much is left");
            }
            Enqueued::Refused => {
                *self.next_seq.get_mut(&level).unwrap() -= 1;
                let refused = self.incoming.clone();
                self.store.remove(&place);
                self.check_effects(effects);
                let dlx = self.settings().overflow == Overflow::RejectPublishDlx && self.dead_letters;
                assert!(!dlx || refused_dead);
                self.counters.refused += 1;
                self.counters.dead_lettered += u64::from(dlx);
                self.incoming = refused;
                assert!(!self.drops() && self.exceeds(), "there is room");
                self.incoming = None;
                assert!(!self.has_credit() || !self.ready.is_empty(), "a consumer could take it");
            }
        }
    }

    pub(super) fn dispatch(&mut self) {
        let mut effects = Vec::new();
        self.queue.dispatch(self.now_ms, &mut Unlimited, &mut effects);
        self.check_effects(effects);
        self.check_quiet();
    }

    pub(super) fn tick(&mut self) {
        let (mut effects, max) = (Vec::new(), 1 + self.random.below(5));
        let before = self.counters.expired;
        let more = self.queue.tick(self.now_ms, max, &mut Unlimited, &mut effects);
        self.check_effects(effects);
        if more {
            assert!(self.counters.expired - before <= max as u64);
        } else {
            self.check_quiet();
        }
    }

    /// Nothing is left to do at this moment.
    pub(super) fn check_quiet(&self) {
        for entry in self.ready.values() {
            let named = entry.known && entry.message.expires_ms().is_some_and(|due_ms| due_ms <= self.now_ms);
            let is_head = self.head(entry.place.0).is_some_and(|head| head.place == entry.place);
            let due = named || (is_head && !entry.paged && self.is_due(entry));
            assert!(!due, "{entry:?} is due");
        }
        let next = self.next().filter(|next| !next.paged);
        assert!(next.is_none() || !self.has_credit(), "a consumer is left idle");
        let stuck = self.last().is_some_and(|last| last.paged);
        assert!(!self.drops() || !self.exceeds() || stuck, "too much is left");
    }

    pub(super) fn take(&mut self) {
        let ack_mode = if self.random.one_in(2) { AckMode::Automatic } else { AckMode::Manual };
        let mut effects = Vec::new();
        let taken = self.queue.take(ack_mode, self.now_ms, &mut effects);
        self.check_effects(effects);
        match taken {
            Err(NothingTaken::Empty) => assert!(self.ready.is_empty()),
            Err(NothingTaken::PagedOut) => assert!(self.next().unwrap().paged),
            Ok(taken) => {
                let entry = self.hand_out(number_of(&taken.message));
                assert_eq!((taken.level, taken.remaining as usize), (entry.place.0, self.ready.len()));
                if ack_mode == AckMode::Manual {
                    self.outstanding.insert(taken.slot, (entry, None));
                } else if entry.stored {
                    assert_eq!(taken.settled.map(|seq| seq.0), Some(entry.place.1));
                    self.store.remove(&entry.place).unwrap();
                }
            }
        }
    }

    pub(super) fn settle(&mut self) {
        let settlement = [Settlement::Ack, Settlement::Requeue, Settlement::Requeue, Settlement::Discard]
            [self.random.below(4)];
        let mut slots: Vec<u32> = self.outstanding.keys().copied().collect();
        slots.truncate(self.random.below(5));
        let mut effects = Vec::new();
        self.queue.settle(settlement, &slots, &mut effects);
        let mut effects = effects.into_iter();
        let (limit, dead_letters) = (self.settings().delivery_limit, self.dead_letters);
        for slot in slots {
            let (mut entry, _) = self.outstanding.remove(&slot).unwrap();
            let reason = match settlement {
                Settlement::Ack => None,
                Settlement::Discard => Some(DeathReason::Rejected),
                Settlement::Requeue if limit.is_some_and(|limit| u32::from(entry.returned) >= limit) => {
                    Some(DeathReason::DeliveryLimit)
                }
                Settlement::Requeue => {
                    entry.returned += 1;
                    if entry.stored {
                        let effect = effects.next();
                        assert!(
                            matches!(effect, Some(Effect::Returned { count, .. }) if count == entry.returned)
                        );
                        self.store.get_mut(&entry.place).unwrap().1 = entry.returned;
                    }
                    self.ready.insert(entry.place, entry);
                    continue;
                }
            };
            self.counters.rejected += u64::from(reason == Some(DeathReason::Rejected));
            self.counters.delivery_limited += u64::from(reason == Some(DeathReason::DeliveryLimit));
            if reason.is_some() && dead_letters {
                self.counters.dead_lettered += 1;
                let effect = effects.next();
                let Some(Effect::Dead { level, seq, stored, reason: told, .. }) = effect else {
                    panic!("unexpected {effect:?}");
                };
                assert_eq!(((level, seq.0), Some(told), stored), (entry.place, reason, entry.stored));
                if stored {
                    self.dying.insert(entry.place);
                }
            } else if entry.stored {
                let effect = effects.next();
                let told =
                    matches!(effect, Some(Effect::Settled { level, seq }) if (level, seq.0) == entry.place);
                assert!(told, "unexpected {effect:?}");
                self.store.remove(&entry.place).unwrap();
            }
        }
        assert!(effects.next().is_none());
    }
}
