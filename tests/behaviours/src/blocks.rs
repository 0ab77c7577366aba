//! Blocks with one fault that are otherwise consistent.

use vibecoin_execution::{State, execute_block};
use vibecoin_poh::seed;
use vibecoin_primitives::{
    Block, BlockPart, Body, BodyV1, CommitCertificate, Evidence, Hash, Header, PartContent, PartStatement,
    Tick, Transaction, TransactionBody, encode, merkle, tick_root,
};
use vibecoin_replica::Chain;

use crate::signer::Signer;
use crate::{Behaviour, accuser, doubler, forger, impersonator, invalid, poh};

/// Inputs of a forged block.
pub struct Workshop<'a, S> {
    pub chain: &'a Chain,
    pub signer: &'a mut Signer,
    /// The block below and the state after it.
    pub parent: &'a Header,
    pub state: &'a S,
    /// The certificate of the block below the parent.
    pub older: Option<CommitCertificate>,
    /// Transactions of earlier blocks.
    pub old: &'a [Transaction],
    /// A transfer of another account.
    pub victim: &'a TransactionBody,
}

impl<S: State> Workshop<'_, S> {
    /// A copy of this block with one fault. `None` if the fault does not apply to it.
    pub fn forge(&mut self, behaviour: Behaviour, block: &Block) -> Option<Block> {
        let Block { mut header, body } = block.clone();
        let mut inner = body.v1().clone();
        let rng = &mut self.signer.rng;
        let other = Hash([rng.next() as u8; 32]);
        match behaviour {
            Behaviour::WrongTime => header.time = self.parent.time,
            Behaviour::WrongParent => {
                header.parent = if rng.chance(500) {
                    self.parent.parent
                } else {
                    other
                };
                return Some(self.rebuilt(header, inner));
            }
            Behaviour::WrongPoh => {
                return Some(poh::wrong(rng, self.chain.params.hashes_per_tick, header, inner));
            }
            Behaviour::WrongTicks => return Some(poh::wrong_ticks(rng, header, inner)),
            Behaviour::TransactionTwice => {
                let here: Vec<Transaction> = body.transactions().cloned().collect();
                let again = doubler::again(rng, &here, self.old)?;
                inner.ticks.last_mut()?.transactions.push(again);
                return Some(self.rebuilt(header, inner));
            }
            Behaviour::ForgedTransaction => {
                let nonce = rng.below(4);
                let Signer { genesis, key, .. } = &*self.signer;
                let forged = impersonator::transaction(genesis, self.victim, nonce, key);
                inner.ticks.last_mut()?.transactions.push(forged);
                return Some(self.rebuilt(header, inner));
            }
            Behaviour::ForgedEvidence => {
                inner.evidence.push(accuser::slander(self.signer, &header)?);
                return Some(self.rebuilt(header, inner));
            }
            Behaviour::RepeatedEvidence => {
                inner.evidence = vec![accuser::confession(self.signer)];
                return Some(self.rebuilt(header, inner));
            }
            Behaviour::ForgedLastCommit => {
                let good = inner.last_commit.as_ref()?;
                let forged = forger::certificate(self.signer, self.older.as_ref(), good);
                inner.last_commit = Some(forged);
                return Some(sealed(header, inner));
            }
            behaviour => {
                if !invalid::alter(behaviour, &mut header, other) {
                    return None;
                }
            }
        }
        Some(Block { header, body })
    }

    /// The bytes of another body, which decodes.
    pub fn swapped(&mut self, body: &Body) -> Vec<u8> {
        let mut inner = body.v1().clone();
        if let Some(tick) = inner.ticks.first_mut() {
            tick.hash = Hash([self.signer.rng.next() as u8; 32]);
        }
        encode(&Body::V1(inner))
    }

    /// The block with everything that depends on its transactions recomputed. Where they cannot be
    /// executed, receipts and state stay unchanged.
    fn rebuilt(&self, mut header: Header, mut inner: BodyV1) -> Block {
        let start = seed(header.parent, header.height.0, header.round.0, &header.proposer.0);
        header.poh_hash = poh::seal(self.chain.params.hashes_per_tick, start, &mut inner.ticks);
        let roots: Vec<Hash> = inner.ticks.iter().map(root_of).collect();
        header.tx_root = merkle::root(&roots);
        let all = inner
            .ticks
            .iter()
            .flat_map(|tick| tick.transactions.iter().cloned());
        let verified = Transaction::verify_batch(all.collect(), &self.chain.genesis);
        let verified: Result<Vec<_>, _> = verified.into_iter().collect();
        if let Ok(verified) = verified
            && let Some((_, proposer)) = self.chain.validators.find(&header.proposer)
        {
            let context = self.chain.block_context(header.height, proposer.payout);
            let offences = inner.evidence.iter().map(Evidence::offence);
            if let Ok(outcome) = execute_block(self.state, context, &verified, offences, header.round)
                && let Ok((state, _)) = self.state.apply(&outcome.changes)
            {
                header.receipt_root = outcome.receipts.root();
                header.state_root = state.root();
            }
        }
        sealed(header, inner)
    }
}

/// The root of the transactions of a tick.
pub fn root_of(tick: &Tick) -> Hash {
    let hashes: Vec<Hash> = tick.transactions.iter().map(Transaction::hash).collect();
    tick_root(&hashes)
}

/// Header and body of one block: the header names what is in the body.
pub fn sealed(mut header: Header, inner: BodyV1) -> Block {
    header.last_commit_hash = inner
        .last_commit
        .as_ref()
        .map_or(Hash::ZERO, CommitCertificate::hash);
    let body = Body::V1(inner);
    header.evidence_root = body.evidence_root();
    header.body_hash = body.hash();
    Block { header, body }
}

/// The parts of a block as its proposer streams them.
pub fn parts(signer: &Signer, block: &Block) -> Vec<BlockPart> {
    let Block { header, body } = block;
    let inner = body.v1();
    let opening = PartContent::Opening {
        last_commit: inner.last_commit.clone(),
        evidence: inner.evidence.clone(),
    };
    let ticks = inner.ticks.iter().cloned().map(PartContent::Tick);
    let contents = std::iter::once(opening).chain(ticks);
    let part = |(content, sequence)| {
        let statement = PartStatement {
            height: header.height,
            round: header.round,
            proposer: header.proposer,
            parent: header.parent,
            sequence,
            digest: Hash::ZERO,
        };
        signer.part(statement, content)
    };
    contents.zip(0..).map(part).collect()
}
