//! Reference model of the chain: the first decision of each height, re-executed on a second, naive
//! state.

use std::collections::BTreeMap;

use vibecoin_execution::{
    BlockContext, DecidedBlock, MemoryState, State as _, StateReader as _, execute_block, read_burned,
};
use vibecoin_genesis::BuiltGenesis;
use vibecoin_poh::{Chain as PohChain, Pace, seed};
use vibecoin_primitives::{
    Address, Block, CommitCertificate, Evidence, Hash, Header, Height, PENALTY_OFFENCE, PublicKey, Receipts,
    TimeMs, Transaction, VerifiedTransaction, tick_root,
};
use vibecoin_replica::Chain;

use crate::observer::is_quorum;
use crate::report::Rule;

/// A decided height.
pub struct Decided {
    pub hash: Hash,
    pub block: Block,
    pub receipts: Receipts,
    pub ids: Vec<Hash>,
}

/// All decided blocks, and the state after them.
pub struct Model {
    chain: Chain,
    genesis: Header,
    decided: Vec<Decided>,
    state: MemoryState,
    supply: u64,
    heights: BTreeMap<Hash, Height>,
    nonces: BTreeMap<Address, u64>,
    pub evidence: Vec<Evidence>,
    /// The only validator that may be accused in evidence.
    liar: Option<PublicKey>,
    /// Certificates whose signatures have been checked: every node sends the same few.
    checked: Vec<CommitCertificate>,
}

type Fault = (Rule, String);

fn equal<T: PartialEq + std::fmt::Debug>(
    rule: Rule,
    what: &str,
    expected: &T,
    found: &T,
) -> Result<(), Fault> {
    if expected == found {
        return Ok(());
    }
    Err((rule, format!("{what} is {found:?}, expected {expected:?}")))
}

impl Model {
    pub fn new(chain: &Chain, genesis: &BuiltGenesis, liar: Option<PublicKey>) -> Self {
        let slots = genesis
            .slots
            .iter()
            .map(|(owner, slot, value)| ((*owner, *slot), value.clone()));
        let state = MemoryState::new(genesis.accounts.iter().copied().collect(), slots.collect());
        assert_eq!(
            state.root(),
            genesis.header.state_root,
            "genesis has the root of its accounts"
        );
        Self {
            chain: chain.clone(),
            genesis: genesis.header.clone(),
            decided: Vec::new(),
            state,
            supply: genesis.supply.0,
            heights: BTreeMap::new(),
            nonces: BTreeMap::new(),
            evidence: Vec::new(),
            liar,
            checked: Vec::new(),
        }
    }

    pub fn height(&self) -> Height {
        Height(self.decided.len() as u64)
    }

    pub fn at(&self, height: Height) -> Option<&Decided> {
        self.decided.get((height.0 as usize).checked_sub(1)?)
    }

    /// Heights with their blocks, ascending from 1.
    pub fn iter(&self) -> impl Iterator<Item = (Height, &Decided)> {
        self.decided
            .iter()
            .zip(1..)
            .map(|(decided, height)| (Height(height), decided))
    }

    /// The next expected nonce in blocks.
    pub fn nonce(&self, sender: &Address) -> u64 {
        self.nonces.get(sender).copied().unwrap_or(0)
    }

    /// Takes a node's decision: the first one of a height is checked alone, later ones against it.
    /// `clock` is the furthest ahead of the honest nodes' clocks.
    pub fn decide<S>(&mut self, commit: &DecidedBlock<S>, clock: TimeMs) -> Result<bool, Fault> {
        let DecidedBlock {
            header,
            hash,
            body,
            certificate,
            receipts,
            ids,
            ..
        } = commit;
        equal(Rule::Validity, "hash of the header", &header.hash(), hash)?;
        self.certificate(header.height, hash, certificate)?;
        if let Some(first) = self.at(header.height) {
            equal(
                Rule::Agreement,
                &format!("block {}", header.height),
                &first.hash,
                hash,
            )?;
            equal(Rule::Agreement, "body", &first.block.body, body)?;
            equal(Rule::Agreement, "receipts", &first.receipts, receipts)?;
            equal(Rule::Agreement, "transaction ids", &first.ids, ids)?;
            return Ok(false);
        }
        let block = Block {
            header: header.clone(),
            body: body.clone(),
        };
        self.links(&block, hash)?;
        self.time(header, clock)?;
        self.proof_of_history(&block)?;
        self.execute(&block, receipts, ids)?;
        self.supply()?;
        self.check_row(header)?;
        self.check_offender(header)?;
        self.check_evidence(&block)?;
        self.evidence.extend(body.v1().evidence.iter().cloned());
        self.decided.push(Decided {
            hash: *hash,
            block,
            receipts: receipts.clone(),
            ids: ids.clone(),
        });
        Ok(true)
    }

    fn parent(&self) -> (&Header, Hash) {
        match self.decided.last() {
            Some(last) => (&last.block.header, last.hash),
            None => (&self.genesis, self.chain.genesis),
        }
    }

