//! Nodes that join a devnet that runs: a new one that follows, or one that was stopped.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use vibecoin_primitives::Hash;

use crate::client::{self, no_node};
use crate::error::{Class, Error};
use crate::files;
use crate::home::paths_of;
use crate::homes::{self, Layout};
use crate::partition;
use crate::plan::Network;
use crate::ports::{Listening, MOVE_ALL};
use crate::readiness::{self, Agreed};
use crate::setup;
use crate::state::{Devnet, NodeRecord};
use crate::wait::Reporter;

/// A node that follows, planned for a devnet that runs.
pub struct Addition {
    /// The number that it will have.
    pub number: usize,
    network: Network,
    genesis: PathBuf,
    chain: Hash,
    running: Vec<NodeRecord>,
}

impl Addition {
    /// Plans the next node.
    ///
    /// # Errors
    /// No node runs: a lone node would have no head to reach, and no chain to share. The fault of the genesis file.
    pub fn plan(net: &Devnet) -> Result<Self, Error> {
        let running = net.running();
        if running.is_empty() {
            return Err(no_node());
        }
        let first = net.node(0)?;
        let state = net.existing()?;
        let network = setup::plan_with(state, &first.home, 1)?;
        let genesis = paths_of(&first.home)?.genesis;
        let chain = files::build(&genesis, &network.genesis)?.hash;
        Ok(Self {
            number: state.nodes.len(),
            network,
            genesis,
            chain,
            running,
        })
    }

    /// Compares its chain with that of the nodes that run. The plan has the parameters of the file and the accounts of
    /// the seed.
    ///
    /// # Errors
    /// Another chain, or no node that answers.
    pub async fn check(&self) -> Result<(), Error> {
        let theirs = client::genesis_hash(&self.running).await?;
        if self.chain == theirs {
            return Ok(());
        }
        let message = format!(
            "{} is not what this devnet was made with: its nodes run the chain {theirs}",
            self.genesis.display()
        );
        Err(Error::new(Class::GenesisMismatch, message)
            .hint("nodes can be added to a devnet whose genesis file was not edited"))
    }

    /// Creates its record and its home. A failure leaves neither.
    ///
    /// # Errors
    /// No free ports, a folder that is in the way, or the error of a file.
    pub fn make(mut self, mut net: Devnet) -> Result<Devnet, Error> {
        let number = self.number;
        let own_port = place(&mut self.network, number, net.reporter())?;
        let node = self.network.nodes.get(number).ok_or_else(unnumbered)?;
        let record = NodeRecord {
            own_port,
            ..setup::record(&net.dir, node)
        };
        let home = record.home.clone();
        if home.exists() {
            return Err(setup::unknown(&home));
        }
        net.existing_mut()?.nodes.push(record);
        let made = setup::finish(&mut net, number, |_| {
            homes::make(&home, &self.network, node, Layout::default(), None)
        });
        if let Err(error) = made {
            net.abandon()?;
            return Err(error);
        }
        Ok(net)
    }
}

/// Assigns free ports to a node that is added. Returns the first of them if they differ from those of its
/// number: another devnet may use these.
fn place(network: &mut Network, number: usize, reporter: Reporter) -> Result<Option<u16>, Error> {
    let others = network.nodes.iter().enumerate();
    let others: Vec<_> = others
        .filter(|(other, _)| *other != number)
        .map(|(_, node)| node.ports)
        .collect();
    let node = network.nodes.get_mut(number).ok_or_else(unnumbered)?;
    let listening = Listening::now();
    let Some(free) = listening.next_free(node.ports, &others) else {
        listening.check(node.ports, MOVE_ALL)?;
        return Err(unnumbered());
    };
    if free == node.ports {
        return Ok(None);
    }
    reporter.note(&format!(
        "{} has the ports from {} on: those from {} on are taken",
        node.name, free.first, node.ports.first
    ));
    node.ports = free;
    Ok(Some(free.first))
}

fn unnumbered() -> Error {
    Error::new(Class::Failure, "the devnet has other nodes than its numbers say")
}

/// A node at the head of the others.
#[derive(Clone, Copy, Debug)]
pub struct Joined {
    /// The block that it has in common with them.
    pub reached: Agreed,
    /// Time until then.
    pub took: Duration,
    /// Transactions in the blocks that it caught up with; `None` when they could not be counted in time.
    pub transactions: Option<u64>,
    /// True if there was another node to compare it with.
    pub compared: bool,
}

/// Waits until a node that was started has the head of the others, which ran before. `from` is the height that it
/// had at `begun`.
///
/// # Errors
/// As [`readiness::at_head`], and a node that does not apply the partition.
pub async fn catch_up(
    net: &Devnet,
    number: usize,
    others: Vec<NodeRecord>,
    from: u64,
    begun: Instant,
    deadline: Instant,
) -> Result<Joined, Error> {
    let node = net.node(number)?;
    partition::apply_to(net, &[number]).await?;
    // Behind a partition it can catch up only with nodes on its own side.
    let others = partition::same_side(net, number, others)?;
    let compared = !others.is_empty();
    let reached = readiness::at_head(&node, &others, deadline, net.reporter()).await?;
    let took = begun.elapsed();
    let client = client::client(node.url())?;
    let counted = client::transactions(&client, from.saturating_add(1), reached.height);
    // An informational figure: not worth more than the given time.
    let transactions = tokio::time::timeout_at(deadline.into(), counted)
        .await
        .ok()
        .flatten();
    Ok(Joined {
        reached,
        took,
        transactions,
        compared,
    })
}
