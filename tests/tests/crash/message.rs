//! The messages of these tests: body and properties follow from a number and the seed, so that whatever comes back can be
//! compared to the last byte without keeping it.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::random::{Random, mix};
use crate::wire::Content;

/// Which message: the `number`th of its publisher, from 0. No two connections of a test are the same publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) publisher: u32,
    pub(crate) number: u32,
}

impl Id {
    /// `priority` of the message, from 0 to 5.
    pub(crate) fn priority(self) -> u8 {
        u8::try_from(self.number % 6).unwrap()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}-{}", self.publisher, self.number)
    }
}

impl FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (publisher, number) = text.strip_prefix('p').and_then(|text| text.split_once('-')).ok_or(())?;
        let id = Self { publisher: publisher.parse().map_err(drop)?, number: number.parse().map_err(drop)? };
        // One spelling only.
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

/// `delivery_mode` of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Transient = 1,
    Persistent = 2,
}

/// How long bodies are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// Mostly a few hundred bytes, some empty, a few of 300 KiB, and one of several MiB now and then.
    Mixed,
    /// Up to 600 bytes, some empty.
    Small,
}

/// What makes the messages of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages {
    pub(crate) seed: u64,
    pub(crate) sizes: Sizes,
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const LONGEST: u64 = 6 * MIB;
const POOL_BYTES: u64 = LONGEST + 2 * MIB;

impl Messages {
    /// The body of a message.
    pub(crate) fn body(self, id: Id) -> &'static [u8] {
        let hash = mix(self.seed ^ mix(u64::from(id.publisher) << 32 | u64::from(id.number)));
        let mut random = Random::new(hash);
        let len = match (self.sizes, random.below(20_000)) {
            (_, 0..1_000) => 0,
            (Sizes::Small, _) => 1 + random.below(600),
            (_, 1_000..19_300) => 100 + random.below(1_900),
            (_, 19_300..19_960) => 2_000 + random.below(30_000),
            (_, 19_960..19_999) => 300 * KIB + random.below(100),
            _ => 2 * MIB + random.below(LONGEST - 2 * MIB),
        };
        let start = usize::try_from(random.below(POOL_BYTES - LONGEST)).unwrap();
        &pool()[start..start + usize::try_from(len).unwrap()]
    }

    /// The message whose content this is, or what is wrong with it.
    pub(crate) fn identify(self, content: &Content) -> Result<(Id, Mode), String> {
        let (id, mode) = identity(&content.properties)
            .ok_or_else(|| format!("properties of no message of ours: {:?}", content.properties))?;
        if content.properties != properties(id, mode) {
            return Err(format!("{id} has other properties: {:?}", content.properties));
        }
        let body = self.body(id);
        if content.body == body {
            return Ok((id, mode));
        }
        let (is, should) = (content.body.len(), body.len());
        let differs = content.body.iter().zip(body).position(|(is, should)| is != should);
        Err(format!("the body of {id} is damaged: {is} bytes of {should}, first difference {differs:?}"))
    }
}

/// What the properties of a dead letter were before it had a story, if it has one.
pub(crate) fn without_story(properties: &[u8]) -> Option<Vec<u8>> {
    const TABLE_AT: usize = 2 + CONTENT_TYPE.len();
    let table_bytes = u32::from_be_bytes(properties.get(TABLE_AT..TABLE_AT + 4)?.try_into().ok()?);
    let end = TABLE_AT + 4 + usize::try_from(table_bytes).ok()?;
    let table = properties.get(TABLE_AT + 4..end)?;
    let find = |wanted: &[u8]| table.windows(wanted.len()).position(|window| window == wanted);
    find(b"\x07x-deathA")?;
    let own = find(&HEADERS[4..])?;
    let own = table.get(own..own + HEADERS.len())?;
    Some([&properties[..TABLE_AT], &HEADERS[..4], own, &properties[end..]].concat())
}

/// Random bytes that bodies are cut from.
fn pool() -> &'static [u8] {
    static POOL: OnceLock<Vec<u8>> = OnceLock::new();
    POOL.get_or_init(|| {
        let mut random = Random::new(1);
        (0..POOL_BYTES / 8).flat_map(|_| random.next().to_le_bytes()).collect()
    })
}

/// content-type, headers, delivery-mode, priority, message-id and timestamp, as on the wire.
const FLAGS: u16 = 1 << 15 | 1 << 13 | 1 << 12 | 1 << 11 | 1 << 7 | 1 << 6;
const CONTENT_TYPE: &[u8] = b"\x0capplication/";
/// The header `n`, of type `I`, up to its value.
const HEADERS: &[u8] = b"\0\0\0\x07\x01nI";
/// Where the delivery mode stands.
const MODE_AT: usize = 2 + 13 + 7 + 4;

/// All properties of a message, as on the wire.
pub(crate) fn properties(id: Id, mode: Mode) -> Vec<u8> {
    let text = id.to_string();
    let mut bytes = FLAGS.to_be_bytes().to_vec();
    bytes.extend_from_slice(CONTENT_TYPE);
    bytes.extend_from_slice(HEADERS);
    bytes.extend_from_slice(&id.number.to_be_bytes());
    bytes.push(mode as u8);
    bytes.push(id.priority());
    bytes.push(u8::try_from(text.len()).unwrap());
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend_from_slice(&(1_700_000_000 + u64::from(id.publisher)).to_be_bytes());
    bytes
}

fn identity(properties: &[u8]) -> Option<(Id, Mode)> {
    let mode = match properties.get(MODE_AT)? {
        1 => Mode::Transient,
        2 => Mode::Persistent,
        _ => return None,
    };
    let len = usize::from(*properties.get(MODE_AT + 2)?);
    let text = properties.get(MODE_AT + 3..MODE_AT + 3 + len)?;
    Some((std::str::from_utf8(text).ok()?.parse().ok()?, mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_content_and_any_change_of_it_is_noticed() {
        let messages = Messages { seed: 3, sizes: Sizes::Mixed };
        for number in 0..500 {
            let id = Id { publisher: 7, number };
            let whole =
                Content { properties: properties(id, Mode::Persistent), body: messages.body(id).to_vec() };
            assert_eq!(messages.identify(&whole), Ok((id, Mode::Persistent)));
            let mut long = whole.clone();
            long.body.push(0);
            assert!(messages.identify(&long).is_err());
            for at in 0..whole.properties.len() {
                // Another mode is another message.
                if at != MODE_AT {
                    let mut changed = whole.clone();
                    changed.properties[at] ^= 1;
                    assert_ne!(messages.identify(&changed), Ok((id, Mode::Persistent)));
                }
            }
            if let Some(middle) = whole.body.len().checked_sub(1) {
                let mut changed = whole.clone();
                changed.body[middle / 2] ^= 1;
                assert!(messages.identify(&changed).is_err());
            }
        }
    }
}
