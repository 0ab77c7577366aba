//! The transactions that left the pool, and their ends.
//!
//! A departure is a decision of this node's pool alone. Peers may have the transaction, and a block that is being
//! decided may include it. The chain ends a transaction outside of blocks in two ways only: a block uses its nonce
//! for another one, or its last height passes. Until then it is open, whatever this pool did with it.

use std::collections::{HashMap, VecDeque};

use vibecoin_mempool::memory::hashed;
use vibecoin_mempool::{Departure, Reason};
use vibecoin_primitives::{Address, Hash, Height, Nonce};

/// Maximum number of departed transactions that are remembered.
const FATES_MAX: usize = 50_000;
/// Maximum bytes of them.
pub const FATES_BYTES_MAX: usize = 24 * 1024 * 1024;
/// Maximum number of successive replacements that are searched for the one in a block.
const REPLACEMENTS_MAX: usize = 8;

const _: () = assert!(
    FATES_MAX * (hashed(size_of::<(Hash, Departed)>()) + 2 * size_of::<Hash>()) <= FATES_BYTES_MAX,
    "the bound of ARCHITECTURE.md"
);

/// A transaction that left the pool and was in no block then.
#[derive(Clone, Copy, Debug)]
pub struct Departed {
    /// Reason of the pool.
    pub reason: Reason,
    /// The sender.
    pub sender: Address,
    /// Last height whose block may include it.
    pub valid_until: Height,
    nonce: Nonce,
    /// Its end, once it was found: an answer is repeated, whatever follows.
    end: Option<End>,
}

/// End of a transaction that is in no block and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its nonce was used by this one, which had replaced it.
    Replaced(Hash),
    /// Its last height passed.
    Expired,
    /// Its nonce was used by another one.
    Dropped,
}

/// State of a departed transaction; `T` describes the place of one in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate<T> {
    /// A later block may include it.
    Open,
    /// It is in a block.
    Included(T),
    /// It is in no block.
    Ended(End),
}

impl Departed {
    /// The transaction that replaced it in the pool.
    pub const fn replaced_by(&self) -> Option<Hash> {
        match self.reason {
            Reason::Replaced { by } => Some(by),
            _ => None,
        }
    }

    /// State of the transaction `id` at `height`, where its sender's next nonce is `next`. `included` finds
    /// transactions in blocks up to that height or a later one, and `replacements` follow each other.
    pub fn fate<T, E>(
        &self,
        id: &Hash,
        (height, next): (Height, Nonce),
        replacements: &[Hash],
        included: impl Fn(&Hash) -> Result<Option<T>, E>,
    ) -> Result<Fate<T>, E> {
        if let Some(end) = self.end {
            return Ok(Fate::Ended(end));
        }
        let (is_used, has_expired) = (next > self.nonce, height >= self.valid_until);
        // Every block that includes it uses its nonce: there is nothing to look up.
        if !is_used && !has_expired {
            return Ok(Fate::Open);
        }
        if let Some(place) = included(id)? {
            return Ok(Fate::Included(place));
        }
        if has_expired && (!is_used || matches!(self.reason, Reason::Expired { .. })) {
            return Ok(Fate::Ended(End::Expired));
        }
        for by in replacements {
            if included(by)?.is_some() {
                return Ok(Fate::Ended(End::Replaced(*by)));
            }
        }
        Ok(Fate::Ended(End::Dropped))
    }
}

/// The last departed transactions; the oldest is forgotten first.
#[derive(Debug, Default)]
pub struct Fates {
    by_id: HashMap<Hash, Departed>,
    order: VecDeque<Hash>,
}

impl Fates {
    /// Records a departure, which replaces an earlier one of the same transaction.
    pub fn note(&mut self, departure: &Departure) {
        let departed = Departed {
            reason: departure.reason,
            sender: departure.sender,
            valid_until: departure.valid_until,
            nonce: departure.nonce,
            end: None,
        };
        if self.by_id.insert(departure.id, departed).is_none() {
            self.order.push_back(departure.id);
        }
        while self.order.len() > FATES_MAX {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.by_id.remove(&oldest);
        }
    }

    /// The departed transaction with this id, and the transactions that replaced it, one after the other.
    pub fn get(&self, id: &Hash) -> Option<(Departed, Vec<Hash>)> {
        let departed = self.by_id.get(id).copied()?;
        let mut replacements = Vec::new();
        let mut next = departed.replaced_by();
        while let Some(by) = next.filter(|_| replacements.len() < REPLACEMENTS_MAX) {
            replacements.push(by);
            next = self.by_id.get(&by).and_then(Departed::replaced_by);
        }
        Some((departed, replacements))
    }