    fn certificate(
        &mut self,
        height: Height,
        hash: &Hash,
        certificate: &CommitCertificate,
    ) -> Result<(), Fault> {
        let Chain {
            genesis, validators, ..
        } = &self.chain;
        if certificate.height != height || certificate.block != *hash {
            let detail = format!("certificate of {height} is for {}", certificate.height);
            return Err((Rule::Certificates, detail));
        }
        if !self.checked.contains(certificate) {
            let verified = certificate.verify(genesis, self.chain.fault_model(), validators, height, hash);
            verified.map_err(|error| (Rule::Certificates, format!("certificate of {height}: {error}")))?;
            self.checked.push(certificate.clone());
        }
        // Counted a second time, in the simplest way.
        let signers: std::collections::BTreeSet<PublicKey> = certificate.signers();
        let power: u64 = signers
            .iter()
            .filter_map(|key| validators.find(key))
            .map(|(_, v)| v.power.0)
            .sum();
        let quorum = is_quorum(self.chain.fault_model(), power, validators.total_power());
        if !quorum || signers.len() != certificate.signatures.len() {
            return Err((
                Rule::Certificates,
                format!("{power} power of {} signers", signers.len()),
            ));
        }
        Ok(())
    }

    fn links(&mut self, block: &Block, hash: &Hash) -> Result<(), Fault> {
        let (parent, parent_hash) = self.parent();
        let header = &block.header;
        equal(
            Rule::Agreement,
            "height",
            &Height(self.decided.len() as u64 + 1),
            &header.height,
        )?;
        equal(
            Rule::Agreement,
            &format!("parent of {hash}"),
            &parent_hash,
            &header.parent,
        )?;
        equal(Rule::Validity, "body hash", &block.body.hash(), &header.body_hash)?;
        if header.time <= parent.time {
            return Err((
                Rule::Validity,
                format!("time {} is not after the parent's {}", header.time, parent.time),
            ));
        }
        match &block.body.v1().last_commit {
            Some(certificate) => {
                let height = parent.height;
                self.certificate(height, &parent_hash, certificate)
            }
            None => equal(
                Rule::Certificates,
                "height of a block without its parent's certificate",
                &1,
                &header.height.0,
            ),
        }
    }

    /// A quorum prevoted the block in its own round, so one of them found it timely.
    fn time(&self, header: &Header, clock: TimeMs) -> Result<(), Fault> {
        let (params, parent) = (&self.chain.params, self.parent().0);
        let earliest = parent.time.0 + u64::from(header.ticks) * u64::from(params.tick_ms);
        let delay = u64::from(params.message_delay_ms) * (u64::from(header.round.0) + 1);
        let latest = clock.0 + u64::from(params.clock_precision_ms) + delay;
        if header.time.0 == earliest || header.time.0 <= latest {
            return Ok(());
        }
        let detail = format!(
            "block {} is dated {}, clocks show {clock}",
            header.height, header.time
        );
        Err((Rule::Time, detail))
    }

    fn proof_of_history(&self, block: &Block) -> Result<(), Fault> {
        let Block { header, body } = block;
        let (parent, parent_hash) = self.parent();
        let (rule, ticks) = (Rule::ProofOfHistory, &body.v1().ticks);
        let hashes = u64::from(self.chain.params.hashes_per_tick);
        let count = self.chain.params.ticks_in_round(header.round);
        equal(rule, "number of ticks", &usize::from(count), &ticks.len())?;
        equal(
            rule,
            "sequence",
            &(parent.poh_seq + hashes * u64::from(count)),
            &header.poh_seq,
        )?;
        let pace = Pace::new(hashes, u64::from(count)).map_err(|error| (rule, error.to_string()))?;
        let start = seed(parent_hash, header.height.0, header.round.0, &header.proposer.0);
        // Recomputed from the start, where nodes verify it in lanes.
        let mut chain = PohChain::new(pace, start);
        for (index, tick) in ticks.iter().enumerate() {
            chain.advance(hashes - 1);
            let transactions: Vec<Hash> = tick.transactions.iter().map(Transaction::hash).collect();
            let sealed = chain
                .finish_tick(tick_root(&transactions))
                .map_err(|error| (rule, error.to_string()))?;
            equal(rule, &format!("tick {index}"), &sealed.hash, &tick.hash)?;
        }
        equal(rule, "last hash", &chain.hash(), &header.poh_hash)
    }

