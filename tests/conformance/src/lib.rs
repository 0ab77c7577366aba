//! One fixed value of every encoded type: the inputs of the golden lines and the seeds of the
//! fuzzers.
//!
//! The tests of this crate check what no single crate can: that the bytes of every type are those of
//! `golden.txt` and of an independent codec, that foreign bytes have one form, that the pure crates
//! are pure, and that the dependencies are the permitted ones.
//!
//! Every hash, key and number below has bytes that differ from each other, so that a swapped field or
//! a reversed byte order is detected.

use vibecoin_primitives::{
    Account, AccountRow, AccountType, Address, Amount, Block, BlockPart, Body, BodyV1, ChainParams,
    CommitCertificate, CommitSignature, DiffEntry, Evidence, Failure, FaultModel, Hash, Header, Height,
    MerklePath, Nonce, OffenceRecord, Operation, Outcome, PartContent, PartStatement, Power, Proposal,
    ProposerSchedule, PublicKey, Receipt, ReceiptV1, Receipts, Round, Row, SignedPart, SignedProposal,
    SignedVote, SlotRow, StateDiff, StateKey, Tick, TimeMs, Transaction, TransactionBody, Turn, Validator,
    ValidatorSet, VoteKind, encode,
};

mod protocol;
mod state;

pub use protocol::{
    consensus_messages, guard_entries, log_records, messages, polka_certificate, round_certificate,
};
pub use state::{KnownState, known_state, proof_file, proof_trust, snapshot_block};
pub use vibecoin_tests_support::key;
use vibecoin_tests_support::{opening, sign_part};

/// A hash whose 32 bytes count up from `first`.
#[must_use]
pub const fn hash(first: u8) -> Hash {
    let mut bytes = [0; 32];
    let mut value = first;
    let mut rest: &mut [u8] = &mut bytes;
    while let [head, tail @ ..] = rest {
        *head = value;
        value = value.wrapping_add(1);
        rest = tail;
    }
    Hash(bytes)
}

/// The genesis hash of every signature here.
pub const GENESIS: Hash = hash(0xa0);

fn public(n: u8) -> PublicKey {
    key(n).public_key()
}

/// A transfer, signed by key 1.
#[must_use]
pub fn transfer() -> Transaction {
    body(vec![Operation::Transfer {
        to: Address(hash(0x10).0),
        amount: Amount(0x0102_0304_0506_0708),
    }])
    .sign(&GENESIS, &key(1))
}

/// A transaction with every kind of operation.
#[must_use]
pub fn many_operations() -> Transaction {
    body(vec![
        Operation::Transfer {
            to: Address(hash(0x10).0),
            amount: Amount(1),
        },
        Operation::SetStorage {
            slot: hash(0x30),
            value: b"a value".to_vec(),
        },
        Operation::SetStorage {
            slot: hash(0x50),
            value: Vec::new(),
        },
    ])
    .sign(&GENESIS, &key(1))
}

fn body(operations: Vec<Operation>) -> TransactionBody {
    TransactionBody {
        chain: GENESIS.prefix(),
        sender: public(1),
        nonce: Nonce(0x1112_1314_1516_1718),
        fee: Amount(0x2122_2324_2526_2728),
        valid_until: Height(0x3132_3334_3536_3738),
        operations,
    }
}

/// A header.
#[must_use]
pub fn header() -> Header {
    Header {
        version: 1,
        height: Height(0x4142_4344_4546_4748),
        round: Round(0x5152_5354),
        proposer: public(2),
        parent: hash(0x01),
        time: TimeMs(0x6162_6364_6566_6768),
        ticks: 0x7172,
        poh_seq: 0x8182_8384_8586_8788,
        poh_hash: hash(0x02),
        body_hash: hash(0x03),
        tx_root: hash(0x04),
        receipt_root: hash(0x05),
        evidence_root: hash(0x06),
        state_root: hash(0x07),
        validators_hash: hash(0x08),
        next_validators_hash: hash(0x09),
        params_hash: hash(0x0a),
        last_commit_hash: hash(0x0b),
    }
}

