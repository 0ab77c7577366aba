//! The node as its interfaces reach it.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::Sender;
use vibecoin_config::Config;
use vibecoin_host::Recovery;
use vibecoin_network::Network;
use vibecoin_primitives::PublicKey;
use vibecoin_replica::Chain;
use vibecoin_rpc_backend::{ChainFacts, PeersView, SnapshotMaker};
use vibecoin_storage::Store;

use crate::backend::{Handles, NodeBackend};
use crate::clock::Clock;
use crate::driver::NodeEvent;
use crate::error::NodeError;
use crate::faucet::Faucet;
use crate::peers::Peers;
use crate::scrape::Scrape;
use crate::shared::Shared;
use crate::submissions::SubmissionSender;

/// The node as its interfaces reach it.
pub struct Client {
    /// The constants of the chain.
    pub chain: Chain,
    pub(super) public: Option<PublicKey>,
    pub(super) store: Arc<Store>,
    pub(super) shared: Arc<Shared>,
    pub(super) submissions: SubmissionSender,
    pub(super) inbox: Sender<NodeEvent>,
    /// The network, if there is one.
    pub network: Option<Network>,
    pub(super) recovery: Recovery,
    pub(super) clock: Clock,
}

impl Client {
    /// The source of a scrape.
    pub fn scrape(&self) -> Scrape {
        Scrape {
            shared: self.shared.clone(),
            store: self.store.clone(),
            network: self.network.clone(),
            clock: self.clock,
            validates: self.public.is_some(),
        }
    }

    /// The backend of the RPC servers.
    ///
    /// # Errors
    /// [`NodeError::Key`] when the key of the faucet cannot be derived.
    pub fn backend(
        self,
        facts: ChainFacts,
        home: PathBuf,
        config: &Config,
        snapshots: Arc<dyn SnapshotMaker>,
    ) -> Result<NodeBackend, NodeError> {
        let handles = Handles {
            network: self.network.map(|network| {
                let external = config.p2p.external.clone();
                Arc::new(Peers { network, external }) as Arc<dyn PeersView>
            }),
            driver: Some(self.inbox),
            faucet: Faucet::of(&self.chain.params).map_err(|error| NodeError::Key(error.to_string()))?,
            snapshots: Some(snapshots),
            recovery: self.recovery,
        };
        Ok(NodeBackend::new(
            facts,
            self.store,
            self.shared,
            self.submissions,
            self.clock,
            self.public,
            home,
            config,
            handles,
        ))
    }
}
