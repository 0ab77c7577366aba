//! The kinds of content that can fill a block.

use vibecoin_primitives::{
    Address, Amount, Domain, Evidence, Height, Nonce, Operation, Round, SecretKey, TransactionBody,
    VerifiedTransaction, Vote, VoteKind,
};

use super::{Bench, FEE, OWNERS, SLOTS_EACH, slot, stranger};

/// A kind of block: the transactions and evidence offered to the builder.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) transactions: Vec<VerifiedTransaction>,
    pub(super) evidence: Vec<Evidence>,
}

impl Bench {
    /// Every kind of content that can fill a block.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let params = &self.chain.params;
        let count = params.block_transactions_max as usize;
        let per_transaction = params.operations_max as usize;
        let many = (params.block_operations_max as usize)
            .checked_div(per_transaction)
            .unwrap_or(0);
        let slots = params.block_slots_max as usize;
        let fresh = self.users.len().saturating_add(count).saturating_mul(4);
        let value = vec![9u8; params.slot_value_bytes_max as usize];
        let clear = |n: usize| set(n, Vec::new());
        let mut kinds = vec![
            self.kind("transfers", count, 1, |n| transfer(stranger(n), 1)),
            self.kind("operations", many, per_transaction, |n| transfer(stranger(n), 1)),
            self.kind("creations", count, 1, |n| {
                transfer(stranger(fresh.saturating_add(n)), 1)
            }),
            // The second operation undoes the first.
            self.kind("failed", (params.block_operations_max / 2) as usize, 2, |n| {
                transfer(stranger(n), u64::from(n % 2 == 0))
            }),
            // One slot of each owner: each has a separate storage trie.
            self.kind("slots set", slots.min(OWNERS), 1, |_| set(0, value.clone())),
            self.kind("slots cleared", slots.div_ceil(SLOTS_EACH), SLOTS_EACH, |n| {
                clear(n.checked_rem(SLOTS_EACH).unwrap_or(0))
            }),
            self.kind("slots cleared apart", slots.min(OWNERS), 1, |_| clear(0)),
        ];
        let mut mixed = self.kind("cleared and transferred", slots.min(OWNERS), 1, |_| clear(0));
        let transfers = self.users.iter().skip(slots.min(OWNERS)).enumerate();
        let transfers = transfers.filter_map(|(n, user)| {
            // Half the fee, or they would be ranked before the others and displace them.
            let fee = Amount(FEE.0 / 2);
            self.sign(user, fee, vec![transfer(stranger(n), 1)])
        });
        mixed.transactions.extend(transfers);
        kinds.push(mixed);
        // An offence is recorded once per validator, height and kind: two of each height, from the head down.
        let evidence = (0u64..)
            .take(vibecoin_primitives::limits::EVIDENCE_MAX)
            .filter_map(|n| {
                let height = self.header.height.0.checked_sub(n / 2);
                let height = height.filter(|height| *height > 0)?;
                let kind = match n % 2 {
                    0 => VoteKind::Prevote,
                    _ => VoteKind::Precommit,
                };
                Some(self.two_votes(Height(height), kind))
            });
        kinds.push(Kind {
            name: "evidence",
            transactions: Vec::new(),
            evidence: evidence.collect(),
        });
        kinds
    }

    /// `count` transactions of different senders with `each` operations; `operation` receives the index of
    /// the operation in the block.
    fn kind(
        &self,
        name: &'static str,
        count: usize,
        each: usize,
        operation: impl Fn(usize) -> Operation,
    ) -> Kind {
        let transactions = self.users.iter().take(count).enumerate().filter_map(|(n, user)| {
            let first = n.saturating_mul(each);
            let operations = (first..first.saturating_add(each)).map(&operation);
            self.sign(user, FEE, operations.collect())
        });
        Kind {
            name,
            transactions: transactions.collect(),
            evidence: Vec::new(),
        }
    }

    fn sign(&self, user: &SecretKey, fee: Amount, operations: Vec<Operation>) -> Option<VerifiedTransaction> {
        let body = TransactionBody {
            chain: self.chain.genesis.prefix(),
            sender: user.public_key(),
            nonce: Nonce(0),
            fee,
            valid_until: self.header.height.saturating_add(10),
            operations,
        };
        let genesis = &self.chain.genesis;
        body.sign(genesis, user).verify(genesis).ok()
    }

    fn two_votes(&self, height: Height, kind: VoteKind) -> Evidence {
        let vote = |block: &[u8]| {
            let vote = Vote {
                kind,
                height,
                round: Round::ZERO,
                block: Some(Domain::Header.hash(block)),
                validator: self.validator.public_key(),
            };
            vote.sign(&self.chain.genesis, &self.validator)
        };
        Evidence::votes(vote(b"one"), vote(b"two"))
    }
}

fn transfer(to: Address, amount: u64) -> Operation {
    Operation::Transfer {
        to,
        amount: Amount(amount),
    }
}

fn set(number: usize, value: Vec<u8>) -> Operation {
    Operation::SetStorage {
        slot: slot(number),
        value,
    }
}
