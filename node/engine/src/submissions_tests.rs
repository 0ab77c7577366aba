#![allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects)]

use std::net::{IpAddr, Ipv4Addr};

use vibecoin_primitives::{
    Address, Amount, Height, Nonce, Operation, PublicKey, Signature, TransactionBody, TransactionError,
    TransactionV1,
};

use vibecoin_rpc_backend::Refusal;

use super::*;

fn caller(last: u8) -> Caller {
    Caller {
        address: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))),
        connection: 0,
    }
}

/// Unsigned transactions with nonces from `first` on, each with a slot of `slot_bytes` bytes.
fn transactions(first: u64, count: usize, slot_bytes: usize) -> Vec<Transaction> {
    let one = |nonce| {
        let mut operations = vec![Operation::Transfer {
            to: Address([7; 32]),
            amount: Amount(1),
        }];
        if slot_bytes > 0 {
            operations.push(Operation::SetStorage {
                slot: vibecoin_primitives::Hash([1; 32]),
                value: vec![0; slot_bytes],
            });
        }
        Transaction::V1(TransactionV1 {
            body: TransactionBody {
                chain: [0; 4],
                sender: PublicKey([1; 32]),
                nonce: Nonce(nonce),
                fee: Amount(1),
                valid_until: Height(9),
                operations,
            },
            signature: Signature([0; 64]),
        })
    };
    (first..).take(count).map(one).collect()
}

type Answer = oneshot::Receiver<Vec<Outcome>>;

fn push(queue: &SubmissionSender, from: Caller, transactions: Vec<Transaction>) -> Result<Answer, Refused> {
    let (reply, answer) = oneshot::channel();
    queue.push(from, transactions, reply).map(|()| answer)
}

/// The last byte of each slice's caller, with the nonces of its first and last transaction.
fn shown(slices: &[Slice]) -> Vec<(u8, u64, u64)> {
    let nonce = |transaction: Option<&Transaction>| transaction.unwrap().body().nonce.0;
    let show = |slice: &Slice| {
        let Some(IpAddr::V4(address)) = slice.caller.address else {
            panic!("{:?}", slice.caller);
        };
        let [.., last] = address.octets();
        let transactions = &slice.transactions;
        (last, nonce(transactions.first()), nonce(transactions.last()))
    };
    slices.iter().map(show).collect()
}

#[test]
fn callers_take_turns_slice_by_slice_and_each_keeps_its_order() {
    let (sender, receiver) = submissions();
    let _a = push(&sender, caller(1), transactions(0, 100, 0)).unwrap();
    let _b = push(&sender, caller(2), transactions(0, 40, 0)).unwrap();
    let _more_of_a = push(&sender, caller(1), transactions(100, 1, 0)).unwrap();
    let large = receiver.take(Line::Large);
    let expected = [
        (1, 0, 31),
        (2, 0, 31),
        (1, 32, 63),
        (2, 32, 39),
        (1, 64, 95),
        (1, 96, 99),
    ];
    assert_eq!(shown(&large), expected);
    assert_eq!(
        shown(&receiver.take(Line::Small)),
        [(1, 100, 100)],
        "behind its own, whatever its size"
    );
    assert_eq!(receiver.held(), (0, 0));
}

#[test]
fn the_next_round_goes_on_with_the_next_caller() {
    let (sender, receiver) = submissions();
    let kept: Vec<Answer> = (1..=20)
        .map(|last| push(&sender, caller(last), transactions(0, 100, 0)).unwrap())
        .collect();
    let callers = |slices: Vec<Slice>| shown(&slices).into_iter().map(|(last, ..)| last).collect();
    let first: Vec<u8> = callers(receiver.take(Line::Large));
    let second: Vec<u8> = callers(receiver.take(Line::Large));
    assert_eq!(first, (1..=16).collect::<Vec<u8>>());
    assert_eq!(second, (17..=20).chain(1..=12).collect::<Vec<u8>>());
    drop(kept);
}

