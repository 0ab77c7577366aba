//! Types of parameters.

use serde_json::{Value, json};

/// Type of a parameter. Lists contain their maximum number of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An address.
    Address,
    /// One address or a list.
    AddressOrList(usize),
    /// A list of addresses.
    Addresses(usize),
    /// A block reference.
    Block,
    /// A hash.
    Hash,
    /// A list of hashes.
    Hashes(usize),
    /// Raw bytes.
    Bytes,
    /// A list of raw bytes.
    BytesList(usize),
    /// A 64-bit integer.
    U64,
    /// A number below 2^32.
    U32,
    /// True or false.
    Bool,
    /// A string; its allowed values, or none when it is free.
    Text(&'static [&'static str]),
    /// An object.
    Object,
}

impl Kind {
    /// Description of the values of this kind.
    #[must_use]
    pub fn takes(self) -> String {
        const ADDRESS: &str = "a text: bech32m, or 0x and 64 hex digits";
        const HASH: &str = "a text: 0x and 64 hex digits";
        const BYTES: &str = "a text: 0x and an even number of hex digits";
        match self {
            Self::Address => ADDRESS.to_owned(),
            Self::Addresses(_) => format!("an array of addresses, each {ADDRESS}"),
            Self::AddressOrList(_) => format!("an address or an array of addresses, each {ADDRESS}"),
            Self::Block => "latest, genesis, earliest, a height, a 0x hash or {timestampMs}".to_owned(),
            Self::Hash => HASH.to_owned(),
            Self::Hashes(_) => format!("an array of hashes, each {HASH}"),
            Self::Bytes => BYTES.to_owned(),
            Self::BytesList(_) => format!("an array of bytes, each {BYTES}"),
            Self::U64 => format!(
                "a whole number from 0 to {}, as a number or a decimal text",
                u64::MAX
            ),
            Self::U32 => format!("a whole number from 0 to {}", u32::MAX),
            Self::Bool => "true or false".to_owned(),
            Self::Text([]) => "a text".to_owned(),
            Self::Text(allowed) => format!("one of the texts {}", allowed.join(", ")),
            Self::Object => "an object".to_owned(),
        }
    }

    /// Maximum number of entries of a list of this kind; `None` for other kinds.
    #[must_use]
    pub const fn entries_max(self) -> Option<usize> {
        match self {
            Self::AddressOrList(max) | Self::Addresses(max) | Self::Hashes(max) | Self::BytesList(max) => {
                Some(max)
            }
            _ => None,
        }
    }

    pub(super) fn schema(self) -> Value {
        match self {
            Self::Address => json!({"type": "string", "description": "bech32m, or 0x and 64 hex digits"}),
            Self::Addresses(max) => list(Self::Address, max),
            Self::AddressOrList(max) => json!({"oneOf": [Self::Address.schema(), list(Self::Address, max)]}),
            Self::Block => {
                json!({"description": "latest, genesis, earliest, height, 0x hash or {timestampMs}"})
            }
            Self::Hash => json!({"type": "string", "pattern": "^0x[0-9a-fA-F]{64}$"}),
            Self::Hashes(max) => list(Self::Hash, max),
            Self::Bytes => json!({"type": "string", "pattern": "^0x([0-9a-fA-F]{2})*$"}),
            Self::BytesList(max) => list(Self::Bytes, max),
            Self::U64 => json!({"type": ["string", "integer"], "description": "64-bit integer"}),
            Self::U32 => json!({"type": "integer", "minimum": 0}),
            Self::Bool => json!({"type": "boolean"}),
            Self::Text([]) => json!({"type": "string"}),
            Self::Text(allowed) => json!({"type": "string", "enum": allowed}),
            Self::Object => json!({"type": "object"}),
        }
    }
}

fn list(of: Kind, max: usize) -> Value {
    json!({"type": "array", "items": of.schema(), "maxItems": max})
}
