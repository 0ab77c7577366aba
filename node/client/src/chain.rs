//! The chain that a transaction is made for: its prices, its newest height, and the extent to which they are
//! verified.

use vibecoin_light::Trust;
use vibecoin_primitives::{Address, AddressError, AddressPrefix, Amount, ChainParams, Hash, Height};
use vibecoin_rpc_api::views::{ChainInfo, MempoolStatusView};

/// Default validity of a transaction, in heights.
const VALID_FOR_DEFAULT: u64 = 10_000;
/// Upper bound of the heights by which the default validity of two payments differs.
const VALID_FOR_SPREAD: u64 = 1_024;
/// While the prices are known only from the node, a fee of more than this many times the fee on a chain of the
/// devnet profile is accepted only if the caller's bound permits it.
const FEE_TIMES_MAX: u64 = 1_000;
/// Size of the transaction without slots whose fee `mempool_getStatus` reports, in bytes.
const POOL_FEE_BYTES: u32 = 180;
/// A pool counts as full when its free fraction is below one in this many.
const POOL_FULL_PART: u64 = 64;

/// The chain that a transaction is for.
pub struct Chain {
    /// The node's `chain_getInfo`, with parameters and prefix replaced by those of the genesis file if the home has one.
    pub info: ChainInfo,
    /// Its genesis hash.
    pub genesis: Hash,
    /// The prefix of its addresses.
    pub prefix: AddressPrefix,
    /// Verifies proofs against the genesis file of the home; `None` without one.
    trust: Option<Trust>,
    /// The newest height: certified if there is a genesis file, as reported by the node otherwise.
    head: Height,
}

/// Source of the upper bound of a fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeeBound {
    /// The caller's own bound.
    Caller,
    /// The maximum amount: the prices are verified, and the caller has no bound.
    Amount,
    /// The bound of what is accepted from a node whose prices are not verified.
    Unverified,
}

/// Reason why a fee was not computed; nothing was signed. Not `#[non_exhaustive]`: a caller that reports it must
/// know every variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeeError {
    /// The minimum fee is above its bound.
    #[error("the minimum fee {fee} is above its bound {max}")]
    TooHigh {
        /// The minimum fee by the prices of the chain.
        fee: u64,
        /// Its upper bound.
        max: u64,
        /// Source of the bound.
        bound: FeeBound,
        /// True if the prices are those of a genesis file.
        is_verified: bool,
    },
    /// The node's pool is full, and the fee with which a transaction still enters is above the bound.
    #[error("the node's pool is full: the needed fee {needed} is above the bound {max}")]
    PoolFull {
        /// The fee that the pool requires.
        needed: u64,
        /// Upper bound of a fee that the caller did not give.
        max: u64,
    },
}

impl Chain {
    /// The chain as a node reports it: prices, prefix and newest height are the node's word.
    ///
    /// # Errors
    /// The fault of the reported prefix.
    pub fn reported(info: ChainInfo) -> Result<Self, AddressError> {
        Ok(Self {
            genesis: info.genesis_hash.0,
            head: Height(info.head.height.0),
            prefix: AddressPrefix::new(&info.address_prefix)?,
            trust: None,
            info,
        })
    }

    /// The chain of a genesis file, at a height that a quorum has signed. Parameters and prefix in `info` are
    /// those of the file.
    ///
    /// # Errors
    /// The fault of the prefix.
    pub fn verified(info: ChainInfo, trust: Trust, head: Height) -> Result<Self, AddressError> {
        Ok(Self {
            trust: Some(trust),
            head,
            ..Self::reported(info)?
        })
    }

