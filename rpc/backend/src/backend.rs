//! The trait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use vibecoin_primitives::{
    Account, Address, Amount, CommitCertificate, Evidence, Hash, Header, Height, Receipt, StateDiff,
    Transaction,
};

use crate::{
    Admitted, BackendError, Caller, ChainFacts, CommittedBlock, ConsensusStatus, Head, HealthCheck,
    HeightRounds, NodeStatus, PeersView, PohStatus, PoolAccount, PoolEntry, PoolStatus, Read, Refusal,
    SnapshotMaker, StateProofs, TransactionStatus,
};

/// The node, as the server sees it.
pub trait Backend: Send + Sync + 'static {
    /// Facts that never change.
    fn facts(&self) -> &ChainFacts;

    /// The newest block. Memory only.
    fn head(&self) -> Arc<Head>;

    /// Watch of the newest height. A height is announced after everything of its block can be read.
    fn head_watch(&self) -> watch::Receiver<Height>;

    /// The oldest height whose body and receipts are kept: genesis, or the block above the snapshot that the node began
    /// with. That is one above the head until the first block is committed on top of the snapshot.
    fn earliest(&self) -> Height;

    /// The header at `height` with its hash; `None` above the head.
    ///
    /// # Errors
    /// [`BackendError::Pruned`] and [`BackendError::Internal`].
    fn header(&self, height: Height) -> Result<Option<(Header, Hash)>, BackendError>;

    /// The height of the block with this hash.
    ///
    /// # Errors
    /// [`BackendError::Internal`].
    fn height_of(&self, block: &Hash) -> Result<Option<Height>, BackendError>;

    /// The block at `height` with its receipts and certificate; `None` above the head. New blocks
    /// should be served from memory: every subscriber asks for them.
    ///
    /// # Errors
    /// [`BackendError::Pruned`] and [`BackendError::Internal`].
    fn block(&self, height: Height) -> Result<Option<Arc<CommittedBlock>>, BackendError>;

    /// The header at `height` and the number of its transactions; `None` above the head. Without the body.
    ///
    /// # Errors
    /// [`BackendError::Pruned`] and [`BackendError::Internal`].
    fn count(&self, height: Height) -> Result<Option<(Header, u32)>, BackendError> {
        let block = self.block(height)?;
        Ok(block.map(|block| {
            let count = u32::try_from(block.receipts.0.len()).unwrap_or(u32::MAX);
            (block.header.clone(), count)
        }))
    }

    /// The certificate of the block at `height`; `None` above the head and for genesis.
    ///
    /// # Errors
    /// [`BackendError::Pruned`] and [`BackendError::Internal`].
    fn certificate(&self, height: Height) -> Result<Option<CommitCertificate>, BackendError>;

    /// Changes of the state by the block at `height`; `None` above the head.
    ///
    /// # Errors
    /// [`BackendError::Pruned`] and [`BackendError::Internal`].
    fn diff(&self, height: Height) -> Result<Option<Arc<StateDiff>>, BackendError>;

    /// Accounts, in the order of the request, all from one state: the newest when `at` is `None`.
    ///
    /// # Errors
    /// [`BackendError::Future`], [`BackendError::Pruned`] and [`BackendError::Internal`].
    fn accounts(
        &self,
        at: Option<Height>,
        addresses: &[Address],
    ) -> Result<Read<Vec<Option<Account>>>, BackendError>;

    /// Values of an account's slots, as [`Backend::accounts`].
    ///
    /// # Errors
    /// As [`Backend::accounts`].
    fn slots(
        &self,
        at: Option<Height>,
        address: &Address,
        slots: &[Hash],
    ) -> Result<Read<Vec<Option<Vec<u8>>>>, BackendError>;

    /// Up to `limit` accounts in trie-key order, from the first key above `after`. Expensive.
    ///
    /// # Errors
    /// As [`Backend::accounts`].
    fn list_accounts(
        &self,
        at: Option<Height>,
        after: Option<Hash>,
        limit: usize,
    ) -> Result<Read<Vec<(Address, Account)>>, BackendError>;

    /// Proofs of accounts and of the named slots of each, from one state. Expensive.
    ///
    /// # Errors
    /// As [`Backend::accounts`]; [`BackendError::Pruned`] contains the first height that can be
    /// proven.
    fn prove(&self, at: Option<Height>, keys: &[(Address, Vec<Hash>)]) -> Result<StateProofs, BackendError>;

    /// Status of the transaction with this id.
    ///
    /// # Errors
    /// [`BackendError::Internal`].
    fn status(&self, id: &Hash) -> Result<TransactionStatus, BackendError>;

    /// The transaction with this id while it is in the pool.
    fn pooled(&self, id: &Hash) -> Option<PoolEntry>;

    /// Returns true while the transaction with this id is in the pool. One look-up in memory: called at
    /// every block for each transaction that is waited for. Those of a block have left the pool when
    /// [`Backend::head_watch`] reports it.
    fn in_pool(&self, id: &Hash) -> bool {
        self.pooled(id).is_some()
    }

    /// Checks signatures and offers the transactions to the pool: one verdict each, in order. Sending the
    /// same bytes again is not an error. The answer is sent when the verdicts are known, not later. Callers
    /// take turns; when `from` or all of them have too much waiting, the verdicts are [`BackendError::Busy`],
    /// at the first poll.
    fn submit(
        &self,
        from: Caller,
        transactions: Vec<Transaction>,
    ) -> impl Future<Output = Vec<Result<Admitted, Refusal>>> + Send;

    /// Waits until all of `ids` are settled, or `timeout` is over, and returns the status of each.
    ///
    /// The default looks again whenever a block is committed; a transaction that leaves the pool between
    /// two blocks is noticed at the next one. One that was found in the pool is not looked up again until
    /// it has left.
    ///
    /// # Errors
    /// [`BackendError::Internal`] and [`BackendError::ShuttingDown`].
    fn settle(
        &self,
        ids: Vec<Hash>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<TransactionStatus>, BackendError>> + Send {
        async move {
            let mut watch = self.head_watch();
            let deadline = tokio::time::Instant::now().checked_add(timeout);
            let mut found = vec![TransactionStatus::Unknown; ids.len()];
            loop {
                // Marked as seen first: a block that is committed during the look is not missed.
                watch.borrow_and_update();
                for (status, id) in unsettled(&mut found, &ids) {
                    let was_in_pool = *status != TransactionStatus::Unknown;
                    if !(was_in_pool && self.in_pool(id)) {
                        *status = self.status(id)?;
                    }
                }
                if found.iter().all(TransactionStatus::is_settled) {
                    return Ok(found);
                }
                let changed = match deadline {
                    Some(deadline) => tokio::time::timeout_at(deadline, watch.changed()).await,
                    None => Ok(watch.changed().await),
                };
                match changed {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(BackendError::ShuttingDown),
                    Err(_) => break,
                }
            }
            // A transaction that is still in the pool may be pending now and was queued before.
            for (status, id) in unsettled(&mut found, &ids) {
                *status = self.status(id)?;
            }
            Ok(found)
        }
    }

    /// Result of `transaction` if it were executed next, without executing it. Expensive.
    ///
    /// # Errors
    /// [`Refusal`] when no block could include it. The default reports that simulation is
    /// unavailable.
    fn simulate(&self, transaction: Transaction) -> Result<Read<Receipt>, Refusal> {
        drop(transaction);
        Err(BackendError::Disabled {
            feature: "simulation",
        }
        .into())
    }

    /// Contents and limits of the pool.
    fn pool_status(&self) -> PoolStatus;

    /// Up to `limit` transactions in ascending order of ids above `after`, of `sender` or of all.
    fn pool_list(&self, sender: Option<&Address>, after: Option<&Hash>, limit: usize) -> Vec<PoolEntry>;

    /// Transactions of one account in the pool.
    fn pool_account(&self, address: &Address) -> PoolAccount;

    /// Progress of the Proof of History.
    fn poh_status(&self) -> PohStatus;

    /// State of consensus.
    fn consensus_status(&self) -> ConsensusStatus;

    /// The rounds of a height, if they are still in memory. Memory only.
    fn rounds(&self, height: Height) -> Option<HeightRounds> {
        let _ = height;
        None
    }

    /// Double-sign evidence that waits for a block.
    fn evidence_waiting(&self) -> Vec<Evidence> {
        Vec::new()
    }

    /// Accepts verified double-sign evidence, to be broadcast and included in a block.
    ///
    /// # Errors
    /// [`BackendError::Busy`], [`BackendError::Disabled`] and [`BackendError::ShuttingDown`].
    fn submit_evidence(&self, evidence: Evidence) -> Result<(), BackendError> {
        drop(evidence);
        Err(BackendError::Disabled {
            feature: "taking evidence",
        })
    }

    /// The network; `None` when this node runs without one.
    fn network(&self) -> Option<Arc<dyn PeersView>> {
        None
    }

    /// The maker of snapshots; `None` when this node makes none.
    fn snapshots(&self) -> Option<Arc<dyn SnapshotMaker>> {
        None
    }

    /// State of the node.
    fn node_status(&self) -> NodeStatus;

    /// Returns true if the main loop makes progress: `/livez`. Independent of peers and sync.
    fn is_live(&self) -> bool;

    /// The checks behind `/readyz`; ready when all pass.
    fn health(&self) -> Vec<HealthCheck>;

    /// Sends funds from the faucet of a dev chain and returns the transaction's id.
    fn faucet(&self, to: Address, amount: Amount) -> impl Future<Output = Result<Hash, Refusal>> + Send {
        let _ = (to, amount);
        async {
            Err(BackendError::Disabled {
                feature: "the faucet",
            }
            .into())
        }
    }
}

fn unsettled<'f>(
    found: &'f mut [TransactionStatus],
    ids: &'f [Hash],
) -> impl Iterator<Item = (&'f mut TransactionStatus, &'f Hash)> {
    let all = found.iter_mut().zip(ids);
    all.filter(|(status, _)| !status.is_settled())
}
