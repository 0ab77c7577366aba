//! Reads of blocks, states and proofs, from views of the newest state and from the store.

use std::sync::Arc;

use vibecoin_primitives::{Address, CommitCertificate, Hash, Header, Height, StateDiff};
use vibecoin_rpc_backend::{
    AccountProof, BackendError, CommittedBlock, Head, Read, StateContext, StateProofs,
};
use vibecoin_storage::{StateView, StorageError};

use super::{NodeBackend, from_store};

impl NodeBackend {
    /// The view for height `at`; only the newest state is kept readable in this schema.
    pub(super) fn view(&self, at: Option<Height>) -> Result<(Arc<Head>, StateView), BackendError> {
        let (head, view) = self.shared.newest();
        match at {
            None => Ok((head, view)),
            Some(at) if at == view.height() => Ok((head, view)),
            Some(at) if at > view.height() => Err(BackendError::Future {
                height: at,
                head: view.height(),
            }),
            Some(at) => Err(BackendError::Pruned {
                height: at,
                earliest: view.height(),
            }),
        }
    }

    pub(super) fn context(head: &Head) -> StateContext {
        StateContext {
            height: head.header.height,
            block: head.hash,
            state_root: head.header.state_root,
            time: head.header.time,
        }
    }

    pub(super) fn read<T>(
        &self,
        at: Option<Height>,
        read: impl FnOnce(&StateView) -> Result<T, StorageError>,
    ) -> Result<Read<T>, BackendError> {
        let (head, view) = self.view(at)?;
        let value = read(&view).map_err(from_store)?;
        Ok(Read {
            context: Self::context(&head),
            value,
        })
    }

    /// Answers `Backend::header`.
    pub(super) fn header_at(&self, height: Height) -> Result<Option<(Header, Hash)>, BackendError> {
        let head = self.shared.head();
        if height == head.header.height {
            return Ok(Some((head.header.clone(), head.hash)));
        }
        if height > head.header.height {
            return Ok(None);
        }
        let header = self.store.reader().header(height).map_err(from_store)?;
        Ok(header.map(|header| {
            let hash = header.hash();
            (header, hash)
        }))
    }

    /// Answers `Backend::height_of`.
    pub(super) fn height_of_block(&self, block: &Hash) -> Result<Option<Height>, BackendError> {
        let height = self.store.reader().height_of(block).map_err(from_store)?;
        Ok(height.filter(|height| *height <= self.shared.head().header.height))
    }

    /// Answers `Backend::block`.
    pub(super) fn block_at(&self, height: Height) -> Result<Option<Arc<CommittedBlock>>, BackendError> {
        if let Some(block) = self.shared.recent(height) {
            return Ok(Some(block));
        }
        if height > self.shared.head().header.height {
            return Ok(None);
        }
        let blocks = self.store.reader();
        let Some(block) = blocks.block(height).map_err(from_store)? else {
            return Ok(None);
        };
        let receipts = blocks.receipts(height).map_err(from_store)?.unwrap_or_default();
        let certificate = blocks.certificate(height).map_err(from_store)?;
        let hash = block.header.hash();
        Ok(Some(Arc::new(CommittedBlock {
            header: block.header,
            hash,
            body: block.body,
            receipts,
            certificate,
        })))
    }

    /// Answers `Backend::count`.
    pub(super) fn header_and_count(&self, height: Height) -> Result<Option<(Header, u32)>, BackendError> {
        if let Some(block) = self.shared.recent(height) {
            let count = u32::try_from(block.receipts.0.len()).unwrap_or(u32::MAX);
            return Ok(Some((block.header.clone(), count)));
        }
        if height > self.shared.head().header.height {
            return Ok(None);
        }
        let blocks = self.store.reader();
        let Some(header) = blocks.header(height).map_err(from_store)? else {
            return Ok(None);
        };
        let count = blocks.receipt_count(height).map_err(from_store)?;
        Ok(Some((header, count.unwrap_or_default())))
    }

    /// Answers `Backend::certificate`.
    pub(super) fn certificate_at(&self, height: Height) -> Result<Option<CommitCertificate>, BackendError> {
        if height > self.shared.head().header.height {
            return Ok(None);
        }
        self.store.reader().certificate(height).map_err(from_store)
    }

    /// Answers `Backend::diff`.
    pub(super) fn diff_at(&self, height: Height) -> Result<Option<Arc<StateDiff>>, BackendError> {
        if height > self.shared.head().header.height {
            return Ok(None);
        }
        Ok(self
            .store
            .reader()
            .diff(height)
            .map_err(from_store)?
            .map(Arc::new))
    }

    /// Answers `Backend::prove`.
    pub(super) fn proofs(
        &self,
        at: Option<Height>,
        keys: &[(Address, Vec<Hash>)],
    ) -> Result<StateProofs, BackendError> {
        let (head, view) = self.view(at)?;
        let mut accounts = Vec::with_capacity(keys.len());
        for (address, slots) in keys {
            let proven = view.prove_account(address).map_err(from_store)?;
            let has_storage = proven
                .account
                .is_some_and(|account| account.storage_root.is_some());
            let slots = if has_storage {
                view.prove_slots(address, slots).map_err(from_store)?
            } else {
                Vec::new()
            };
            accounts.push(AccountProof {
                account: proven.proof,
                slots: slots.into_iter().map(|slot| slot.proof).collect(),
            });
        }
        let certificate = self.certificate_at(head.header.height)?;
        Ok(StateProofs {
            header: head.header.clone(),
            certificate,
            accounts,
        })
    }
}
