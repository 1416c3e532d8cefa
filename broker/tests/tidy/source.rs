//! Rust source reduced to what counts for the layers: no comments, no string contents, no code under `#[cfg(test)]`.

/// `text` with comments, the contents of literals and test code replaced by blanks; lines keep their numbers.
pub(crate) fn code_only(text: &str) -> String {
    without_tests(&without_comments_and_literals(text))
}

/// `text` with comments and the contents of literals replaced by blanks; lines keep their numbers.
pub(crate) fn without_comments_and_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => find(&chars, at, |rest| rest[0] == '\n'),
            ('/', Some('*')) => block_comment_end(&chars, at),
            ('"', _) => string_end(&chars, at),
            ('r', Some('"' | '#')) if !is_word(at.checked_sub(1).map(|before| chars[before])) => {
                raw_string_end(&chars, at)
            }
            ('\'', _) => char_end(&chars, at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

fn is_word(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// The first position from `from` on where `is_end` holds for the rest, or the end.
fn find(chars: &[char], from: usize, is_end: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|at| is_end(&chars[*at..])).unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], from: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = from;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(chars.len())
}

fn string_end(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// `r"..."` and `r#"..."#`; `r#name` is an identifier.
fn raw_string_end(chars: &[char], from: usize) -> usize {
    let hashes = chars[from + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(from + 1 + hashes) != Some(&'"') {
        return from;
    }
    let closing: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let end = find(chars, from + 2 + hashes, |rest| rest.starts_with(&closing));
    (end + closing.len()).min(chars.len())
}

/// `'x'` and `'\n'`; a lifetime has no closing quote.
fn char_end(chars: &[char], from: usize) -> usize {
    match (chars.get(from + 1), chars.get(from + 2)) {
        (Some('\\'), Some(_)) => (find(chars, from + 3, |rest| rest[0] == '\'') + 1).min(chars.len()),
        (Some(_), Some('\'')) => from + 3,
        _ => from,
    }
}

/// Blanks every item behind `#[cfg(test)]`: up to its closing brace, or its semicolon.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find(MARK) {
        out.push_str(&rest[..start]);
        let end = item_end(&rest[start..]);
        out.extend(rest[start..start + end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[start + end..];
    }
    out.push_str(rest);
    out
}

fn item_end(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

#[test]
fn comments_literals_and_tests_are_blanked() {
    let table = [
        ("a // tokio\nb", "a b"),
        ("a /* x /* tokio */ y */ b", "a b"),
        ("\"tokio\\\"tokio\" b", "b"),
        ("r#\"tokio\"tokio\"# b", "b"),
        ("r\"tokio\" var\"x\" b", "var b"),
        ("r#type 'a 'x' '\\'' '\\u{1F600}' b", "r#type 'a b"),
        ("a #[cfg(test)]\nmod tests { use tokio; { } } b", "a b"),
        ("a #[cfg(test)] mod tests; b", "a b"),
        ("a #[cfg(test)] use tokio::x; b", "a b"),
        ("a #[cfg(test)] fn f() { '}'; \"}\"; tokio } b", "a b"),
    ];
    for (text, code) in table {
        assert_eq!(code_only(text).split_whitespace().collect::<Vec<_>>().join(" "), code, "{text}");
    }
}
