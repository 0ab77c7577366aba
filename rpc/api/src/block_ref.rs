//! Block references: every form that names a block, and its meaning.

use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use vibecoin_primitives::{Hash, Height, TimeMs};

use crate::error::{ApiError, Code};
use crate::scalars::{U64, parse_decimal};

/// The referenced block. The default is the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockSelector {
    /// The newest block. Every block is final.
    #[default]
    Latest,
    /// Block 0.
    Genesis,
    /// The oldest block that this node still has.
    Earliest,
    /// By height.
    Height(Height),
    /// By hash.
    Hash(Hash),
    /// The last block that is not later than this time.
    Time(TimeMs),
}

/// A block reference as a parameter: `"latest"`, `"genesis"`, `"earliest"`, a height, a hash, or
/// `{"timestampMs": …}`. `safe`, `finalized`, `confirmed` and `processed` mean `latest`.
///
/// A value that is none of these is kept and refused with 1002 by [`BlockRef::get`].
#[derive(Clone, Debug, PartialEq)]
pub struct BlockRef(Result<BlockSelector, ApiError>);

impl BlockRef {
    /// Returns the referenced block.
    ///
    /// # Errors
    /// 1002 when the text is not a reference; for `pending` the message points to `mempool_*`.
    pub fn get(self) -> Result<BlockSelector, ApiError> {
        self.0
    }

    fn parse(text: &str) -> Result<BlockSelector, ApiError> {
        match text {
            "latest" | "safe" | "finalized" | "confirmed" | "processed" => Ok(BlockSelector::Latest),
            "genesis" => Ok(BlockSelector::Genesis),
            "earliest" => Ok(BlockSelector::Earliest),
            "pending" => Err(ApiError::new(
                Code::BadBlockReference,
                "there is no pending block: a block is final or does not exist; \
                 for transactions that wait see mempool_getStatus, mempool_list and mempool_getAccount",
            )),
            _ => Self::parse_number(text).ok_or_else(Self::malformed),
        }
    }

    fn malformed() -> ApiError {
        ApiError::new(
            Code::BadBlockReference,
            "a block is \"latest\", \"genesis\", \"earliest\", a height, a 0x hash of 64 digits, \
             or {\"timestampMs\": …}",
        )
    }

    fn parse_number(text: &str) -> Option<BlockSelector> {
        if text.starts_with("0x") {
            return Hash::from_hex(text).ok().map(BlockSelector::Hash);
        }
        parse_decimal(text).map(|height| BlockSelector::Height(Height(height)))
    }
}

impl From<BlockSelector> for BlockRef {
    fn from(selector: BlockSelector) -> Self {
        Self(Ok(selector))
    }
}

impl From<Height> for BlockRef {
    fn from(height: Height) -> Self {
        Self(Ok(BlockSelector::Height(height)))
    }
}

impl std::str::FromStr for BlockRef {
    type Err = ApiError;

    /// Reads the text forms, for command lines.
    fn from_str(text: &str) -> Result<Self, ApiError> {
        Self::parse(text).map(|selector| Self(Ok(selector)))
    }
}

impl Serialize for BlockRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Ok(BlockSelector::Latest) => serializer.serialize_str("latest"),
            Ok(BlockSelector::Genesis) => serializer.serialize_str("genesis"),
            Ok(BlockSelector::Earliest) => serializer.serialize_str("earliest"),
            Ok(BlockSelector::Height(height)) => U64::from(*height).serialize(serializer),
            Ok(BlockSelector::Hash(hash)) => serializer.collect_str(hash),
            Ok(BlockSelector::Time(time)) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("timestampMs", &U64::from(*time))?;
                map.end()
            }
            Err(error) => Err(serde::ser::Error::custom(error)),
        }
    }
}

impl<'de> Deserialize<'de> for BlockRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RefVisitor)
    }
}

struct RefVisitor;

