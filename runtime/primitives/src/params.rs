//! The chain's parameters: rules that every node shares, from genesis, committed by their hash.

use wincode::{SchemaRead, SchemaWrite};

use crate::{AddressPrefix, Amount, Domain, Encoded, Hash, Round, encode, planted};

mod check;

/// The faults that the validator set tolerates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub enum FaultModel {
    /// Quorums of more than 2/3: safe while less than 1/3 of the power is Byzantine.
    Byzantine,
    /// Quorums of more than 1/2: nodes may stop, none may be Byzantine. For one organisation's cluster.
    Crash,
}

impl FaultModel {
    /// Returns true if `power` of `total` decides a vote.
    ///
    /// More than 2/3 (Byzantine) or more than 1/2 (crash), so any two deciding groups share a
    /// validator that follows the rules.
    #[must_use]
    pub fn is_quorum(self, power: u64, total: u64) -> bool {
        let (numerator, denominator) = self.quorum_fraction();
        u128::from(power).saturating_mul(u128::from(denominator))
            > u128::from(total).saturating_mul(u128::from(numerator))
    }

    /// The fraction that a quorum must exceed.
    #[must_use]
    pub fn quorum_fraction(self) -> (u64, u64) {
        match self {
            Self::Byzantine => planted::quorum_fraction((2, 3)),
            Self::Crash => (1, 2),
        }
    }
}

/// The rules of one chain. Hashed into every header.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub struct ChainParams {
    /// Name of the network, for display.
    pub network: String,
    /// Prefix of addresses.
    pub address_prefix: String,
    /// Symbol of the currency, for display.
    pub symbol: String,
    /// Decimal places of the currency, for display; every interface uses base units.
    pub decimals: u8,
    /// The faults that the validator set tolerates.
    pub fault_model: FaultModel,
    /// A chain for development: no empty blocks, developer methods, guard in memory.
    pub dev: bool,

    /// Nominal length of a tick in milliseconds.
    pub tick_ms: u32,
    /// Ticks of a block created in round 0; later rounds have a quarter, minimum one.
    pub ticks_per_block: u16,
    /// Hashes in a tick, exactly.
    pub hashes_per_tick: u32,
    /// Ticks before the end of a block at which intake closes.
    pub quiet_ticks: u16,

    /// Maximum bytes of the transactions of a block.
    pub block_bytes_max: u32,
    /// Maximum number of transactions of a block.
    pub block_transactions_max: u32,
    /// Maximum bytes of one transaction.
    pub transaction_bytes_max: u32,
    /// Maximum number of operations of one transaction.
    pub operations_max: u32,
    /// Maximum bytes of a slot's value.
    pub slot_value_bytes_max: u32,
    /// Maximum number of operations of the transactions of a block.
    pub block_operations_max: u32,
    /// Maximum number of slots that a block sets or clears, each counted as often as it is.
    pub block_slots_max: u32,
    /// Maximum bytes of the old and new rows of a block, as [`crate::Demand`] counts them.
    pub block_state_bytes_max: u32,
    /// Maximum bytes of the evidence of a block.
    pub block_evidence_bytes_max: u32,
    /// Maximum number of slots that a transaction sets or clears.
    pub transaction_slots_max: u32,
    /// Maximum bytes of the old and new rows of a transaction, as [`crate::Demand`] counts them.
    pub transaction_state_bytes_max: u32,
    /// Maximum number of heights that `valid_until` may lie ahead.
    pub validity_window: u64,

    /// Minimum fee of a transaction.
    pub fee_min: Amount,
    /// Minimum fee per byte of a transaction, on top of `fee_min`.
    pub fee_per_byte: Amount,
    /// Minimum fee per slot that a transaction sets or clears, whatever its value: reading the old value
    /// costs as much as reading the largest one.
    pub fee_per_slot: Amount,
    /// Burned when a transfer creates an account.
    pub account_price: Amount,
    /// Burned when a slot is set, per byte of value plus 32.
    pub storage_byte_price: Amount,

    /// Maximum time without a block in milliseconds; 0 means no empty blocks.
    pub empty_block_interval_ms: u32,
    /// First propose timeout in milliseconds.
    pub timeout_propose_ms: u32,
    /// First prevote timeout in milliseconds.
    pub timeout_prevote_ms: u32,
    /// First precommit timeout in milliseconds.
    pub timeout_precommit_ms: u32,
    /// Growth of every timeout per round, in milliseconds.
    pub timeout_delta_ms: u32,
    /// Maximum of every timeout, in milliseconds.
    pub timeout_max_ms: u32,
    /// Maximum difference between the clocks of validators, in milliseconds.
    pub clock_precision_ms: u32,
    /// Maximum delay of a message, in milliseconds.
    pub message_delay_ms: u32,
    /// Maximum age of evidence, in heights.
    pub evidence_age_max: u64,
    /// Maximum age of a trusted height once the validator set has changed, in seconds.
    pub trust_period_s: u64,
}

impl Encoded for ChainParams {
    const NAME: &'static str = "chain parameters";
    const BYTES_MAX: usize = 4096;
}

/// A parameter outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter {name} is {got}, allowed is {allowed}")]
pub struct ParamsError {
    /// Name of the parameter.
    pub name: &'static str,
    /// The value found.
    pub got: String,
    /// The allowed range.
    pub allowed: String,
}

