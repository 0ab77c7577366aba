#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

use std::collections::BTreeMap;

use crossbeam_channel::bounded;
use parking_lot::Mutex;
use vibecoin_consensus::MonoTime;
use vibecoin_primitives::{
    Address, Amount, BLOCK_VERSION, BlockPart, BodyV1, ChainParams, CommitCertificate, CommitSignature, Hash,
    Header, Nonce, Operation, PartStatement, Power, PublicKey, Round, SecretKey, Signature, Tick, TimeMs,
    TransactionBody, Validator, ValidatorSet, body_hash, encode, signature_checks,
};

use vibecoin_replica::{CertifiedBlock, Intake, Ruling, Stand};

use super::*;

const FROM: PeerId = PeerId(7);

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn chain() -> Chain {
    let validator = Validator {
        key: key(1).public_key(),
        power: Power(1),
        payout: Address::from(key(101).public_key()),
    };
    let set = ValidatorSet::new(vec![validator]).unwrap();
    Chain::new(Hash([9; 32]), ChainParams::devnet(), set)
}

fn transaction(nonce: u64) -> Transaction {
    let chain = chain();
    let body = TransactionBody {
        chain: chain.genesis.prefix(),
        sender: key(50).public_key(),
        nonce: Nonce(nonce),
        fee: Amount(1_000),
        valid_until: Height(50),
        operations: vec![Operation::Transfer {
            to: Address::from(key(51).public_key()),
            amount: Amount(5),
        }],
    };
    body.sign(&chain.genesis, &key(50))
}

/// A transaction with the signature of a different one.
fn forged(nonce: u64) -> Transaction {
    let chain = chain();
    let body = transaction(nonce).body().clone();
    let other = TransactionBody {
        sender: key(52).public_key(),
        ..body
    };
    other.sign(&chain.genesis, &key(50))
}

fn body(transactions: Vec<Transaction>) -> Body {
    Body::V1(BodyV1 {
        ticks: vec![Tick {
            hash: Hash([3; 32]),
            transactions,
        }],
        last_commit: None,
        evidence: Vec::new(),
    })
}

fn header(height: u64, parent: Hash, body: &[u8]) -> Header {
    let zero = Hash::ZERO;
    Header {
        version: BLOCK_VERSION,
        height: Height(height),
        round: Round(0),
        proposer: key(1).public_key(),
        parent,
        time: TimeMs(1),
        ticks: 1,
        poh_seq: 0,
        poh_hash: zero,
        body_hash: body_hash(body),
        tx_root: zero,
        receipt_root: zero,
        evidence_root: zero,
        state_root: zero,
        validators_hash: zero,
        next_validators_hash: zero,
        params_hash: zero,
        last_commit_hash: zero,
    }
}

fn certified(header: Header, body: Vec<u8>) -> CertifiedBlock {
    let mut certificate = CommitCertificate {
        height: header.height,
        round: Round(0),
        block: header.hash(),
        signatures: Vec::new(),
    };
    let precommit = certificate.precommit(key(1).public_key());
    let signed = precommit.sign(&chain().genesis, &key(1));
    certificate.signatures.push(CommitSignature {
        validator: key(1).public_key(),
        signature: signed.signature,
    });
    CertifiedBlock {
        header,
        body,
        certificate,
    }
}

/// Blocks 5 to 7, each with these transactions.
fn run_of_blocks(transactions: &[Transaction]) -> Vec<CertifiedBlock> {
    let mut parent = Hash([4; 32]);
    let block = |height| {
        let body = encode(&body(transactions.to_vec()));
        let header = header(height, parent, &body);
        parent = header.hash();
        certified(header, body)
    };
    (5..8).map(block).collect()
}

fn part(transactions: Vec<Transaction>) -> BlockPart {
    let content = PartContent::Tick(Tick {
        hash: Hash([3; 32]),
        transactions,
    });
    let statement = PartStatement {
        height: Height(5),
        round: Round(0),
        proposer: key(1).public_key(),
        parent: Hash::ZERO,
        sequence: 1,
        digest: content.digest(),
    };
    let signed = statement.sign(&chain().genesis, &key(1));
    BlockPart { signed, content }
}

fn blocks(blocks: Vec<CertifiedBlock>) -> Message {
    let from = Height(5);
    Message::SyncResponse { from, blocks }
}

struct Bench {
    inspector: Inspector,
    checked: Receiver<NodeEvent>,
    refusals: Arc<Mutex<Vec<Refusal>>>,
    alive: Sender<()>,
}

