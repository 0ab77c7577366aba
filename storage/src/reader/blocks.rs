//! Readers: blocks, transactions, states and the Proof of History, each as a small typed view.

use super::Core;
use crate::StorageError;
use crate::kv::{Family, KvRead};
use crate::schema::{self, BlockPart, HeightRecord, Place};
use vibecoin_primitives::{
    Block, Body, CommitCertificate, Encoded, Hash, Header, Height, Receipt, Receipts, StateDiff, Transaction,
    decode,
};
use wincode::SchemaReadOwned;
use wincode::config::DefaultConfig;

/// Reads and decodes a record.
pub(crate) fn read_record<T>(
    kv: &(impl KvRead + ?Sized),
    family: Family,
    key: &[u8],
    what: &str,
) -> Result<Option<T>, StorageError>
where
    T: Encoded + SchemaReadOwned<DefaultConfig, Dst = T>,
{
    let Some(bytes) = kv.get(family, key)? else {
        return Ok(None);
    };
    decode(&bytes).map(Some).map_err(StorageError::codec(what))
}

fn required<T>(record: Option<T>, what: &str, height: Height) -> Result<T, StorageError> {
    record.ok_or_else(|| StorageError::missing(format!("{what} of height {height}")))
}

fn named(what: &str, height: Height) -> String {
    format!("{what} of height {height}")
}

/// The header of an existing height.
pub(crate) fn header(kv: &(impl KvRead + ?Sized), height: Height) -> Result<Header, StorageError> {
    let found = read_record(
        kv,
        Family::Headers,
        &schema::header_key(height),
        &named("header", height),
    )?;
    required(found, "header", height)
}

/// The diff of an existing height.
pub(crate) fn diff(kv: &(impl KvRead + ?Sized), height: Height) -> Result<StateDiff, StorageError> {
    let key = schema::block_key(height, BlockPart::Diff);
    required(
        read_record(kv, Family::Blocks, &key, &named("diff", height))?,
        "diff",
        height,
    )
}

/// The encoded body of a height.
pub(crate) fn body_bytes(
    kv: &(impl KvRead + ?Sized),
    height: Height,
) -> Result<Option<Vec<u8>>, StorageError> {
    kv.get(Family::Blocks, &schema::block_key(height, BlockPart::Body))
}

/// The identifiers of the transactions of an existing height.
pub(crate) fn place_ids(
    kv: &(impl KvRead + ?Sized),
    height: Height,
    genesis: &Hash,
) -> Result<Vec<Hash>, StorageError> {
    let bytes = required(body_bytes(kv, height)?, "body", height)?;
    let body: Body = decode(&bytes).map_err(StorageError::codec(named("body", height)))?;
    Ok(body
        .transactions()
        .map(|transaction| transaction.id(genesis))
        .collect())
}

/// Blocks by height and by hash. `None` for a height or hash that the chain does not have.
pub struct BlockStore<'a> {
    core: &'a Core,
}

impl<'a> BlockStore<'a> {
    pub(super) const fn new(core: &'a Core) -> Self {
        Self { core }
    }

    fn read<T>(
        &self,
        family: Family,
        key: &[u8],
        what: &str,
        height: Height,
    ) -> Result<Option<T>, StorageError>
    where
        T: Encoded + SchemaReadOwned<DefaultConfig, Dst = T>,
    {
        read_record(&*self.core.kv, family, key, &named(what, height))
    }

    /// The header of a height.
    ///
    /// # Errors
    /// [`StorageError`] when the disk fails or the record is damaged; the same for all methods below.
    pub fn header(&self, height: Height) -> Result<Option<Header>, StorageError> {
        self.read(Family::Headers, &schema::header_key(height), "header", height)
    }

    /// The body of a height.
    ///
    /// # Errors
    /// As [`BlockStore::header`].
    pub fn body(&self, height: Height) -> Result<Option<Body>, StorageError> {
        self.read(
            Family::Blocks,
            &schema::block_key(height, BlockPart::Body),
            "body",
            height,
        )
    }

    /// The body of a height as encoded for peers.
    ///
    /// # Errors
    /// As [`BlockStore::header`].
    pub fn body_bytes(&self, height: Height) -> Result<Option<Vec<u8>>, StorageError> {
        body_bytes(&*self.core.kv, height)
    }

    /// Header and body of a height.
    ///
    /// # Errors
    /// As [`BlockStore::header`].
    pub fn block(&self, height: Height) -> Result<Option<Block>, StorageError> {
        let Some(header) = self.header(height)? else {
            return Ok(None);
        };
        let body = required(self.body(height)?, "body", height)?;
        Ok(Some(Block { header, body }))
    }

    /// The certificate that decided a height; genesis has none.
    ///
    /// # Errors
    /// As [`BlockStore::header`].
    pub fn certificate(&self, height: Height) -> Result<Option<CommitCertificate>, StorageError> {
        self.read(
            Family::Headers,
            &schema::certificate_key(height),
            "certificate",
            height,
        )
    }

    /// The receipts of a height.
    ///
    /// # Errors
    /// As [`BlockStore::header`].
    pub fn receipts(&self, height: Height) -> Result<Option<Receipts>, StorageError> {
        self.read(
            Family::Blocks,
            &schema::block_key(height, BlockPart::Receipts),
            "receipts",
            height,
        )
    }