impl<'de> Visitor<'de> for RefVisitor {
    type Value = BlockRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a block reference")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<BlockRef, E> {
        Ok(BlockRef(BlockRef::parse(text)))
    }

    fn visit_u64<E: de::Error>(self, height: u64) -> Result<BlockRef, E> {
        Ok(Height(height).into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BlockRef, A::Error> {
        // Read to its end: an error within it would be one of the whole parameters. Nothing else is kept.
        let (mut time, mut others) = (None, false);
        while let Some(member) = map.next_key()? {
            match member {
                Member::TimestampMs if time.is_none() => time = map.next_value::<MaybeTime>()?.0,
                Member::TimestampMs | Member::Other => {
                    map.next_value::<IgnoredAny>()?;
                    others = true;
                }
            }
        }
        let time = time.filter(|_| !others).ok_or_else(BlockRef::malformed);
        Ok(BlockRef(time.map(BlockSelector::Time)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<BlockRef, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(BlockRef(Err(BlockRef::malformed())))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<BlockRef, E> {
        Ok(BlockRef(Err(BlockRef::malformed())))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<BlockRef, E> {
        Ok(BlockRef(Err(BlockRef::malformed())))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<BlockRef, E> {
        Ok(BlockRef(Err(BlockRef::malformed())))
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Member {
    TimestampMs,
    #[serde(other)]
    Other,
}

/// A time, or `None` for a value of any other kind, of which nothing is kept.
struct MaybeTime(Option<TimeMs>);

impl<'de> Deserialize<'de> for MaybeTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }
}

struct TimeVisitor;

impl<'de> Visitor<'de> for TimeVisitor {
    type Value = MaybeTime;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_u64<E: de::Error>(self, ms: u64) -> Result<MaybeTime, E> {
        Ok(MaybeTime(Some(TimeMs(ms))))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<MaybeTime, E> {
        Ok(MaybeTime(parse_decimal(text).map(TimeMs)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<MaybeTime, A::Error> {
        IgnoredAny.visit_seq(items).map(|_| MaybeTime(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<MaybeTime, A::Error> {
        IgnoredAny.visit_map(members).map(|_| MaybeTime(None))
    }

    fn visit_unit<E: de::Error>(self) -> Result<MaybeTime, E> {
        Ok(MaybeTime(None))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<MaybeTime, E> {
        Ok(MaybeTime(None))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<MaybeTime, E> {
        Ok(MaybeTime(None))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<MaybeTime, E> {
        Ok(MaybeTime(None))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<BlockSelector, ApiError> {
        serde_json::from_str::<BlockRef>(json).unwrap().get()
    }

    #[test]
    fn every_form_of_a_reference_has_one_meaning() {
        for latest in ["latest", "safe", "finalized", "confirmed", "processed"] {
            assert_eq!(
                read(&format!("\"{latest}\"")),
                Ok(BlockSelector::Latest),
                "{latest}"
            );
        }
        assert_eq!(read("\"genesis\""), Ok(BlockSelector::Genesis));
        assert_eq!(read("\"earliest\""), Ok(BlockSelector::Earliest));
        assert_eq!(read("7"), Ok(BlockSelector::Height(Height(7))));
        assert_eq!(read("\"7\""), Ok(BlockSelector::Height(Height(7))));
        assert_eq!(
            read("{\"timestampMs\":\"9\"}"),
            Ok(BlockSelector::Time(TimeMs(9)))
        );
        let hash = Hash([0xab; 32]);
        assert_eq!(read(&format!("\"{hash}\"")), Ok(BlockSelector::Hash(hash)));
    }

    #[test]
    fn pending_is_refused_with_a_pointer_to_the_pool_and_nonsense_with_the_list() {
        let pending = read("\"pending\"").unwrap_err();
        assert_eq!(pending.code, Code::BadBlockReference.number());
        assert!(pending.message.contains("mempool_"), "{}", pending.message);
        for bad in [
            "\"Latest\"",
            "\"0x7\"",
            "\"\"",
            "\"-1\"",
            "true",
            "-1",
            "1.5",
            "18446744073709551616",
            "{}",
            "{\"timestamp\":1}",
            "{\"timestampMs\":[]}",
            "{\"timestampMs\":{\"x\":[1]}}",
            "{\"timestampMs\":null}",
            "{\"timestampMs\":true}",
            "{\"timestampMs\":-1}",
            "{\"timestampMs\":1.5}",
            "{\"timestampMs\":\"07\"}",
            "{\"timestampMs\":1,\"x\":1}",
            "{\"x\":[1],\"timestampMs\":1}",
            "{\"timestampMs\":1,\"timestampMs\":2}",
            "[[7]]",
        ] {
            assert_eq!(
                read(bad).unwrap_err().code,
                Code::BadBlockReference.number(),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_reference_survives_being_sent() {
        for selector in [
            BlockSelector::Latest,
            BlockSelector::Genesis,
            BlockSelector::Earliest,
            BlockSelector::Height(Height(u64::MAX)),
            BlockSelector::Hash(Hash([1; 32])),
            BlockSelector::Time(TimeMs(5)),
        ] {
            let json = serde_json::to_string(&BlockRef::from(selector)).unwrap();
            assert_eq!(read(&json), Ok(selector));
        }
    }
}
