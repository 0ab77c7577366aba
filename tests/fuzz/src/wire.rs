//! Targets over the codec: messages of peers and clients.

use vibecoin_consensus::{ConsensusMessage, GuardEntry, LogRecord};
use vibecoin_network::Envelope;
use vibecoin_primitives::{
    Account, AccountRow, Block, BlockPart, Body, ChainParams, CodecError, CommitCertificate, Encoded,
    Evidence, FaultModel, Hash, Header, Height, OffenceRecord, PartContent, ProposerSchedule, Receipt,
    Receipts, Round, SignedPart, SignedProposal, SignedVote, SlotRow, Transaction, TransactionBody,
    ValidatorSet, VoteKind, body_hash, decode, encode,
};
use vibecoin_replica::Message;
use vibecoin_tests_conformance as values;
use wincode::SchemaReadOwned;
use wincode::config::DefaultConfig;

type Seeds = Vec<(String, Vec<u8>)>;

fn seed<T: Encoded>(name: &str, value: &T) -> (String, Vec<u8>) {
    (name.to_owned(), encode(value))
}

/// Decodes, and checks the properties of every value: one form, within its limit.
fn read<T: Encoded + SchemaReadOwned<DefaultConfig, Dst = T>>(bytes: &[u8]) -> Option<T> {
    match decode::<T>(bytes) {
        Ok(value) => {
            assert!(
                bytes.len() <= T::BYTES_MAX,
                "{}: accepted over its limit",
                T::NAME
            );
            assert_eq!(encode(&value), bytes, "{}: two forms of one value", T::NAME);
            Some(value)
        }
        Err(CodecError::TooLarge { got, limit, .. }) => {
            assert!(got > limit && bytes.len() == got);
            None
        }
        Err(_) => None,
    }
}

/// A transaction, and its body alone.
pub fn transaction(bytes: &[u8]) {
    if let Some(body) = read::<TransactionBody>(bytes) {
        let signing = body.signing_bytes(&values::GENESIS);
        assert!(signing.ends_with(bytes), "the signed bytes end with the body");
    }
    let Some(transaction) = read::<Transaction>(bytes) else {
        return;
    };
    let (id, hash) = (transaction.id(&values::GENESIS), transaction.hash());
    let alone = transaction.clone().verify(&values::GENESIS);
    let batch = Transaction::verify_batch(vec![transaction.clone(), values::transfer()], &values::GENESIS);
    // The reason may differ: a batch does not distinguish a key that is not a point from a failed
    // equation.
    let accepted = batch.first().is_some_and(Result::is_ok);
    assert_eq!(accepted, alone.is_ok(), "a batch decides as one check does");
    assert!(
        matches!(batch.get(1), Some(Ok(_))),
        "a bad neighbour does not spoil a good transaction"
    );
    if let Ok(verified) = alone {
        assert_eq!((verified.id(), verified.hash()), (&id, &hash));
        assert_eq!(verified.byte_len() as usize, bytes.len());
    }
}

/// Seeds of [`transaction`].
pub fn transaction_seeds() -> Seeds {
    vec![
        seed("transfer", &values::transfer()),
        seed("operations", &values::many_operations()),
        seed("body", values::transfer().body()),
    ]
}

/// A header.
pub fn header(bytes: &[u8]) {
    if let Some(header) = read::<Header>(bytes) {
        let mut later = header.clone();
        later.round = Round(header.round.0.wrapping_add(1));
        assert_ne!(header.hash(), later.hash(), "the hash covers the round");
    }
}

/// Seeds of [`header`].
pub fn header_seeds() -> Seeds {
    vec![seed("header", &values::header())]
}

/// A block, and its body alone.
pub fn block(bytes: &[u8]) {
    if let Some(body) = read::<Body>(bytes) {
        check_body(&body, bytes);
    }
    if let Some(block) = read::<Block>(bytes) {
        check_body(&block.body, &encode(&block.body));
    }
}

fn check_body(body: &Body, encoded: &[u8]) {
    assert_eq!(body.hash(), body_hash(encoded));
    assert_eq!(body.transactions().count(), body.transaction_count());
    assert_eq!(body.evidence_root().is_zero(), body.v1().evidence.is_empty());
}

/// Seeds of [`block`].
pub fn block_seeds() -> Seeds {
    vec![
        seed("block", &values::block()),
        seed("body", &values::full_body()),
        seed("empty_body", &values::empty_body()),
    ]
}