    /// Number of the receipts of a height, which is that of its transactions. Nothing is decoded.
    ///
    /// # Errors
    /// As [`BlockStore::header`].
    pub fn receipt_count(&self, height: Height) -> Result<Option<u32>, StorageError> {
        let key = schema::block_key(height, BlockPart::Receipts);
        let Some(bytes) = self.core.kv.get(Family::Blocks, &key)? else {
            return Ok(None);
        };
        // A list begins with its length.
        let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
        let count = length.and_then(|length| u32::try_from(length).ok());
        count.map(Some).ok_or_else(|| {
            StorageError::corrupt(named("receipts", height), "they begin with no length".to_owned())
        })
    }

    /// The height of the block with this hash.
    ///
    /// # Errors
    /// As [`BlockStore::header`].
    pub fn height_of(&self, hash: &Hash) -> Result<Option<Height>, StorageError> {
        let found = read_record::<HeightRecord>(
            &*self.core.kv,
            Family::Headers,
            &schema::hash_key(hash),
            "block hash",
        )?;
        Ok(found.map(|record| record.0))
    }
}

/// A transaction as stored in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTransaction {
    /// The block's height.
    pub height: Height,
    /// Position in the block, from zero.
    pub index: u32,
    /// The transaction.
    pub transaction: Transaction,
    /// Its result.
    pub receipt: Receipt,
}

/// Transactions by identifier.
pub struct TxStore<'a> {
    core: &'a Core,
}

impl<'a> TxStore<'a> {
    pub(super) const fn new(core: &'a Core) -> Self {
        Self { core }
    }

    /// Position of the transaction with this identifier.
    ///
    /// # Errors
    /// As [`BlockStore::header`].
    pub fn place(&self, id: &Hash) -> Result<Option<Place>, StorageError> {
        // Overlay and base of one published value: together they have every committed transaction.
        let published = self.core.published.load();
        if let Some(place) = published.transactions.get(id) {
            return Ok(Some(*place));
        }
        let snapshot = &*published.view.inner.base.snapshot;
        read_record(
            snapshot,
            Family::State,
            &schema::transaction_key(id),
            "transaction index",
        )
    }

    /// The transaction with this identifier and its receipt.
    ///
    /// # Errors
    /// As [`BlockStore::header`].
    pub fn get(&self, id: &Hash) -> Result<Option<StoredTransaction>, StorageError> {
        let Some(Place { height, index }) = self.place(id)? else {
            return Ok(None);
        };
        let blocks = BlockStore::new(self.core);
        let at = index as usize;
        let body = required(blocks.body(height)?, "body", height)?;
        let receipts = required(blocks.receipts(height)?, "receipts", height)?;
        match (body.transactions().nth(at), receipts.0.into_iter().nth(at)) {
            (Some(transaction), Some(receipt)) => Ok(Some(StoredTransaction {
                height,
                index,
                transaction: transaction.clone(),
                receipt,
            })),
            _ => {
                let detail = format!("it leads to position {index} of height {height}, which has none");
                Err(StorageError::corrupt(
                    format!("index of transaction {id}"),
                    detail,
                ))
            }
        }
    }
}

/// State roots and diffs by height.
pub struct StateStore<'a> {
    core: &'a Core,
}

impl<'a> StateStore<'a> {
    pub(super) const fn new(core: &'a Core) -> Self {
        Self { core }
    }

    /// The state root after a height.
    ///
    /// # Errors
    /// As [`BlockStore::header`].
    pub fn root(&self, height: Height) -> Result<Option<Hash>, StorageError> {
        Ok(BlockStore::new(self.core)
            .header(height)?
            .map(|header| header.state_root))
    }

    /// The state changes of a height; genesis has no diff.
    ///
    /// # Errors
    /// As [`BlockStore::header`].
    pub fn diff(&self, height: Height) -> Result<Option<StateDiff>, StorageError> {
        let key = schema::block_key(height, BlockPart::Diff);
        read_record(&*self.core.kv, Family::Blocks, &key, &named("diff", height))
    }

    /// The height of the state that the database holds as rows.
    #[must_use]
    pub fn materialised(&self) -> Height {
        self.core.shared.base.load().at.height
    }
}

/// Position of the Proof of History after a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PohPosition {
    /// Hashes since genesis.
    pub sequence: u64,
    /// The last hash.
    pub hash: Hash,
    /// The hash of every tick of the block.
    pub ticks: Vec<Hash>,
}

/// The Proof of History by height, as in headers and bodies.
pub struct PohStore<'a> {
    core: &'a Core,
}

impl<'a> PohStore<'a> {
    pub(super) const fn new(core: &'a Core) -> Self {
        Self { core }
    }

    /// The position after a height.
    ///
    /// # Errors
    /// As [`BlockStore::header`].
    pub fn position(&self, height: Height) -> Result<Option<PohPosition>, StorageError> {
        let Some(Block { header, body }) = BlockStore::new(self.core).block(height)? else {
            return Ok(None);
        };
        let ticks = body.v1().ticks.iter().map(|tick| tick.hash).collect();
        Ok(Some(PohPosition {
            sequence: header.poh_seq,
            hash: header.poh_hash,
            ticks,
        }))
    }
}
