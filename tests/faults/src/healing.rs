//! A home whose database lost its last blocks, under a guard and a witness that are current: the node
//! follows, reports what it waits for, signs nothing at or below its last signature, and then resumes signing
//! without intervention.
//!
//! Every signed vote and proposal on the network is recorded by a passive peer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use vibecoin_consensus::ConsensusMessage;
use vibecoin_network::{Network, NetworkConfig, NetworkEvent, NetworkGuard, Sink};
use vibecoin_primitives::{Hash, Height, PublicKey, Round, VoteKind};
use vibecoin_replica::Message;
use vibecoin_tests_behaviours::Rng;
use vibecoin_tests_nodes::copy;

use crate::cluster::{Cluster, number};
use crate::garbage::stranger;
use crate::homes::Plan;
use crate::observer::Observer;
use crate::scenarios::HEALS_WITHIN;

/// The validator that loses blocks.
const VICTIM: usize = 3;
/// The node without a key that loses blocks.
const FOLLOWER: usize = 4;
/// Time limit of a wait for blocks, per block: far more than one takes.
const PER_BLOCK: Duration = Duration::from_secs(1);
/// Bytes that are cut from the end of RocksDB's own log.
const CUT_BYTES: u64 = 20_000;

/// Position of a signature of a key: 0 for a proposal, 1 for a prevote, 2 for a precommit.
type Place = (Height, Round, u8);

/// The blocks that a key signed for, by position.
type Signed = BTreeMap<Place, BTreeSet<Option<Hash>>>;

/// All received signatures, by key and position.
#[derive(Default)]
struct Heard(Mutex<BTreeMap<PublicKey, Signed>>);

impl Heard {
    fn note(&self, key: PublicKey, place: Place, block: Option<Hash>) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard
            .entry(key)
            .or_default()
            .entry(place)
            .or_default()
            .insert(block);
    }

    fn of(&self, key: &PublicKey) -> Signed {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(key).cloned().unwrap_or_default()
    }

    fn newest(&self, key: &PublicKey) -> Height {
        let heard = self.of(key);
        heard.last_key_value().map_or(Height::ZERO, |(place, _)| place.0)
    }
}

impl Sink for Heard {
    fn deliver(&self, event: NetworkEvent) -> bool {
        if let NetworkEvent::Message {
            message: Message::Consensus(message),
            ..
        } = event
        {
            match message {
                ConsensusMessage::Vote(signed) => {
                    let step = match signed.vote.kind {
                        VoteKind::Prevote => 1,
                        VoteKind::Precommit => 2,
                    };
                    let place = (signed.vote.height, signed.vote.round, step);
                    self.note(signed.vote.validator, place, signed.vote.block);
                }
                ConsensusMessage::Proposal(signed) => {
                    let proposal = &signed.proposal;
                    let place = (proposal.height, proposal.round, 0);
                    self.note(proposal.proposer, place, Some(proposal.header.hash()));
                }
                _ => {}
            }
        }
        true
    }
}

/// Listens to the network from the host, as a node without blocks.
fn listen(cluster: &Cluster, heard: &Arc<Heard>, seed: u64) -> NetworkGuard {
    let config = NetworkConfig {
        head: Height(0),
        agent: "listener".to_owned(),
        ..stranger(cluster, &mut Rng::new(seed, 0))
    };
    let (_network, guard) = Network::start(config, heard.clone()).expect("a network without listeners");
    guard
}

fn database(cluster: &Cluster, node: usize) -> PathBuf {
    cluster.homes.paths[node].join("db")
}

/// Cuts the end of RocksDB's own log off.
fn cut_log(db: &Path) {
    let logs = fs::read_dir(db).expect("a database").filter_map(|entry| {
        let path = entry.ok()?.path();
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        is_log.then_some(path)
    });
    let newest = logs.max().expect("RocksDB has a log");
    let file = fs::File::options().write(true).open(newest).expect("the log");
    let len = file.metadata().expect("its length").len();
    file.set_len(len.saturating_sub(CUT_BYTES)).expect("cut");
}

fn status(cluster: &Cluster, node: usize) -> Value {
    let status = cluster.rpc(node).call("node_getStatus", &json!({}));
    status.unwrap_or_else(|error| panic!("status of node {node}: {error}"))
}

