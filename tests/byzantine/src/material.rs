//! Inputs that are expensive to make: bodies full of badly signed transactions. Made before the time of an
//! attack begins.

use vibecoin_primitives::{
    Address, Amount, Body, BodyV1, CommitCertificate, CommitSignature, Evidence, Hash, Header, Height, Nonce,
    Operation, PartContent, PublicKey, Round, SecretKey, Signature, Tick, TimeMs, Transaction,
    TransactionBody, TransactionV1, encode,
};

use crate::attack::{Attack, Setting};
use crate::rpc::Request;
use crate::{evidence, ghosts, rpc};

/// Transactions of one body: as many as a block may have, close to its limit in bytes.
const TRANSACTIONS: u64 = 20_000;
/// Bytes of the value that each of them sets.
const VALUE_BYTES: usize = 24;
/// Senders that the transactions are spread over.
const SENDERS: u64 = 64;
/// Bodies of one answer.
pub const BODIES: usize = 3;
/// Transactions of one gossiped batch.
const BATCH: u64 = 500;

/// Transactions of accounts that do not exist: 20,000 a second for as long as the attack lasts.
const UNFUNDED: u64 = 300_000;

/// Transactions behind a missing nonce, of one sender: fewer than a sender may have in a pool.
const QUEUED: u64 = 1_000;

/// Prepared bytes. Each is empty when the attack does not need it.
#[derive(Default)]
pub struct Material {
    /// Encoded bodies of 4 MB.
    pub bodies: Vec<Vec<u8>>,
    /// Encoded content of a part of 4 MB, and its digest.
    pub content: Option<(Vec<u8>, Hash)>,
    /// Badly signed transactions.
    pub transactions: Vec<Transaction>,
    /// Gossiped statements of nonexistent validators about distant heights.
    pub statements: Vec<Vec<u8>>,
    /// Validly signed pieces of evidence of one offence.
    pub evidence: Vec<Evidence>,
    /// Pieces of evidence with a bad signature, of other offences.
    pub bad_evidence: Vec<Evidence>,
    /// Requests of an RPC client, sent in turns.
    pub requests: Vec<Request>,
}

impl Material {
    /// Makes the inputs of an attack.
    #[must_use]
    pub fn new(attack: Attack, setting: &Setting) -> Self {
        let mut material = Self::default();
        match attack {
            Attack::Blocks | Attack::Bodies => {
                let transactions = badly_signed(TRANSACTIONS, setting);
                let body = |number: usize| {
                    let tick = Tick {
                        hash: Hash([number as u8; 32]),
                        transactions: transactions.clone(),
                    };
                    encode(&Body::V1(BodyV1 {
                        ticks: vec![tick],
                        last_commit: None,
                        evidence: Vec::new(),
                    }))
                };
                material.bodies = (0..BODIES).map(body).collect();
            }
            Attack::Parts => {
                let content = PartContent::Tick(Tick {
                    hash: Hash([1; 32]),
                    transactions: badly_signed(TRANSACTIONS, setting),
                });
                let digest = content.digest();
                material.content = Some((encode(&content), digest));
            }
            Attack::Ghosts => material.statements = ghosts::far(setting),
            Attack::Evidence | Attack::RpcEvidence => {
                if let Some(key) = &setting.key {
                    material.evidence = evidence::of_one_offence(setting, key);
                    material.bad_evidence = evidence::badly_signed(setting, key);
                }
            }
            Attack::RpcWaits => {
                if let Some(key) = &setting.key {
                    material.transactions = queued(setting, key);
                }
            }
            Attack::Unfunded => material.transactions = unfunded(setting),
            Attack::Transactions | Attack::Frames | Attack::RpcFlood => {
                material.transactions = badly_signed(BATCH, setting);
            }
            _ => {}
        }
        material.requests = rpc::requests(attack, &material);
        material
    }
}

/// Validly signed transfers behind a nonce that is missing: they stay in the pool.
fn queued(setting: &Setting, key: &SecretKey) -> Vec<Transaction> {
    let transfer = |nonce: u64| {
        let to = Address::from(key.public_key());
        pay(&setting.genesis, key, nonce, to)
    };
    (1..=QUEUED).map(transfer).collect()
}

/// Validly signed transfers of accounts that do not exist.
fn unfunded(setting: &Setting) -> Vec<Transaction> {
    let transfer = |number: u64| {
        let key = SecretKey::from_seed(&numbered(0x66, number));
        pay(&setting.genesis, &key, 0, Address([7; 32]))
    };
    (0..UNFUNDED).map(transfer).collect()
}

/// A validly signed transfer with a high fee.
fn pay(genesis: &Hash, key: &SecretKey, nonce: u64, to: Address) -> Transaction {
    let amount = Amount(1);
    let body = TransactionBody {
        fee: Amount(100_000),
        valid_until: Height(50_000),
        ..vibecoin_tests_support::body(genesis, key, nonce, vec![Operation::Transfer { to, amount }])
    };
    body.sign(genesis, key)
}

/// Transactions whose signatures are well-formed and cover other bytes, so that each costs a whole check.
fn badly_signed(count: u64, setting: &Setting) -> Vec<Transaction> {
    let keys: Vec<SecretKey> = (0..SENDERS)
        .map(|number| SecretKey::from_seed(&numbered(0x33, number)))
        .collect();
    let signatures: Vec<Signature> = keys.iter().map(|key| key.sign(b"something else")).collect();
    let senders: Vec<PublicKey> = keys.iter().map(SecretKey::public_key).collect();
    (0..count)
        .map(|number| {
            let of = (number % SENDERS) as usize;
            let body = TransactionBody {
                chain: setting.genesis.prefix(),
                sender: senders[of],
                nonce: Nonce(number / SENDERS),
                fee: Amount(1_000),
                valid_until: Height(1 << 20),
                operations: vec![Operation::SetStorage {
                    slot: Hash(numbered(0, number)),
                    value: vec![7; VALUE_BYTES],
                }],
            };
            Transaction::V1(TransactionV1 {
                body,
                signature: signatures[of],
            })
        })
        .collect()
}

/// Bytes derived from a number and a purpose.
#[must_use]
pub fn numbered(purpose: u8, number: u64) -> [u8; 32] {
    let mut bytes = [purpose; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// A header of a body, with otherwise arbitrary contents.
#[must_use]
pub fn header(height: Height, proposer: PublicKey, body_hash: Hash) -> Header {
    Header {
        height,
        proposer,
        parent: Hash([height.0 as u8; 32]),
        time: TimeMs(1),
        ticks: 1,
        poh_seq: 1,
        body_hash,
        ..vibecoin_tests_support::header()
    }
}

/// A certificate in the validators' names that none of them signed.
#[must_use]
pub fn certificate(height: Height, block: Hash, validators: &[PublicKey]) -> CommitCertificate {
    let mut validators = validators.to_vec();
    validators.sort_unstable();
    let stranger = SecretKey::from_seed(&[0x44; 32]);
    CommitCertificate {
        height,
        round: Round(0),
        block,
        signatures: validators
            .into_iter()
            .map(|validator| CommitSignature {
                validator,
                signature: stranger.sign(b"something else"),
            })
            .collect(),
    }
}
