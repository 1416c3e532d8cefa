//! [`Measure`]: a number with how it changes, under RabbitMQ's name for it.

use crate::stats::rates::{Rates, Window};
use crate::stats::series::{Series, Tiers};
use crate::stats::tally::{COUNTS, Tally};

/// How far back to look at what: nothing is looked at without a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Windows {
    /// At the lengths of queues.
    pub lengths: Option<Window>,
    /// At messages coming and going.
    pub messages: Option<Window>,
    /// At bytes of connections.
    pub data: Option<Window>,
}

/// A number.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// What it is called.
    pub name: &'static str,
    /// What it is now.
    pub value: u64,
    /// How it changes.
    pub rates: Rates,
}

/// The numbers of a tally by name, in the order of the tally's array, and what they add up to.
const NAMES: [&str; COUNTS] = [
    "publish",
    "confirm",
    "return_unroutable",
    "deliver",
    "deliver_no_ack",
    "get",
    "get_no_ack",
    "get_empty",
    "ack",
    "redeliver",
    "drop_unroutable",
];

/// The places of what was handed out in any way.
const DELIVER_GET: [usize; 4] = [3, 4, 5, 6];

/// Something that knows how numbers were.
pub(super) trait Past {
    /// How what `number` makes of a sample changes.
    fn rates(&self, number: &dyn Fn(&[u64]) -> u64, window: Option<Window>) -> Rates;
}

impl<const N: usize> Past for Series<N> {
    fn rates(&self, number: &dyn Fn(&[u64]) -> u64, window: Option<Window>) -> Rates {
        self.rates_of(|values| number(values), window)
    }
}

impl<const N: usize> Past for Tiers<N> {
    fn rates(&self, number: &dyn Fn(&[u64]) -> u64, window: Option<Window>) -> Rates {
        self.rates_of(|values| number(values), window)
    }
}

/// One that is what `number` makes of a sample.
pub(super) fn measure(
    name: &'static str,
    value: u64,
    past: Option<&dyn Past>,
    window: Option<Window>,
    number: impl Fn(&[u64]) -> u64,
) -> Measure {
    let rates = past.map(|past| past.rates(&number, window)).unwrap_or_default();
    Measure { name, value, rates }
}

/// Messages ready, unacknowledged, and both.
pub(super) fn lengths(
    (ready, unacked): (u64, u64),
    past: Option<&dyn Past>,
    window: Option<Window>,
) -> [Measure; 3] {
    [
        measure("messages", ready + unacked, past, window, |sample| sample[0] + sample[1]),
        measure("messages_ready", ready, past, window, |sample| sample[0]),
        measure("messages_unacknowledged", unacked, past, window, |sample| sample[1]),
    ]
}

/// What happened to messages. `tally_at` is where the tally lies in the samples; nothing if nothing happened yet.
pub(super) fn message_stats(
    tally: &Tally,
    tally_at: usize,
    past: Option<&dyn Past>,
    window: Option<Window>,
) -> Vec<Measure> {
    if *tally == Tally::default() {
        return Vec::new();
    }
    let single =
        NAMES.iter().zip(tally.to_array()).enumerate().map(|(place, (name, value))| {
            measure(name, value, past, window, |sample| sample[tally_at + place])
        });
    let handed_out = measure("deliver_get", tally.deliver_get(), past, window, |sample| {
        DELIVER_GET.iter().map(|place| sample[tally_at + place]).sum()
    });
    single.chain([handed_out]).collect()
}
