//! Lists as parameters: only the allowed number of elements is kept.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::error::ApiError;

/// A list of up to `N` elements.
///
/// A longer one is read to its end, which the JSON needs, and counted for the error, but nothing from element
/// `N + 1` on is kept: a request of 5 MiB can hold 1.7 million strings that are not addresses, each with a
/// separate error. Elements behind the `N`-th are valid JSON and otherwise not examined.
#[derive(Clone, Debug, PartialEq)]
pub struct AtMost<T, const N: usize> {
    /// Empty when a list that was read is too long.
    kept: Vec<T>,
    count: usize,
}

impl<T, const N: usize> AtMost<T, N> {
    /// The elements; `what` names them in the error.
    ///
    /// # Errors
    /// 1402 when there are more than `N`.
    pub fn get(self, what: &str) -> Result<Vec<T>, ApiError> {
        if self.count > N {
            return Err(ApiError::too_many(what, self.count, N));
        }
        Ok(self.kept)
    }
}

/// For callers, which may pass any number: the node refuses a list that is too long.
impl<T, const N: usize> From<Vec<T>> for AtMost<T, N> {
    fn from(kept: Vec<T>) -> Self {
        Self {
            count: kept.len(),
            kept,
        }
    }
}

impl<T, const N: usize> FromIterator<T> for AtMost<T, N> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        elements.into_iter().collect::<Vec<T>>().into()
    }
}

impl<T: Serialize, const N: usize> Serialize for AtMost<T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.kept.len() != self.count {
            return Err(serde::ser::Error::custom(
                "the elements of this list were not kept",
            ));
        }
        self.kept.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for AtMost<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

pub(crate) struct ListVisitor<T, const N: usize>(pub(crate) PhantomData<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for ListVisitor<T, N> {
    type Value = AtMost<T, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As for every list of this interface: `a sequence` is what the server's errors translate.
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < N {
            let Some(element) = elements.next_element()? else {
                return Ok(kept.into());
            };
            kept.push(element);
        }
        let mut count = kept.len();
        while elements.next_element::<IgnoredAny>()?.is_some() {
            // Freed at the first excess element.
            kept = Vec::new();
            count = count.saturating_add(1);
        }
        Ok(AtMost { kept, count })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::scalars::U64;

    type Three = AtMost<U64, 3>;

    fn read(json: &str) -> Result<Vec<u64>, ApiError> {
        let list: Three = serde_json::from_str(json).unwrap();
        let elements = list.get("numbers")?;
        Ok(elements.into_iter().map(|element| element.0).collect())
    }

    #[test]
    fn a_list_is_kept_up_to_its_bound_and_counted_behind_it() {
        assert_eq!(read("[]"), Ok(vec![]));
        assert_eq!(read("[1,2]"), Ok(vec![1, 2]));
        assert_eq!(read("[1,2,3]"), Ok(vec![1, 2, 3]));
        for (json, got) in [("[1,2,3,4]", 4), ("[1,2,3,\"x\",{\"y\":[]},[6]]", 6)] {
            let error = read(json).unwrap_err();
            assert_eq!(error.code, Code::TooExpensive.number(), "{json}");
            assert_eq!(error.message, format!("at most 3 numbers in one call, got {got}"));
            assert_eq!(error.data.facts.get("limit"), Some(&3.into()));
        }
    }

    #[test]
    fn a_bad_element_within_the_bound_and_broken_json_behind_it_are_errors() {
        for bad in ["[\"x\"]", "[1,2,-3]", "[1,2,3,4", "[1,2,3,}]", "7", "{}", "null"] {
            assert!(serde_json::from_str::<Three>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_of_a_caller_is_sent_whole_and_one_that_was_not_kept_is_not_sent() {
        let of = |count: u64| (0..count).map(U64).collect::<Three>();
        assert_eq!(serde_json::to_string(&of(2)).unwrap(), r#"["0","1"]"#);
        assert_eq!(serde_json::to_string(&of(4)).unwrap(), r#"["0","1","2","3"]"#);
        assert!(of(4).get("numbers").is_err());
        let counted: Three = serde_json::from_str("[1,2,3,4]").unwrap();
        assert!(serde_json::to_string(&counted).is_err());
    }
}
