//! The materialiser: writes flat rows, trie nodes, the transaction index and their height after the commits.
//!
//! A step takes everything up to the head, writes the last state of each row and node in one ingest, and
//! swaps the base below the views. A crash before the ingest loses only data that the diffs contain, a crash
//! after it leaves the new height in the database.

use super::{Published, Store, StoredChain, Writer};
use crate::StorageError;
use crate::kv::{Family, IngestRow};
use crate::schema::{self, MATERIALISED, Materialised, Place};
use crate::state::{Base, Row};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use vibecoin_primitives::{Hash, StateKey, encode};
use vibecoin_trie::{Nibbles, NodeRecord};

impl Store {
    /// Materialises everything that is committed now. The store's own thread does this when it is due.
    ///
    /// # Errors
    /// [`StorageError`]; it ends this store permanently.
    pub fn materialise(&self) -> Result<(), StorageError> {
        self.chain.materialise()
    }
}

/// The data that one step writes.
pub(super) struct Step {
    pub(super) at: Materialised,
    pub(super) rows: Vec<(StateKey, Row)>,
    pub(super) nodes: Vec<((Hash, Nibbles), Option<NodeRecord>)>,
    pub(super) transactions: Vec<(Hash, Option<Place>)>,
}

impl Step {
    /// The rows of the ingest, ascending by key: the prefixes are in the order of their bytes.
    pub(super) fn into_ingest(self) -> (Materialised, Vec<(StateKey, Row)>, Vec<IngestRow>) {
        let count = self
            .rows
            .len()
            .saturating_add(self.nodes.len())
            .saturating_add(self.transactions.len());
        let mut out: Vec<IngestRow> = Vec::with_capacity(count.saturating_add(1));
        out.push((MATERIALISED.to_vec(), Some(encode(&self.at))));
        for (key, row) in &self.rows {
            out.push((schema::flat_key(key), row.as_ref().map(|row| row.to_vec())));
        }
        for ((owner, path), node) in self.nodes {
            out.push((schema::node_key(&owner, &path), node.map(|node| node.encode())));
        }
        for (id, place) in self.transactions {
            out.push((schema::transaction_key(&id), place.as_ref().map(encode)));
        }
        // Paths sort by their packed bytes and then by their length; `1` and `10` would not.
        out.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        (self.at, self.rows, out)
    }
}

impl StoredChain {
    pub(super) fn is_due(&self, writer: &Writer) -> bool {
        writer.pending_updates >= self.config.step_updates || writer.pending_bytes >= self.config.step_bytes
    }

    pub(super) fn materialise(&self) -> Result<(), StorageError> {
        let _one_at_a_time = self.step.lock();
        self.writer.lock().check()?;
        let result = self.step();
        let mut writer = self.writer.lock();
        if let Err(error) = &result {
            writer.fault.get_or_insert_with(|| error.clone());
        }
        self.drained.notify_all();
        drop(writer);
        result
    }

    fn step(&self) -> Result<(), StorageError> {
        let job = {
            let _commits_wait = self.writer.lock();
            let job = self.published.load_full();
            self.source.boundary.store(job.head.height.0, Ordering::Release);
            job
        };
        let view = &job.view.layers;
        if view.height <= view.base.at.height {
            return Ok(());
        }
        let step = Step {
            at: Materialised {
                height: view.height,
                root: job.view.root(),
            },
            rows: view.rows.merged(),
            nodes: view.nodes.merged(),
            transactions: job
                .transactions
                .merged()
                .into_iter()
                .map(|(id, place)| (id, Some(place)))
                .collect(),
        };
        drop(job);
        let at = self.write_step(step)?;
        let mut writer = self.writer.lock();
        let published = self.published.load_full();
        self.published.store(Arc::new(Published {
            head: published.head,
            view: published.view.rebased(),
            transactions: published.transactions.without_through(at.height.0),
        }));
        writer.pop_through(at.height);
        Ok(())
    }

    fn write_step(&self, step: Step) -> Result<Materialised, StorageError> {
        let (at, rows, ingest) = step.into_ingest();
        self.kv.ingest(Family::State, &ingest)?;
        let epoch = self.source.base.load().epoch.saturating_add(1);
        self.source.cache.advance(epoch, &rows);
        self.source.base.store(Arc::new(Base {
            snapshot: self.kv.snapshot(),
            at,
            epoch,
        }));
        Ok(at)
    }

    /// Starts the thread that materialises.
    pub(super) fn spawn(self: &Arc<Self>) -> Result<JoinHandle<()>, StorageError> {
        let chain = Arc::clone(self);
        std::thread::Builder::new()
            .name("materialiser".to_owned())
            .spawn(move || chain.run())
            .map_err(|error| StorageError::io("thread materialiser", &error))
    }

    fn run(&self) {
        loop {
            {
                let mut writer = self.writer.lock();
                while !writer.closing
                    && writer.fault.is_none()
                    && !self.is_due(&writer)
                    && !self.commits_wait(&writer)
                {
                    self.work.wait(&mut writer);
                }
                if writer.closing || writer.fault.is_some() {
                    return;
                }
            }
            // The fault is recorded in the writer, where the next commit finds it.
            if self.materialise().is_err() {
                return;
            }
        }
    }

    /// Returns true if a commit may be waiting for space although no step is due: a block larger than the
    /// remaining space.
    fn commits_wait(&self, writer: &Writer) -> bool {
        writer.waiting > 0
    }
}
