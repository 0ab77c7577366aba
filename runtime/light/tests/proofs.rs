//! Valid proofs hold, and nothing else does: ten thousand mutants, and every reuse of a proof for another
//! block, chain or address.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod chain;

use chain::{TestChain, absent, address, slot};
use vibecoin_light::{Claim, Fact, LightError, ProofFile, ProofV1, Trust, verify, verify_light_block};
use vibecoin_primitives::{Hash, Height, MerklePath, PublicKey, Round, Signature};

fn accepted(trust: &Trust, text: &str) -> bool {
    ProofFile::from_text(text).is_ok_and(|file| verify(trust, &file).is_ok())
}

fn error(chain: &TestChain, proof: ProofV1) -> LightError {
    verify(&chain.trust(), &ProofFile::V1(proof)).unwrap_err()
}

#[test]
fn accounts_slots_and_transactions_are_proved_and_so_is_their_absence() {
    let chain = TestChain::new(4);
    let file = chain.file(vec![
        chain.account_claim(address(3)),
        chain.account_claim(absent()),
        chain.slot_claim(address(0), slot(1)),
        chain.slot_claim(address(0), slot(99)),
        chain.slot_claim(address(1), slot(1)),
        chain.slot_claim(absent(), slot(1)),
        chain.transaction_claim(4),
    ]);
    let read = ProofFile::from_text(&file.to_text()).unwrap();
    assert_eq!(read, file);
    let proven = verify(&chain.trust(), &read).unwrap();
    assert_eq!((proven.height, proven.block), (Height(7), chain.header.hash()));
    assert_eq!(proven.facts.len(), 7);
    for fact in &proven.facts {
        match fact {
            Fact::Account { address, account } => assert_eq!(account.as_ref(), chain.accounts.get(address)),
            Fact::Slot {
                address: owner,
                slot: at,
                value,
            } => {
                let expected = (*owner == address(0)).then(|| chain.slots.get(at)).flatten();
                assert_eq!(value.as_ref(), expected, "{owner:?} {at}");
            }
            Fact::Transaction {
                transaction,
                tick,
                index,
                receipt,
            } => {
                assert_eq!((*tick, *index), (2, 4));
                assert_eq!(receipt, &chain.receipts.0[4]);
                assert_eq!(transaction.id(), &receipt.v1().transaction);
            }
        }
    }
}

#[test]
fn every_transaction_of_a_block_can_be_proved_and_none_beyond() {
    let chain = TestChain::new(1);
    for index in 0..chain.receipts.0.len() {
        let file = chain.file(vec![chain.transaction_claim(index)]);
        let proven = verify(&chain.trust(), &file).unwrap();
        let Fact::Transaction {
            index: proven_index, ..
        } = &proven.facts[0]
        else {
            panic!()
        };
        assert_eq!(*proven_index, index as u64);
    }
    assert_eq!(
        Claim::transaction(&chain.body, &chain.receipts, chain.receipts.0.len()),
        None
    );
}

#[test]
fn genesis_needs_no_certificate_and_must_have_none() {
    let chain = TestChain::genesis();
    let file = chain.file(vec![chain.account_claim(address(3))]);
    assert!(verify(&chain.trust(), &file).is_ok());
    let mut with = file.v1().clone();
    with.certificate = TestChain::new(4).certificate;
    assert!(matches!(
        error(&chain, with),
        LightError::CertificatePresence {
            height: Height(0),
            ..
        }
    ));
    let mut other = file.v1().clone();
    other.header.state_root = Hash([1; 32]);
    assert!(matches!(error(&chain, other), LightError::NotGenesis { .. }));
}

