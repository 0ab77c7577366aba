//! Forges blocks with one fault that are otherwise consistent.

use vibecoin_execution::{BlockContext, execute_block};
use vibecoin_poh::{Chain as PohChain, Pace, seed};
use vibecoin_primitives::{
    Block, BlockPart, Body, BodyV1, CommitCertificate, CommitSignature, Evidence, Hash, Header, Height,
    PartContent, PartStatement, PublicKey, Round, SecretKey, Signature, SignedVote, Tick, TimeMs,
    Transaction, Vote, VoteKind, encode, merkle, tick_root,
};
use vibecoin_replica::Chain;
use vibecoin_storage::StateView;

use crate::Lie;
use crate::rng::Rng;
use crate::traffic::Traffic;

/// Inputs of a forger.
pub struct Workshop<'a> {
    pub chain: &'a Chain,
    pub key: &'a SecretKey,
    pub rng: &'a mut Rng,
    /// The block below and the state after it.
    pub parent: &'a Header,
    pub state: &'a StateView,
    /// The certificate of the block below the parent.
    pub older: Option<CommitCertificate>,
    /// Transactions of earlier blocks.
    pub old: &'a [Transaction],
}

impl Workshop<'_> {
    /// A copy of this block with one fault. `None` if the fault does not apply to it.
    pub fn forge(&mut self, lie: Lie, block: &Block) -> Option<Block> {
        let Block { mut header, body } = block.clone();
        let mut inner = body.v1().clone();
        let other = Hash([self.rng.next() as u8; 32]);
        match lie {
            // Valid alone: the other half gets the original block.
            Lie::EquivocatingProposals => header.time = TimeMs(header.time.0 + 1),
            Lie::WrongStateRoot => header.state_root = other,
            Lie::WrongTxRoot => header.tx_root = other,
            Lie::WrongTime => header.time = self.parent.time,
            Lie::FutureTime => header.time = TimeMs(header.time.0 + 3_600_000),
            Lie::WrongParent => {
                header.parent = if self.rng.chance(500) {
                    self.parent.parent
                } else {
                    other
                };
                return Some(self.rebuilt(header, inner));
            }
            Lie::WrongPoh => return Some(self.wrong_poh(header, inner)),
            Lie::WrongTicks => {
                match self.rng.below(3) {
                    0 => inner.ticks.clear(),
                    1 => header.ticks = u16::MAX,
                    _ => inner.ticks.extend(inner.ticks.last().cloned()),
                }
                return Some(sealed(header, inner));
            }
            Lie::TransactionTwice => {
                let here: Vec<Transaction> = body.transactions().cloned().collect();
                let from = if here.is_empty() || self.rng.chance(200) {
                    self.old
                } else {
                    &here
                };
                let again = from.get(self.rng.index(from.len()))?.clone();
                inner.ticks.last_mut()?.transactions.push(again);
                return Some(self.rebuilt(header, inner));
            }
            Lie::ForgedTransaction => {
                let forged = Traffic::forgery(&self.chain.genesis, self.rng.below(4), self.key);
                inner.ticks.last_mut()?.transactions.push(forged);
                return Some(self.rebuilt(header, inner));
            }
            Lie::ForgedEvidence => {
                inner.evidence.push(self.slander(&header)?);
                return Some(self.rebuilt(header, inner));
            }
            Lie::RepeatedEvidence => {
                // Against itself, about height 1 and the same each time, so that its first block with it is
                // valid.
                inner.evidence = vec![self.confession()];
                return Some(self.rebuilt(header, inner));
            }
            Lie::ForgedLastCommit => {
                let forged = self.certificate(inner.last_commit.as_ref()?);
                inner.last_commit = Some(forged);
                return Some(sealed(header, inner));
            }
            _ => return None,
        }
        Some(Block { header, body })
    }

    /// The bytes of another body, which decodes.
    pub fn swapped(&mut self, body: &Body) -> Vec<u8> {
        let mut inner = body.v1().clone();
        if let Some(tick) = inner.ticks.first_mut() {
            tick.hash = Hash([self.rng.next() as u8; 32]);
        }
        encode(&Body::V1(inner))
    }

    /// The hash of a tick is wrong; the later ticks follow from it, or from the right one.
    fn wrong_poh(&mut self, mut header: Header, mut inner: BodyV1) -> Block {
        let wrong = self.rng.index(inner.ticks.len());
        let consistent = self.rng.chance(700);
        let forged = Hash([self.rng.next() as u8; 32]);
        if let Some(tick) = inner.ticks.get_mut(wrong) {
            tick.hash = forged;
        }
        if consistent {
            let ticks = &mut inner.ticks[wrong..];
            self.seal(forged, &mut ticks[1..]);
        }
        header.poh_hash = inner.ticks.last().map_or(header.poh_hash, |tick| tick.hash);
        sealed(header, inner)
    }

    /// Writes the hashes of ticks that follow from `start`.
    fn seal(&self, start: Hash, ticks: &mut [Tick]) -> Hash {
        let hashes = u64::from(self.chain.params.hashes_per_tick);
        let Ok(pace) = Pace::new(hashes, ticks.len() as u64) else {
            return start;
        };
        let mut chain = PohChain::new(pace, start);
        for tick in ticks.iter_mut() {
            chain.advance(hashes - 1);
            let sealed = chain
                .finish_tick(root_of(tick))
                .expect("as many ticks as the pace says");
            tick.hash = sealed.hash;
        }
        chain.hash()
    }

    /// The block with everything that depends on its transactions recomputed. Where they cannot be
    /// executed, receipts and state stay unchanged.
    fn rebuilt(&self, mut header: Header, mut inner: BodyV1) -> Block {
        let start = seed(header.parent, header.height.0, header.round.0, &header.proposer.0);
        header.poh_hash = self.seal(start, &mut inner.ticks);
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
            let context = BlockContext {
                params: self.chain.params.clone(),
                validators: self.chain.validators.clone(),
                height: header.height,
                payout: proposer.payout,
            };
            let offences = inner.evidence.iter().map(Evidence::offence);
            if let Ok(outcome) = execute_block(self.state, context, &verified, offences, header.round)
                && let Ok((state, _)) = vibecoin_execution::State::apply(self.state, &outcome.changes)
            {
                header.receipt_root = outcome.receipts.root();
                header.state_root = vibecoin_execution::State::root(&state);
            }
        }
        sealed(header, inner)
    }

    /// Two prevotes of the forger for height 1.
    fn confession(&self) -> Evidence {
        let vote = |block| {
            let vote = Vote {
                kind: VoteKind::Prevote,
                height: Height(1),
                round: Round(0),
                block,
                validator: self.key.public_key(),
            };
            vote.sign(&self.chain.genesis, self.key)
        };
        Evidence::votes(vote(None), vote(Some(self.chain.genesis)))
    }

    /// Two votes that the accused validator never signed.
    fn slander(&mut self, header: &Header) -> Option<Evidence> {
        let members = self.chain.validators.members();
        let victims: Vec<PublicKey> = members.iter().map(|member| member.key).collect();
        let victim = *victims
            .iter()
            .filter(|key| **key != self.key.public_key())
            .nth(self.rng.index(victims.len() - 1))?;
        let vote = |block| {
            let vote = Vote {
                kind: VoteKind::Prevote,
                height: header.height,
                round: header.round,
                block,
                validator: victim,
            };
            vote.sign(&self.chain.genesis, self.key)
        };
        Some(Evidence::votes(vote(None), vote(Some(header.parent))))
    }

    /// A certificate with one fault.
    pub fn certificate(&mut self, good: &CommitCertificate) -> CommitCertificate {
        let mut forged = good.clone();
        match self.rng.below(6) {
            0 => forged.signatures = self.alone(&forged, 1),
            1 => forged.signatures = self.alone(&forged, self.chain.validators.members().len()),
            2 => {
                if let Some(older) = &self.older {
                    forged = older.clone();
                } else {
                    forged.height.0 += 1;
                }
            }
            3 => forged.signatures.reverse(),
            4 => {
                let mine = self.key.sign(b"something else");
                forged
                    .signatures
                    .iter_mut()
                    .for_each(|entry| entry.signature = mine);
            }
            _ => {
                forged.signatures.pop();
                forged
                    .signatures
                    .truncate(2 * self.chain.validators.members().len() / 3);
            }
        }
        forged
    }

    /// The faulty validator's own precommit, `count` times.
    pub fn alone(&self, certificate: &CommitCertificate, count: usize) -> Vec<CommitSignature> {
        let signed = certificate
            .precommit(self.key.public_key())
            .sign(&self.chain.genesis, self.key);
        let entry = CommitSignature {
            validator: signed.vote.validator,
            signature: signed.signature,
        };
        vec![entry; count]
    }
}

