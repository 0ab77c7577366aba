//! "Did you mean": the known name closest to a mistyped one.

/// Maximum length of a compared name; a longer one resembles none.
const NAME_BYTES_MAX: usize = 64;

/// Returns the name of `known` with the minimum edit distance to `found`, when up to a third of the letters
/// (or two) would have to change. The first of equals.
pub(crate) fn closest(found: &str, known: &[&'static str]) -> Option<&'static str> {
    if found.len() > NAME_BYTES_MAX {
        return None;
    }
    let found = found.to_ascii_lowercase().replace('-', "_");
    let allowed = (found.len() / 3).max(2);
    let candidates = known
        .iter()
        .map(|name| (distance(found.as_bytes(), name.as_bytes()), *name));
    let (distance, name) = candidates.min_by_key(|(distance, _)| *distance)?;
    (distance <= allowed && distance < found.len()).then_some(name)
}

/// The number of bytes to insert, remove or replace to make `a` into `b`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, byte) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (other, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal.saturating_add(usize::from(byte != other));
            diagonal = *above;
            left = replaced.min(left.saturating_add(1)).min(above.saturating_add(1));
            *above = left;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("ab", "ba", 2),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), edits, "{a} {b}");
        }
    }

    #[test]
    fn a_typo_is_recognised_and_a_stranger_is_not() {
        let known = ["network", "time", "timeout_max_ms", "fee_min"];
        assert_eq!(closest("netwrok", &known), Some("network"));
        assert_eq!(closest("timeout-max", &known), Some("timeout_max_ms"));
        assert_eq!(closest("Fee_Min", &known), Some("fee_min"));
        assert_eq!(closest("gas_limit", &known), None);
        assert_eq!(closest("x", &known), None);
    }
}