    /// The verifier of proofs; `None` without a genesis file.
    #[must_use]
    pub const fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    /// The minimum fee of a transaction of this size that sets or clears this many slots.
    ///
    /// # Errors
    /// [`FeeError::TooHigh`] if it is above `fee_max`, or, without that, above the plausible range while the
    /// prices are known only from the node.
    pub fn fee(&self, bytes: usize, slots: u32, fee_max: Option<u64>) -> Result<Amount, FeeError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let fee = self.least_fee(bytes, slots);
        let (max, bound) = self.fee_bound(bytes, slots, fee_max);
        if fee <= max {
            return Ok(Amount(fee));
        }
        Err(FeeError::TooHigh {
            fee,
            max,
            bound,
            is_verified: self.trust.is_some(),
        })
    }

    /// Upper bound of a default fee, and its source.
    fn fee_bound(&self, bytes: u32, slots: u32, fee_max: Option<u64>) -> (u64, FeeBound) {
        match (fee_max, &self.trust) {
            (Some(max), _) => (max, FeeBound::Caller),
            (None, Some(_)) => (u64::MAX, FeeBound::Amount),
            (None, None) => {
                let usual = ChainParams::devnet().fee_for(bytes, slots).0;
                (usual.saturating_mul(FEE_TIMES_MAX), FeeBound::Unverified)
            }
        }
    }

    /// The minimum fee by the prices of the chain.
    fn least_fee(&self, bytes: u32, slots: u32) -> u64 {
        let params = &self.info.params;
        let of_bytes = params.fee_per_byte.0.saturating_mul(u64::from(bytes));
        let of_slots = params.fee_per_slot.0.saturating_mul(u64::from(slots));
        params.fee_min.0.saturating_add(of_bytes).saturating_add(of_slots)
    }

    /// The fee with which a transaction enters the node's pool: the minimum, and where the pool is full a bid
    /// above it.
    ///
    /// The price of a place in the pool is known only from the node, so the bid is bounded by the prices of
    /// the chain: the whole fee is up to twice the minimum, and within the bounds of [`Self::fee`]. It is
    /// decided before the payment is signed: a payment that was refused could still be included, so none is
    /// signed again for a higher fee.
    ///
    /// # Errors
    /// As [`Self::fee`], and [`FeeError::PoolFull`] if a higher fee is needed.
    pub fn fee_in(
        &self,
        pool: &MempoolStatusView,
        bytes: usize,
        slots: u32,
        fee_max: Option<u64>,
    ) -> Result<Amount, FeeError> {
        let least = self.fee(bytes, slots, fee_max)?;
        let over = pool.min_fee.0.saturating_sub(self.least_fee(POOL_FEE_BYTES, 0));
        if over == 0 || !is_full(pool) {
            return Ok(least);
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        // Bids compete per byte.
        let bid = u128::from(over)
            .saturating_mul(u128::from(bytes))
            .div_ceil(u128::from(POOL_FEE_BYTES));
        let bid = u64::try_from(bid).unwrap_or(u64::MAX);
        let needed = least.0.saturating_add(bid);
        let max = least
            .0
            .saturating_mul(2)
            .min(self.fee_bound(bytes, slots, fee_max).0);
        if needed <= max {
            // A tenth more, for the bids that arrive meanwhile.
            let more = bid.div_ceil(10);
            return Ok(Amount(needed.saturating_add(more).min(max)));
        }
        Err(FeeError::PoolFull { needed, max })
    }

    /// The last valid height of a transaction that is made now.
    #[must_use]
    pub fn valid_until(&self, valid_for: Option<u64>) -> Height {
        let ahead = valid_for.unwrap_or_else(|| VALID_FOR_DEFAULT.min(self.info.params.validity_window.0));
        Height(self.head.0.saturating_add(ahead))
    }

    /// The default validity less a random number of heights.
    #[must_use]
    pub fn valid_for_spread(&self) -> u64 {
        let ahead = VALID_FOR_DEFAULT.min(self.info.params.validity_window.0);
        // A short window allows only a small reduction.
        let spread = VALID_FOR_SPREAD.min(ahead / 8).saturating_add(1);
        let random = getrandom::u64().unwrap_or_default();
        ahead.saturating_sub(random.checked_rem(spread).unwrap_or_default())
    }

    /// An address in this chain's notation.
    #[must_use]
    pub fn show(&self, address: Address) -> String {
        address.to_text(&self.prefix)
    }
}

