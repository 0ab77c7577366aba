//! Blocks by height and by hash, and the head of the chain.

use super::{Kept, Reader, named, required};
use crate::StorageError;
use crate::kv::{Family, KvRead};
use crate::schema::{self, BlockPart, Head, HeightRecord};
use vibecoin_primitives::{Block, Body, CommitCertificate, Hash, Header, Height, Receipts};

impl<R: KvRead + ?Sized> Reader<'_, R> {
    /// The header of a height; `None` above the head.
    ///
    /// # Errors
    /// [`StorageError::Pruned`] below the heights that the database keeps, any other [`StorageError`] when the disk
    /// fails or the record is damaged; the same for all methods of a reader.
    pub fn header(&self, height: Height) -> Result<Option<Header>, StorageError> {
        self.of_height(Kept::Header, &schema::header_key(height), "header", height)
    }

    /// The header of an existing height.
    pub(crate) fn require_header(&self, height: Height) -> Result<Header, StorageError> {
        required(self.header(height)?, "header", height)
    }

    /// The body of a height.
    ///
    /// # Errors
    /// As [`Reader::header`].
    pub fn body(&self, height: Height) -> Result<Option<Body>, StorageError> {
        self.of_height(
            Kept::Body,
            &schema::block_key(height, BlockPart::Body),
            "body",
            height,
        )
    }

    /// The body of an existing height.
    pub(crate) fn require_body(&self, height: Height) -> Result<Body, StorageError> {
        required(self.body(height)?, "body", height)
    }

    /// The body of a height as encoded for peers.
    ///
    /// # Errors
    /// As [`Reader::header`].
    pub fn body_bytes(&self, height: Height) -> Result<Option<Vec<u8>>, StorageError> {
        let key = schema::block_key(height, BlockPart::Body);
        let found = self.kv.get(Family::Blocks, &key)?;
        self.unless_pruned(found, Kept::Body, height)
    }

    /// Header and body of a height.
    ///
    /// # Errors
    /// As [`Reader::header`].
    pub fn block(&self, height: Height) -> Result<Option<Block>, StorageError> {
        let Some(header) = self.header(height)? else {
            return Ok(None);
        };
        let body = self.require_body(height)?;
        Ok(Some(Block { header, body }))
    }

    /// The certificate that decided a height; genesis has none.
    ///
    /// # Errors
    /// As [`Reader::header`].
    pub fn certificate(&self, height: Height) -> Result<Option<CommitCertificate>, StorageError> {
        self.of_height(
            Kept::Header,
            &schema::certificate_key(height),
            "certificate",
            height,
        )
    }

    /// The receipts of a height.
    ///
    /// # Errors
    /// As [`Reader::header`].
    pub fn receipts(&self, height: Height) -> Result<Option<Receipts>, StorageError> {
        self.of_height(
            Kept::Body,
            &schema::block_key(height, BlockPart::Receipts),
            "receipts",
            height,
        )
    }

    /// Number of the receipts of a height, which is that of its transactions. Nothing is decoded.
    ///
    /// # Errors
    /// As [`Reader::header`].
    pub fn receipt_count(&self, height: Height) -> Result<Option<u32>, StorageError> {
        let key = schema::block_key(height, BlockPart::Receipts);
        let found = self.kv.get(Family::Blocks, &key)?;
        let Some(bytes) = self.unless_pruned(found, Kept::Body, height)? else {
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
    /// As [`Reader::header`].
    pub fn height_of(&self, hash: &Hash) -> Result<Option<Height>, StorageError> {
        let found = self.record::<HeightRecord>(Family::Headers, &schema::hash_key(hash), "block hash")?;
        Ok(found.map(|record| record.0))
    }

    /// The last committed block; `None` when the database holds no chain.
    ///
    /// # Errors
    /// As [`Reader::header`].
    pub fn head(&self) -> Result<Option<Head>, StorageError> {
        self.record(Family::Meta, schema::HEAD, "head")
    }

    /// The last committed block of an existing chain.
    pub(crate) fn require_head(&self) -> Result<Head, StorageError> {
        self.head()?.ok_or_else(|| StorageError::missing("head"))
    }

    /// The height to which a rewind in progress goes.
    pub(crate) fn rewind_target(&self) -> Result<Option<Height>, StorageError> {
        let intent = self.record::<HeightRecord>(Family::Meta, schema::REWIND, "rewind intent")?;
        Ok(intent.map(|record| record.0))
    }
}
