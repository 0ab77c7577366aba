//! The one thread that commits. Readers are notified of a block after its synced write, never before.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use tracing::{debug, info, warn};
use vibecoin_execution::DecidedBlock;
use vibecoin_primitives::transaction_bytes;
use vibecoin_rpc_backend::{CommittedBlock, Head};
use vibecoin_storage::files::HeadWitness;
use vibecoin_storage::{StateView, Store};

use crate::clock::wall;
use crate::driver::Urgent;
use crate::error::NodeError;
use crate::metrics::Files;
use crate::shared::Shared;

/// Stores blocks until the driver has ended.
pub struct Persist {
    /// The store.
    pub store: Arc<Store>,
    /// The newest height ever acknowledged, outside the database.
    pub witness: HeadWitness,
    /// State published to readers.
    pub shared: Arc<Shared>,
    /// Blocks to be stored.
    pub commits: Receiver<Box<DecidedBlock<StateView>>>,
    /// The driver to notify.
    pub driver: Sender<Urgent>,
}

impl Persist {
    /// Runs until the driver has ended, or a write failed: the driver is then instructed to stop the node.
    pub fn run(mut self) {
        while let Ok(commit) = self.commits.recv() {
            if let Err(error) = self.commit(*commit) {
                let _driver_has_ended = self.driver.send(Urgent::Fail(error));
                return;
            }
        }
        // The driver has ended: a clean stop.
        if let Err(error) = self.witness.sync() {
            warn!(target: "node::chain", %error, "the head witness was not synced");
        }
    }

    fn commit(&mut self, block: DecidedBlock<StateView>) -> Result<(), NodeError> {
        let (store, metrics) = (&self.store, &self.shared.metrics.storage);
        let state = vibecoin_host::commit(&block, &mut self.witness, |block| {
            let begun = Instant::now();
            let state = store.commit(block)?;
            metrics.commit.observe(begun.elapsed());
            metrics.syncs.at(Files::Commit).inc();
            Ok(state)
        })?;
        // The driver first: a client that is notified "final" and submits again meets the new state there.
        let lost = |_| NodeError::ThreadLost { name: "driver" };
        self.driver
            .send(Urgent::Committed {
                height: block.header.height,
                state: state.clone(),
            })
            .map_err(lost)?;
        self.publish(block, state);
        Ok(())
    }

    /// D3: readers may be notified only now.
    fn publish(&self, block: DecidedBlock<StateView>, view: StateView) {
        let DecidedBlock {
            header,
            hash,
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
        self.shared
            .publish(head, view, Arc::new(block), bytes, &ids, wall());
    }
}