#[test]
fn a_small_submission_passes_the_large_ones_of_others() {
    let (sender, receiver) = submissions();
    let _flood: Vec<Answer> = (0..20)
        .map(|call| push(&sender, caller(1), transactions(call * 100, 100, 0)).unwrap())
        .collect();
    let _single = push(&sender, caller(2), transactions(5, 1, 0)).unwrap();
    assert_eq!(shown(&receiver.take(Line::Small)), [(2, 5, 5)]);
    let taken: usize = receiver
        .take(Line::Large)
        .iter()
        .map(|slice| slice.transactions.len())
        .sum();
    assert_eq!(taken, LARGE_ROUND_MAX, "and is never further away than this");
}

#[test]
fn a_bad_signature_puts_its_caller_last_and_shrinks_its_share() {
    let (sender, receiver) = submissions();
    receiver.judge(caller(1), false);
    let mut kept = Vec::new();
    while let Ok(answer) = push(&sender, caller(1), transactions(0, 100, 0)) {
        kept.push(answer);
    }
    assert!((TAINTED_BYTES_MAX / 2..=TAINTED_BYTES_MAX).contains(&receiver.held().0));
    kept.push(push(&sender, caller(2), transactions(0, 100, 0)).unwrap());
    assert_eq!(receiver.take(Line::Large).len(), 4, "of the other caller alone");
    let of_tainted = receiver.take(Line::Tainted);
    assert_eq!(shown(&of_tainted), [(1, 0, 31)], "one slice in a round");
    for _ in 1..SLICES_PER_FAULT {
        receiver.judge(caller(1), true);
    }
    assert!(receiver.take(Line::Large).is_empty());
    receiver.judge(caller(1), true);
    assert_eq!(shown(&receiver.take(Line::Large)).first(), Some(&(1, 32, 63)));
}

#[test]
fn a_full_queue_takes_from_whoever_has_most_and_never_holds_more_than_its_bound() {
    let (sender, receiver) = submissions();
    let mut kept: BTreeMap<u8, Vec<Answer>> = BTreeMap::new();
    for last in 1..=5 {
        while let Ok(answer) = push(&sender, caller(last), transactions(0, 100, 2048)) {
            kept.entry(last).or_default().push(answer);
            assert!(receiver.held().0 <= SUBMISSIONS.bytes_max);
            assert!(
                kept.values().map(Vec::len).sum::<usize>() < 1000,
                "no caller has an end"
            );
        }
    }
    let displaced = |kept: &mut BTreeMap<u8, Vec<Answer>>| {
        let answers = kept.values_mut().flatten();
        answers
            .filter_map(|answer| answer.try_recv().ok())
            .collect::<Vec<_>>()
    };
    let before = displaced(&mut kept).len();
    assert!(before > 0, "four have filled it, the fifth takes from them");
    let held = receiver.held();
    let mut small = push(&sender, caller(9), transactions(0, 1, 0)).unwrap();
    if receiver.held().1 < held.1 {
        let lost = displaced(&mut kept);
        assert_eq!(lost.len(), 1);
        assert!(lost.iter().flatten().all(is_busy));
    }
    assert!(small.try_recv().is_err(), "it waits");
    assert_eq!(shown(&receiver.take(Line::Small)), [(9, 0, 0)]);
}

#[test]
fn those_with_a_bad_signature_make_room_first() {
    let (sender, receiver) = submissions();
    let mut tainted = push(&sender, caller(9), transactions(0, 100, 2048)).unwrap();
    receiver.judge(caller(9), false);
    let (mut kept, mut is_lost) = (Vec::new(), false);
    for last in 1..=4 {
        while !is_lost && let Ok(answer) = push(&sender, caller(last), transactions(0, 100, 2048)) {
            kept.push(answer);
            is_lost = tainted.try_recv().is_ok();
        }
    }
    assert!(is_lost, "it is the first to lose");
    let busy = |answer: &mut Answer| answer.try_recv().is_ok();
    assert!(
        kept.iter_mut().all(|answer| !busy(answer)),
        "nobody else has lost anything"
    );
    assert!(receiver.take(Line::Tainted).is_empty());
}

