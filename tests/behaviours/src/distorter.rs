//! A Byzantine validator, for the fault tests only: built only with the feature `byzantine`, which no shipped
//! program has.
//!
//! The replica stays honest and keeps its own view. The fault is applied to outgoing messages: a message
//! about to be broadcast is dropped, modified and signed again, or sent twice in different forms. Other nodes
//! therefore see exactly what a hostile program could send.

use vibecoin_consensus::ConsensusMessage;
use vibecoin_poh::{Chain as PohChain, Pace, seed};
use vibecoin_primitives::{
    BlockPart, ChainParams, Hash, PartContent, PartStatement, Proposal, SecretKey, SignedProposal,
    SignedVote, Vote, VoteKind, tick_root,
};
use vibecoin_replica::Message;

/// Environment variable that selects the behaviour.
pub const VARIABLE: &str = "VIBECOIN_BYZANTINE";

/// One Byzantine behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Honest: the same program, for comparison.
    None,
    /// Every vote for a block is followed by a vote for nil, and vice versa.
    EquivocateVotes,
    /// Every proposal is followed by a different one for the same round.
    EquivocateProposals,
    /// Every part of a block is followed by a different one with the same number.
    EquivocateParts,
    /// Every precommit is for nil.
    NilPrecommits,
    /// Proposals and parts are never sent.
    WithholdProposals,
    /// Every second part of a block is never sent.
    WithholdParts,
    /// The header has a state root that is not the one after the block.
    WrongStateRoot,
    /// The header has a wrong parent.
    WrongParent,
    /// The header has a wrong transaction root.
    WrongTransactionRoot,
    /// The header's time is an hour ahead.
    FutureTime,
    /// The block contains a transaction twice; its Proof of History is correct.
    TransactionTwice,
    /// One bit of each tick's hash is wrong.
    WrongPoh,
    /// The header claims 65,535 ticks and 2^40 hashes too many.
    TooManyTicks,
}

impl Lie {
    /// All behaviours with their names.
    const NAMES: [(&'static str, Self); 14] = [
        ("none", Self::None),
        ("equivocate-votes", Self::EquivocateVotes),
        ("equivocate-proposals", Self::EquivocateProposals),
        ("equivocate-parts", Self::EquivocateParts),
        ("nil-precommits", Self::NilPrecommits),
        ("withhold-proposals", Self::WithholdProposals),
        ("withhold-parts", Self::WithholdParts),
        ("wrong-state-root", Self::WrongStateRoot),
        ("wrong-parent", Self::WrongParent),
        ("wrong-transaction-root", Self::WrongTransactionRoot),
        ("future-time", Self::FutureTime),
        ("transaction-twice", Self::TransactionTwice),
        ("wrong-poh", Self::WrongPoh),
        ("too-many-ticks", Self::TooManyTicks),
    ];

    /// The behaviour with this name.
    ///
    /// # Errors
    /// All names, to be shown for a mistyped one.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, lie)| *lie).ok_or_else(|| {
            let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
            format!("unknown lie {name:?}; known are {}", names.join(", "))
        })
    }
}

/// Distorts the outgoing messages of an honest replica.
pub struct Liar {
    lie: Lie,
    genesis: Hash,
    key: SecretKey,
    pace: Option<Pace>,
    /// Proof of History of the block with a duplicated transaction, from its opening on.
    chain: Option<PohChain>,
}

impl Liar {
    /// A validator with this behaviour and this key.
    #[must_use]
    pub fn new(lie: Lie, genesis: Hash, key: SecretKey, params: &ChainParams) -> Self {
        Self {
            lie,
            genesis,
            key,
            pace: Pace::new(
                u64::from(params.hashes_per_tick),
                u64::from(params.ticks_per_block),
            )
            .ok(),
            chain: None,
        }
    }

    /// Selected by the variable [`VARIABLE`]; `None` without it or without a key.
    ///
    /// # Errors
    /// A message, when the variable does not name a behaviour.
    pub fn from_environment(
        genesis: Hash,
        key: Option<&SecretKey>,
        params: &ChainParams,
    ) -> Result<Option<Self>, String> {
        let name = std::env::var(VARIABLE).unwrap_or_else(|_| "none".to_owned());
        let lie = Lie::named(&name)?;
        Ok(key.map(|key| Self::new(lie, genesis, key.clone(), params)))
    }

