//! Numbers, sizes, ages and names as people read them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::live::{Numbers, count};
use crate::engine::QueueId;
use crate::engine::definitions::{Definition, Loaded};
use crate::store::LOG_FOLDER;
use crate::store::index::RangeSet;
use crate::store::log::segment::SegmentId;

/// More ranges of numbers than this are not listed one by one.
const RANGES_MAX: usize = 12;

/// How queues are called.
#[derive(Debug, Default)]
pub(super) struct QueueNames(HashMap<QueueId, String>);

impl QueueNames {
    pub(super) fn of_definitions(loaded: &Loaded) -> Self {
        let name = |definition: &Definition| match definition {
            Definition::Queue { id, options, .. } if &*options.vhost == "/" => {
                Some((*id, format!("queue '{}'", options.name)))
            }
            Definition::Queue { id, options, .. } => Some((*id, options.resource())),
            Definition::Access(_)
            | Definition::Policy(_)
            | Definition::Exchange { .. }
            | Definition::Binding(_) => None,
        };
        Self(loaded.definitions.iter().filter_map(name).collect())
    }

    pub(super) fn is_defined(&self, queue: QueueId) -> bool {
        self.0.contains_key(&queue.without_level())
    }

    /// How many queues are defined.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// `queue 'orders'`, with its vhost unless that is the usual one, and the priority of its messages unless that is 0.
    pub(super) fn of(&self, queue: QueueId) -> String {
        match (self.0.get(&queue.without_level()), queue.level()) {
            (Some(name), 0) => name.clone(),
            (Some(name), level) => format!("{name}, priority {level}"),
            (None, _) => format!("the undefined queue {}", queue.0),
        }
    }

    /// `3 messages of queue 'a' (numbers 5, 7 to 8) and 1 message of queue 'b' (number 1)`; none for no numbers.
    pub(super) fn messages(&self, numbers: &Numbers) -> Option<String> {
        let of_queue = |(&queue, numbers): (&QueueId, &RangeSet)| {
            let messages = counted(count(numbers), "message");
            format!("{messages} of {} ({})", self.of(queue), ranges(numbers))
        };
        let parts: Vec<String> = numbers.iter().map(of_queue).collect();
        (!parts.is_empty()).then(|| parts.join(" and "))
    }
}

/// `number 5` or `numbers 5, 7 to 8`.
fn ranges(numbers: &RangeSet) -> String {
    let all: Vec<(u64, u64)> = numbers.iter().collect();
    let one = |&(first, last): &(u64, u64)| match last - first {
        0 => first.to_string(),
        _ => format!("{first} to {last}"),
    };
    let mut text = all.iter().take(RANGES_MAX).map(one).collect::<Vec<_>>().join(", ");
    if all.len() > RANGES_MAX {
        let _ = write!(text, " and {} more ranges", thousands((all.len() - RANGES_MAX) as u64));
    }
    let word = if count(numbers) == 1 { "number" } else { "numbers" };
    format!("{word} {text}")
}

/// The name of a segment's file in the data folder.
pub(super) fn segment(id: SegmentId) -> String {
    id.path(Path::new(LOG_FOLDER)).display().to_string()
}

/// `1,204`
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1,204 messages`
pub(super) fn counted(number: u64, thing: &str) -> String {
    let plural = match (number, thing.strip_suffix('y')) {
        (1, _) => thing.to_owned(),
        (_, Some(stem)) => format!("{stem}ies"),
        _ => format!("{thing}s"),
    };
    format!("{} {plural}", thousands(number))
}

/// `17 bytes`, `4.0 KiB`, `1.2 MiB`, `20.3 GiB`
pub(super) fn size(bytes: u64) -> String {
    let (shift, unit) = match bytes {
        0..1024 => return counted(bytes, "byte"),
        1024..0x10_0000 => (10, "KiB"),
        0x10_0000..0x4000_0000 => (20, "MiB"),
        _ => (30, "GiB"),
    };
    let tenths = (u128::from(bytes) * 10) >> shift;
    let whole = u64::try_from(tenths / 10).unwrap_or(u64::MAX);
    format!("{}.{} {unit}", thousands(whole), tenths % 10)
}

/// `12 s`, `5 min`, `3 h 20 min`, `4 days`
pub(super) fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        seconds => format!("{} days", thousands(seconds / 86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_things_counted() {
        let table = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in table {
            assert_eq!(thousands(number), text);
        }
        assert_eq!(counted(1, "copy"), "1 copy");
        assert_eq!(counted(0, "copy"), "0 copies");
        assert_eq!(counted(2_000, "message"), "2,000 messages");
    }

    #[test]
    fn sizes_and_ages_have_the_unit_that_suits_them() {
        let sizes = [
            (1, "1 byte"),
            (1023, "1,023 bytes"),
            (1024, "1.0 KiB"),
            (1_258_292, "1.2 MiB"),
            (0x4000_0000, "1.0 GiB"),
            (u64::MAX, "17,179,869,183.9 GiB"),
        ];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
        let ages = [(119, "119 s"), (120, "2 min"), (7_260, "2 h 1 min"), (172_800, "2 days")];
        for (seconds, text) in ages {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn messages_are_named_by_queue_and_number_and_long_lists_are_cut() {
        let mut numbers = Numbers::new();
        for seq in [5, 7, 8] {
            numbers.entry(QueueId(1)).or_default().insert(seq, seq);
        }
        for seq in (0..60).step_by(2) {
            numbers.entry(QueueId(2)).or_default().insert(seq, seq);
        }
        let names = QueueNames(HashMap::from([(QueueId(1), "queue 'a'".to_owned())]));
        let text = names.messages(&numbers).unwrap();
        assert!(
            text.starts_with("3 messages of queue 'a' (numbers 5, 7 to 8) and 30 messages of the undefined"),
            "{text}"
        );
        assert!(text.ends_with("22 and 18 more ranges)"), "{text}");
        assert_eq!(names.messages(&Numbers::new()), None);
    }
}
