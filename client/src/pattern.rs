//! Patterns of topic exchanges, as text, as a thing that can be built, and as a function that says what fits. Pure.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// What AMQP allows for a routing key, in bytes.
const LONGEST: usize = 255;

/// A pattern for the routing keys of a topic exchange. Keys are words with dots between them; in a pattern `*` stands for
/// one word, and `#` for any number of them, also none.
///
/// ```
/// use warren_client::Pattern;
///
/// # fn main() -> Result<(), warren_client::Error> {
/// let built = Pattern::new().word("order").any_word().any_words().build();
/// let parsed: Pattern = "order.*.#".parse()?;
/// assert_eq!(built?, parsed);
/// assert!(parsed.matches("order.created"));
/// assert!(parsed.matches("order.created.eu"));
/// assert!(!parsed.matches("order"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// Begins a pattern.
    ///
    /// ```
    /// # fn main() -> Result<(), warren_client::Error> {
    /// # use warren_client::Pattern;
    /// let pattern = Pattern::new().word("order").any_word().build()?;
    /// assert_eq!(pattern.as_str(), "order.*");
    /// # Ok(())
    /// # }
    /// ```
    #[expect(clippy::new_ret_no_self, reason = "a pattern is there when its words are known to be good")]
    pub fn new() -> PatternBuilder {
        PatternBuilder { words: Vec::new(), wrong: None }
    }

    /// All messages: `#`.
    ///
    /// ```
    /// # use warren_client::Pattern;
    /// assert!(Pattern::everything().matches("order.created.eu"));
    /// ```
    pub fn everything() -> Self {
        Self("#".to_owned())
    }

    /// Whether a routing key fits.
    ///
    /// ```
    /// # fn main() -> Result<(), warren_client::Error> {
    /// # use warren_client::Pattern;
    /// let pattern: Pattern = "order.*".parse()?;
    /// assert!(pattern.matches("order.created"));
    /// assert!(!pattern.matches("order.created.eu"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn matches(&self, routing_key: &str) -> bool {
        topic_matches(&self.0, routing_key)
    }

    /// As the broker is told.
    ///
    /// ```
    /// # use warren_client::Pattern;
    /// assert_eq!(Pattern::everything().as_str(), "#");
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// # Errors
///
/// [`Error::Invalid`] for `*` or `#` within a word, which would be taken literally by brokers, and beyond 255 bytes.
impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let builder = PatternBuilder { words: Vec::new(), wrong: None };
        words(text)
            .fold(builder, |builder, word| match word {
                "*" => builder.any_word(),
                "#" => builder.any_words(),
                word => builder.word(word),
            })
            .build()
    }
}

impl TryFrom<&str> for Pattern {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        text.parse()
    }
}

/// A pattern that is being built, word by word.
///
/// ```
/// # fn main() -> Result<(), warren_client::Error> {
/// # use warren_client::Pattern;
/// let pattern = Pattern::new().word("order").any_words().build()?;
/// assert_eq!(pattern.to_string(), "order.#");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes a pattern with `build`"]
pub struct PatternBuilder {
    words: Vec<String>,
    wrong: Option<Error>,
}

impl PatternBuilder {
    /// This word and no other.
    ///
    /// ```
    /// # use warren_client::Pattern;
    /// assert!(Pattern::new().word("order").word("created").build().is_ok());
    /// assert!(Pattern::new().word("order.created").build().is_err(), "these are two");
    /// ```
    pub fn word(mut self, word: &str) -> Self {
        if word.contains(['.', '*', '#']) {
            let problem = format!(
                "'{word}' is no word of a routing key: '.' separates words, '*' and '#' stand for whole words only"
            );
            self.wrong.get_or_insert_with(|| Error::invalid(problem));
        }
        self.words.push(word.to_owned());
        self
    }

