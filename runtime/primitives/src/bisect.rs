//! Search for the invalid members of a batch, by halving it.
//!
//! ```text
//! whole ✗ ─┬─ left ✓
//!          └─ right ✗ (known without a check: the whole failed, the left did not)
//!               └─ its halves, and so on
//! ```

use super::SignatureError;

/// Slices up to this length are checked one by one: a batch of so few gains nothing.
const ALONE_MAX: usize = 4;
/// Number of invalid members after which the rest is checked one by one: halving has no advantage when many
/// are invalid.
const BAD_MAX: usize = 16;

/// Verdicts in the order of `items`. `holds` checks a slice as a whole, `alone` one member; where they agree, the
/// verdicts are those of `alone`.
pub(super) fn verdicts<T>(
    items: &[T],
    mut holds: impl FnMut(&[T]) -> bool,
    mut alone: impl FnMut(&T) -> Result<(), SignatureError>,
) -> Vec<Result<(), SignatureError>> {
    if items.len() > 1 && holds(items) {
        return items.iter().map(|_| Ok(())).collect();
    }
    let mut verdicts = Vec::with_capacity(items.len());
    let mut bad = 0usize;
    // Slices from right to left, the next one last; `true` means that one of its members is known to be invalid.
    let mut open = vec![(items, true)];
    while let Some((slice, spoiled)) = open.pop() {
        if slice.len() > ALONE_MAX && bad < BAD_MAX {
            if !spoiled && holds(slice) {
                verdicts.extend(slice.iter().map(|_| Ok(())));
                continue;
            }
            let (left, right) = slice.split_at(slice.len() / 2);
            if holds(left) {
                verdicts.extend(left.iter().map(|_| Ok(())));
                open.push((right, true));
            } else {
                open.push((right, false));
                open.push((left, true));
            }
            continue;
        }
        for item in slice {
            let verdict = alone(item);
            bad = bad.saturating_add(usize::from(verdict.is_err()));
            verdicts.push(verdict);
        }
    }
    verdicts
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    /// Verdicts over members of which `false` is invalid, with the number of members checked in batches and alone.
    fn check(items: &[bool]) -> (usize, usize) {
        let (mut batched, mut single) = (0, 0);
        let found = verdicts(
            items,
            |slice| {
                batched += slice.len();
                slice.iter().all(|good| *good)
            },
            |good| {
                single += 1;
                good.then_some(()).ok_or(SignatureError::Mismatch)
            },
        );
        let found: Vec<bool> = found.iter().map(Result::is_ok).collect();
        assert_eq!(found, items);
        (batched, single)
    }

    #[test]
    fn a_good_batch_is_looked_at_once() {
        assert_eq!(check(&[true; 1024]), (1024, 0));
        assert_eq!(check(&[]), (0, 0));
    }

    #[test]
    fn one_bad_signature_of_a_batch_costs_two_more_batches() {
        for at in [0, 1, 511, 512, 700, 1022, 1023] {
            let mut items = vec![true; 1024];
            *items.get_mut(at).unwrap() = false;
            let (batched, single) = check(&items);
            assert!(batched <= 3 * 1024, "{batched} members in batches for {at}");
            assert!(single <= 2 * ALONE_MAX, "{single} alone for {at}");
        }
    }

    #[test]
    fn many_bad_signatures_cost_little_more_than_each_alone() {
        let (batched, single) = check(&[false; 1024]);
        assert!(batched <= 3 * 1024, "{batched} members in batches");
        assert_eq!(single, 1024);
        let every_eighth: Vec<bool> = (0..1024).map(|at| at % 8 != 0).collect();
        let (batched, single) = check(&every_eighth);
        assert!(batched <= 4 * 1024 && single <= 1024, "{batched}, {single}");
    }

    #[test]
    fn verdicts_stand_at_the_members_places() {
        for length in 0..70_usize {
            for step in 1..9 {
                let items: Vec<bool> = (0..length).map(|at| (at * 7 + length) % step != 0).collect();
                check(&items);
            }
        }
    }
}