impl ChainParams {
    /// The devnet profile: 20 ticks of 5 ms, 12,500 hashes each.
    #[must_use]
    pub fn devnet() -> Self {
        Self {
            network: "devnet".to_owned(),
            address_prefix: "vibet".to_owned(),
            symbol: "VIB".to_owned(),
            decimals: 9,
            fault_model: FaultModel::Byzantine,
            dev: false,
            tick_ms: 5,
            ticks_per_block: 20,
            hashes_per_tick: 12_500,
            quiet_ticks: 1,
            block_bytes_max: 4 * 1024 * 1024,
            // With the slots below, the amount that two slow cores judge in half of a block's 100 ms from
            // cold rows: ADR 7.
            block_transactions_max: 560,
            transaction_bytes_max: 64 * 1024,
            operations_max: 64,
            slot_value_bytes_max: 4096,
            block_operations_max: 560,
            block_slots_max: 192,
            block_state_bytes_max: 10 * 1024 * 1024,
            block_evidence_bytes_max: 64 * 1024,
            transaction_slots_max: 64,
            transaction_state_bytes_max: 384 * 1024,
            validity_window: 100_000,
            fee_min: Amount(100),
            fee_per_byte: Amount(1),
            fee_per_slot: Amount(4096),
            account_price: Amount(10_000),
            storage_byte_price: Amount(100),
            empty_block_interval_ms: 1000,
            timeout_propose_ms: 300,
            timeout_prevote_ms: 100,
            timeout_precommit_ms: 100,
            timeout_delta_ms: 100,
            timeout_max_ms: 10_000,
            clock_precision_ms: 500,
            message_delay_ms: 2000,
            evidence_age_max: 100_000,
            trust_period_s: 14 * 24 * 3600,
        }
    }

    /// The profile of `node --dev`: one tick per block and no empty blocks.
    #[must_use]
    pub fn dev() -> Self {
        Self {
            network: "dev".to_owned(),
            dev: true,
            ticks_per_block: 1,
            quiet_ticks: 0,
            empty_block_interval_ms: 0,
            ..Self::devnet().unpaced()
        }
    }

    /// The same with the largest bounds on blocks: for a chain whose block time is not limited.
    #[must_use]
    pub fn unpaced(self) -> Self {
        Self {
            block_transactions_max: 20_000,
            block_operations_max: 20_000,
            block_slots_max: 1024,
            ..self
        }
    }

    /// The production profile: 64 ticks of 5 ms.
    #[must_use]
    pub fn production() -> Self {
        Self {
            network: "main".to_owned(),
            address_prefix: "vibe".to_owned(),
            ticks_per_block: 64,
            quiet_ticks: 3,
            block_transactions_max: 2_240,
            block_operations_max: 2_240,
            block_slots_max: 336,
            timeout_propose_ms: 1000,
            timeout_prevote_ms: 300,
            timeout_precommit_ms: 300,
            timeout_delta_ms: 300,
            timeout_max_ms: 60_000,
            ..Self::devnet()
        }
    }

    /// The hash that every header contains.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Domain::Params.hash(&encode(self))
    }

    /// Ticks of a block created in `round`.
    #[must_use]
    pub const fn ticks_in_round(&self, round: Round) -> u16 {
        if round.0 == 0 {
            return self.ticks_per_block;
        }
        match self.ticks_per_block / 4 {
            0 => 1,
            quarter => quarter,
        }
    }

    /// Nominal length of a block of `ticks` ticks, in milliseconds.
    #[must_use]
    pub fn ticks_ms(&self, ticks: u16) -> u64 {
        u64::from(ticks).saturating_mul(u64::from(self.tick_ms))
    }

    /// Minimum fee of a transaction of `bytes` bytes that sets or clears `slots` slots.
    ///
    /// Known from the transaction alone, so that admission and execution never differ about it.
    #[must_use]
    pub fn fee_for(&self, bytes: u32, slots: u32) -> Amount {
        let of_bytes = self.fee_per_byte.0.saturating_mul(u64::from(bytes));
        let of_slots = self.fee_per_slot.0.saturating_mul(u64::from(slots));
        Amount(self.fee_min.0.saturating_add(of_bytes).saturating_add(of_slots))
    }

    /// The prefix of addresses.
    ///
    /// # Errors
    /// [`ParamsError`] when it is not a valid prefix; [`ChainParams::check`] has excluded that.
    pub fn prefix(&self) -> Result<AddressPrefix, ParamsError> {
        AddressPrefix::new(&self.address_prefix).map_err(|_| ParamsError {
            name: "address_prefix",
            got: format!("{:?}", self.address_prefix),
            allowed: "1 to 16 lower-case letters".to_owned(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_within_its_ranges() {
        for params in [
            ChainParams::devnet(),
            ChainParams::dev(),
            ChainParams::production(),
        ] {
            params.check().unwrap();
        }
    }

    #[test]
    fn a_value_out_of_range_is_named() {
        let params = ChainParams {
            hashes_per_tick: 0,
            ..ChainParams::devnet()
        };
        assert_eq!(params.check().unwrap_err().name, "hashes_per_tick");
        let params = ChainParams {
            empty_block_interval_ms: 0,
            ..ChainParams::devnet()
        };
        assert_eq!(params.check().unwrap_err().name, "empty_block_interval_ms");
    }

    #[test]
    fn two_quorums_share_a_validator_that_follows_the_rules() {
        for total in 1..60u64 {
            for power in 0..=total {
                let byzantine = FaultModel::Byzantine.is_quorum(power, total);
                assert_eq!(byzantine, power * 3 > total * 2, "{power} of {total}");
                let crash = FaultModel::Crash.is_quorum(power, total);
                assert_eq!(crash, power * 2 > total, "{power} of {total}");
            }
        }
        assert!(!FaultModel::Byzantine.is_quorum(2, 3));
        assert!(FaultModel::Byzantine.is_quorum(3, 4));
    }
}