/// A body with an empty tick, a full tick, a certificate and evidence of both kinds.
#[must_use]
pub fn full_body() -> Body {
    Body::V1(BodyV1 {
        ticks: vec![
            Tick {
                hash: hash(0x0c),
                transactions: Vec::new(),
            },
            Tick {
                hash: hash(0x0d),
                transactions: vec![transfer(), many_operations()],
            },
        ],
        last_commit: Some(certificate()),
        evidence: vec![vote_evidence(), proposal_evidence()],
    })
}

/// An empty body.
#[must_use]
pub fn empty_body() -> Body {
    Body::V1(BodyV1::default())
}

/// The header and the full body; they do not belong together.
#[must_use]
pub fn block() -> Block {
    Block {
        header: header(),
        body: full_body(),
    }
}

/// A vote for `block`, signed by key 2.
#[must_use]
pub fn vote(kind: VoteKind, block: Option<Hash>) -> SignedVote {
    vibecoin_tests_support::vote(&GENESIS, &key(2), kind, (Height(7), Round(3)), block)
}

/// A proposal, signed by key 2.
#[must_use]
pub fn proposal(lock_round: Option<Round>) -> SignedProposal {
    let proposal = Proposal {
        height: Height(7),
        round: Round(3),
        header: header(),
        lock_round,
        proposer: public(2),
    };
    proposal.sign(&GENESIS, &key(2))
}

/// A certificate with the precommits of keys 2, 3 and 4, which are real signatures.
#[must_use]
pub fn certificate() -> CommitCertificate {
    let mut certificate = CommitCertificate {
        height: Height(7),
        round: Round(3),
        block: hash(0x0e),
        signatures: Vec::new(),
    };
    for n in [2, 3, 4] {
        let signature = certificate.precommit(public(n)).sign(&GENESIS, &key(n)).signature;
        certificate.signatures.push(CommitSignature {
            validator: public(n),
            signature,
        });
    }
    certificate.signatures.sort_by_key(|entry| entry.validator);
    certificate
}

/// Two prevotes for different blocks.
#[must_use]
pub fn vote_evidence() -> Evidence {
    Evidence::votes(
        vote(VoteKind::Prevote, Some(hash(0x0e))),
        vote(VoteKind::Prevote, None),
    )
}

/// Two proposals of different blocks in one round.
#[must_use]
pub fn proposal_evidence() -> Evidence {
    let mut other = proposal(None).proposal;
    other.header.time = TimeMs(1);
    Evidence::proposals(proposal(None), other.sign(&GENESIS, &key(2)))
}

/// Part `sequence` of a block, signed by key 2.
#[must_use]
pub fn part(sequence: u32, content: PartContent) -> BlockPart {
    let statement = PartStatement {
        height: Height(7),
        round: Round(3),
        proposer: public(2),
        parent: hash(0x01),
        sequence,
        digest: Hash::ZERO,
    };
    sign_part(&GENESIS, &key(2), statement, content)
}

/// The opening of a block that follows another and includes evidence.
#[must_use]
pub fn opening_part() -> BlockPart {
    part(
        0,
        PartContent::Opening {
            last_commit: Some(certificate()),
            evidence: vec![vote_evidence(), part_evidence()],
        },
    )
}

/// The opening of the first block.
#[must_use]
pub fn first_opening_part() -> BlockPart {
    part(0, opening())
}

/// A tick with transactions.
#[must_use]
pub fn tick_part() -> BlockPart {
    part(
        0x9192,
        PartContent::Tick(Tick {
            hash: hash(0x0d),
            transactions: vec![transfer(), many_operations()],
        }),
    )
}

/// The signed content of [`tick_part`].
#[must_use]
pub fn signed_part() -> SignedPart {
    tick_part().signed
}

/// Two parts with one number and different contents.
#[must_use]
pub fn part_evidence() -> Evidence {
    let mut other = signed_part().statement;
    other.digest = hash(0x2b);
    Evidence::parts(signed_part(), other.sign(&GENESIS, &key(2)))
}

/// A receipt with this outcome.
#[must_use]
pub fn receipt(outcome: Outcome) -> Receipt {
    Receipt::V1(ReceiptV1 {
        transaction: hash(0x20),
        fee: Amount(1000),
        burned: Amount(10_000),
        outcome,
    })
}

