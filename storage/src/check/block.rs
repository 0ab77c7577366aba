//! Checks of one block against its parent and itself.

use super::{CheckOptions, Fault, Record, Stop};
use crate::kv::{Family, KvRead};
use crate::reader::Reader;
use crate::schema::{self, BlockPart, Head};
use crate::{GenesisRecord, StorageError};
use vibecoin_poh::{Pace, SealedTick, seed, verify as verify_poh};
use vibecoin_primitives::{
    BLOCK_VERSION, Body, CommitCertificate, Hash, Header, Height, Receipts, StateDiff, Transaction,
    body_hash, decode, merkle, tick_root,
};

/// The constants that every block of a chain is checked against.
pub(crate) struct BlockChecker<'a> {
    genesis: &'a GenesisRecord,
    /// The block of the snapshot that the database began with.
    base: Option<Head>,
    params_hash: Hash,
    validators_hash: Hash,
    options: CheckOptions,
}

/// A valid block.
pub(crate) struct CheckedBlock {
    pub(crate) header: Header,
    pub(crate) hash: Hash,
    pub(crate) ids: Vec<Hash>,
}

type Check = Result<(), Stop>;

fn equal<T: PartialEq + std::fmt::Debug>(
    record: Record,
    height: Height,
    what: &str,
    expected: T,
    found: T,
) -> Check {
    if expected == found {
        return Ok(());
    }
    Err(fault(
        record,
        height,
        format!("{what} is {found:?}, expected {expected:?}"),
    ))
}

fn fault(record: Record, height: Height, detail: impl ToString) -> Stop {
    Stop::Fault(Fault::new(record, height, detail))
}

fn present<T>(found: Result<Option<T>, StorageError>, record: Record, height: Height) -> Result<T, Stop> {
    found
        .map_err(Stop::at(record, height))?
        .ok_or_else(|| fault(record, height, "it is missing"))
}

impl<'a> BlockChecker<'a> {
    pub(crate) fn new(genesis: &'a GenesisRecord, base: Option<Head>, options: CheckOptions) -> Self {
        Self {
            base,
            params_hash: genesis.params.hash(),
            validators_hash: genesis.validators.hash(),
            genesis,
            options,
        }
    }

    /// Checks the block of `height`, whose parent is given unless it is the first one checked. Of the base there are
    /// only header, hash and certificate.
    pub(crate) fn check(
        &self,
        reader: Reader<'_, impl KvRead + ?Sized>,
        height: Height,
        parent: Option<&(Header, Hash)>,
    ) -> Result<CheckedBlock, Stop> {
        let found = reader.record::<Header>(Family::Headers, &schema::header_key(height), "header");
        let header = present(found, Record::Header, height)?;
        let hash = header.hash();
        self.check_header(&header, &hash, height, parent)?;
        let found = reader.height_of(&hash);
        let indexed = present(found, Record::BlockHash, height)?;
        equal(Record::BlockHash, height, "height by hash", height, indexed)?;
        self.check_certificate(reader, height, &hash)?;
        if let Some(base) = self.base
            && base.height == height
        {
            equal(Record::Meta, height, "hash of the base", base.hash, hash)?;
            let ids = Vec::new();
            return Ok(CheckedBlock { header, hash, ids });
        }
        let body = self.check_body(reader, &header, height)?;
        let ids = self.check_transactions(&body, height)?;
        check_receipts(reader, &header, height, &ids)?;
        check_diff(reader, &header, height, parent)?;
        Ok(CheckedBlock { header, hash, ids })
    }

    fn check_header(
        &self,
        header: &Header,
        hash: &Hash,
        height: Height,
        parent: Option<&(Header, Hash)>,
    ) -> Check {
        let same = |what, expected: &dyn std::fmt::Debug, found: &dyn std::fmt::Debug| {
            equal(
                Record::Header,
                height,
                what,
                format!("{expected:?}"),
                format!("{found:?}"),
            )
        };
        same("height", &height, &header.height)?;
        same("version", &BLOCK_VERSION, &header.version)?;
        same("params_hash", &self.params_hash, &header.params_hash)?;
        same("validators_hash", &self.validators_hash, &header.validators_hash)?;
        same(
            "next_validators_hash",
            &self.validators_hash,
            &header.next_validators_hash,
        )?;
        if height == Height(0) {
            return same("genesis hash", &self.genesis.hash, hash);
        }
        same(
            "ticks",
            &self.genesis.params.ticks_in_round(header.round),
            &header.ticks,
        )?;
        let Some((parent, parent_hash)) = parent else {
            return Ok(());
        };
        same("parent", parent_hash, &header.parent)?;
        let pace = self.pace(header, height)?;
        let sequence = pace
            .sequence_after(parent.poh_seq)
            .map_err(|e| fault(Record::Header, height, e))?;
        same("poh_seq", &sequence, &header.poh_seq)?;
        if header.time
            < parent
                .time
                .saturating_add(self.genesis.params.ticks_ms(header.ticks))
        {
            return Err(fault(
                Record::Header,
                height,
                "time is before the parent's plus the length of the ticks",
            ));
        }
        Ok(())
    }

    fn pace(&self, header: &Header, height: Height) -> Result<Pace, Stop> {
        Pace::new(
            u64::from(self.genesis.params.hashes_per_tick),
            u64::from(header.ticks),
        )
        .map_err(|error| fault(Record::Header, height, error))
    }