fn verdict(of: usize) -> Outcome {
    Err(Rejected::unverified(TransactionError::OperationCount { got: of }))
}

fn is_busy(verdict: &Outcome) -> bool {
    matches!(verdict, Err(Rejected { reason, .. }) if *reason == Refusal::from(BUSY))
}

#[test]
fn verdicts_of_slices_come_together_in_order() {
    let (sender, receiver) = submissions();
    let mut answer = push(&sender, caller(1), transactions(0, 70, 0)).unwrap();
    let mut slices = receiver.take(Line::Large);
    assert_eq!(shown(&slices), [(1, 0, 31), (1, 32, 63), (1, 64, 69)]);
    while let Some(slice) = slices.pop() {
        assert!(answer.try_recv().is_err(), "not before all are there");
        let nonces = slice.transactions.iter().map(|t| t.body().nonce.0);
        slice.part.fill(
            nonces
                .map(|nonce| verdict(usize::try_from(nonce).unwrap()))
                .collect(),
        );
    }
    let verdicts = answer.try_recv().unwrap();
    let shown: Vec<String> = verdicts.iter().map(|v| format!("{v:?}")).collect();
    let expected: Vec<String> = (0..70).map(|of| format!("{:?}", verdict(of))).collect();
    assert_eq!(shown, expected);
}

#[test]
fn what_was_begun_and_displaced_is_answered_in_full() {
    let (reply, mut answer) = oneshot::channel();
    let mut entry = Entry::new(transactions(0, 40, 0), reply);
    let (taken, part, _) = entry.cut(SLICE_MAX);
    assert_eq!(taken.len(), 32);
    entry.displace();
    assert!(answer.try_recv().is_err());
    part.fill((0..32).map(verdict).collect());
    let verdicts = answer.try_recv().unwrap();
    let busy = verdicts.iter().filter(|verdict| is_busy(verdict));
    assert_eq!((verdicts.len(), busy.count()), (40, 8));
}

#[test]
fn a_slice_is_bounded_in_bytes_too() {
    let (sender, receiver) = submissions();
    let _kept = push(&sender, caller(1), transactions(0, 100, 4000)).unwrap();
    let slices = receiver.take(Line::Large);
    for slice in &slices {
        let bytes = slice.transactions.iter().map(transaction_bytes).sum::<usize>();
        assert!(bytes <= SLICE_BYTES_MAX);
    }
    assert_eq!(
        slices.iter().map(|slice| slice.transactions.len()).sum::<usize>(),
        100
    );
}

#[test]
fn either_end_learns_of_the_end_of_the_other() {
    let (sender, receiver) = submissions();
    let mut answer = push(&sender, caller(1), transactions(0, 1, 0)).unwrap();
    drop(receiver);
    let ended = answer.try_recv().err();
    assert_eq!(ended, Some(oneshot::error::TryRecvError::Closed));
    assert_eq!(
        push(&sender, caller(1), transactions(0, 1, 0)).err(),
        Some(Refused::Ended)
    );

    let (sender, receiver) = submissions();
    let _waits = push(&sender, caller(1), transactions(0, 1, 0)).unwrap();
    assert!(receiver.bell().try_recv().is_ok());
    drop(sender);
    assert!(
        receiver.bell().try_recv().is_ok() && !receiver.is_done(),
        "one waits"
    );
    assert_eq!(receiver.take(Line::Small).len(), 1);
    assert!(receiver.is_done());
}

#[test]
fn only_so_many_tainted_callers_are_remembered() {
    let mut tainted = Tainted::default();
    let number = |connection| Caller {
        connection,
        ..caller(1)
    };
    for connection in 0..3_000 {
        tainted.judge(number(connection), false);
    }
    assert_eq!(tainted.callers.len(), TAINTED_MAX);
    assert!(tainted.has(number(2_999)) && !tainted.has(number(0)));
}
