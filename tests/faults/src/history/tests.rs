//! Hand-made histories: a valid one, and one for every violation.

use std::collections::BTreeMap;

use vibecoin_primitives::{Address, Hash};

use super::*;

const SECOND: u64 = 1_000_000;

fn account(number: u8) -> Address {
    Address([number; 32])
}

fn hash(number: u64) -> Hash {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(number.to_le_bytes()) {
        *to = from;
    }
    Hash(bytes)
}

fn transfer(id: u64, from: u8, to: u8, amount: u64, nonce: u64) -> Transfer {
    Transfer {
        id: hash(id),
        from: account(from),
        to: account(to),
        amount,
        fee: 1,
        nonce,
    }
}

fn block(height: u64, transfers: &[(Transfer, bool)]) -> ChainBlock {
    ChainBlock {
        height,
        hash: hash(1_000_000 + height),
        transfers: transfers
            .iter()
            .cloned()
            .map(|(transfer, success)| ChainTransfer { transfer, success })
            .collect(),
    }
}

fn call(node: usize, start_us: u64, end_us: u64, done: Done) -> Call {
    Call {
        client: 0,
        node,
        start_us,
        end_us,
        done,
    }
}

fn sent(node: usize, start: u64, end: u64, id: u64, outcome: Outcome) -> Call {
    call(
        node,
        start,
        end,
        Done::Send {
            id: hash(id),
            outcome,
        },
    )
}

fn answer(height: u64, accounts: &[(u8, u64, u64)]) -> ReadAnswer {
    ReadAnswer {
        height,
        block: hash(1_000_000 + height),
        accounts: accounts
            .iter()
            .map(|(who, balance, nonce)| {
                let state = AccountState {
                    balance: *balance,
                    nonce: *nonce,
                };
                (account(*who), state)
            })
            .collect(),
    }
}

const SUPPLY: SupplyAnswer = SupplyAnswer {
    height: 3,
    total: 200,
    genesis: 200,
    burned: 0,
    minted: 0,
};

/// Two accounts with 100 each. Transfer 1 pays 10 at height 1, transfer 2 pays 20 at height 2, transfer 3
/// exceeds the balance at height 3 and fails on the chain; transfer 4 was refused, transfer 5 is unknown.
fn good() -> History {
    let made = vec![
        transfer(1, 1, 2, 10, 0),
        transfer(2, 2, 1, 20, 0),
        transfer(3, 1, 2, 5000, 1),
        transfer(4, 1, 2, 1, 2),
        transfer(5, 1, 2, 2, 2),
    ];
    let on_chain = |index: usize, success| {
        (
            made.get(index).cloned().unwrap_or_else(|| unreachable!()),
            success,
        )
    };
    let chain = vec![
        block(1, &[on_chain(0, true)]),
        block(2, &[on_chain(1, true)]),
        block(3, &[on_chain(2, false)]),
    ];
    let fault = 10 * SECOND;
    let mut calls = vec![
        sent(0, 0, 100, 1, Outcome::Ok { height: 1 }),
        sent(1, 200, 300, 2, Outcome::Ok { height: 2 }),
        sent(1, 400, 500, 3, Outcome::Ok { height: 3 }),
        sent(2, 400, 500, 4, Outcome::Fail),
        sent(2, 600, 700, 5, Outcome::Unknown),
        sent(3, fault + 5, fault + 9, 1, Outcome::Ok { height: 1 }),
        call(
            0,
            800,
            900,
            Done::ReadLatest(answer(3, &[(1, 108, 2), (2, 89, 1)])),
        ),
        call(
            3,
            800,
            900,
            Done::ReadAt {
                asked: 1,
                answer: answer(1, &[(1, 89, 1), (2, 110, 0)]),
            },
        ),
        call(3, 1000, 1100, Done::Supply(SUPPLY)),
        call(3, 1000, 1100, Done::ReadFailed),
    ];
    // Enough traffic before and during the faults.
    for step in 0..1_200 {
        for at in [2_000 + step * 8_000, fault + 10 + step] {
            calls.push(call(0, at, at + 1, Done::ReadLatest(answer(3, &[]))));
        }
    }
    History {
        genesis: BTreeMap::from([(account(1), 100), (account(2), 100)]),
        supply: 200,
        made,
        calls,
        chain,
        phase: Phase {
            faults_from_us: fault,
            faults_to_us: 20 * SECOND,
        },
        genesis_hash: hash(1_000_000),
    }
}

