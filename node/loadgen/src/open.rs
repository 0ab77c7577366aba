//! The open loop: signed ahead, sent at a rate to several nodes, and observed on each of them.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use vibecoin_rpc_api::methods::ChainApiClient as _;

use crate::accounts::Accounts;
use crate::announced::{BlockFigures, last_with_transactions};
use crate::error::LoadError;
use crate::node::Node;
use crate::plan::OpenLoop;
use crate::progress::Progress;
use crate::report::{Report, Samples};
use crate::send::{self, Jobs};
use crate::settle::{self, deadline};
use crate::watch::Watch;

/// An open loop that is ready to send.
pub(crate) struct Prepared {
    open: OpenLoop,
    jobs: Jobs,
    watch: Watch,
}

impl Prepared {
    /// Signs ahead, and reads the heights from which blocks count.
    pub async fn new(
        open: &OpenLoop,
        batch_max: u64,
        accounts: &Accounts,
        nodes: &[Node],
        progress: &dyn Fn(Progress),
    ) -> Self {
        let mut jobs = Jobs::start(open, batch_max, nodes.len(), accounts);
        jobs.filled().await;
        progress(Progress::Sending);
        let head = highest(nodes).await;
        Self {
            open: open.clone(),
            jobs,
            watch: Watch::new(nodes.len(), head.saturating_add(1)),
        }
    }

    /// Sends until the end of the time, and waits until the accepted transfers are final.
    pub async fn run(
        self,
        accounts: Accounts,
        nodes: &[Node],
        progress: &dyn Fn(Progress),
    ) -> Result<Report, LoadError> {
        let Self { open, jobs, watch } = self;
        let begun = Instant::now();
        let work = async {
            let outcome = send::all(&open, nodes, jobs, &watch).await;
            let sending = begun.elapsed();
            progress(Progress::Sent { taken: outcome.taken });
            let settled = settle::until(deadline(open.settle), nodes, &accounts, &outcome, progress).await;
            watch.settle_samples(nodes).await;
            (outcome, sending, settled)
        };
        let (outcome, sending, settled) = tokio::select! {
            done = work => done,
            // It never ends on its own.
            () = watch.observe(nodes) => return Err(LoadError::Unobserved),
        };
        let blocks = watch.blocks();
        let last = last_with_transactions(&blocks).unwrap_or(begun);
        Ok(Report {
            samples: Samples::of(&watch.latencies(), watch.samples_left()),
            blocks: BlockFigures::of(&blocks),
            accounts,
            outcome,
            settled,
            signing: Duration::ZERO,
            sending,
            wall: last.saturating_duration_since(begun),
        })
    }
}

/// The highest head of the nodes that answer.
async fn highest(nodes: &[Node]) -> u64 {
    let heads = join_all(nodes.iter().map(|node| node.query.get_head())).await;
    let heights = heads.into_iter().flatten().map(|head| head.height.0);
    heights.max().unwrap_or(0)
}
