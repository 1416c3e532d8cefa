//! What is wrong with a configuration, in sentences that name the place, the key and what would be valid.
//!
//! It decides nothing about values. `load.rs` and `file.rs` build the problems.

use std::fmt;

/// All that is wrong with a configuration, one line for each problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub(super) Vec<String>);

/// Builds the line for a value that cannot be taken.
pub(super) fn invalid_value(
    place: impl fmt::Display,
    key: &str,
    value: impl fmt::Display,
    expects: &str,
) -> String {
    format!("{place}: invalid value {value} for '{key}'; expected {expects}")
}

/// Builds the line for a name nobody knows. `names` are the valid ones at this place.
pub(super) fn unknown_name(
    place: impl fmt::Display,
    kind: &str,
    name: &str,
    nearby: &str,
    names: &[&str],
) -> String {
    let guess = nearest(nearby, names).map_or_else(String::new, |guess| format!(" did you mean '{guess}'?"));
    format!("{place}: unknown {kind} '{name}';{guess} valid {kind}s here: {}", names.join(", "))
}

/// The name that needs the fewest edits, unless so many that it would be a wild guess.
fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let (edits, nearest) = names.iter().map(|candidate| (edits(name, candidate), *candidate)).min()?;
    // What all variables begin with says nothing about which of them was meant.
    let telling = name.strip_prefix("WARREN_").unwrap_or(name).chars().count();
    (edits <= (telling / 3).max(1)).then_some(nearest)
}

/// Edit distance in which swapping two neighbours, the commonest slip, counts as one edit.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, _) => j,
                (_, 0) => i,
                _ => {
                    let substituted = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let fewest = substituted.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    if swapped { fewest.min(rows[i - 2][j - 2] + 1) } else { fewest }
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_counts_insertions_removals_substitutions_and_swaps() {
        for (a, b, count) in [
            ("port", "port", 0),
            ("prot", "port", 1),
            ("por", "port", 1),
            ("", "bind", 4),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edits(a, b), count, "{a} {b}");
            assert_eq!(edits(b, a), count, "{b} {a}");
        }
    }

    #[test]
    fn nearest_does_not_guess_wildly() {
        assert_eq!(nearest("framemax", &["frame_max", "channel_max"]), Some("frame_max"));
        assert_eq!(nearest("colour", &["frame_max", "channel_max"]), None);
        assert_eq!(nearest("colour", &[]), None);
        assert_eq!(nearest("WARREN_PROT", &["WARREN_PORT", "WARREN_LOG"]), Some("WARREN_PORT"));
        assert_eq!(nearest("WARREN_XYZ", &["WARREN_PORT", "WARREN_LOG"]), None);
    }
}
