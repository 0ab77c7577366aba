//! Signatures that were checked before: no copy of a transaction is checked again, from any sender.
//!
//! A message that some node does not forward (a queued transaction is in it) is published by every node that
//! receives it. Transactions in the pool were checked; so were those not yet offered to it, or refused by it:
//! the newest of these are kept here.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use vibecoin_primitives::limits::MIB;
use vibecoin_primitives::{FastMap, Hash, KnownKeys, Transaction, TransactionError, VerifiedTransaction};

/// Maximum bytes of transactions kept whose signatures were checked lately.
pub const PROOFS_BYTES_MAX: usize = 4 * MIB;
/// Cost of one beside its encoding: the decoded operations, both entries, the counts of [`Arc`].
const ITEM_BYTES: usize = 512;

/// Returns the transaction with an id if it is in the pool.
pub type Lookup = Box<dyn Fn(&Hash) -> Option<Arc<VerifiedTransaction>> + Send>;

/// A transaction with a valid form and signature, or the reason why it is invalid.
pub type Proof = Result<Arc<VerifiedTransaction>, TransactionError>;

/// Source of the proof of a transaction.
enum Slot {
    /// It was checked before.
    Known(Arc<VerifiedTransaction>),
    /// Its index among the transactions to be checked.
    Unknown(usize),
}

/// The newest transactions that were checked, and the keys that signed them.
#[derive(Default)]
pub struct Proofs {
    keys: KnownKeys,
    by_id: FastMap<Hash, Arc<VerifiedTransaction>>,
    /// Each of `by_id` once, the oldest first.
    order: VecDeque<Hash>,
    bytes: usize,
}

impl Proofs {
    /// Checks transactions of which one invalid one makes all worthless; `None` when there is one, for the
    /// price of one batch.
    pub fn all<'a>(
        &mut self,
        transactions: impl IntoIterator<Item = &'a Transaction>,
        genesis: &Hash,
        pool: &Lookup,
    ) -> Option<Vec<Arc<VerifiedTransaction>>> {
        let (slots, unknown) = self.sort(transactions, genesis, pool);
        let checked = Transaction::verify_all(unknown, genesis, &mut self.keys)?;
        let proofs = self.fill(slots, checked.into_iter().map(Ok).collect());
        proofs.into_iter().collect::<Result<_, _>>().ok()
    }

    /// Checks transactions one by one, in order.
    pub fn each<'a>(
        &mut self,
        transactions: impl IntoIterator<Item = &'a Transaction>,
        genesis: &Hash,
        pool: &Lookup,
    ) -> Vec<Proof> {
        let (slots, unknown) = self.sort(transactions, genesis, pool);
        let checked = Transaction::verify_batch_with(unknown, genesis, &mut self.keys);
        self.fill(slots, checked)
    }

    /// Source of the proof of each, and those to be checked: each once.
    fn sort<'a>(
        &self,
        transactions: impl IntoIterator<Item = &'a Transaction>,
        genesis: &Hash,
        pool: &Lookup,
    ) -> (Vec<Slot>, Vec<Transaction>) {
        let (mut slots, mut unknown) = (Vec::new(), Vec::new());
        let mut places: HashMap<Hash, usize> = HashMap::new();
        for transaction in transactions {
            let id = transaction.id(genesis);
            // The id does not cover the signature.
            let is_same = |known: &Arc<VerifiedTransaction>| known.transaction() == transaction;
            let kept = self.by_id.get(&id).cloned().filter(is_same);
            if let Some(known) = kept.or_else(|| pool(&id).filter(is_same)) {
                slots.push(Slot::Known(known));
                continue;
            }
            let place = places.get(&id).copied();
            let place = place.filter(|place| unknown.get(*place) == Some(transaction));
            let place = place.unwrap_or_else(|| {
                let place = unknown.len();
                unknown.push(transaction.clone());
                places.insert(id, place);
                place
            });
            slots.push(Slot::Unknown(place));
        }
        (slots, unknown)
    }

    fn fill(
        &mut self,
        slots: Vec<Slot>,
        checked: Vec<Result<VerifiedTransaction, TransactionError>>,
    ) -> Vec<Proof> {
        let checked: Vec<Proof> = checked.into_iter().map(|one| one.map(Arc::new)).collect();
        for transaction in checked.iter().flatten() {
            self.keep(transaction);
        }
        let proof = |slot| match slot {
            Slot::Known(known) => Some(Ok(known)),
            Slot::Unknown(place) => checked.get(place).cloned(),
        };
        slots.into_iter().filter_map(proof).collect()
    }

    fn keep(&mut self, transaction: &Arc<VerifiedTransaction>) {
        let id = *transaction.id();
        self.bytes = self.bytes.saturating_add(held(transaction));
        match self.by_id.insert(id, Arc::clone(transaction)) {
            Some(other) => self.bytes = self.bytes.saturating_sub(held(&other)),
            None => self.order.push_back(id),
        }
        while self.bytes > PROOFS_BYTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            let oldest = self.by_id.remove(&oldest);
            self.bytes = self.bytes.saturating_sub(oldest.as_deref().map_or(0, held));
        }
    }
}

fn held(transaction: &VerifiedTransaction) -> usize {
    usize::try_from(transaction.byte_len())
        .unwrap_or(usize::MAX)
        .saturating_add(ITEM_BYTES)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use vibecoin_primitives::{Height, Nonce, Operation, SecretKey, TransactionBody};

    use super::*;

    const GENESIS: Hash = Hash([9; 32]);

    fn large(nonce: u64) -> Transaction {
        let key = SecretKey::from_seed(&[1; 32]);
        let body = TransactionBody {
            chain: GENESIS.prefix(),
            sender: key.public_key(),
            nonce: Nonce(nonce),
            fee: vibecoin_primitives::Amount(1),
            valid_until: Height(9),
            operations: vec![
                Operation::SetStorage {
                    slot: Hash::ZERO,
                    value: vec![7; 4_096],
                };
                8
            ],
        };
        body.sign(&GENESIS, &key)
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_and_the_newest_stays() {
        let (mut proofs, pool): (_, Lookup) = (Proofs::default(), Box::new(|_| None));
        let all: Vec<Transaction> = (0..200).map(large).collect();
        for transaction in &all {
            assert!(proofs.all([transaction], &GENESIS, &pool).is_some());
            assert!(proofs.bytes <= PROOFS_BYTES_MAX, "{}", proofs.bytes);
            assert_eq!(proofs.order.len(), proofs.by_id.len());
        }
        let kept = |n: usize| proofs.by_id.contains_key(&all.get(n).unwrap().id(&GENESIS));
        assert!(kept(199) && kept(100) && !kept(0));
    }
}