/// Runs the scenario for each count of lost blocks, one after the other on one network.
pub fn run(counts: &[u64], seed: u64) {
    let mut plan = Plan::validators(4);
    plan.followers = 1;
    let cluster = Cluster::new(plan);
    let everybody: Vec<usize> = (0..plan.nodes()).collect();
    cluster.start(&everybody);
    let heard = Arc::new(Heard::default());
    let listener = listen(&cluster, &heard, seed);
    let observer = Observer::new(&cluster);
    cluster.wait_all_reach(&everybody, 5, HEALS_WITHIN);
    for count in counts {
        validator_loses(&cluster, &heard, Some(*count));
        println!("a validator lost {count} blocks: it followed, was silent, and signs again");
    }
    validator_loses(&cluster, &heard, None);
    println!("a validator lost its whole database: it followed from genesis, was silent, and signs again");
    follower_loses(&cluster);
    println!("a follower lost the end of RocksDB's log: it has all blocks again");
    let height = cluster.top(&everybody);
    cluster.wait_all_reach(&everybody, height, HEALS_WITHIN);
    listener.stop();
    observer.audit(&everybody, height, true).assert_clean();
    for key in &cluster.homes.validators {
        for (place, blocks) in heard.of(key) {
            assert_eq!(blocks.len(), 1, "{key} signed twice at {place:?}: {blocks:?}");
        }
    }
}

/// `count` blocks are lost, or with `None` the whole database.
fn validator_loses(cluster: &Cluster, heard: &Heard, count: Option<u64>) {
    let key = cluster.homes.validators[VICTIM];
    let others = [0, 1, 2];
    let (db, kept) = (
        database(cluster, VICTIM),
        cluster.homes.paths[VICTIM].join("kept"),
    );
    cluster.kill(VICTIM);
    copy(&db, &kept);
    cluster.start(&[VICTIM]);
    let from = cluster.head(VICTIM).expect("it answers").height;
    let more = count.unwrap_or(1);
    let bound = PER_BLOCK * u32::try_from(more.saturating_add(60)).unwrap_or(u32::MAX);
    cluster.wait("the blocks that will be lost", bound, || {
        cluster
            .head(VICTIM)
            .is_ok_and(|head| head.height >= from.saturating_add(more))
    });
    cluster.wait("its votes", HEALS_WITHIN, || {
        heard.newest(&key).0 >= from.saturating_add(more)
    });
    let reached = cluster.head(VICTIM).expect("it answers").height;
    cluster.kill(VICTIM);
    // Messages in transit arrive meanwhile.
    let top = cluster.top(&others);
    cluster.wait_for_block(&others, top.saturating_add(2), HEALS_WITHIN);
    let (before, signed) = (heard.of(&key), heard.newest(&key));
    fs::remove_dir_all(&db).expect("the database is taken away");
    if count.is_some() {
        fs::rename(&kept, &db).expect("and an older one put there");
    } else {
        fs::remove_dir_all(&kept).expect("nothing is left of it");
    }

    // Alone first, so that its status can be read.
    let groups: [&[usize]; 2] = [&[0, 1, 2, FOLLOWER], &[VICTIM]];
    cluster.net.partition(&groups).unwrap();
    cluster.start(&[VICTIM]);
    let view = status(cluster, VICTIM);
    assert_eq!(view["waiting"]["reason"], "blocks_lost", "{view}");
    let through = number(&view["waiting"]["through"]).expect("a height");
    assert!(through >= reached, "{view}: it had reached {reached}");
    assert_eq!(view["ready"], false, "{view}");
    assert!(cluster.head(VICTIM).expect("it answers").height < reached);
    cluster.net.heal().unwrap();

    cluster.wait_at_head(VICTIM, &others, bound);
    cluster.wait("a vote above all that it had signed", HEALS_WITHIN, || {
        heard.newest(&key) > signed.saturating_add(1)
    });
    cluster.wait("nothing to wait for", HEALS_WITHIN, || {
        status(cluster, VICTIM)["waiting"].is_null()
    });
    for (place, blocks) in heard.of(&key).range(..=(signed, Round(u32::MAX), u8::MAX)) {
        assert_eq!(
            before.get(place),
            Some(blocks),
            "the key signed at {place:?} after it had been at height {signed}"
        );
    }
    cluster.assert_alive();
}

/// The end of RocksDB's own log is gone after a kill: the database opens without its last blocks.
fn follower_loses(cluster: &Cluster) {
    let before = cluster.head(FOLLOWER).expect("it answers").height;
    cluster.kill(FOLLOWER);
    cut_log(&database(cluster, FOLLOWER));
    cluster.start(&[FOLLOWER]);
    cluster.wait_all_reach(&[FOLLOWER], before.saturating_add(1), HEALS_WITHIN);
    let log = fs::read_to_string(cluster.log(FOLLOWER)).expect("a log");
    assert!(
        log.contains("the database lost blocks at its end"),
        "nothing was lost: {log}"
    );
}