fn root_of(tick: &Tick) -> Hash {
    let hashes: Vec<Hash> = tick.transactions.iter().map(Transaction::hash).collect();
    tick_root(&hashes)
}

/// Header and body of one block: the header names what is in the body.
fn sealed(mut header: Header, inner: BodyV1) -> Block {
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
pub fn parts(genesis: &Hash, key: &SecretKey, block: &Block) -> Vec<BlockPart> {
    let Block { header, body } = block;
    let inner = body.v1();
    let opening = PartContent::Opening {
        last_commit: inner.last_commit.clone(),
        evidence: inner.evidence.clone(),
    };
    let ticks = inner.ticks.iter().cloned().map(PartContent::Tick);
    let contents = std::iter::once(opening).chain(ticks);
    contents
        .zip(0..)
        .map(|(content, sequence)| {
            let statement = PartStatement {
                height: header.height,
                round: header.round,
                proposer: header.proposer,
                parent: header.parent,
                sequence,
                digest: content.digest(),
            };
            BlockPart {
                signed: statement.sign(genesis, key),
                content,
            }
        })
        .collect()
}

/// A vote in another validator's name, with an arbitrary signature.
pub fn vote_of(validator: PublicKey, like: &Vote, block: Option<Hash>, signature: Signature) -> SignedVote {
    SignedVote {
        vote: Vote {
            block,
            validator,
            ..like.clone()
        },
        signature,
    }
}

/// The next round.
pub fn after(round: Round) -> Round {
    Round(round.0 + 1)
}