#[test]
fn ten_thousand_mutated_files_are_refused() {
    let chain = TestChain::new(4);
    let (trust, foreign) = (chain.trust(), TestChain::foreign());
    let files: Vec<ProofFile> = [
        chain.account_claim(address(3)),
        chain.account_claim(absent()),
        chain.slot_claim(address(0), slot(1)),
        chain.slot_claim(address(0), slot(99)),
        chain.transaction_claim(4),
    ]
    .into_iter()
    .map(|claim| chain.file(vec![claim]))
    .collect();
    for file in &files {
        assert!(accepted(&trust, &file.to_text()));
    }
    let mut random = Random(0x5eed);
    let (mut tried, mut read) = (0, 0);
    while tried < 10_000 {
        let file = &files[random.below(files.len())];
        let text = match tried % 4 {
            0 => mutate_text(&mut random, &file.to_text()),
            1 | 2 => wrap(&mutate_bytes(&mut random, &file.to_bytes())),
            _ => mutate_parts(&mut random, file, &foreign),
        };
        if text == file.to_text() {
            continue;
        }
        tried += 1;
        read += usize::from(ProofFile::from_text(&text).is_ok());
        assert!(
            !accepted(&trust, &text),
            "mutant {tried} of seed 0x5eed is accepted: {text}"
        );
    }
    assert!(
        read > 2_000,
        "only {read} mutants get past the codec: the verifier is hardly tested"
    );
}

#[test]
fn a_byte_more_or_less_anywhere_in_the_text_is_refused() {
    let chain = TestChain::new(1);
    let text = chain.file(vec![chain.account_claim(absent())]).to_text();
    assert!(accepted(&chain.trust(), &text));
    for at in 0..=text.len() {
        let (before, after) = text.split_at(at);
        for extra in [" ", "\n", "0", "\""] {
            let longer = [before, extra, after].concat();
            assert!(!accepted(&chain.trust(), &longer), "{extra:?} at {at}");
        }
        if let Some(rest) = after.get(1..) {
            assert!(
                !accepted(&chain.trust(), &[before, rest].concat()),
                "byte {at} dropped"
            );
            let upper = after[..1].to_ascii_uppercase();
            let shouted = [before, &upper, rest].concat();
            assert!(
                shouted == text || !accepted(&chain.trust(), &shouted),
                "byte {at} in upper case"
            );
        }
    }
}

#[test]
fn a_proof_is_bound_to_its_chain_its_block_its_validators_and_its_rules() {
    let (chain, foreign) = (TestChain::new(4), TestChain::foreign());
    let good = chain.file(vec![chain.account_claim(address(3))]).v1().clone();

    assert!(matches!(
        verify(&foreign.trust(), &ProofFile::V1(good.clone())),
        Err(LightError::OtherChain { .. } | LightError::ValidatorsChanged { .. })
    ));
    let no_certificate = ProofV1 {
        certificate: None,
        ..good.clone()
    };
    assert!(matches!(
        error(&chain, no_certificate),
        LightError::CertificatePresence { .. }
    ));
    let foreign_certificate = ProofV1 {
        certificate: foreign.certificate.clone(),
        ..good.clone()
    };
    assert!(matches!(
        error(&chain, foreign_certificate),
        LightError::Certificate(_)
    ));
    let foreign_set = ProofV1 {
        validators: foreign.validators.clone(),
        ..good.clone()
    };
    assert!(matches!(
        error(&chain, foreign_set),
        LightError::ValidatorsChanged { .. }
    ));
    let mut other_height = good.clone();
    other_height.header.height = Height(8);
    assert!(matches!(error(&chain, other_height), LightError::Certificate(_)));
    let mut other_rules = good.clone();
    other_rules.header.params_hash = Hash([9; 32]);
    assert!(matches!(
        error(&chain, other_rules),
        LightError::ParamsChanged { .. }
    ));
    let nothing = ProofV1 {
        claims: vec![],
        ..good.clone()
    };
    assert_eq!(error(&chain, nothing.clone()), LightError::NoClaim);
    assert!(verify_light_block(&chain.trust(), &ProofFile::V1(nothing)).is_ok());
    assert!(matches!(
        verify_light_block(&chain.trust(), &ProofFile::V1(good)),
        Err(LightError::ClaimsInLightBlock { got: 1 })
    ));
}