    /// Messages to send in place of `message`, in order.
    pub fn distort(&mut self, message: Message) -> Vec<Message> {
        match message {
            Message::Consensus(ConsensusMessage::Vote(vote)) => self.votes(vote),
            Message::Consensus(ConsensusMessage::Proposal(proposal)) => self.proposals(*proposal),
            Message::Part(part) => self.parts(*part),
            other => vec![other],
        }
    }

    fn votes(&self, honest: SignedVote) -> Vec<Message> {
        let say = |vote: SignedVote| Message::Consensus(ConsensusMessage::Vote(vote));
        if honest.vote.validator != self.key.public_key() {
            return vec![say(honest)];
        }
        let nil = Vote {
            block: None,
            ..honest.vote.clone()
        };
        match self.lie {
            Lie::EquivocateVotes => {
                let other = match honest.vote.block {
                    Some(_) => nil,
                    // There is no such block; the vote is well-formed all the same.
                    None => Vote {
                        block: Some(Hash([0xb7; 32])),
                        ..nil
                    },
                };
                vec![say(honest), say(other.sign(&self.genesis, &self.key))]
            }
            Lie::NilPrecommits if nil.kind == VoteKind::Precommit => {
                vec![say(nil.sign(&self.genesis, &self.key))]
            }
            _ => vec![say(honest)],
        }
    }

    fn proposals(&self, honest: SignedProposal) -> Vec<Message> {
        let say = |proposal| Message::Consensus(ConsensusMessage::Proposal(Box::new(proposal)));
        if honest.proposal.proposer != self.key.public_key() {
            return vec![say(honest)];
        }
        let mut header = honest.proposal.header.clone();
        match self.lie {
            Lie::WithholdProposals => return Vec::new(),
            Lie::EquivocateProposals => header.time.0 = header.time.0.wrapping_add(1),
            Lie::WrongStateRoot => flip(&mut header.state_root),
            Lie::WrongParent => flip(&mut header.parent),
            Lie::WrongTransactionRoot => flip(&mut header.tx_root),
            Lie::FutureTime => header.time.0 = header.time.0.wrapping_add(3_600_000),
            Lie::TooManyTicks => {
                header.ticks = u16::MAX;
                header.poh_seq = header.poh_seq.wrapping_add(1 << 40);
            }
            _ => return vec![say(honest)],
        }
        let other = Proposal {
            header,
            ..honest.proposal.clone()
        };
        let other = say(other.sign(&self.genesis, &self.key));
        if self.lie == Lie::EquivocateProposals {
            vec![say(honest), other]
        } else {
            vec![other]
        }
    }

    fn parts(&mut self, honest: BlockPart) -> Vec<Message> {
        let say = |part| Message::Part(Box::new(part));
        let statement = honest.signed.statement.clone();
        if statement.proposer != self.key.public_key() {
            return vec![say(honest)];
        }
        match self.lie {
            Lie::WithholdProposals => Vec::new(),
            Lie::WithholdParts if statement.sequence % 2 == 1 => Vec::new(),
            Lie::EquivocateParts | Lie::WrongPoh => {
                let PartContent::Tick(mut tick) = honest.content.clone() else {
                    return vec![say(honest)];
                };
                flip(&mut tick.hash);
                let other = say(self.sign(statement, PartContent::Tick(tick)));
                if self.lie == Lie::EquivocateParts {
                    vec![say(honest), other]
                } else {
                    vec![other]
                }
            }
            Lie::TransactionTwice => vec![say(self.double(honest))],
            _ => vec![say(honest)],
        }
    }

    /// The part with the first transaction of its tick twice, in a separate chain that includes it.
    fn double(&mut self, mut honest: BlockPart) -> BlockPart {
        let statement = honest.signed.statement.clone();
        let PartContent::Tick(tick) = &mut honest.content else {
            // A later round may have fewer ticks: the replica decides when the block ends.
            let start = seed(
                statement.parent,
                statement.height.0,
                statement.round.0,
                &statement.proposer.0,
            );
            self.chain = self.pace.map(|pace| PohChain::new(pace, start));
            return honest;
        };
        if let Some(first) = tick.transactions.first().cloned() {
            tick.transactions.insert(1, first);
        }
        let hashes: Vec<Hash> = tick
            .transactions
            .iter()
            .map(|transaction| transaction.hash())
            .collect();
        let sealed = self
            .chain
            .as_mut()
            .map(|chain| chain.finish_tick(tick_root(&hashes)));
        if let Some(Ok(sealed)) = sealed {
            tick.hash = sealed.hash;
        }
        self.sign(statement, honest.content)
    }

