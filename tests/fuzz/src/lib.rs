//! Fuzz targets: properties that must hold for arbitrary input bytes.
//!
//! Each target is a plain function over bytes that panics when a property is violated.
//! `scripts/fuzz.sh` drives them with libFuzzer; `tests/replay.rs` runs them over the saved inputs in
//! `corpus/` on every change. An input that found a bug is added to `corpus/` and stays there.

mod settings;
mod snapshot;
mod state;
mod wire;

/// One fuzz target.
pub struct Target {
    /// Its name, and the name of its folder in `corpus/`.
    pub name: &'static str,
    /// Takes any bytes; panics when a property is violated.
    pub run: fn(&[u8]),
    /// Initial inputs, with file names.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "transaction",
        run: wire::transaction,
        seeds: wire::transaction_seeds,
    },
    Target {
        name: "header",
        run: wire::header,
        seeds: wire::header_seeds,
    },
    Target {
        name: "block",
        run: wire::block,
        seeds: wire::block_seeds,
    },
    Target {
        name: "vote",
        run: wire::vote,
        seeds: wire::vote_seeds,
    },
    Target {
        name: "certificate",
        run: wire::certificate,
        seeds: wire::certificate_seeds,
    },
    Target {
        name: "evidence",
        run: wire::evidence,
        seeds: wire::evidence_seeds,
    },
    Target {
        name: "part",
        run: wire::part,
        seeds: wire::part_seeds,
    },
    Target {
        name: "consensus",
        run: wire::consensus,
        seeds: wire::consensus_seeds,
    },
    Target {
        name: "message",
        run: wire::message,
        seeds: wire::message_seeds,
    },
    Target {
        name: "records",
        run: wire::records,
        seeds: wire::record_seeds,
    },
    Target {
        name: "proof",
        run: state::proof,
        seeds: state::proof_seeds,
    },
    Target {
        name: "prefix_proof",
        run: state::prefix_proof,
        seeds: state::prefix_proof_seeds,
    },
    Target {
        name: "prefix_entries",
        run: state::prefix_entries,
        seeds: state::prefix_entries_seeds,
    },
    Target {
        name: "multi_proof",
        run: state::multi_proof,
        seeds: state::multi_proof_seeds,
    },
    Target {
        name: "proof_file",
        run: state::proof_file,
        seeds: state::proof_file_seeds,
    },
    Target {
        name: "snapshot_manifest",
        run: snapshot::snapshot_manifest,
        seeds: snapshot::snapshot_manifest_seeds,
    },
    Target {
        name: "snapshot_chunk",
        run: snapshot::snapshot_chunk,
        seeds: snapshot::snapshot_chunk_seeds,
    },
    Target {
        name: "difference",
        run: snapshot::difference,
        seeds: snapshot::difference_seeds,
    },
    Target {
        name: "trie_node",
        run: state::trie_node,
        seeds: state::trie_node_seeds,
    },
    Target {
        name: "genesis",
        run: state::genesis,
        seeds: state::genesis_seeds,
    },
    Target {
        name: "config",
        run: settings::config,
        seeds: settings::config_seeds,
    },
];

/// The target with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The names of all targets, for messages.
#[must_use]
pub fn names() -> String {
    TARGETS
        .iter()
        .map(|target| target.name)
        .collect::<Vec<_>>()
        .join(" ")
}