#[test]
fn a_certificate_below_the_quorum_or_above_its_need_is_refused() {
    let chain = TestChain::new(4);
    let good = chain.file(vec![chain.account_claim(address(3))]).v1().clone();
    assert_eq!(
        good.certificate.as_ref().unwrap().signatures.len(),
        3,
        "3 of 4 are the quorum"
    );
    assert_eq!(
        chain.certificate.as_ref().unwrap().signatures.len(),
        4,
        "though all 4 signed"
    );

    let mut short = good.clone();
    short.certificate.as_mut().unwrap().signatures.pop();
    assert!(matches!(error(&chain, short), LightError::Certificate(_)));
    let spare = ProofV1 {
        certificate: chain.certificate.clone(),
        ..good.clone()
    };
    assert_eq!(error(&chain, spare), LightError::SpareSignature);
    let mut twice = good;
    let first = twice.certificate.as_ref().unwrap().signatures[0];
    twice.certificate.as_mut().unwrap().signatures.insert(0, first);
    assert!(matches!(error(&chain, twice), LightError::Certificate(_)));
}

#[test]
fn a_proof_of_one_thing_does_not_prove_another() {
    let chain = TestChain::new(4);
    let with = |claim| chain.file(vec![claim]).v1().clone();
    let Claim::Account { proof, .. } = chain.account_claim(address(3)) else {
        panic!()
    };
    let lent = with(Claim::Account {
        address: address(4),
        proof,
    });
    assert!(matches!(error(&chain, lent), LightError::Trie { index: 0, .. }));

    // A slot's proof must not be left out to make its value appear absent.
    let Claim::Slot {
        address: owner,
        slot,
        account,
        ..
    } = chain.slot_claim(address(0), slot(1))
    else {
        panic!()
    };
    let hidden = with(Claim::Slot {
        address: owner,
        slot,
        account,
        proof: None,
    });
    assert!(matches!(
        error(&chain, hidden),
        LightError::Claim { index: 0, .. }
    ));

    // A receipt of another transaction of the same block.
    let (Claim::Transaction(mut claim), Claim::Transaction(other)) =
        (chain.transaction_claim(4), chain.transaction_claim(3))
    else {
        panic!()
    };
    claim.receipt = other.receipt;
    claim.receipt_path = other.receipt_path;
    assert!(matches!(
        error(&chain, with(Claim::Transaction(claim))),
        LightError::Claim { index: 0, .. }
    ));
}

#[test]
fn claims_stand_in_one_order_and_only_once() {
    let chain = TestChain::new(4);
    let file = chain.file(vec![
        chain.account_claim(address(3)),
        chain.account_claim(address(1)),
    ]);
    assert!(verify(&chain.trust(), &file).is_ok());
    let mut swapped = file.v1().clone();
    swapped.claims.swap(0, 1);
    assert_eq!(error(&chain, swapped), LightError::ClaimOrder { index: 1 });
    let mut twice = file.v1().clone();
    twice.claims.push(twice.claims[1].clone());
    assert_eq!(error(&chain, twice), LightError::ClaimOrder { index: 2 });
}

// ---- mutations -----------------------------------------------------------------------------------

/// Xorshift: small, seeded, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
    fn hash(&mut self) -> Hash {
        let mut hash = Hash::ZERO;
        hash.0.iter_mut().for_each(|byte| *byte = self.next() as u8);
        hash
    }
}

fn wrap(bytes: &[u8]) -> String {
    format!(
        "{{\"format\":\"vibecoin-proof-1\",\"proof\":\"{}\"}}\n",
        vibecoin_primitives::hex::encode(bytes)
    )
}

fn mutate_text(random: &mut Random, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = random.below(bytes.len());
    match random.below(4) {
        0 => bytes[at] = b" \n0123456789abcdefABCDEF\"{}x"[random.below(28)],
        1 => drop(bytes.remove(at)),
        2 => bytes.insert(at, b" \n0a"[random.below(4)]),
        _ => bytes.truncate(at),
    }
    String::from_utf8(bytes).unwrap()
}

fn mutate_bytes(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let (at, to) = (random.below(bytes.len()), random.below(bytes.len()));
    match random.below(7) {
        0..=2 => bytes[at] ^= 1 << random.below(8),
        3 => bytes.truncate(at),
        4 => bytes.push(random.next() as u8),
        5 => drop(bytes.drain(at.min(to)..at.max(to))),
        _ => bytes.swap(at, to),
    }
    bytes
}

