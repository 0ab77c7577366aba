//! The table of numeric parameters: name, unit, and accessors of each.
//!
//! Ranges are not here: [`vibecoin_primitives::ChainParams::check`] has them.

use vibecoin_primitives::{Amount, ChainParams};

/// One key of the table `[parameters]`.
pub(crate) struct Parameter {
    /// Name of the key, equal to the field's name.
    pub name: &'static str,
    /// Description, with its unit.
    pub doc: &'static str,
    /// The heading of its group, if it is the first of it.
    pub heading: Option<&'static str>,
    /// Reads the field.
    pub get: fn(&ChainParams) -> u64,
    /// Sets the field, or returns its maximum.
    pub set: fn(&mut ChainParams, u64) -> Result<(), u64>,
}

/// An unsigned field of up to 64 bits.
trait Field: Copy {
    const MOST: u64;
    fn to_u64(self) -> u64;
    fn from_u64(value: u64) -> Option<Self>;
}

macro_rules! fields {
    ($($int:ty),*) => {$(impl Field for $int {
        const MOST: u64 = <$int>::MAX as u64;
        fn to_u64(self) -> u64 {
            u64::from(self)
        }
        fn from_u64(value: u64) -> Option<Self> {
            Self::try_from(value).ok()
        }
    })*};
}
fields!(u16, u32, u64);

impl Field for Amount {
    const MOST: u64 = u64::MAX;
    fn to_u64(self) -> u64 {
        self.0
    }
    fn from_u64(value: u64) -> Option<Self> {
        Some(Self(value))
    }
}

fn set<T: Field>(field: &mut T, value: u64) -> Result<(), u64> {
    *field = T::from_u64(value).ok_or(T::MOST)?;
    Ok(())
}

macro_rules! parameters {
    ($($heading:literal { $first:ident: $first_doc:literal, $($name:ident: $doc:literal,)* })*) => {
        /// Every numeric parameter, in the order in which they are written.
        pub(crate) const PARAMETERS: &[Parameter] = &[$(
            parameters!(@entry $first, $first_doc, Some($heading)),
            $(parameters!(@entry $name, $doc, None),)*
        )*];

        // A field added to the chain's parameters breaks the build until it is listed.
        const _: fn(&ChainParams) = |params| {
            let ChainParams {
                network: _, address_prefix: _, symbol: _, decimals: _, fault_model: _, dev: _,
                $($first: _, $($name: _,)*)*
            } = params;
        };
    };
    (@entry $name:ident, $doc:literal, $heading:expr) => {
        Parameter {
            name: stringify!($name),
            doc: $doc,
            heading: $heading,
            get: |params| params.$name.to_u64(),
            set: |params, value| set(&mut params.$name, value),
        }
    };
}

parameters! {
    "Proof of History" {
        tick_ms: "length of a tick, milliseconds",
        ticks_per_block: "ticks of a block in round 0; later rounds have a quarter",
        hashes_per_tick: "hashes in a tick, exactly",
        quiet_ticks: "ticks before the end of a block at which intake closes",
    }
    "Limits" {
        block_bytes_max: "transactions of a block, bytes",
        block_transactions_max: "transactions of a block",
        transaction_bytes_max: "one transaction, bytes",
        operations_max: "operations of a transaction",
        slot_value_bytes_max: "value of a storage slot, bytes",
        block_operations_max: "operations of a block",
        block_slots_max: "slots that a block sets or clears",
        block_state_bytes_max: "old and new rows of a block, old ones counted at their largest, bytes",
        block_evidence_bytes_max: "evidence of a block, bytes",
        transaction_slots_max: "slots that a transaction sets or clears",
        transaction_state_bytes_max: "old and new rows of a transaction, bytes",
        validity_window: "how far ahead valid_until may lie, heights",
    }
    "Prices, in base units" {
        fee_min: "least fee of a transaction",
        fee_per_byte: "fee per byte, on top of fee_min",
        fee_per_slot: "fee per slot set or cleared, on top of both: old values are read",
        account_price: "burned when a transfer creates an account",
        storage_byte_price: "burned when a slot is set, per byte of value plus 32",
    }
    "Consensus" {
        empty_block_interval_ms: "longest time without a block, milliseconds; 0 = no empty blocks (dev only)",
        timeout_propose_ms: "first propose timeout, milliseconds",
        timeout_prevote_ms: "first prevote timeout, milliseconds",
        timeout_precommit_ms: "first precommit timeout, milliseconds",
        timeout_delta_ms: "growth of every timeout per round, milliseconds",
        timeout_max_ms: "longest timeout, milliseconds",
        clock_precision_ms: "how far validators' clocks may differ, milliseconds",
        message_delay_ms: "how long a message may take, milliseconds",
        evidence_age_max: "how old evidence may be, heights",
        trust_period_s: "how old a trusted height may be once the validators have changed, seconds",
    }
}