    /// Records the end of a departed transaction and returns the end that was recorded first.
    pub fn end(&mut self, id: &Hash, end: End) -> End {
        match self.by_id.get_mut(id) {
            Some(departed) => *departed.end.get_or_insert(end),
            None => end,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use vibecoin_mempool::{Mempool, MempoolConfig};
    use vibecoin_primitives::{
        Account, Amount, ChainParams, Operation, SecretKey, TransactionBody, VerifiedTransaction,
    };

    use super::*;

    const GENESIS: Hash = Hash([7; 32]);
    const LAST: Height = Height(9);

    fn version(fee: u64) -> Arc<VerifiedTransaction> {
        let key = SecretKey::from_seed(&[1; 32]);
        let body = TransactionBody {
            chain: GENESIS.prefix(),
            sender: key.public_key(),
            nonce: Nonce(5),
            fee: Amount(fee),
            valid_until: LAST,
            operations: vec![Operation::Transfer {
                to: Address([1; 32]),
                amount: Amount(1),
            }],
        };
        Arc::new(body.sign(&GENESIS, &key).verify(&GENESIS).unwrap())
    }

    /// The departures of a pool in which each of three versions of one nonce replaces the one before it.
    fn replaced() -> ([Hash; 3], Fates) {
        let mut pool = Mempool::new(MempoolConfig::default(), Arc::new(ChainParams::dev()));
        let account = Account {
            nonce: Nonce(5),
            balance: Amount(1_000_000_000),
            ..Account::default()
        };
        let versions = [100_000, 200_000, 400_000].map(version);
        for version in &versions {
            pool.insert(Arc::clone(version), Some(&account), Height(1), 0)
                .unwrap();
        }
        let mut fates = Fates::default();
        pool.departures_since(0)
            .0
            .for_each(|departure| fates.note(departure));
        (versions.map(|version| *version.id()), fates)
    }

    /// The state of a transaction on a chain of `height` blocks, where `included` is in one of them.
    fn fate(fates: &mut Fates, id: &Hash, (height, next): (u64, u64), included: &[Hash]) -> Option<Fate<()>> {
        let (departed, replacements) = fates.get(id)?;
        let find = |id: &Hash| Ok::<_, Infallible>(included.contains(id).then_some(()));
        let at = (Height(height), Nonce(next));
        let fate = departed.fate(id, at, &replacements, find).unwrap();
        if let Fate::Ended(end) = fate {
            return Some(Fate::Ended(fates.end(id, end)));
        }
        Some(fate)
    }

    /// Found in review: three nodes hold a version each, and a block includes any of them.
    #[test]
    fn a_replaced_transaction_is_open_until_a_block_uses_its_nonce_and_any_version_may_be_in_it() {
        for included in 0..3 {
            let (ids, mut fates) = replaced();
            let [first, second, third] = ids;
            for id in [first, second] {
                assert_eq!(fate(&mut fates, &id, (8, 5), &[]), Some(Fate::Open), "{included}");
            }
            assert_eq!(fates.get(&first).unwrap().0.replaced_by(), Some(second));
            assert!(fates.get(&third).is_none(), "it is in the pool");
            let block = [*ids.get(included).unwrap()];
            let at = (8, 6);
            let ended = |by| Some(Fate::Ended(by));
            let of_first = match included {
                0 => Some(Fate::Included(())),
                1 => ended(End::Replaced(second)),
                _ => ended(End::Replaced(third)),
            };
            let of_second = match included {
                0 => ended(End::Dropped),
                1 => Some(Fate::Included(())),
                _ => ended(End::Replaced(third)),
            };
            assert_eq!(fate(&mut fates, &first, at, &block), of_first, "{included}");
            assert_eq!(fate(&mut fates, &second, at, &block), of_second, "{included}");
            // Past its last height the answers are the same.
            assert_eq!(fate(&mut fates, &first, (10, 6), &block), of_first, "{included}");
            assert_eq!(
                fate(&mut fates, &second, (10, 6), &block),
                of_second,
                "{included}"
            );
        }
    }

    #[test]
    fn a_departed_transaction_expires_with_its_last_height_and_no_earlier() {
        let evicted = |reason| {
            let mut fates = Fates::default();
            let id = Hash([3; 32]);
            fates.note(&Departure {
                id,
                sender: Address([2; 32]),
                nonce: Nonce(5),
                valid_until: LAST,
                reason,
            });
            (id, fates)
        };
        let by = Hash([4; 32]);
        for reason in [
            Reason::Evicted { by },
            Reason::Replaced { by },
            Reason::Cleared,
            Reason::Expired { valid_until: LAST },
        ] {
            let (id, mut fates) = evicted(reason);
            assert_eq!(fate(&mut fates, &id, (8, 5), &[]), Some(Fate::Open), "{reason}");
            // The block of its last height may hold it.
            let (_, mut other) = evicted(reason);
            assert_eq!(
                fate(&mut other, &id, (9, 6), &[id]),
                Some(Fate::Included(())),
                "{reason}"
            );
            let expired = Some(Fate::Ended(End::Expired));
            assert_eq!(fate(&mut fates, &id, (9, 5), &[]), expired, "{reason}");
            // Its replacement is included later: the end that was answered stays.
            assert_eq!(fate(&mut fates, &id, (20, 6), &[by]), expired, "{reason}");
        }
    }
}