/// Changes the proof as a value, so that the codec accepts it.
fn mutate_parts(random: &mut Random, file: &ProofFile, foreign: &TestChain) -> String {
    let mut proof = file.v1().clone();
    let certificate = proof.certificate.as_mut().unwrap();
    let last = certificate.signatures.len() - 1;
    match random.below(16) {
        0 => proof.header = foreign.header.clone(),
        1 => proof.certificate = foreign.certificate.clone(),
        2 => proof.certificate = None,
        3 => proof.validators = foreign.validators.clone(),
        4 => (proof.header, proof.certificate) = (foreign.header.clone(), foreign.certificate.clone()),
        5 => certificate.signatures.swap(0, last),
        6 => drop(certificate.signatures.remove(random.below(last + 1))),
        7 => certificate.signatures[random.below(last + 1)].signature = Signature([random.next() as u8; 64]),
        8 => certificate.signatures[random.below(last + 1)].validator = PublicKey(random.hash().0),
        9 => certificate.round = Round(random.below(9) as u32 + 1),
        10 => proof.header.height = Height(random.next() % 9),
        11 => proof.header.state_root = random.hash(),
        12 => proof.header.tx_root = random.hash(),
        13 => proof.claims.clear(),
        _ => mutate_claim(random, &mut proof.claims[0]),
    }
    ProofFile::V1(proof).to_text()
}

fn mutate_claim(random: &mut Random, claim: &mut Claim) {
    let which = random.below(5);
    match claim {
        Claim::Account { address, proof } => match which {
            0 => address.0 = random.hash().0,
            _ => mutate_trie_proof(random, proof),
        },
        Claim::Slot {
            address,
            slot,
            account,
            proof,
        } => match which {
            0 => address.0 = random.hash().0,
            1 => *slot = random.hash(),
            2 => *proof = None,
            3 => mutate_trie_proof(random, account),
            _ => mutate_trie_proof(random, proof.as_mut().unwrap()),
        },
        Claim::Transaction(claim) => match which {
            0 => mutate_path(random, &mut claim.in_tick),
            1 => mutate_path(random, &mut claim.in_block),
            2 => mutate_path(random, &mut claim.receipt_path),
            3 => {
                let vibecoin_primitives::Transaction::V1(tx) = &mut claim.transaction;
                tx.body.fee.0 ^= 1 << random.below(64);
            }
            _ => {
                let vibecoin_primitives::Receipt::V1(receipt) = &mut claim.receipt;
                receipt.burned.0 ^= 1 << random.below(64);
            }
        },
    }
}

fn mutate_path(random: &mut Random, path: &mut MerklePath) {
    match random.below(6) {
        0 => path.index ^= 1,
        1 => path.index = path.index.wrapping_add(random.next() | 1),
        2 => path.count = path.count.wrapping_add(1),
        3 => path.siblings.push(random.hash()),
        4 if !path.siblings.is_empty() => drop(path.siblings.remove(0)),
        _ => path.siblings.reverse(),
    }
    // A path without siblings is its own reverse: change it for certain.
    if path.siblings.len() < 2 {
        path.count = path.count.wrapping_add(1);
    }
}

/// The proof's own encoding is tag bytes and hashes: doubled, dropped, swapped and foreign nodes.
fn mutate_trie_proof(random: &mut Random, proof: &mut Vec<u8>) {
    let at = random.below(proof.len());
    match random.below(7) {
        0 => proof.clear(),
        1 => proof[at] ^= 1 << random.below(8),
        2 => proof.truncate(at),
        3 => {
            // An extra branch in front, with one random neighbour.
            let node = [&[1u8][..], &random.hash().0].concat();
            drop(proof.splice(0..0, node));
        }
        4 => {
            let copy = proof.clone();
            proof.extend(copy);
        }
        5 => *proof = vec![0x80],
        _ => {
            let hash = random.hash();
            let end = (at + 32).min(proof.len());
            proof[at..end].copy_from_slice(&hash.0[..end - at]);
        }
    }
}