    /// Any one word: `*`.
    ///
    /// ```
    /// # fn main() -> Result<(), warren_client::Error> {
    /// # use warren_client::Pattern;
    /// let pattern = Pattern::new().any_word().word("error").build()?;
    /// assert!(pattern.matches("disk.error"));
    /// assert!(!pattern.matches("error"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn any_word(mut self) -> Self {
        self.words.push("*".to_owned());
        self
    }

    /// Any number of words, also none: `#`.
    ///
    /// ```
    /// # fn main() -> Result<(), warren_client::Error> {
    /// # use warren_client::Pattern;
    /// let pattern = Pattern::new().any_words().word("error").build()?;
    /// assert!(pattern.matches("kernel.disk.error"));
    /// assert!(pattern.matches("error"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn any_words(mut self) -> Self {
        self.words.push("#".to_owned());
        self
    }

    /// The pattern.
    ///
    /// ```
    /// # use warren_client::Pattern;
    /// assert!(Pattern::new().word("order").build().is_ok());
    /// assert!(Pattern::new().word(&"x".repeat(256)).build().is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if a word is none, and beyond 255 bytes.
    pub fn build(self) -> Result<Pattern, Error> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let text = self.words.join(".");
        if text.len() > LONGEST {
            let length = text.len();
            return Err(Error::invalid(format!(
                "the pattern is {length} bytes long, AMQP allows {LONGEST}: choose shorter words"
            )));
        }
        Ok(Pattern(text))
    }
}

/// Whether a routing key fits a pattern, as topic exchanges decide it.
///
/// ```
/// use warren_client::topic_matches;
///
/// assert!(topic_matches("logs.#", "logs"));
/// assert!(topic_matches("*.error", "kernel.error"));
/// assert!(!topic_matches("*.error", "kernel.disk.error"));
/// ```
pub fn topic_matches(pattern: &str, routing_key: &str) -> bool {
    let pattern: Vec<&str> = words(pattern).collect();
    let key: Vec<&str> = words(routing_key).collect();
    let (mut at, mut seen) = (0, 0);
    // Where to go on when what followed the last `#` did not fit: it then stands for one word more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), key.get(seen)) {
            (Some(&"#"), _) => {
                retry = Some((at, seen));
                at += 1;
            }
            (Some(&word), Some(&other)) if word == "*" || word == other => {
                at += 1;
                seen += 1;
            }
            (None, None) => return true,
            _ => match &mut retry {
                Some((hash, taken)) if *taken < key.len() => {
                    *taken += 1;
                    (at, seen) = (*hash + 1, *taken);
                }
                _ => return false,
            },
        }
    }
}

/// The words of a key. An empty key has none.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('.').take(if text.is_empty() { 0 } else { usize::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Straight from the definition.
    fn naive(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern, key) {
            ([], []) => true,
            (["#", rest @ ..], key) => (0..=key.len()).any(|taken| naive(rest, &key[taken..])),
            ([word, rest @ ..], [other, others @ ..]) => {
                (*word == "*" || word == other) && naive(rest, others)
            }
            _ => false,
        }
    }

    #[test]
    fn keys_fit_as_topic_exchanges_decide_it() {
        for (pattern, key, fits) in [
            ("", "", true),
            ("", "a", false),
            ("#", "", true),
            ("#", "a.b.c", true),
            ("*", "", false),
            ("*", "a", true),
            ("*", "a.b", false),
            ("a.#", "a", true),
            ("#.a", "a", true),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a..c", true),
            ("#.b.#", "a.b.c", true),
            ("#.*", "", false),
            ("#.#", "", true),
            ("a.#.b", "a.b.a.b", true),
            ("a.#.b", "a.b.a", false),
            ("A", "a", false),
        ] {
            assert_eq!(topic_matches(pattern, key), fits, "{pattern} and {key}");
        }
    }

    #[test]
    fn every_short_pattern_agrees_with_the_definition() {
        let all = |letters: &[&'static str], longest: u32| -> Vec<Vec<&'static str>> {
            let mut found = vec![Vec::new()];
            for _ in 0..longest {
                let longer: Vec<Vec<_>> = found
                    .iter()
                    .flat_map(|start| letters.iter().map(move |letter| [&start[..], &[*letter]].concat()))
                    .collect();
                found.extend(longer);
            }
            found
        };
        for pattern in all(&["a", "b", "*", "#"], 4) {
            for key in all(&["a", "b"], 4) {
                let (text, routing_key) = (pattern.join("."), key.join("."));
                assert_eq!(topic_matches(&text, &routing_key), naive(&pattern, &key), "{text} {routing_key}");
            }
        }
    }

    #[test]
    fn words_that_are_none_are_refused() {
        for wrong in ["a.b*", "a#", "**", "a.##"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
        assert!(Pattern::new().word("a.b").build().is_err());
        for right in ["", "a", "a.*.#", "a..b", "#"] {
            assert_eq!(right.parse::<Pattern>().unwrap().as_str(), right);
        }
    }

    #[test]
    fn patterns_of_255_bytes_are_the_longest() {
        assert!("x".repeat(255).parse::<Pattern>().is_ok());
        assert!("x".repeat(256).parse::<Pattern>().is_err());
    }
}