/// A receipt for every reason of failure, with the reason's name.
#[must_use]
pub fn failures() -> Vec<(&'static str, Receipt)> {
    let failed = |reason| receipt(Outcome::Failed { operation: 2, reason });
    vec![
        (
            "insufficient funds",
            failed(Failure::InsufficientFunds {
                needed: Amount(0x0102),
                available: Amount(0x0304),
            }),
        ),
        ("zero amount", failed(Failure::ZeroAmount)),
        ("balance overflow", failed(Failure::BalanceOverflow)),
        ("system recipient", failed(Failure::SystemRecipient)),
        ("value too long", failed(Failure::ValueTooLong { limit: 4096 })),
        ("cost overflow", failed(Failure::CostOverflow)),
    ]
}

/// The receipts of a block with a success and a failure.
#[must_use]
pub fn receipts() -> Receipts {
    let failed = failures().into_iter().take(1).map(|(_, receipt)| receipt);
    Receipts(std::iter::once(receipt(Outcome::Success)).chain(failed).collect())
}

/// A user's account without code and slots.
#[must_use]
pub const fn account() -> Account {
    Account {
        balance: Amount(0x0102_0304_0506_0708),
        nonce: Nonce(0x1112),
        kind: AccountType::User,
        code: None,
        storage_root: None,
    }
}

/// An account in which every field is set.
#[must_use]
pub const fn full_account() -> Account {
    Account {
        kind: AccountType::System,
        code: Some(hash(0x21)),
        storage_root: Some(hash(0x22)),
        ..account()
    }
}

/// The flat row of [`account`].
#[must_use]
pub const fn account_row() -> AccountRow {
    AccountRow {
        address: Address(hash(0x10).0),
        account: account(),
    }
}

/// The flat row of a slot.
#[must_use]
pub fn slot_row() -> SlotRow {
    SlotRow {
        slot: hash(0x30),
        value: b"a value".to_vec(),
    }
}

/// A diff that creates an account, changes a slot and removes another.
#[must_use]
pub fn state_diff() -> StateDiff {
    let row = encode(&slot_row());
    StateDiff {
        parent_root: hash(0x23),
        root: hash(0x24),
        entries: vec![
            DiffEntry {
                key: StateKey::Account(hash(0x25)),
                old: None,
                new: Some(encode(&account_row())),
            },
            DiffEntry {
                key: StateKey::Slot(hash(0x26), hash(0x27)),
                old: Some(row.clone()),
                new: Some(b"new".to_vec()),
            },
            DiffEntry {
                key: StateKey::Slot(hash(0x26), hash(0x28)),
                old: Some(row),
                new: None,
            },
        ],
    }
}

/// Parameters that differ from every profile in the fields that the profiles share.
#[must_use]
pub fn crash_params() -> ChainParams {
    ChainParams {
        network: "vibe-test_1".to_owned(),
        address_prefix: "v".to_owned(),
        fault_model: FaultModel::Crash,
        ..ChainParams::dev()
    }
}

/// Four validators with different powers.
#[must_use]
pub fn validator_set() -> ValidatorSet {
    let validators = [2u8, 3, 4, 5].map(|n| Validator {
        key: public(n),
        power: Power(u64::from(n)),
        payout: Address(public(n.wrapping_add(100)).0),
    });
    #[expect(
        clippy::expect_used,
        reason = "the four keys are good, different and have power"
    )]
    ValidatorSet::new(validators.to_vec()).expect("a valid set")
}

/// A schedule in which one validator is behind and one is held back.
#[must_use]
pub fn schedule() -> ProposerSchedule {
    ProposerSchedule {
        turns: vec![
            Turn {
                credit: -3,
                penalty_until: Height(0),
                penalty: 0,
            },
            Turn {
                credit: 0x0102_0304_0506_0708,
                penalty_until: Height(0x1112),
                penalty: 16,
            },
        ],
        row: Row {
            proposer: 1,
            excess: 0x0102_0304,
        },
    }
}

/// The offences of a height: of three validators the second signed two precommits and two parts, the third
/// two prevotes.
#[must_use]
pub fn offence_record() -> OffenceRecord {
    OffenceRecord {
        kinds: vec![0, 10, 1],
    }
}

/// The path of the third of five leaves.
#[must_use]
pub fn merkle_path() -> MerklePath {
    let leaves: Vec<Hash> = (0u8..5).map(hash).collect();
    #[expect(clippy::expect_used, reason = "two is below five")]
    MerklePath::new(&leaves, 2).expect("a leaf of the list")
}