/// Changes the valid history and returns the violations.
fn found(change: impl FnOnce(&mut History)) -> Vec<String> {
    let mut history = good();
    change(&mut history);
    check(&history).1.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn one(change: impl FnOnce(&mut History), starts: &str) {
    let found = found(change);
    assert!(
        found.len() == 1 && found.iter().all(|text| text.starts_with(starts)),
        "expected one {starts:?}, found {found:#?}"
    );
}

fn replace(history: &mut History, index: usize, done: Done) {
    if let Some(call) = history.calls.get_mut(index) {
        call.done = done;
    }
}

#[test]
fn a_good_history_is_explained() {
    let (summary, violations) = check(&good());
    assert_eq!(violations, []);
    assert_eq!(
        (summary.transfers, summary.acknowledged, summary.failed),
        (5, 3, 1)
    );
    assert_eq!((summary.blocks, summary.ok_in_faults), (3, 1_201));
}

#[test]
fn an_acknowledged_transfer_that_is_lost_or_elsewhere_is_noticed() {
    // Transfer 5 was acknowledged as final and is not in the chain.
    one(
        |h| {
            replace(
                h,
                4,
                Done::Send {
                    id: hash(5),
                    outcome: Outcome::Ok { height: 3 },
                },
            )
        },
        "(a)",
    );
    // Transfer 1 was acknowledged at another height when it was sent again.
    one(
        |h| {
            replace(
                h,
                5,
                Done::Send {
                    id: hash(1),
                    outcome: Outcome::Ok { height: 2 },
                },
            )
        },
        "(a)",
    );
}

#[test]
fn a_failed_transfer_in_the_chain_is_noticed() {
    let change = |history: &mut History| {
        let refused = (transfer(4, 1, 2, 1, 2), true);
        history.chain.push(block(4, &[refused]));
    };
    one(change, "(b) transfer");
    // The same for one of unknown outcome is valid.
    let unknown = |history: &mut History| history.chain.push(block(4, &[(transfer(5, 1, 2, 2, 2), true)]));
    assert_eq!(found(unknown), [""; 0]);
}

#[test]
fn a_transfer_that_is_there_twice_is_noticed() {
    let again = |history: &mut History| history.chain.push(block(4, &[(transfer(1, 1, 2, 10, 0), true)]));
    let found = found(again);
    assert!(
        found.iter().any(|text| text.contains("more than once")),
        "{found:?}"
    );
    assert!(found.iter().any(|text| text.starts_with("(a)")), "{found:?}");
    assert!(
        found.iter().any(|text| text.contains("nonce 0, expected 2")),
        "{found:?}"
    );
}

#[test]
fn what_was_sent_later_is_not_at_a_lower_height() {
    // Transfer 1 is sent only after transfer 3 was acknowledged at height 3.
    one(
        |h| {
            for call in &mut h.calls {
                if call.start_us < SECOND && matches!(call.done, Done::Send { id, .. } if id == hash(1)) {
                    (call.start_us, call.end_us) = (600, 700);
                }
            }
        },
        "(c)",
    );
}

#[test]
fn a_wrong_balance_and_a_wrong_nonce_are_noticed() {
    one(
        |h| replace(h, 6, Done::ReadLatest(answer(3, &[(1, 109, 2)]))),
        "(d)",
    );
    one(
        |h| replace(h, 6, Done::ReadLatest(answer(3, &[(1, 108, 1)]))),
        "(d)",
    );
    let stale = |asked| Done::ReadAt {
        asked,
        answer: answer(1, &[(1, 89, 1)]),
    };
    one(|h| replace(h, 7, stale(2)), "(d)");
    assert_eq!(found(|h| replace(h, 7, stale(1))), [""; 0]);
}

#[test]
fn a_node_that_goes_back_is_noticed_also_after_an_acknowledgement() {
    one(
        |h| {
            h.calls
                .push(call(0, 9_999_000, 9_999_100, Done::ReadLatest(answer(2, &[]))))
        },
        "(e)",
    );
    // Node 1 acknowledged height 3 and shows height 2 afterwards.
    one(
        |h| h.calls.push(call(1, 501, 502, Done::ReadLatest(answer(2, &[])))),
        "(e)",
    );
    // A read that began before may show the older height.
    let early = |h: &mut History| h.calls.push(call(1, 450, 502, Done::ReadLatest(answer(2, &[]))));
    assert_eq!(found(early), [""; 0]);
}

#[test]
fn two_blocks_at_one_height_are_noticed() {
    let mut other = answer(3, &[]);
    other.block = hash(77);
    one(|h| replace(h, 6, Done::ReadLatest(other)), "(f)");
}

#[test]
fn money_from_nowhere_is_noticed() {
    for wrong in [
        SupplyAnswer { total: 201, ..SUPPLY },
        SupplyAnswer {
            total: 199,
            burned: 1,
            ..SUPPLY
        },
        SupplyAnswer {
            total: 201,
            minted: 1,
            ..SUPPLY
        },
    ] {
        one(|h| replace(h, 8, Done::Supply(wrong)), "(g)");
    }
}

#[test]
fn what_no_client_made_and_what_breaks_a_rule_is_noticed() {
    let stranger = |h: &mut History| h.chain.push(block(4, &[(transfer(9, 1, 2, 1, 2), true)]));
    one(stranger, "the chain has");
    let lies = |h: &mut History| h.chain.push(block(4, &[(transfer(5, 1, 2, 2, 2), false)]));
    one(lies, "the chain has");
    one(|h| h.chain.push(block(5, &[])), "the chain has height 5");
}

#[test]
fn a_run_with_too_little_traffic_is_void() {
    one(
        |h| {
            h.calls
                .retain(|call| call.end_us < 20_000 || call.end_us > 10 * SECOND)
        },
        "void",
    );
    one(|h| h.calls.retain(|call| call.end_us < 10 * SECOND + 900), "void");
    let no_transfers = |h: &mut History| {
        h.calls
            .retain(|call| !(call.end_us > 10 * SECOND && matches!(call.done, Done::Send { .. })));
    };
    one(no_transfers, "void: no transfer");
}
