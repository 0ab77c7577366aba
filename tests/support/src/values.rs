//! Keys, parameters and signed values.

use vibecoin_primitives::{
    Address, Amount, BLOCK_VERSION, BlockPart, ChainParams, CommitCertificate, CommitSignature, Evidence,
    Hash, Header, Height, Nonce, Operation, Outcome, PartContent, PartStatement, Power, PublicKey, Receipt,
    ReceiptV1, Round, SecretKey, SignedVote, TimeMs, TransactionBody, Validator, ValidatorSet, Vote,
    VoteKind,
};

/// Hash that names the chain of these fixtures in everything that is signed.
pub const GENESIS: Hash = Hash([9; 32]);
/// Time of block 0.
pub const GENESIS_TIME: TimeMs = TimeMs(1_000_000);
/// Number of the key whose address receives the fees of all validators.
const PAYOUT: u8 = 255;

/// The key with the seed `[n; 32]`.
#[must_use]
pub fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// The address of [`key`].
#[must_use]
pub fn address(n: u8) -> Address {
    Address::from(key(n).public_key())
}

/// The validator with the key `n` and power 1.
#[must_use]
pub fn validator(n: u8) -> Validator {
    Validator {
        key: key(n).public_key(),
        power: Power(1),
        payout: address(PAYOUT),
    }
}

/// Validators of equal power with these keys.
#[must_use]
pub fn validators(keys: impl IntoIterator<Item = u8>) -> ValidatorSet {
    ValidatorSet::new(keys.into_iter().map(validator).collect()).unwrap()
}

/// Parameters of a chain with small blocks: four ticks of eight hashes.
#[must_use]
pub fn params() -> ChainParams {
    ChainParams {
        hashes_per_tick: 8,
        ticks_per_block: 4,
        quiet_ticks: 1,
        ..ChainParams::devnet()
    }
}

/// A header in which everything but the version is zero.
#[must_use]
pub const fn header() -> Header {
    Header {
        version: BLOCK_VERSION,
        height: Height(0),
        round: Round(0),
        proposer: PublicKey([0; 32]),
        parent: Hash::ZERO,
        time: TimeMs(0),
        ticks: 0,
        poh_seq: 0,
        poh_hash: Hash::ZERO,
        body_hash: Hash::ZERO,
        tx_root: Hash::ZERO,
        receipt_root: Hash::ZERO,
        evidence_root: Hash::ZERO,
        state_root: Hash::ZERO,
        validators_hash: Hash::ZERO,
        next_validators_hash: Hash::ZERO,
        params_hash: Hash::ZERO,
        last_commit_hash: Hash::ZERO,
    }
}

/// The header of block 0 of a chain with these rules and this state. The body hash is zero.
#[must_use]
pub fn genesis_header(params: &ChainParams, validators: &ValidatorSet, state_root: Hash) -> Header {
    Header {
        time: GENESIS_TIME,
        state_root,
        validators_hash: validators.hash(),
        next_validators_hash: validators.hash(),
        params_hash: params.hash(),
        ..header()
    }
}

/// A payment to the address of key `to`.
#[must_use]
pub fn transfer(to: u8, amount: u64) -> Operation {
    Operation::Transfer {
        to: address(to),
        amount: Amount(amount),
    }
}

/// A transaction of `sender` with a fee of 1,000, valid up to height 50.
#[must_use]
pub fn body(genesis: &Hash, sender: &SecretKey, nonce: u64, operations: Vec<Operation>) -> TransactionBody {
    TransactionBody {
        chain: genesis.prefix(),
        sender: sender.public_key(),
        nonce: Nonce(nonce),
        fee: Amount(1_000),
        valid_until: Height(50),
        operations,
    }
}

/// The receipt of a transaction that succeeded, with the fee of [`body`].
#[must_use]
pub const fn success(transaction: Hash) -> Receipt {
    Receipt::V1(ReceiptV1 {
        transaction,
        fee: Amount(1_000),
        burned: Amount(0),
        outcome: Outcome::Success,
    })
}

/// The precommits of these keys for the block with this header, decided in `round`.
#[must_use]
pub fn certify(genesis: &Hash, header: &Header, round: Round, keys: &[SecretKey]) -> CommitCertificate {
    let mut certificate = CommitCertificate {
        height: header.height,
        round,
        block: header.hash(),
        signatures: Vec::new(),
    };
    let precommit = |key: &SecretKey| CommitSignature {
        validator: key.public_key(),
        signature: certificate
            .precommit(key.public_key())
            .sign(genesis, key)
            .signature,
    };
    let mut signatures: Vec<CommitSignature> = keys.iter().map(precommit).collect();
    signatures.sort_by_key(|entry| entry.validator);
    certificate.signatures = signatures;
    certificate
}

/// A vote of the validator with this key.
#[must_use]
pub fn vote(
    genesis: &Hash,
    key: &SecretKey,
    kind: VoteKind,
    (height, round): (Height, Round),
    block: Option<Hash>,
) -> SignedVote {
    let vote = Vote {
        kind,
        height,
        round,
        block,
        validator: key.public_key(),
    };
    vote.sign(genesis, key)
}

/// Two prevotes of one validator for different blocks.
#[must_use]
pub fn double_vote(genesis: &Hash, key: &SecretKey, height: Height, round: Round) -> Evidence {
    let prevote = |block| {
        let block = Some(Hash([block; 32]));
        vote(genesis, key, VoteKind::Prevote, (height, round), block)
    };
    Evidence::votes(prevote(1), prevote(2))
}

/// The opening of a first block.
#[must_use]
pub const fn opening() -> PartContent {
    PartContent::Opening {
        last_commit: None,
        evidence: Vec::new(),
    }
}

/// A part with this content. The digest in the statement is replaced by that of the content.
#[must_use]
pub fn sign_part(
    genesis: &Hash,
    key: &SecretKey,
    statement: PartStatement,
    content: PartContent,
) -> BlockPart {
    let statement = PartStatement {
        digest: content.digest(),
        ..statement
    };
    BlockPart {
        signed: statement.sign(genesis, key),
        content,
    }
}