fn bench() -> Bench {
    let (checked_in, checked) = bounded(16);
    let (alive, alive_out) = bounded(0);
    let refusals = Arc::new(Mutex::new(Vec::new()));
    let noted = refusals.clone();
    let inspector = Inspector {
        chain: chain(),
        known: Box::new(|_| false),
        queue: Arc::new(FairQueue::new([LIVE, ANSWERS])),
        alive: alive_out,
        checked: checked_in,
        report: Arc::new(move |_, refusal| noted.lock().push(*refusal)),
    };
    Bench {
        inspector,
        checked,
        refusals,
        alive,
    }
}

/// Result of a message: refusals, and one word for each message passed on.
fn look_at(message: Message) -> (Vec<Refusal>, Vec<String>) {
    let Bench {
        inspector,
        checked,
        refusals,
        alive: _alive,
    } = bench();
    let mut keys = Keys::default();
    let unverified = Unverified {
        from: FROM,
        message,
        is_evidence: false,
    };
    if matches!(unverified.message, Message::SyncResponse { .. }) {
        let mut answer = inspector.begin(unverified);
        while let Some(current) = answer.take() {
            answer = inspector.go_on(current, &mut keys).unwrap();
        }
    } else {
        inspector.look_at(unverified, &mut keys).unwrap();
    }
    let found = refusals.lock().clone();
    (found, checked.try_iter().map(word).collect())
}

fn word(event: NodeEvent) -> String {
    match event {
        NodeEvent::Message {
            message, verified, ..
        } => match *message {
            Message::Part(_) => format!("part, {} verified", verified.len()),
            other => panic!("{other:?}"),
        },
        NodeEvent::Body { verified, .. } => format!("body, {} verified", verified.len()),
        NodeEvent::Blocks { blocks, verified, .. } => {
            format!("{} blocks, {} verified", blocks.len(), verified.len())
        }
        NodeEvent::Refused { height, .. } => format!("refused from {height}"),
        _ => panic!("nothing else is passed on"),
    }
}

fn check_good(message: Message, expected: &str) {
    assert_eq!(look_at(message), (Vec::new(), vec![expected.to_owned()]));
}

#[test]
fn the_signatures_of_a_body_past_its_bounds_are_not_looked_at() {
    let most = chain().params.block_transactions_max as usize;
    let signed = transaction(1);
    for (count, looked_at) in [(most, true), (most + 1, false)] {
        let body = encode(&body(vec![signed.clone(); count]));
        let header = Box::new(header(2, Hash::ZERO, &body));
        let before = signature_checks();
        let (refusals, passed) = look_at(Message::Body { header, body });
        assert_eq!(signature_checks() > before, looked_at, "{count}");
        assert_eq!(
            (refusals.len(), passed.len()),
            (0, 1),
            "the replica says what is wrong"
        );
    }
}

/// Every kind of refusal costs at most one signature check. Only if a part's own signature is valid is there
/// one more, of all its transactions in one batch.
fn check_refused(message: Message, kind: Refused, checks: u32, passed_on: &[&str]) {
    let of_its_own = u64::from(kind == Refused::Transactions);
    check_cost(message, kind, checks, passed_on, u64::from(checks) + of_its_own);
}

fn check_cost(message: Message, kind: Refused, checks: u32, passed_on: &[&str], cost: u64) {
    let before = signature_checks();
    let (refusals, passed) = look_at(message);
    assert_eq!(signature_checks() - before, cost, "{refusals:?}");
    let [refusal] = refusals.as_slice() else {
        panic!("{refusals:?}");
    };
    assert_eq!(
        (refusal.kind, refusal.checks),
        (kind, checks),
        "{}",
        refusal.reason
    );
    assert_eq!(passed, passed_on);
}

/// The intake rules of the peer, at the turn of another validator.
fn intake() -> Intake {
    let mut intake = Intake::new(&chain().params);
    intake.connected(FROM, Some(key(1).public_key()));
    intake.stand(Stand {
        height: Height(5),
        round: Round(0),
        first: Round(0),
        turns: vec![key(2).public_key()],
        next_turns: Vec::new(),
    });
    intake
}

