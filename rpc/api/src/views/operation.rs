//! Operations of transactions.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use vibecoin_primitives::{AddressPrefix, Operation};

use crate::error::ApiError;
use crate::scalars::{AddressArg, AddressText, BytesArg, HashArg, U64};

/// One operation, as in answers and in unsigned transactions.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum OperationView {
    /// Transfers base units.
    Transfer {
        /// The recipient.
        to: AddressArg,
        /// Base units, above zero.
        amount: U64,
    },
    /// Sets one slot of the sender's storage; an empty value removes it.
    SetStorage {
        /// The slot.
        slot: HashArg,
        /// The value.
        value: BytesArg,
    },
}

impl OperationView {
    /// The view of the operation on this chain.
    #[must_use]
    pub fn new(operation: &Operation, prefix: AddressPrefix) -> Self {
        match operation {
            Operation::Transfer { to, amount } => Self::Transfer {
                to: AddressText::new(*to, prefix).into(),
                amount: (*amount).into(),
            },
            Operation::SetStorage { slot, value } => Self::SetStorage {
                slot: (*slot).into(),
                value: value.clone().into(),
            },
        }
    }

    /// Converts the view to the operation.
    ///
    /// # Errors
    /// 1000 and 1001 for texts that are malformed or of another network.
    pub fn get(self, prefix: &AddressPrefix) -> Result<Operation, ApiError> {
        Ok(match self {
            Self::Transfer { to, amount } => Operation::Transfer {
                to: to.get()?.on(prefix)?,
                amount: amount.into(),
            },
            Self::SetStorage { slot, value } => Operation::SetStorage {
                slot: slot.get()?,
                value: value.get()?.0,
            },
        })
    }
}

/// The derived reader of a tagged enum keeps all members as trees of values until it has seen `type`: 30
/// times the bytes of a list of numbers in place of a string. Here each member is read as the type that it
/// must have.
impl<'de> Deserialize<'de> for OperationView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OperationVisitor)
    }
}

struct OperationVisitor;

impl<'de> Visitor<'de> for OperationVisitor {
    type Value = OperationView;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OperationView, A::Error> {
        let Members {
            kind,
            to,
            amount,
            slot,
            value,
        } = Members::deserialize(MapAccessDeserializer::new(map))?;
        match (kind, to, amount, slot, value) {
            (Kind::Transfer, Some(to), Some(amount), None, None) => {
                Ok(OperationView::Transfer { to, amount })
            }
            (Kind::SetStorage, None, None, Some(slot), Some(value)) => {
                Ok(OperationView::SetStorage { slot, value })
            }
            (Kind::Transfer, to, _, None, None) => Err(A::Error::missing_field(if to.is_none() {
                "to"
            } else {
                "amount"
            })),
            (Kind::SetStorage, None, None, slot, _) => {
                let missing = if slot.is_none() { "slot" } else { "value" };
                Err(A::Error::missing_field(missing))
            }
            (Kind::Transfer, _, _, slot, _) => {
                let unknown = if slot.is_some() { "slot" } else { "value" };
                Err(A::Error::unknown_field(unknown, &["to", "amount"]))
            }
            (Kind::SetStorage, to, ..) => {
                let unknown = if to.is_some() { "to" } else { "amount" };
                Err(A::Error::unknown_field(unknown, &["slot", "value"]))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(variant_identifier, rename_all = "camelCase")]
enum Kind {
    Transfer,
    SetStorage,
}

/// The members of all operations.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default, deserialize_with = "given")]
    to: Option<AddressArg>,
    #[serde(default, deserialize_with = "given")]
    amount: Option<U64>,
    #[serde(default, deserialize_with = "given")]
    slot: Option<HashArg>,
    #[serde(default, deserialize_with = "given")]
    value: Option<BytesArg>,
}

/// A present member must have a value: `null` is not one.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use vibecoin_primitives::{Address, Amount, Hash};

    use super::*;

    #[test]
    fn an_operation_survives_being_sent_with_its_type_in_any_place() {
        let prefix = AddressPrefix::new("vibet").unwrap();
        for operation in [
            Operation::Transfer {
                to: Address([3; 32]),
                amount: Amount(7),
            },
            Operation::SetStorage {
                slot: Hash([4; 32]),
                value: vec![1, 2],
            },
        ] {
            let view = OperationView::new(&operation, prefix);
            let json = serde_json::to_string(&view).unwrap();
            assert!(json.starts_with("{\"type\":"), "{json}");
            let read: OperationView = serde_json::from_str(&json).unwrap();
            assert_eq!(read, view);
            assert_eq!(read.get(&prefix).unwrap(), operation);
        }
        let last = r#"{"amount":7,"to":"0x","type":"transfer"}"#;
        assert!(serde_json::from_str::<OperationView>(last).is_ok());
    }

    #[test]
    fn a_member_that_is_missing_or_of_another_type_is_named() {
        let transfer = |members: &str| format!("{{\"type\":\"transfer\"{members}}}");
        let storage = |members: &str| format!("{{\"type\":\"setStorage\"{members}}}");
        for (json, expected) in [
            ("{}".to_owned(), "missing field `type`"),
            (r#"{"type":"mint"}"#.to_owned(), "unknown variant `mint`"),
            (transfer(""), "missing field `to`"),
            (transfer(r#","to":"""#), "missing field `amount`"),
            (transfer(r#","to":null,"amount":1"#), "invalid type: null"),
            (transfer(r#","to":[0,0],"amount":1"#), "invalid type: sequence"),
            (
                transfer(r#","to":"","amount":1,"slot":"""#),
                "unknown field `slot`",
            ),
            (
                transfer(r#","to":"","amount":1,"value":"""#),
                "unknown field `value`",
            ),
            (transfer(r#","to":"","amount":1,"x":1"#), "unknown field `x`"),
            (transfer(r#","to":"","to":"","amount":1"#), "duplicate field `to`"),
            (storage(""), "missing field `slot`"),
            (storage(r#","slot":"""#), "missing field `value`"),
            (storage(r#","slot":"","value":"","to":"""#), "unknown field `to`"),
            (
                storage(r#","slot":"","value":"","amount":1"#),
                "unknown field `amount`",
            ),
            ("7".to_owned(), "expected an object"),
            ("[\"transfer\"]".to_owned(), "expected an object"),
        ] {
            let error = serde_json::from_str::<OperationView>(&json)
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