    fn sign(&self, statement: PartStatement, content: PartContent) -> BlockPart {
        let statement = PartStatement {
            digest: content.digest(),
            ..statement
        };
        BlockPart {
            signed: statement.sign(&self.genesis, &self.key),
            content,
        }
    }
}

fn flip(hash: &mut Hash) {
    if let Some(first) = hash.0.first_mut() {
        *first ^= 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use vibecoin_primitives::{
        Address, Amount, BLOCK_VERSION, Evidence, Header, Height, Nonce, Operation, Power, PublicKey, Round,
        Tick, TimeMs, Transaction, TransactionBody, Validator, ValidatorSet,
    };

    const GENESIS: Hash = Hash([7; 32]);
    const HEIGHT: Height = Height(5);

    fn key() -> SecretKey {
        SecretKey::from_seed(&[1; 32])
    }

    fn liar(lie: Lie) -> Liar {
        Liar::new(lie, GENESIS, key(), &ChainParams::devnet())
    }

    fn set() -> ValidatorSet {
        let member = Validator {
            key: key().public_key(),
            power: Power(1),
            payout: Address([9; 32]),
        };
        ValidatorSet::new(vec![member]).unwrap()
    }

    fn vote(kind: VoteKind, block: Option<Hash>) -> Message {
        let vote = Vote {
            kind,
            height: HEIGHT,
            round: Round(0),
            block,
            validator: key().public_key(),
        };
        Message::Consensus(ConsensusMessage::Vote(vote.sign(&GENESIS, &key())))
    }

    fn header() -> Header {
        let hash = Hash([3; 32]);
        Header {
            version: BLOCK_VERSION,
            height: HEIGHT,
            round: Round(0),
            proposer: key().public_key(),
            parent: hash,
            time: TimeMs(1),
            ticks: 20,
            poh_seq: 1,
            poh_hash: hash,
            body_hash: hash,
            tx_root: hash,
            receipt_root: hash,
            evidence_root: hash,
            state_root: hash,
            validators_hash: hash,
            next_validators_hash: hash,
            params_hash: hash,
            last_commit_hash: hash,
        }
    }

    fn proposal() -> Message {
        let proposal = Proposal {
            height: HEIGHT,
            round: Round(0),
            header: header(),
            lock_round: None,
            proposer: key().public_key(),
        };
        let signed = proposal.sign(&GENESIS, &key());
        Message::Consensus(ConsensusMessage::Proposal(Box::new(signed)))
    }

    fn part(sequence: u32, content: PartContent) -> Message {
        let statement = PartStatement {
            height: HEIGHT,
            round: Round(0),
            proposer: key().public_key(),
            parent: Hash([3; 32]),
            sequence,
            digest: content.digest(),
        };
        let signed = statement.sign(&GENESIS, &key());
        Message::Part(Box::new(BlockPart { signed, content }))
    }

    fn tick(transactions: Vec<Transaction>) -> PartContent {
        PartContent::Tick(Tick {
            hash: Hash([4; 32]),
            transactions,
        })
    }

    fn opening() -> PartContent {
        PartContent::Opening {
            last_commit: None,
            evidence: Vec::new(),
        }
    }

    /// The evidence that two messages form.
    fn evidence(said: &[Message]) -> Evidence {
        match said {
            [
                Message::Consensus(ConsensusMessage::Vote(a)),
                Message::Consensus(ConsensusMessage::Vote(b)),
            ] => Evidence::votes(a.clone(), b.clone()),
            [
                Message::Consensus(ConsensusMessage::Proposal(a)),
                Message::Consensus(ConsensusMessage::Proposal(b)),
            ] => Evidence::proposals((**a).clone(), (**b).clone()),
            [Message::Part(a), Message::Part(b)] => Evidence::parts(a.signed.clone(), b.signed.clone()),
            other => panic!("no two of a kind: {other:?}"),
        }
    }

    #[test]
    fn what_is_said_twice_is_evidence() {
        for (lie, message) in [
            (Lie::EquivocateVotes, vote(VoteKind::Prevote, Some(Hash([2; 32])))),
            (Lie::EquivocateVotes, vote(VoteKind::Precommit, None)),
            (Lie::EquivocateProposals, proposal()),
            (Lie::EquivocateParts, part(1, tick(Vec::new()))),
        ] {
            let said = liar(lie).distort(message.clone());
            assert_eq!(said[0], message, "{lie:?}: the honest one comes first");
            evidence(&said).verify(&GENESIS, &set()).unwrap();
        }
    }

    #[test]
    fn a_changed_header_is_signed_and_wrong() {
        for lie in [
            Lie::WrongStateRoot,
            Lie::WrongParent,
            Lie::WrongTransactionRoot,
            Lie::FutureTime,
            Lie::TooManyTicks,
        ] {
            let said = liar(lie).distort(proposal());
            let [Message::Consensus(ConsensusMessage::Proposal(signed))] = said.as_slice() else {
                panic!("{lie:?}: {said:?}");
            };
            signed.verify(&GENESIS).unwrap();
            assert_ne!(signed.proposal.header, header(), "{lie:?}");
        }
    }

    #[test]
    fn what_is_withheld_is_not_said() {
        assert_eq!(liar(Lie::WithholdProposals).distort(proposal()), []);
        assert_eq!(
            liar(Lie::WithholdProposals).distort(part(1, tick(Vec::new()))),
            []
        );
        assert_eq!(liar(Lie::WithholdParts).distort(part(1, tick(Vec::new()))), []);
        assert_eq!(
            liar(Lie::WithholdParts).distort(part(2, tick(Vec::new()))).len(),
            1
        );
        let block = Some(Hash([2; 32]));
        let said = liar(Lie::NilPrecommits).distort(vote(VoteKind::Precommit, block));
        assert_eq!(said, [vote(VoteKind::Precommit, None)]);
        let prevote = vote(VoteKind::Prevote, block);
        assert_eq!(liar(Lie::NilPrecommits).distort(prevote.clone()), [prevote]);
    }

    #[test]
    fn a_doubled_transaction_has_a_right_proof_of_history() {
        let body = TransactionBody {
            chain: GENESIS.prefix(),
            sender: key().public_key(),
            nonce: Nonce(0),
            fee: Amount(1),
            valid_until: Height(9),
            operations: vec![Operation::Transfer {
                to: Address([2; 32]),
                amount: Amount(1),
            }],
        };
        let transaction = body.sign(&GENESIS, &key());
        let mut liar = liar(Lie::TransactionTwice);
        let mut sealed = Vec::new();
        let contents = [opening(), tick(Vec::new()), tick(vec![transaction.clone()])];
        for (content, sequence) in contents.into_iter().zip(0u32..) {
            let said = liar.distort(part(sequence, content));
            let [Message::Part(part)] = said.as_slice() else {
                panic!("{said:?}");
            };
            assert!(part.is_whole());
            part.signed.verify(&GENESIS).unwrap();
            if let PartContent::Tick(tick) = &part.content {
                let hashes: Vec<Hash> = tick.transactions.iter().map(Transaction::hash).collect();
                sealed.push(vibecoin_poh::SealedTick {
                    hash: tick.hash,
                    mixin: tick_root(&hashes),
                });
                assert!([0, 2].contains(&hashes.len()));
            }
        }
        let pace = Pace::new(u64::from(ChainParams::devnet().hashes_per_tick), 2).unwrap();
        let start = seed(Hash([3; 32]), HEIGHT.0, 0, &key().public_key().0);
        vibecoin_poh::verify(pace, start, &sealed).unwrap();
    }

    #[test]
    fn what_others_said_is_never_changed() {
        let stranger = PublicKey([5; 32]);
        let Message::Consensus(ConsensusMessage::Vote(mut other)) = vote(VoteKind::Prevote, None) else {
            panic!();
        };
        other.vote.validator = stranger;
        let message = Message::Consensus(ConsensusMessage::Vote(other));
        for (name, lie) in Lie::NAMES {
            assert_eq!(
                liar(lie).distort(message.clone()),
                std::slice::from_ref(&message),
                "{name}"
            );
            assert_eq!(Lie::named(name), Ok(lie));
        }
        for honest in [vote(VoteKind::Prevote, None), proposal(), part(0, opening())] {
            assert_eq!(liar(Lie::None).distort(honest.clone()), [honest]);
        }
        assert!(Lie::named("lies").unwrap_err().contains("equivocate-votes"));
    }
}
