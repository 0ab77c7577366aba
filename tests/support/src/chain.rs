//! A chain over a state in memory.

use vibecoin_consensus::{BftOrderer, MonoTime, OrdererConfig};
use vibecoin_execution::{DecidedBlock, MemoryState, State as _, read_schedule};
use vibecoin_mempool::{Mempool, MempoolConfig};
use vibecoin_primitives::{
    Amount, Body, ChainParams, CommitCertificate, Evidence, Header, Height, ProposerSchedule, PublicKey,
    Round, SecretKey, TimeMs,
};
use vibecoin_replica::build::{Builder, Built, Extras, Step};
use vibecoin_replica::check::judge;
use vibecoin_replica::{BlockError, Chain, Head, Parent, Replica, Validation};

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
pub fn verdict(
    chain: &Chain,
    parent: &Parent<MemoryState>,
    header: &Header,
    body: &Body,
) -> Result<(), BlockError> {
    match judge(chain, parent, header, body, &|_| None) {
        Validation::Valid(_) => Ok(()),
        Validation::Invalid(error) => Err(error),
        Validation::Fault(error) => panic!("{error}"),
    }
}

/// Makes the blocks of a chain with the node's own builder: each is built by the proposer in turn in round 0, judged
/// as every validator judges it, and certified by all validators.
pub struct ChainBuilder {
    /// The chain.
    pub chain: Chain,
    /// The newest block and the state after it.
    pub parent: Parent<MemoryState>,
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
        Self {
            parent: genesis(&chain, users),
            chain,
            certificate: None,
            keys: keys.into_iter().map(key).collect(),
        }
    }

    /// Height of the next block.
    #[must_use]
    pub fn height(&self) -> Height {
        self.parent.header.height.saturating_add(1)
    }

    /// The proposer of the next block.
    ///
    /// # Panics
    /// If the chain has no validators.
    #[must_use]
    pub fn proposer(&self) -> PublicKey {
        let schedule = &self.parent.schedule;
        let member = schedule.proposer(&self.chain.validators, self.height(), Round(0));
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

    /// Begins the next block, at time 0.
    ///
    /// # Panics
    /// If the builder refuses.
    #[must_use]
    pub fn begin(&self, evidence: Vec<Evidence>) -> Builder<MemoryState> {
        let extras = Extras {
            last_commit: self.certificate.clone(),
            evidence,
        };
        let now = MonoTime(0);
        Builder::new(
            self.chain.clone(),
            self.parent.clone(),
            self.height(),
            Round(0),
            self.proposer(),
            extras,
            now,
            Some(now),
            1_000,
        )
        .unwrap()
    }

    /// Builds the next block from a pool.
    ///
    /// # Panics
    /// If the builder fails.
    pub fn build(&self, pool: &mut Mempool, evidence: Vec<Evidence>) -> Built<MemoryState> {
        let (mut now, mut builder) = (MonoTime(0), self.begin(evidence));
        loop {
            now = builder.due(!pool.has_pending()).unwrap_or(now).max(now);
            if builder.step(pool, now).unwrap() == Step::Complete {
                return builder.finish(TimeMs(0)).unwrap();
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
    pub fn commit(&mut self, built: Built<MemoryState>) -> DecidedBlock<MemoryState> {
        let Built {
            header,
            body,
            executed,
        } = built;
        self.verdict(&header, &body).unwrap();
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