/// A vote and a proposal.
pub fn vote(bytes: &[u8]) {
    if let Some(signed) = read::<SignedVote>(bytes)
        && signed.verify(&values::GENESIS).is_ok()
    {
        assert!(signed.verify(&Hash::ZERO).is_err(), "a vote counts on one chain");
    }
    if let Some(signed) = read::<SignedProposal>(bytes)
        && signed.verify(&values::GENESIS).is_ok()
    {
        assert!(
            signed.verify(&Hash::ZERO).is_err(),
            "a proposal counts on one chain"
        );
    }
}

/// Seeds of [`vote`].
pub fn vote_seeds() -> Seeds {
    vec![
        seed("prevote_nil", &values::vote(VoteKind::Prevote, None)),
        seed(
            "precommit",
            &values::vote(VoteKind::Precommit, Some(values::hash(0x0e))),
        ),
        seed("proposal", &values::proposal(None)),
        seed("proposal_again", &values::proposal(Some(Round(1)))),
    ]
}

/// A certificate, against the set that signed the seed.
pub fn certificate(bytes: &[u8]) {
    let Some(certificate) = read::<CommitCertificate>(bytes) else {
        return;
    };
    let set = values::validator_set();
    let (height, block) = (certificate.height, certificate.block);
    for model in [FaultModel::Byzantine, FaultModel::Crash] {
        if certificate
            .verify(&values::GENESIS, model, &set, height, &block)
            .is_ok()
        {
            // The fuzzer cannot sign: a valid certificate is the one that the fixed keys have
            // signed.
            assert_eq!(certificate, values::certificate(), "a certificate out of nowhere");
            assert!(model == FaultModel::Crash, "9 of 14 is no quorum of 2/3");
            assert_eq!(certificate.signers().len(), certificate.signatures.len());
        }
    }
    let other = Height(height.0.wrapping_add(1));
    assert!(
        certificate
            .verify(&values::GENESIS, FaultModel::Crash, &set, other, &block)
            .is_err()
    );
}

/// Seeds of [`certificate`].
pub fn certificate_seeds() -> Seeds {
    vec![seed("certificate", &values::certificate())]
}

/// Evidence, against the set that signed the seed.
pub fn evidence(bytes: &[u8]) {
    let Some(evidence) = read::<Evidence>(bytes) else {
        return;
    };
    let set = values::validator_set();
    if evidence.verify(&values::GENESIS, &set).is_ok() {
        let (offender, _) = evidence.offender();
        assert!(
            set.find(&offender).is_some(),
            "only a validator can be an offender"
        );
        assert!(
            evidence.verify(&Hash::ZERO, &set).is_err(),
            "evidence counts on one chain"
        );
    }
}

/// Seeds of [`evidence`].
pub fn evidence_seeds() -> Seeds {
    vec![
        seed("votes", &values::vote_evidence()),
        seed("proposals", &values::proposal_evidence()),
        seed("parts", &values::part_evidence()),
    ]
}

/// A part of a block, and its signed content alone.
pub fn part(bytes: &[u8]) {
    if let Some(signed) = read::<SignedPart>(bytes) {
        check_signed_part(&signed);
    }
    let Some(part) = read::<BlockPart>(bytes) else {
        return;
    };
    check_signed_part(&part.signed);
    if part.is_whole() {
        let mut other = part.clone();
        other.content = match part.content {
            PartContent::Opening { .. } => values::tick_part().content,
            PartContent::Tick(mut tick) => {
                tick.hash.0[0] ^= 1;
                PartContent::Tick(tick)
            }
        };
        assert!(!other.is_whole(), "a part with another content");
    }
}

fn check_signed_part(signed: &SignedPart) {
    if signed.verify(&values::GENESIS).is_ok() {
        assert!(signed.verify(&Hash::ZERO).is_err(), "a part counts on one chain");
        let set = values::validator_set();
        let alone = Evidence::parts(signed.clone(), signed.clone());
        assert!(
            alone.verify(&values::GENESIS, &set).is_err(),
            "one part is no proof"
        );
    }
}

/// Seeds of [`part`].
pub fn part_seeds() -> Seeds {
    vec![
        seed("opening", &values::opening_part()),
        seed("first_opening", &values::first_opening_part()),
        seed("tick", &values::tick_part()),
        seed("signed", &values::signed_part()),
    ]
}

