//! The messages of these tests: which one it is stands at the start of its body, and the rest follows from that, so that a
//! body which was damaged is told from one that was not.

use crate::random::Random;

/// The number of a message among those of its publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) publisher: u32,
    pub(crate) number: u32,
}

const HEAD_BYTES: usize = 12;

/// How long bodies are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Size {
    /// Most of them short, a few of some sectors, and now and then one of many.
    Mixed,
    /// About this many bytes.
    About(u32),
}

/// The body of a message, of random length.
pub(crate) fn body(id: Id, size: Size) -> Vec<u8> {
    let mut random = Random::part(u64::from(id.publisher), u64::from(id.number));
    // Enough that no other message has the same bytes.
    let length = 8 + match (size, random.below(100)) {
        (Size::Mixed, 0) => random.below(60_000),
        (Size::Mixed, 1..15) => random.below(6000),
        (Size::Mixed, _) => random.below(300),
        (Size::About(bytes), _) => u64::from(bytes) - random.below(u64::from(bytes) / 10 + 1),
    };
    bytes_of(id, u32::try_from(length).unwrap())
}

fn bytes_of(id: Id, length: u32) -> Vec<u8> {
    let mut body: Vec<u8> =
        [id.publisher, id.number, length].into_iter().flat_map(u32::to_le_bytes).collect();
    body.resize(HEAD_BYTES + usize::try_from(length).unwrap(), 0);
    let seed = u64::from(id.publisher) << 32 | u64::from(id.number);
    Random::part(seed, u64::from(length)).fill(&mut body[HEAD_BYTES..]);
    body
}

/// Which message a body is, if it is intact.
pub(crate) fn identify(body: &[u8]) -> Option<Id> {
    let word = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
    let (id, length) = (Id { publisher: word(0)?, number: word(4)? }, word(8)?);
    (body.len() == HEAD_BYTES + usize::try_from(length).ok()? && bytes_of(id, length) == body).then_some(id)
}

#[test]
fn a_body_with_any_bit_changed_is_nobodys() {
    for number in 0..200 {
        let id = Id { publisher: 3, number };
        let mut body = body(id, Size::Mixed);
        assert_eq!(identify(&body), Some(id));
        let at = Random::new(u64::from(number)).index(body.len());
        body[at] ^= 1;
        assert_eq!(identify(&body), None);
        assert_eq!(identify(&body[..body.len() - 1]), None);
    }
}
