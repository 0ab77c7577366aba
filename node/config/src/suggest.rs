//! "Did you mean": the known name that is closest to a mistyped one.

/// Maximum length of a name that is compared; a longer one resembles none.
const NAME_BYTES_MAX: usize = 64;

/// The name of `known` with the fewest edits to `found`, up to a third of the letters (and up to two in a
/// short name). The first of equals.
pub(crate) fn closest<'k>(found: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if found.len() > NAME_BYTES_MAX {
        return None;
    }
    let found = found.to_ascii_lowercase().replace('-', "_");
    let allowed = (found.len() / 3).max(2);
    let (edits, name) = known
        .into_iter()
        .map(|name| (edits(&found, name), name))
        .min_by_key(|(edits, _)| *edits)?;
    (edits <= allowed && edits < found.len()).then_some(name)
}

/// Number of bytes to insert, remove or replace to make `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut corner = i;
        let mut left = i.saturating_add(1);
        let mut cells = row.iter_mut();
        if let Some(first) = cells.next() {
            *first = left;
        }
        for (to, cell) in b.bytes().zip(cells) {
            let replaced = corner.saturating_add(usize::from(from != to));
            corner = *cell;
            left = replaced.min(left.saturating_add(1)).min(cell.saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_recognised_and_a_stranger_is_not() {
        let known = ["addr", "port", "body_bytes_max"];
        assert_eq!(closest("prot", known), Some("port"));
        assert_eq!(closest("Body-Bytes-Max", known), Some("body_bytes_max"));
        assert_eq!(closest("colour", known), None);
        assert_eq!(closest("", known), None);
    }
}