/// A consensus message, a log record and a guard entry.
pub fn consensus(bytes: &[u8]) {
    if let Some(message) = read::<ConsensusMessage>(bytes) {
        let (height, round) = (message.height(), message.round());
        match &message {
            ConsensusMessage::Polka(polka) => {
                assert_eq!(polka.votes().count(), polka.signatures.len());
                assert!(
                    polka
                        .votes()
                        .all(|vote| (vote.vote.height, vote.vote.round) == (height, round))
                );
            }
            ConsensusMessage::Round(certificate) => {
                assert_eq!(certificate.signed_votes().count(), certificate.votes.len());
                assert!(certificate.signed_votes().all(|vote| vote.vote.height == height));
            }
            _ => {}
        }
    }
    if let Some(record) = read::<LogRecord>(bytes) {
        let _ = record.height();
    }
    if let Some(entry) = read::<GuardEntry>(bytes) {
        assert_eq!(entry.position(), entry.position());
    }
}

/// Seeds of [`consensus`].
pub fn consensus_seeds() -> Seeds {
    let named = |kind: &str, name: &str| format!("{kind}_{}", name.replace(' ', "_"));
    let messages = values::consensus_messages();
    let records = values::log_records();
    let entries = values::guard_entries();
    let messages = messages
        .iter()
        .map(|(name, message)| seed(&named("message", name), message));
    let records = records
        .iter()
        .map(|(name, record)| seed(&named("record", name), record));
    let entries = entries
        .iter()
        .map(|(name, entry)| seed(&named("guard", name), entry));
    messages.chain(records).chain(entries).collect()
}

const ENVELOPE: Envelope = Envelope::new(&values::GENESIS);

/// A message of a peer, in its envelope.
pub fn message(bytes: &[u8]) {
    if let Ok(message) = ENVELOPE.open(bytes) {
        assert_eq!(ENVELOPE.pack(&message), bytes, "two forms of one message");
        assert!(
            Envelope::new(&Hash::ZERO).open(bytes).is_err(),
            "a message counts on one chain"
        );
    }
}

/// Seeds of [`message`].
pub fn message_seeds() -> Seeds {
    let pack = |(name, message): &(&str, Message)| (name.replace(' ', "_"), ENVELOPE.pack(message));
    values::messages().iter().map(pack).collect()
}

/// Stored values: receipts, accounts, rows, sets, schedules, parameters.
pub fn records(bytes: &[u8]) {
    read::<Receipt>(bytes);
    if let Some(receipts) = read::<Receipts>(bytes) {
        assert_eq!(receipts.root().is_zero(), receipts.0.is_empty());
    }
    read::<Account>(bytes);
    read::<AccountRow>(bytes);
    read::<SlotRow>(bytes);
    if let Some(params) = read::<ChainParams>(bytes)
        && params.check().is_ok()
    {
        assert!(params.prefix().is_ok(), "checked parameters have a prefix");
        assert!(params.ticks_in_round(Round(1)) >= 1, "every block has a tick");
    }
    let set = read::<ValidatorSet>(bytes).filter(|set| set.check().is_ok());
    read::<OffenceRecord>(bytes);
    if let Some(schedule) = read::<ProposerSchedule>(bytes) {
        let set = values::validator_set();
        let proposer = schedule.proposer(&set, Height(5), Round(7));
        assert_eq!(
            proposer.is_some(),
            !schedule.turns.is_empty(),
            "somebody proposes"
        );
        let later = schedule.after(&set, Height(5), Round(7));
        assert_eq!(later.turns.len(), schedule.turns.len());
    }
    if let Some(set) = set {
        let schedule = ProposerSchedule::genesis(&set);
        assert!(
            schedule.proposer(&set, Height(1), Round(0)).is_some(),
            "a checked set has a proposer"
        );
    }
}

/// Seeds of [`records`].
pub fn record_seeds() -> Seeds {
    let mut seeds = vec![
        seed("receipts", &values::receipts()),
        seed("account", &values::account()),
        seed("full_account", &values::full_account()),
        seed("account_row", &values::account_row()),
        seed("slot_row", &values::slot_row()),
        seed("params", &values::crash_params()),
        seed("set", &values::validator_set()),
        seed("schedule", &values::schedule()),
    ];
    seeds.extend(
        values::failures()
            .iter()
            .map(|(name, receipt)| seed(&name.replace(' ', "_"), receipt)),
    );
    seeds
}
