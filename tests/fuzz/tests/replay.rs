//! Every saved input, through its target: a regression test of every finding.
//!
//! `UPDATE_CORPUS=1 cargo test` rewrites the seeds from the fixed values, beside the findings.

use std::fs;
use std::path::PathBuf;

use vibecoin_fuzz::{TARGETS, find, names};

/// So that a clone stays small; distil before adding more.
const CORPUS_BYTES_MAX: u64 = 200 * 1024;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[test]
fn every_saved_input_keeps_every_promise() {
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        for target in TARGETS {
            let folder = corpus().join(target.name);
            fs::create_dir_all(&folder).unwrap();
            for (name, bytes) in (target.seeds)() {
                fs::write(folder.join(format!("seed_{name}")), bytes).unwrap();
            }
        }
    }
    let mut size = 0;
    for target in TARGETS {
        let folder = corpus().join(target.name);
        let mut count = 0;
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            size += bytes.len() as u64;
            count += 1;
            println!("{}", path.display());
            (target.run)(&bytes);
        }
        assert!(count > 0, "{} has no saved input", target.name);
    }
    assert!(size <= CORPUS_BYTES_MAX, "the corpus has grown to {size} bytes");
}

#[test]
fn every_corpus_folder_belongs_to_a_target() {
    for entry in fs::read_dir(corpus()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            find(&name).is_some(),
            "corpus/{name} has no target; targets are: {}",
            names()
        );
    }
}

#[test]
fn seeds_and_their_neighbours_keep_every_promise() {
    for target in TARGETS {
        for (name, bytes) in (target.seeds)() {
            println!("{}: {name}", target.name);
            (target.run)(&bytes);
            for len in 0..bytes.len() {
                (target.run)(&bytes[..len]);
            }
            for at in 0..bytes.len() {
                for flip in [0x01, 0x80, 0xff] {
                    let mut mutant = bytes.clone();
                    mutant[at] ^= flip;
                    (target.run)(&mutant);
                }
            }
        }
    }
}

#[test]
fn the_main_seeds_are_accepted_by_what_they_are_for() {
    // Seeds that no decoder accepts would test nothing but refusals.
    use vibecoin_primitives::{Block, Transaction, decode};
    let seeds = |name: &str| (find(name).unwrap().seeds)();
    assert!(decode::<Transaction>(&seeds("transaction")[0].1).is_ok());
    assert!(decode::<Block>(&seeds("block")[0].1).is_ok());
    assert!(vibecoin_trie::Proof::decode(&seeds("proof")[0].1[1..]).is_ok());
    assert!(vibecoin_trie::PrefixProof::decode(&seeds("prefix_proof")[0].1[2..]).is_ok());
    assert!(vibecoin_trie::MultiProof::decode(&seeds("multi_proof")[0].1[4..]).is_ok());
    for (name, text) in seeds("genesis") {
        let text = String::from_utf8(text).unwrap();
        assert!(!text.is_empty(), "{name}");
        vibecoin_genesis::Genesis::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
