//! The one thread that commits. Readers are notified of a block after its synced write, never before.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use tracing::{debug, info, warn};
use vibecoin_primitives::{Hash, transaction_bytes};
use vibecoin_replica::Commit;
use vibecoin_rpc_server::backend::{CommittedBlock, Head};
use vibecoin_storage::files::HeadWitness;
use vibecoin_storage::{CommitBlock, StateView, Store};

use crate::clock::wall;
use crate::driver::Input;
use crate::error::NodeError;
use crate::metrics::Files;
use crate::recovery::compare_with_witness;
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
    pub commits: Receiver<Box<Commit<StateView>>>,
    /// The driver to notify.
    pub driver: Sender<Input>,
}

impl Persist {
    /// Runs until the driver has ended, or a write failed: the driver is then instructed to stop the node.
    pub fn run(mut self) {
        while let Ok(commit) = self.commits.recv() {
            if let Err(error) = self.commit(*commit) {
                let _driver_has_ended = self.driver.send(Input::Fail(error));
                return;
            }
        }
        // The driver has ended: a clean stop.
        if let Err(error) = self.witness.sync() {
            warn!(target: "node::chain", %error, "the head witness was not synced");
        }
    }

    fn commit(&mut self, commit: Commit<StateView>) -> Result<(), NodeError> {
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
        let height = block.header.height;
        // A home that lost blocks and fetches them: they must equal those that were committed on this node.
        let seen = self.witness.head();
        compare_with_witness(seen, height, hash)?;
        // D2: body, header, certificate, receipts, diff and head in one synced batch.
        let begun = Instant::now();
        let state = self.store.commit(&block).map_err(fail("commit a block"))?;
        let storage = &self.shared.metrics.storage;
        storage.commit.observe(begun.elapsed());
        storage.syncs.at(Files::Commit).inc();
        // D4: records the acknowledged head where a damaged database cannot hide it. While lost blocks are
        // fetched the witness keeps the newest one, so that another start waits for it too.
        if seen.is_none_or(|seen| seen.height < height) {
            self.witness
                .record(vibecoin_storage::Head { height, hash })
                .map_err(fail("write the head witness"))?;
        }
        // The driver first: a client that is notified "final" and submits again meets the new state there.
        let lost = |_| NodeError::ThreadLost { name: "driver" };
        self.driver
            .send(Input::Committed {
                height,
                state: state.clone(),
            })
            .map_err(lost)?;
        self.publish(block, hash, state);
        Ok(())
    }

    /// D3: readers may be notified only now.
    fn publish(&self, block: CommitBlock, hash: Hash, view: StateView) {
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
        self.shared
            .publish(head, view, Arc::new(block), bytes, &ids, wall());
    }
}
