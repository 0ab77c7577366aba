//! The one thread that commits. Readers learn of a block after its synced write, never before.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use tracing::{debug, info};
use vibecoin_primitives::{Hash, transaction_bytes};
use vibecoin_replica::Commit;
use vibecoin_rpc_server::backend::{CommittedBlock, Head};
use vibecoin_storage::files::HeadWitness;
use vibecoin_storage::{CommitBlock, StateView, Store};

use crate::clock::wall;
use crate::driver::Input;
use crate::error::NodeError;
use crate::shared::Shared;

/// Stores blocks until the driver is gone.
pub struct Persist {
    /// The store.
    pub store: Arc<Store>,
    /// The newest height ever acknowledged, outside the database.
    pub witness: HeadWitness,
    /// What readers see.
    pub shared: Arc<Shared>,
    /// Blocks to be stored.
    pub commits: Receiver<Box<Commit<StateView>>>,
    /// Whom to tell.
    pub driver: Sender<Input>,
}

impl Persist {
    /// Runs until the driver is gone, or a write failed: then the driver is told to end the node.
    pub fn run(mut self) {
        while let Ok(commit) = self.commits.recv() {
            let height = commit.header.height;
            let input = match self.commit(*commit) {
                Ok(state) => Input::Committed { height, state },
                Err(error) => Input::Fail(error),
            };
            let failed = matches!(input, Input::Fail(_));
            if self.driver.send(input).is_err() || failed {
                return;
            }
        }
    }

    fn commit(&mut self, commit: Commit<StateView>) -> Result<StateView, NodeError> {
        let fail = |context| move |source| NodeError::Storage { context, source };
        let Commit {
            header,
            hash,
            body,
            certificate,
            receipts,
            diff,
            ids,
            state,
        } = commit;
        let block = CommitBlock {
            header,
            body,
            certificate,
            receipts,
            diff,
            state,
            ids,
        };
        // D2: body, header, certificate, receipts, diff and head in one synced batch.
        let state = self.store.commit(&block).map_err(fail("commit a block"))?;
        // D4: what was acknowledged, where a damaged database cannot hide it.
        let newest = vibecoin_storage::Head {
            height: block.header.height,
            hash,
        };
        self.witness
            .record(newest)
            .map_err(fail("write the head witness"))?;
        self.publish(block, hash);
        Ok(state)
    }

    /// D3: only now may anybody be told.
    fn publish(&self, block: CommitBlock, hash: Hash) {
        let CommitBlock {
            header,
            body,
            certificate,
            receipts,
            ids,
            ..
        } = block;
        let height = header.height;
        let transactions = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        if transactions > 0 {
            info!(target: "node::chain", %height, transactions, block = %hash, "block final");
        } else {
            debug!(target: "node::chain", %height, block = %hash, "empty block final");
        }
        let bytes = body
            .transactions()
            .fold(0usize, |sum, tx| sum.saturating_add(transaction_bytes(tx)));
        let head = Head {
            header: header.clone(),
            hash,
            transactions,
        };
        let block = CommittedBlock {
            header,
            hash,
            body,
            receipts,
            certificate: Some(certificate),
        };
        self.shared.pool.remove(&ids);
        self.shared.publish(head, Arc::new(block), bytes, wall());
    }
}