    fn execute(&mut self, block: &Block, receipts: &Receipts, ids: &[Hash]) -> Result<(), Fault> {
        let Block { header, body } = block;
        let (rule, invalid) = (Rule::Validity, |error: String| (Rule::Validity, error));
        let verified = Transaction::verify_batch(body.transactions().cloned().collect(), &self.chain.genesis);
        let verified: Result<Vec<VerifiedTransaction>, _> = verified.into_iter().collect();
        let verified = verified.map_err(|error| invalid(error.to_string()))?;
        equal(rule, "number of ids", &verified.len(), &ids.len())?;
        for (transaction, id) in verified.iter().zip(ids) {
            equal(rule, "id", transaction.id(), id)?;
            if let Some(before) = self.heights.insert(*id, header.height) {
                return Err((
                    Rule::NoDoubleEffect,
                    format!("{id} is in {before} and {}", header.height),
                ));
            }
            let next = self.nonces.entry(transaction.sender()).or_insert(0);
            equal(Rule::NoDoubleEffect, "nonce", next, &transaction.body().nonce.0)?;
            *next += 1;
        }
        let proposer = self.chain.validators.find(&header.proposer);
        let payout = proposer.map(|(_, validator)| validator.payout);
        let context = BlockContext {
            params: self.chain.params.clone(),
            validators: self.chain.validators.clone(),
            height: header.height,
            payout: payout.ok_or_else(|| invalid(format!("{} is no validator", header.proposer)))?,
        };
        let offences = body.v1().evidence.iter().map(Evidence::offence);
        let outcome = execute_block(&self.state, context, &verified, offences, header.round);
        let outcome = outcome.map_err(|error| invalid(error.to_string()))?;
        equal(rule, "receipts", &outcome.receipts, receipts)?;
        equal(
            rule,
            "receipt root",
            &outcome.receipts.root(),
            &header.receipt_root,
        )?;
        let (state, _) = self
            .state
            .apply(&outcome.changes)
            .map_err(|error| invalid(error.to_string()))?;
        equal(rule, "state root", &state.root(), &header.state_root)?;
        self.state = state;
        Ok(())
    }

    /// Each piece must be valid, against the Byzantine validator only, and new.
    fn check_evidence(&self, block: &Block) -> Result<(), Fault> {
        let pieces = &block.body.v1().evidence;
        for (index, piece) in pieces.iter().enumerate() {
            let earlier = pieces.iter().take(index);
            let (offender, height) = piece.offender();
            if let Err(error) = piece.verify(&self.chain.genesis, &self.chain.validators) {
                let detail = format!("evidence against {offender} at height {height} in a block: {error}");
                return Err((Rule::Evidence, detail));
            }
            if Some(offender) != self.liar {
                let detail = format!("{offender} signed twice at height {height}, says a block");
                return Err((Rule::NoEquivocation, detail));
            }
            let before = self.evidence.iter().chain(earlier.clone());
            if before
                .map(Evidence::offence)
                .any(|offence| offence == piece.offence())
            {
                let detail = format!("{offender} at height {height} is recorded a second time");
                return Err((Rule::Evidence, detail));
            }
        }
        Ok(())
    }

    /// No validator creates more than twice its share plus two blocks in a row. Computed without the order:
    /// where no validator was passed over, two thirds of the power or more share the blocks.
    fn check_row(&self, header: &Header) -> Result<(), Fault> {
        let before = self.decided.iter().rev().map(|decided| &decided.block.header);
        let mine = |other: &&Header| other.proposer == header.proposer && other.round.0 == 0;
        let row = before.take_while(mine).count() as u64 + u64::from(header.round.0 == 0);
        let set = &self.chain.validators;
        let power = set.find(&header.proposer).map_or(0, |(_, member)| member.power.0);
        let rest = set.total_power() - set.total_power() / 3;
        if row * rest > 2 * power * row + 2 * rest {
            let detail = format!(
                "{} created {row} blocks in a row up to {}",
                header.proposer, header.height
            );
            return Err((Rule::Schedule, detail));
        }
        Ok(())
    }

    /// A validator whose offence is in a block creates none in a first round for the longest penalty:
    /// others precede it.
    fn check_offender(&self, header: &Header) -> Result<(), Fault> {
        let since = header.height.0.saturating_sub(u64::from(PENALTY_OFFENCE));
        let recorded = self.iter().skip(since.saturating_sub(1) as usize);
        let mut pieces = recorded.flat_map(|(_, decided)| &decided.block.body.v1().evidence);
        if header.round.0 == 0 && pieces.any(|piece| piece.offender().0 == header.proposer) {
            let detail = format!(
                "{} created {} in the first round, and a block before has its offence",
                header.proposer, header.height
            );
            return Err((Rule::Schedule, detail));
        }
        Ok(())
    }

    fn supply(&self) -> Result<(), Fault> {
        let balances: u64 = self
            .state
            .accounts()
            .values()
            .map(|account| account.balance.0)
            .sum();
        let burned = read_burned(&self.state).map_err(|error| (Rule::Supply, error.to_string()))?;
        equal(
            Rule::Supply,
            "balances and burned",
            &self.supply,
            &(balances + burned.0),
        )
    }

    /// The balance of `address`.
    pub fn balance(&self, address: &Address) -> u64 {
        self.state
            .account(address)
            .ok()
            .flatten()
            .map_or(0, |account| account.balance.0)
    }
}