/// The refusal of a message that breaks this rule, and the number of signature checks made for it.
fn broken(kind: Refused) -> (Refusal, u64) {
    let ask = Message::SyncRequest {
        from: Height(5),
        count: 2,
    };
    let now = MonoTime(1_000_000);
    let mut intake = intake();
    let good = run_of_blocks(&[transaction(0)]);
    let message = match kind {
        Refused::Unasked => blocks(good),
        Refused::Oversized => {
            intake.asked(FROM, &ask, now);
            blocks(good)
        }
        Refused::Repeated => {
            intake.asked(FROM, &ask, now);
            let two = blocks(good[..2].to_vec());
            assert_eq!(intake.rule(FROM, &two, now), Ruling::Take);
            two
        }
        Refused::Flood => {
            // The first one beyond the bound is a fault; of later ones a sample is.
            let status = Message::Status { height: Height(3) };
            let rulings = std::iter::repeat_with(|| (signature_checks(), intake.rule(FROM, &status, now)));
            let refused = rulings.take(10_000).find_map(|(before, ruling)| match ruling {
                Ruling::Refuse(refusal) => Some((refusal, signature_checks() - before)),
                _ => None,
            });
            return refused.unwrap();
        }
        Refused::OutOfTurn => Message::Part(Box::new(part(vec![transaction(0)]))),
        Refused::Mismatch => {
            let mut other = part(vec![transaction(0)]);
            other.content = part(vec![transaction(1)]).content;
            Message::Part(Box::new(other))
        }
        Refused::Signature => {
            let mut unsigned = part(vec![transaction(0)]);
            unsigned.signed.signature = Signature([7; 64]);
            Message::Part(Box::new(unsigned))
        }
        Refused::Certificate => {
            let mut first = good;
            first[0].certificate.signatures[0].signature = Signature([7; 64]);
            blocks(first)
        }
        Refused::Transactions => Message::Part(Box::new(part(vec![transaction(0), forged(1)]))),
    };
    let before = signature_checks();
    if let Ruling::Refuse(refusal) = intake.rule(FROM, &message, now)
        && refusal.kind == kind
    {
        return (refusal, signature_checks() - before);
    }
    let (refusals, _) = look_at(message);
    (refusals[0], signature_checks() - before)
}

/// A message is refused at the cost of at most one signature check, whatever rule it breaks. A part with a
/// valid signature and an invalid transaction costs one more: the batch of all its transactions.
#[test]
fn a_message_that_breaks_a_rule_costs_one_check_at_most_whatever_the_rule() {
    for kind in Refused::ALL {
        let (refusal, cost) = broken(kind);
        assert_eq!(refusal.kind, kind, "{}", refusal.reason);
        assert!(refusal.checks <= 1, "{kind:?}: {} checks", refusal.checks);
        let batch = u64::from(kind == Refused::Transactions);
        assert_eq!(cost, u64::from(refusal.checks) + batch, "{kind:?}");
    }
}

#[test]
fn what_is_right_is_passed_on_with_its_transactions_checked() {
    let two = vec![transaction(0), transaction(1)];
    check_good(Message::Part(Box::new(part(two.clone()))), "part, 2 verified");
    let body = encode(&body(two.clone()));
    let header = Box::new(header(5, Hash::ZERO, &body));
    check_good(Message::Body { header, body }, "body, 2 verified");
    check_good(blocks(run_of_blocks(&two)), "3 blocks, 6 verified");
    check_good(blocks(Vec::new()), "0 blocks, 0 verified");
}

#[test]
fn a_part_with_another_content_or_signature_is_refused_before_its_transactions() {
    let good = part(vec![transaction(0)]);
    let mut other = good.clone();
    other.content = part(vec![transaction(1)]).content;
    check_refused(Message::Part(Box::new(other)), Refused::Mismatch, 0, &[]);
    let mut unsigned = good;
    unsigned.signed.signature = Signature([7; 64]);
    check_refused(Message::Part(Box::new(unsigned)), Refused::Signature, 1, &[]);
}

#[test]
fn a_bad_transaction_in_a_part_is_its_proposers_fault_and_in_a_body_nobodys() {
    let bad = vec![transaction(0), forged(1)];
    let message = Message::Part(Box::new(part(bad.clone())));
    check_refused(message, Refused::Transactions, 1, &["part, 0 verified"]);
    let body = encode(&body(bad));
    let header = Box::new(header(5, Hash::ZERO, &body));
    check_good(Message::Body { header, body }, "body, 0 verified");
}

#[test]
fn a_body_that_is_not_the_headers_is_refused_without_a_check() {
    let header = Box::new(header(5, Hash::ZERO, b"another"));
    let body = encode(&body(vec![transaction(0)]));
    check_refused(Message::Body { header, body }, Refused::Mismatch, 0, &[]);
}