/// Returns true if a pool is close to one of its bounds.
fn is_full(pool: &MempoolStatusView) -> bool {
    let close = |has: u64, max: u64| has >= max.saturating_sub(max / POOL_FULL_PART);
    close(pool.count.0, pool.count_max.0) || close(pool.bytes.0, pool.bytes_max.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use vibecoin_primitives::{PublicKey, TimeMs};
    use vibecoin_rpc_api::views::{HeadView, ParamsView};
    use vibecoin_rpc_api::{Shown, U64};

    use super::*;

    fn chain(params: &ChainParams) -> Chain {
        let head = HeadView {
            height: U64(7),
            hash: Shown(Hash::ZERO),
            state_root: Shown(Hash::ZERO),
            timestamp_ms: TimeMs(0).into(),
            proposer: Shown(PublicKey([0; 32])),
            tx_count: 0,
        };
        Chain::reported(ChainInfo {
            chain_id: "devnet".to_owned(),
            network: "devnet".to_owned(),
            genesis_hash: Shown(Hash::ZERO),
            address_prefix: params.address_prefix.clone(),
            symbol: params.symbol.clone(),
            decimals: params.decimals,
            protocol_version: 1,
            api_version: "1.0.0".to_owned(),
            dev: false,
            params: ParamsView::from(params),
            head,
            earliest: U64(0),
        })
        .unwrap()
    }

    /// A pool of `count` transactions, with a maximum of 10, that accepts a small transaction for `over`
    /// above the minimum fee.
    fn pool(params: &ChainParams, count: u64, over: u64) -> MempoolStatusView {
        MempoolStatusView {
            count: U64(count),
            bytes: U64(0),
            pending: U64(count),
            queued: U64(0),
            oldest_ms: None,
            min_fee: U64(params.fee_for(POOL_FEE_BYTES, 0).0.saturating_add(over)),
            count_max: U64(10),
            bytes_max: U64(1_000_000),
            per_sender_max: U64(10),
        }
    }

    #[test]
    fn a_full_pool_gets_a_bid_that_is_bounded_by_the_least_fee_and_by_the_caller() {
        let params = ChainParams::devnet();
        let chain = self::chain(&params);
        let bytes = 360;
        let least = params.fee_for(360, 1);
        let fee = |count, over, fee_max| {
            let pool = pool(&params, count, over);
            chain.fee_in(&pool, bytes, 1, fee_max).map(|fee| fee.0 - least.0)
        };
        assert_eq!(fee(10, 0, None), Ok(0), "only what is queued has to leave");
        assert_eq!(fee(9, 100, None), Ok(0), "a pool with free places has no price");
        // By bytes: twice as long, twice the bid; and a tenth more.
        assert_eq!(fee(10, 1, None), Ok(3));
        assert_eq!(fee(10, 100, None), Ok(220));
        let is_full = |answer: Result<u64, FeeError>| matches!(answer, Err(FeeError::PoolFull { .. }));
        assert_eq!(
            fee(10, least.0 / 2, None),
            Ok(least.0),
            "up to twice the least fee"
        );
        assert!(is_full(fee(10, least.0 / 2 + 1, None)));
        assert!(is_full(fee(10, u64::MAX, None)));
        assert_eq!(fee(10, 100, Some(least.0 + 200)), Ok(200));
        let refused = FeeError::PoolFull {
            needed: least.0 + 200,
            max: least.0 + 199,
        };
        assert_eq!(fee(10, 100, Some(least.0 + 199)), Err(refused));
        assert!(is_full(fee(10, least.0, Some(u64::MAX))), "both bounds count");
        let mut of_bytes = pool(&params, 0, 100);
        of_bytes.bytes = of_bytes.bytes_max;
        assert_eq!(chain.fee_in(&of_bytes, bytes, 1, None), Ok(Amount(least.0 + 220)));
        // Without a genesis file, a bid makes a node no more trusted.
        let dear = ChainParams {
            fee_min: Amount(least.0 * FEE_TIMES_MAX - (least.0 - params.fee_min.0)),
            ..params
        };
        let refusal = self::chain(&dear).fee_in(&pool(&dear, 10, 1), bytes, 1, None);
        assert!(is_full(refusal.map(|fee| fee.0)));
    }

    #[test]
    fn a_nodes_word_about_prices_is_believed_up_to_a_bound_or_up_to_what_was_allowed() {
        let honest = ChainParams::devnet();
        let fee = honest.fee_for(200, 1);
        assert_eq!(chain(&honest).fee(200, 1, None), Ok(fee));
        let most = fee.0 * FEE_TIMES_MAX;
        let dear = |fee_min: u64| {
            let of_size = fee.0 - honest.fee_min.0;
            chain(&ChainParams {
                fee_min: Amount(fee_min - of_size),
                ..honest.clone()
            })
        };
        assert_eq!(dear(most).fee(200, 1, None), Ok(Amount(most)));
        let refused = FeeError::TooHigh {
            fee: most + 1,
            max: most,
            bound: FeeBound::Unverified,
            is_verified: false,
        };
        assert_eq!(dear(most + 1).fee(200, 1, None), Err(refused));
        let allowed = dear(most + 1).fee(200, 1, Some(most + 1));
        assert_eq!(allowed, Ok(Amount(most + 1)));
        let refused = chain(&honest).fee(200, 1, Some(fee.0 - 1));
        assert!(
            matches!(
                refused,
                Err(FeeError::TooHigh {
                    bound: FeeBound::Caller,
                    ..
                })
            ),
            "a bound of the user counts always: {refused:?}"
        );
    }
}