    fn check_certificate(
        &self,
        reader: Reader<'_, impl KvRead + ?Sized>,
        height: Height,
        hash: &Hash,
    ) -> Check {
        let key = schema::certificate_key(height);
        let found = reader.record::<CommitCertificate>(Family::Headers, &key, "certificate");
        if height == Height(0) {
            let found = found.map_err(Stop::at(Record::Certificate, height))?;
            return equal(Record::Certificate, height, "certificate of genesis", None, found);
        }
        let certificate = present(found, Record::Certificate, height)?;
        let GenesisRecord {
            hash: genesis,
            params,
            validators,
        } = self.genesis;
        certificate
            .verify(genesis, params.fault_model, validators, height, hash)
            .map_err(|error| fault(Record::Certificate, height, error))
    }

    fn check_body(
        &self,
        reader: Reader<'_, impl KvRead + ?Sized>,
        header: &Header,
        height: Height,
    ) -> Result<Body, Stop> {
        let bytes = present(reader.body_bytes(height), Record::Body, height)?;
        let same = |what, expected: Hash, found: Hash| equal(Record::Body, height, what, expected, found);
        same("hash", header.body_hash, body_hash(&bytes))?;
        let body: Body = decode(&bytes).map_err(|error| fault(Record::Body, height, error))?;
        let inner = body.v1();
        equal(
            Record::Body,
            height,
            "tick count",
            usize::from(header.ticks),
            inner.ticks.len(),
        )?;
        same("evidence root", header.evidence_root, body.evidence_root())?;
        for evidence in &inner.evidence {
            let verdict = evidence.verify(&self.genesis.hash, &self.genesis.validators);
            verdict.map_err(|error| fault(Record::Body, height, error))?;
        }
        let last_commit = inner
            .last_commit
            .as_ref()
            .map_or(Hash::ZERO, CommitCertificate::hash);
        same(
            "hash of the parent's certificate",
            header.last_commit_hash,
            last_commit,
        )?;
        equal(
            Record::Body,
            height,
            "presence of a parent's certificate",
            height.0 > 1,
            inner.last_commit.is_some(),
        )?;
        if let Some(certificate) = &inner.last_commit {
            let GenesisRecord {
                hash: genesis,
                params,
                validators,
            } = self.genesis;
            let below = height.saturating_sub(1);
            certificate
                .verify(genesis, params.fault_model, validators, below, &header.parent)
                .map_err(|error| fault(Record::Body, height, error))?;
        }
        let ticks: Vec<SealedTick> = inner
            .ticks
            .iter()
            .map(|tick| {
                let hashes: Vec<_> = tick.transactions.iter().map(Transaction::hash).collect();
                SealedTick {
                    hash: tick.hash,
                    mixin: tick_root(&hashes),
                }
            })
            .collect();
        let roots: Vec<_> = ticks.iter().map(|tick| tick.mixin).collect();
        same("transaction root", header.tx_root, merkle::root(&roots))?;
        if height == Height(0) {
            return Ok(body);
        }
        let start = seed(header.parent, height.0, header.round.0, &header.proposer.0);
        same(
            "last tick",
            header.poh_hash,
            ticks.last().map_or(start, |tick| tick.hash),
        )?;
        if self.options.poh {
            let verdict = verify_poh(self.pace(header, height)?, start, &ticks);
            verdict.map_err(|error| fault(Record::Body, height, error))?;
        }
        Ok(body)
    }

    fn check_transactions(&self, body: &Body, height: Height) -> Result<Vec<Hash>, Stop> {
        let genesis = &self.genesis.hash;
        if !self.options.signatures {
            return Ok(body
                .transactions()
                .map(|transaction| transaction.id(genesis))
                .collect());
        }
        let verdicts = Transaction::verify_batch(body.transactions().cloned().collect(), genesis);
        let ids = verdicts.into_iter().zip(0usize..).map(|(verdict, index)| {
            let verified = verdict
                .map_err(|error| fault(Record::Body, height, format!("transaction {index}: {error}")))?;
            Ok(*verified.id())
        });
        ids.collect()
    }
}

fn check_receipts(
    reader: Reader<'_, impl KvRead + ?Sized>,
    header: &Header,
    height: Height,
    ids: &[Hash],
) -> Check {
    let key = schema::block_key(height, BlockPart::Receipts);
    let receipts = present(
        reader.record::<Receipts>(Family::Blocks, &key, "receipts"),
        Record::Receipts,
        height,
    )?;
    equal(
        Record::Receipts,
        height,
        "receipt root",
        header.receipt_root,
        receipts.root(),
    )?;
    let named: Vec<_> = receipts
        .0
        .iter()
        .map(|receipt| receipt.v1().transaction)
        .collect();
    if named != ids {
        return Err(fault(
            Record::Receipts,
            height,
            "they are not of the body's transactions, in order",
        ));
    }
    Ok(())
}

fn check_diff(
    reader: Reader<'_, impl KvRead + ?Sized>,
    header: &Header,
    height: Height,
    parent: Option<&(Header, Hash)>,
) -> Check {
    if height == Height(0) {
        return Ok(());
    }
    let key = schema::block_key(height, BlockPart::Diff);
    let diff = present(
        reader.record::<StateDiff>(Family::Blocks, &key, "diff"),
        Record::Diff,
        height,
    )?;
    equal(Record::Diff, height, "root", header.state_root, diff.root)?;
    if let Some((parent, _)) = parent {
        equal(
            Record::Diff,
            height,
            "parent root",
            parent.state_root,
            diff.parent_root,
        )?;
    }
    if !diff.entries.is_sorted_by(|a, b| a.key < b.key) {
        return Err(fault(Record::Diff, height, "its keys are not strictly ascending"));
    }
    Ok(())
}
