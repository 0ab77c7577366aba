//! Values of the consensus crate and of the wire: messages, log records, guard entries.

use vibecoin_consensus::{
    ConsensusMessage, GuardEntry, GuardStep, LogRecord, PolkaCertificate, RoundCertificate,
    RoundCertificateKind, RoundVote, TimeoutStep, VoteSignature,
};
use vibecoin_primitives::{Hash, Height, Round, SignedVote, VoteKind, encode};
use vibecoin_replica::{CertifiedBlock, Message};

use crate::{
    GENESIS, block, certificate, full_body, hash, header, key, opening_part, part_evidence, proposal, public,
    tick_part, transfer, vote,
};

/// The vote of key `n` at height 7 in round 3.
fn vote_of(n: u8, kind: VoteKind, block: Option<Hash>) -> SignedVote {
    vibecoin_tests_support::vote(&GENESIS, &key(n), kind, (Height(7), Round(3)), block)
}

/// The prevotes of keys 2, 3 and 4 for one block.
#[must_use]
pub fn polka_certificate() -> PolkaCertificate {
    let block = hash(0x0e);
    let mut signatures: Vec<VoteSignature> = [2, 3, 4]
        .map(|n| {
            let signed = vote_of(n, VoteKind::Prevote, Some(block));
            VoteSignature {
                validator: signed.vote.validator,
                signature: signed.signature,
            }
        })
        .to_vec();
    signatures.sort_by_key(|entry| entry.validator);
    PolkaCertificate {
        height: Height(7),
        round: Round(3),
        block,
        signatures,
    }
}

/// Votes of keys 2 and 3 of different kinds.
#[must_use]
pub fn round_certificate(kind: RoundCertificateKind) -> RoundCertificate {
    let votes = [
        (2, VoteKind::Prevote, Some(hash(0x0e))),
        (3, VoteKind::Precommit, None),
    ];
    let mut votes: Vec<RoundVote> = votes
        .map(|(n, kind, block)| {
            let SignedVote { vote, signature } = vote_of(n, kind, block);
            RoundVote {
                kind,
                block,
                validator: vote.validator,
                signature,
            }
        })
        .to_vec();
    votes.sort_by_key(|entry| entry.validator);
    RoundCertificate {
        height: Height(7),
        round: Round(3),
        kind,
        votes,
    }
}

/// A message of every kind, with its name.
#[must_use]
pub fn consensus_messages() -> Vec<(&'static str, ConsensusMessage)> {
    vec![
        ("vote", ConsensusMessage::Vote(vote(VoteKind::Precommit, None))),
        ("proposal", ConsensusMessage::Proposal(Box::new(proposal(None)))),
        ("polka", ConsensusMessage::Polka(polka_certificate())),
        (
            "skip round",
            ConsensusMessage::Round(round_certificate(RoundCertificateKind::Skip)),
        ),
        (
            "next round",
            ConsensusMessage::Round(round_certificate(RoundCertificateKind::Precommit)),
        ),
    ]
}

/// A log record of every kind, with its name.
#[must_use]
pub fn log_records() -> Vec<(&'static str, LogRecord)> {
    let timeout = |step| LogRecord::Timeout {
        height: Height(7),
        round: Round(3),
        step,
    };
    let value = |valid_round, valid| LogRecord::Value {
        header: Box::new(header()),
        round: Round(3),
        valid_round,
        proposer: public(2),
        valid,
    };
    vec![
        ("vote", LogRecord::Vote(vote(VoteKind::Prevote, None))),
        ("proposal", LogRecord::Proposal(Box::new(proposal(None)))),
        ("propose timeout", timeout(TimeoutStep::Propose)),
        ("prevote timeout", timeout(TimeoutStep::Prevote)),
        ("precommit timeout", timeout(TimeoutStep::Precommit)),
        ("good value", value(Some(Round(1)), true)),
        ("bad value", value(None, false)),
        ("polka", LogRecord::Polka(polka_certificate())),
        ("block", LogRecord::Block(Box::new(block()))),
    ]
}

/// A guard entry of every step, with its name.
#[must_use]
pub fn guard_entries() -> Vec<(&'static str, GuardEntry)> {
    let signed = vote(VoteKind::Precommit, Some(hash(0x0e)));
    let digest = hash(0x2a);
    let entry = |step, block, signature| GuardEntry {
        height: Height(7),
        round: Round(3),
        step,
        block,
        digest,
        signature,
    };
    let signature = Some(signed.signature);
    vec![
        ("building", entry(GuardStep::Building, None, None)),
        (
            "proposal",
            entry(GuardStep::Proposal, Some(hash(0x0e)), signature),
        ),
        ("prevote", entry(GuardStep::Prevote, None, signature)),
        (
            "precommit",
            entry(GuardStep::Precommit, Some(hash(0x0e)), signature),
        ),
    ]
}

/// A message between nodes of every kind, with its name.
#[must_use]
pub fn messages() -> Vec<(&'static str, Message)> {
    let body = encode(&full_body());
    let certified = CertifiedBlock {
        header: header(),
        body: body.clone(),
        certificate: certificate(),
    };
    vec![
        (
            "consensus",
            Message::Consensus(ConsensusMessage::Vote(vote(VoteKind::Prevote, None))),
        ),
        (
            "body",
            Message::Body {
                header: Box::new(header()),
                body,
            },
        ),
        (
            "body request",
            Message::BodyRequest {
                height: Height(7),
                block: hash(0x0e),
            },
        ),
        (
            "sync request",
            Message::SyncRequest {
                from: Height(7),
                count: 3,
            },
        ),
        (
            "sync response",
            Message::SyncResponse {
                from: header().height,
                blocks: vec![certified],
            },
        ),
        ("transactions", Message::Transactions(vec![transfer()])),
        ("opening", Message::Part(Box::new(opening_part()))),
        ("tick", Message::Part(Box::new(tick_part()))),
        ("evidence", Message::Evidence(Box::new(part_evidence()))),
        ("status", Message::Status { height: Height(7) }),
    ]
}
