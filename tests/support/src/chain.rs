//! A chain over a state in memory.

use vibecoin_consensus::{BftOrderer, MonoTime, OrdererConfig};
use vibecoin_execution::{DecidedBlock, MemoryState, State, read_schedule};
use vibecoin_mempool::{Mempool, MempoolConfig};
use vibecoin_primitives::{
    Amount, Body, ChainParams, CommitCertificate, Evidence, Header, Height, ProposerSchedule, PublicKey,
    Round, SecretKey, TimeMs,
};
use vibecoin_replica::build::{Builder, Built, Extras, Step};
use vibecoin_replica::check::judge;
use vibecoin_replica::{BlockError, Chain, Head, JudgeError, Parent, Replica, Validation};

use crate::{GENESIS, address, certify, genesis_header, key, validators};

/// Balance of each user in block 0.
const BALANCE: Amount = Amount(1_000_000_000);

/// A chain with these parameters, and validators of equal power with these keys.
#[must_use]
pub fn chain(params: ChainParams, keys: impl IntoIterator<Item = u8>) -> Chain {
    Chain::new(GENESIS, params, validators(keys))
}

/// Block 0, in which the keys of `users` have a thousand million units each.
#[must_use]
pub fn genesis(chain: &Chain, users: impl IntoIterator<Item = u8>) -> Parent<MemoryState> {
    let schedule = ProposerSchedule::genesis(&chain.validators);
    let balances = users.into_iter().map(|n| (address(n), BALANCE));
    let state = MemoryState::with_balances(balances, &schedule);
    Parent {
        hash: chain.genesis,
        header: genesis_header(&chain.params, &chain.validators, state.root()),
        state,
        schedule,
    }
}

/// The orderer of a validator, or of a follower.
#[must_use]
pub fn orderer(chain: &Chain, key: Option<&SecretKey>) -> BftOrderer {
    BftOrderer::new(OrdererConfig {
        genesis: chain.genesis,
        key: key.cloned(),
    })
}

/// A replica with this key whose head is `parent`, which is block 0.
#[must_use]
pub fn replica(
    chain: &Chain,
    key: Option<&SecretKey>,
    orderer: BftOrderer,
    parent: Parent<MemoryState>,
) -> Replica<MemoryState, BftOrderer> {
    let pool = Mempool::new(MempoolConfig::default(), chain.params.clone());
    let head = Head {
        parent,
        certificate: None,
    };
    Replica::new(chain.clone(), key.map(SecretKey::public_key), orderer, pool, head)
}

/// The verdict of a validator on a block, without the results of executing it.
///
/// # Errors
/// The rule that the block breaks.
///
/// # Panics
/// If the state cannot be read.
pub fn verdict<S: State>(
    chain: &Chain,
    parent: &Parent<S>,
    header: &Header,
    body: &Body,
) -> Result<(), BlockError> {
    match judge(chain, parent, header, body, &|_| None) {
        Validation::Valid(_) => Ok(()),
        Validation::Invalid(error) => Err(error),
        Validation::Fault(error) => panic!("{error}"),
    }
}

/// Makes the blocks of a chain with the node's own builder: each is built by the proposer in turn, judged
/// as every validator judges it, and certified by all validators.
pub struct ChainBuilder<S = MemoryState> {
    /// The chain.
    pub chain: Chain,
    /// The newest block and the state after it.
    pub parent: Parent<S>,
    certificate: Option<CommitCertificate>,
    keys: Vec<SecretKey>,
}

impl ChainBuilder {
    /// A chain with these parameters at block 0, with the keys of its validators, and of its users as in
    /// [`genesis`].
    #[must_use]
    pub fn new(
        params: ChainParams,
        keys: impl IntoIterator<Item = u8>,
        users: impl IntoIterator<Item = u8>,
    ) -> Self {
        let keys: Vec<u8> = keys.into_iter().collect();
        let chain = chain(params, keys.iter().copied());
        let parent = genesis(&chain, users);
        Self::above(chain, parent, keys.into_iter().map(key).collect())
    }
}

impl<S: State> ChainBuilder<S> {
    /// A chain at block 0, with the keys of its validators.
    #[must_use]
    pub const fn above(chain: Chain, parent: Parent<S>, keys: Vec<SecretKey>) -> Self {
        Self {
            chain,
            parent,
            certificate: None,
            keys,
        }
    }

    /// Height of the next block.
    #[must_use]
    pub fn height(&self) -> Height {
        self.parent.header.height.saturating_add(1)
    }

    /// The proposer of the next block in a round.
    ///
    /// # Panics
    /// If the chain has no validators.
    #[must_use]
    pub fn proposer(&self, round: Round) -> PublicKey {
        let schedule = &self.parent.schedule;
        let member = schedule.proposer(&self.chain.validators, self.height(), round);
        member.unwrap().key
    }

    /// The secret key of a validator.
    ///
    /// # Panics
    /// If there is no such validator.
    #[must_use]
    pub fn key_of(&self, validator: &PublicKey) -> &SecretKey {
        let mut keys = self.keys.iter();
        keys.find(|key| key.public_key() == *validator).unwrap()
    }

    /// Begins the next block in a round, at time 0.
    ///
    /// # Errors
    /// As the builder.
    pub fn begin(&self, round: Round, evidence: Vec<Evidence>) -> Result<Builder<S>, JudgeError> {
        let extras = Extras {
            last_commit: self.certificate.clone(),
            evidence,
        };
        let now = MonoTime(0);
        Builder::new(
            self.chain.clone(),
            self.parent.clone(),
            self.height(),
            round,
            self.proposer(round),
            extras,
            now,
            Some(now),
            1_000,
        )
    }

    /// Builds the next block in a round from a pool.
    ///
    /// # Errors
    /// As the builder.
    pub fn build(
        &self,
        pool: &mut Mempool,
        round: Round,
        evidence: Vec<Evidence>,
    ) -> Result<Built<S>, JudgeError> {
        let (mut now, mut builder) = (MonoTime(0), self.begin(round, evidence)?);
        loop {
            now = builder.due(!pool.has_pending()).unwrap_or(now).max(now);
            if builder.step(pool, now)? == Step::Complete {
                return builder.finish(TimeMs(0));
            }
        }
    }

    /// The verdict on a next block.
    ///
    /// # Errors
    /// The rule that the block breaks.
    pub fn verdict(&self, header: &Header, body: &Body) -> Result<(), BlockError> {
        verdict(&self.chain, &self.parent, header, body)
    }

    /// Judges the block, certifies it, and makes it the head.
    ///
    /// # Panics
    /// If the block is invalid.
    pub fn commit(&mut self, built: Built<S>) -> DecidedBlock<S> {
        self.verdict(&built.header, &built.body).unwrap();
        self.decide(built)
    }

    /// Certifies the block, which is valid, and makes it the head.
    ///
    /// # Panics
    /// If its state has no proposer order.
    pub fn decide(&mut self, built: Built<S>) -> DecidedBlock<S> {
        let Built {
            header,
            body,
            executed,
        } = built;
        let certificate = certify(&self.chain.genesis, &header, Round(0), &self.keys);
        self.certificate = Some(certificate.clone());
        self.parent = Parent {
            hash: certificate.block,
            header: header.clone(),
            schedule: read_schedule(&executed.state).unwrap(),
            state: executed.state.clone(),
        };
        DecidedBlock {
            header,
            hash: certificate.block,
            body,
            certificate,
            receipts: executed.outcome.receipts,
            diff: executed.diff,
            ids: executed.ids,
            state: executed.state,
        }
    }
}
