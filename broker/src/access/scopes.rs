//! [`Scopes`]: what a token permits, in RabbitMQ's words: `read:vhost/name/routing_key`, `tag:administrator`.
//!
//! Vhosts, names and routing keys are patterns in which `*` stands for any text and `%2A` for a star; everything else is itself.

use super::{Permission, Tags};
use crate::limits::SCOPES_MAX;

/// All scopes of one token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes {
    scopes: Vec<Scope>,
    tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Scope {
    permission: Permission,
    vhost: Wildcard,
    name: Wildcard,
    routing_key: Wildcard,
}

impl Scopes {
    /// Reads those that begin with `prefix`; what has no meaning here is passed over, as in RabbitMQ. Of more than
    /// [`SCOPES_MAX`] the rest is passed over, too.
    pub fn new<'a>(scopes: impl IntoIterator<Item = &'a str>, prefix: &str) -> Self {
        let (mut parsed, mut tags) = (Vec::new(), Vec::new());
        for scope in scopes.into_iter().filter_map(|scope| scope.strip_prefix(prefix)).take(SCOPES_MAX) {
            match scope.split_once(':') {
                Some(("tag", tag)) => tags.push(tag),
                Some((permission, resource)) => parsed.extend(Scope::parse(permission, resource)),
                None => {}
            }
        }
        Self { scopes: parsed, tags: Tags::new(tags) }
    }

    /// The tags among them.
    #[must_use]
    pub fn tags(&self) -> &Tags {
        &self.tags
    }

    /// Whether a virtual host may be entered: there is something in it that is permitted.
    #[must_use]
    pub fn enter(&self, vhost: &str) -> bool {
        self.scopes.iter().any(|scope| scope.vhost.matches(vhost))
    }

    /// Whether this is permitted on what is called `name`.
    #[must_use]
    pub fn allow(&self, permission: Permission, vhost: &str, name: &str) -> bool {
        self.scopes.iter().any(|scope| scope.allows(permission, vhost, name))
    }

    /// Whether any of them is about routing keys.
    #[must_use]
    pub fn limit_routing_keys(&self) -> bool {
        self.scopes.iter().any(|scope| !scope.routing_key.is_everything())
    }

    /// Whether this is permitted on a topic exchange with this routing key.
    #[must_use]
    pub fn allow_topic(
        &self,
        permission: Permission,
        vhost: &str,
        exchange: &str,
        routing_key: &str,
    ) -> bool {
        let fits = |scope: &Scope| {
            scope.allows(permission, vhost, exchange) && scope.routing_key.matches(routing_key)
        };
        self.scopes.iter().any(fits)
    }
}

impl Scope {
    fn parse(permission: &str, resource: &str) -> Option<Self> {
        let permission = match permission {
            "configure" => Permission::Configure,
            "write" => Permission::Write,
            "read" => Permission::Read,
            _ => return None,
        };
        let mut parts = resource.split('/').map(Wildcard::new);
        let (vhost, name) = (parts.next()?, parts.next()?);
        let routing_key = parts.next().unwrap_or_else(|| Wildcard::new("*"));
        parts.next().is_none().then_some(Self { permission, vhost, name, routing_key })
    }

    fn allows(&self, permission: Permission, vhost: &str, name: &str) -> bool {
        self.permission == permission && self.vhost.matches(vhost) && self.name.matches(name)
    }
}

/// The texts between stars; one for a pattern without.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wildcard(Vec<Box<[u8]>>);

impl Wildcard {
    fn new(text: &str) -> Self {
        Self(text.split('*').map(|part| percent_decoded(part).into()).collect())
    }

    fn is_everything(&self) -> bool {
        self.0.len() > 1 && self.0.iter().all(|part| part.is_empty())
    }

    /// Each text in the middle is taken where it is found first, which leaves the most for the rest: no turning back.
    fn matches(&self, text: &str) -> bool {
        let mut rest = text.as_bytes();
        let Some((first, others)) = self.0.split_first() else { return false };
        let Some((last, middle)) = others.split_last() else { return rest == &**first };
        let Some(after) = rest.strip_prefix(&**first) else { return false };
        rest = after;
        for part in middle.iter().filter(|part| !part.is_empty()) {
            let Some(at) = rest.windows(part.len()).position(|window| window == &**part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

/// `%2F` and the like as bytes; what is no such code stays as it is.
fn percent_decoded(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let code = match (byte, after) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        if let Some((high, low)) = code {
            decoded.push(high * 16 + low);
            rest = &rest[2..];
        } else {
            decoded.push(byte);
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Tag;

    #[test]
    fn wildcards_match_as_rabbitmqs_do() {
        for (pattern, matching, others) in [
            ("*", &["", "a", "a.b/c"][..], &[][..]),
            ("a", &["a"], &["", "b", "aa"]),
            ("", &[""], &["a"]),
            ("a*", &["a", "ab"], &["ba", ""]),
            ("*a", &["a", "ba"], &["ab"]),
            ("a*b*c", &["abc", "a-b-c", "abbcc"], &["ac", "acb", "abcd"]),
            ("ab*ba", &["abba"], &["aba"]),
            ("%2A", &["*"], &["a"]),
            ("%2Fa%2f*", &["/a/", "/a/b"], &["%2Fa%2f"]),
            ("a.*", &["a.b"], &["ab"]),
            ("%zz%2", &["%zz%2"], &[]),
        ] {
            let wildcard = Wildcard::new(pattern);
            assert!(matching.iter().all(|text| wildcard.matches(text)), "{pattern} {matching:?}");
            assert!(!others.iter().any(|text| wildcard.matches(text)), "{pattern} {others:?}");
        }
    }

    #[test]
    fn scopes_permit_what_they_name_and_nothing_else() {
        let scopes = Scopes::new(
            [
                "broker.read:%2F/q*",
                "broker.write:*/e",
                "broker.configure:a/b/c/d",
                "read:*/*",
                "broker.tag:monitoring",
            ],
            "broker.",
        );
        assert!(scopes.enter("/") && scopes.enter("b"));
        assert!(scopes.allow(Permission::Read, "/", "q1"));
        assert!(!scopes.allow(Permission::Read, "/", "r"));
        assert!(!scopes.allow(Permission::Read, "b", "q1"));
        assert!(!scopes.allow(Permission::Write, "/", "q1"));
        assert!(scopes.allow(Permission::Write, "b", "e"));
        assert!(!scopes.allow(Permission::Configure, "a", "b"));
        assert!(scopes.tags().has(Tag::Monitoring) && !scopes.tags().has(Tag::Administrator));
        assert!(!scopes.limit_routing_keys());
        assert!(!Scopes::new(["broker.tag:administrator"], "broker.").enter("/"));
    }

    #[test]
    fn the_third_part_is_about_routing_keys() {
        let scopes = Scopes::new(["write:v/e/a.*", "write:v/f"], "");
        assert!(scopes.limit_routing_keys());
        assert!(scopes.allow(Permission::Write, "v", "e"));
        assert!(scopes.allow_topic(Permission::Write, "v", "e", "a.b"));
        assert!(!scopes.allow_topic(Permission::Write, "v", "e", "b"));
        assert!(!scopes.allow_topic(Permission::Read, "v", "e", "a.b"));
        assert!(scopes.allow_topic(Permission::Write, "v", "f", "b"));
    }
}