#[test]
fn an_answer_is_refused_for_its_form_links_and_bodies_without_a_check() {
    let good = run_of_blocks(&[transaction(0)]);
    let refused = ["refused from 5"];
    let mut gap = good.clone();
    gap.remove(1);
    check_refused(blocks(gap), Refused::Mismatch, 0, &refused);
    let mut unlinked = good.clone();
    let body = unlinked[1].body.clone();
    unlinked[1] = certified(header(6, Hash([8; 32]), &body), body);
    check_refused(blocks(unlinked), Refused::Mismatch, 0, &refused);
    let mut swapped = good;
    swapped[2].body = encode(&self::body(vec![transaction(3)]));
    check_refused(blocks(swapped), Refused::Mismatch, 0, &refused);
}

#[test]
fn an_answer_is_refused_at_the_first_bad_certificate_and_what_came_before_it_is_kept() {
    let good = run_of_blocks(&[transaction(0)]);
    let mut first = good.clone();
    first[0].certificate.signatures[0].signature = Signature([7; 64]);
    check_refused(blocks(first), Refused::Certificate, 1, &["refused from 5"]);
    let mut none = good.clone();
    none[0].certificate.signatures.clear();
    check_refused(blocks(none), Refused::Certificate, 0, &["refused from 5"]);
    let mut last = good;
    last[2].certificate.signatures[0].validator = PublicKey([8; 32]);
    let kept = ["2 blocks, 2 verified", "refused from 7"];
    // Certificates and transactions of the two valid ones.
    check_cost(blocks(last), Refused::Certificate, 0, &kept, 4);
}

#[test]
fn parts_go_before_an_answer_that_came_earlier() {
    let Bench {
        inspector,
        checked,
        alive,
        ..
    } = bench();
    let push = |class, message| {
        let unverified = Unverified {
            from: FROM,
            message,
            is_evidence: false,
        };
        assert!(inspector.queue.push(class, FROM, 1_000, unverified));
    };
    push(1, blocks(run_of_blocks(&[transaction(0)])));
    push(0, Message::Part(Box::new(part(vec![transaction(1)]))));
    let order: Vec<String> = std::thread::scope(|scope| {
        let thread = scope.spawn(move || inspector.run());
        let order = checked.iter().take(2).map(word).collect();
        drop(alive);
        thread.join().unwrap();
        order
    });
    assert_eq!(order, ["part, 1 verified", "3 blocks, 3 verified"]);
}

#[test]
fn a_flood_of_answers_leaves_the_room_of_parts_alone() {
    let Bench { inspector, .. } = bench();
    let answer = |from| Unverified {
        from: PeerId(from),
        message: blocks(Vec::new()),
        is_evidence: false,
    };
    let mut taken = BTreeMap::new();
    for from in (1..9).cycle().take(80) {
        let fits = inspector.queue.push(1, PeerId(from), 12 * MIB, answer(from));
        *taken.entry(from).or_insert(0) += usize::from(fits);
    }
    assert!(inspector.queue.bytes(1) <= ANSWERS.bytes_max);
    assert!(taken.values().all(|count| *count <= 1), "{taken:?}");
    let part = Unverified {
        from: FROM,
        message: Message::Part(Box::new(part(Vec::new()))),
        is_evidence: false,
    };
    assert!(inspector.queue.push(0, FROM, 4 * MIB, part));
}

#[test]
fn signatures_checked_on_two_threads_give_the_transactions_in_order_and_one_bad_one_refuses_all() {
    let count = 2 * TWO_THREADS_FROM as u64;
    let good: Vec<Transaction> = (0..count).map(transaction).collect();
    let genesis = chain().genesis;
    let mut keys = Keys::default();
    let checked = check_signatures(good.clone(), &genesis, &mut keys).unwrap();
    let hashes = |all: &[Transaction]| all.iter().map(Transaction::hash).collect::<Vec<_>>();
    let found: Vec<Hash> = checked.iter().map(|transaction| *transaction.hash()).collect();
    assert_eq!(found, hashes(&good));
    for at in [0, count / 2 - 1, count / 2, count - 1] {
        let mut bad = good.clone();
        bad[usize::try_from(at).unwrap()] = forged(at);
        assert!(check_signatures(bad, &genesis, &mut keys).is_none(), "{at}");
    }
}
