//! The range of every parameter.

use super::{ChainParams, ParamsError};
use crate::Demand;
use crate::limits::{
    BLOCK_BYTES_MAX, BLOCK_EVIDENCE_BYTES_MAX, BLOCK_OPERATIONS_MAX, BLOCK_SLOTS_MAX, BLOCK_STATE_BYTES_MAX,
    BLOCK_TRANSACTIONS_MAX, HASHES_PER_TICK_MAX, NAME_BYTES_MAX, OPERATIONS_MAX, SLOT_VALUE_BYTES_MAX,
    TICKS_MAX, TRANSACTION_BYTES_MAX,
};

impl ChainParams {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`ParamsError`] for the first value out of range.
    pub fn check(&self) -> Result<(), ParamsError> {
        self.check_names()?;
        self.prefix()?;
        self.check_block()?;
        self.check_demands()?;
        self.check_prices()?;
        self.check_consensus()
    }

    fn check_names(&self) -> Result<(), ParamsError> {
        for (name, text) in [("network", &self.network), ("symbol", &self.symbol)] {
            let good = (1..=NAME_BYTES_MAX).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if !good {
                let allowed = format!("1 to {NAME_BYTES_MAX} letters, digits, '-' or '_'");
                return Err(ParamsError {
                    name,
                    got: format!("{text:?}"),
                    allowed,
                });
            }
        }
        Ok(())
    }

    /// Ticks, and the bounds on blocks and transactions in bytes.
    fn check_block(&self) -> Result<(), ParamsError> {
        range("decimals", u64::from(self.decimals), 0, 18)?;
        range("tick_ms", u64::from(self.tick_ms), 1, 1000)?;
        range(
            "ticks_per_block",
            u64::from(self.ticks_per_block),
            1,
            TICKS_MAX as u64,
        )?;
        range(
            "hashes_per_tick",
            u64::from(self.hashes_per_tick),
            1,
            u64::from(HASHES_PER_TICK_MAX),
        )?;
        range(
            "quiet_ticks",
            u64::from(self.quiet_ticks),
            0,
            u64::from(self.ticks_per_block.saturating_sub(1)),
        )?;
        range(
            "block_bytes_max",
            u64::from(self.block_bytes_max),
            1024,
            BLOCK_BYTES_MAX as u64,
        )?;
        range(
            "block_transactions_max",
            u64::from(self.block_transactions_max),
            1,
            BLOCK_TRANSACTIONS_MAX as u64,
        )?;
        let transaction_most = (TRANSACTION_BYTES_MAX as u64).min(u64::from(self.block_bytes_max));
        range(
            "transaction_bytes_max",
            u64::from(self.transaction_bytes_max),
            256,
            transaction_most,
        )?;
        range(
            "operations_max",
            u64::from(self.operations_max),
            1,
            OPERATIONS_MAX as u64,
        )?;
        range(
            "slot_value_bytes_max",
            u64::from(self.slot_value_bytes_max),
            0,
            SLOT_VALUE_BYTES_MAX as u64,
        )?;
        Ok(())
    }

    /// Validity, fees, prices, and the interval of empty blocks.
    fn check_prices(&self) -> Result<(), ParamsError> {
        range("validity_window", self.validity_window, 1, 10_000_000)?;
        range("fee_min", self.fee_min.0, 1, u64::MAX >> 16)?;
        range("fee_per_byte", self.fee_per_byte.0, 0, u64::MAX >> 32)?;
        range("fee_per_slot", self.fee_per_slot.0, 0, u64::MAX >> 32)?;
        range("account_price", self.account_price.0, 0, u64::MAX >> 16)?;
        range("storage_byte_price", self.storage_byte_price.0, 0, u64::MAX >> 32)?;
        range(
            "empty_block_interval_ms",
            u64::from(self.empty_block_interval_ms),
            0,
            3_600_000,
        )?;
        if self.empty_block_interval_ms == 0 && !self.dev {
            return Err(ParamsError {
                name: "empty_block_interval_ms",
                got: "0".to_owned(),
                allowed: "1 to 3600000 unless dev is true".to_owned(),
            });
        }
        Ok(())
    }

    /// Timeouts, clocks, evidence and trust.
    fn check_consensus(&self) -> Result<(), ParamsError> {
        for (name, got) in [
            ("timeout_propose_ms", self.timeout_propose_ms),
            ("timeout_prevote_ms", self.timeout_prevote_ms),
            ("timeout_precommit_ms", self.timeout_precommit_ms),
            ("timeout_delta_ms", self.timeout_delta_ms),
        ] {
            range(name, u64::from(got), 1, u64::from(self.timeout_max_ms))?;
        }
        range("timeout_max_ms", u64::from(self.timeout_max_ms), 1, 3_600_000)?;
        range(
            "clock_precision_ms",
            u64::from(self.clock_precision_ms),
            0,
            60_000,
        )?;
        // Without it no later round would wait longer than the first.
        range("message_delay_ms", u64::from(self.message_delay_ms), 1, 60_000)?;
        range("evidence_age_max", self.evidence_age_max, 1, 100_000_000)?;
        range("trust_period_s", self.trust_period_s, 1, 10 * 365 * 24 * 3600)
    }

    /// The bounds on the demand of blocks and transactions. A block fits the largest transaction, or an
    /// admitted transaction might never fit into a block.
    fn check_demands(&self) -> Result<(), ParamsError> {
        range(
            "transaction_slots_max",
            u64::from(self.transaction_slots_max),
            0,
            u64::from(self.operations_max),
        )?;
        range(
            "transaction_state_bytes_max",
            u64::from(self.transaction_state_bytes_max),
            Demand::transfers(1, 1).state_bytes,
            BLOCK_STATE_BYTES_MAX as u64,
        )?;
        range(
            "block_operations_max",
            u64::from(self.block_operations_max),
            u64::from(self.operations_max),
            BLOCK_OPERATIONS_MAX as u64,
        )?;
        range(
            "block_slots_max",
            u64::from(self.block_slots_max),
            u64::from(self.transaction_slots_max),
            BLOCK_SLOTS_MAX as u64,
        )?;
        range(
            "block_state_bytes_max",
            u64::from(self.block_state_bytes_max),
            u64::from(self.transaction_state_bytes_max),
            BLOCK_STATE_BYTES_MAX as u64,
        )?;
        range(
            "block_evidence_bytes_max",
            u64::from(self.block_evidence_bytes_max),
            0,
            BLOCK_EVIDENCE_BYTES_MAX as u64,
        )
    }
}

/// Checks one value; the bounds are inclusive.
fn range(name: &'static str, got: u64, min: u64, max: u64) -> Result<(), ParamsError> {
    if (min..=max).contains(&got) {
        return Ok(());
    }
    Err(ParamsError {
        name,
        got: got.to_string(),
        allowed: format!("{min} to {max}"),
    })
}
