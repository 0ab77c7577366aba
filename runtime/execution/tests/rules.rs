//! Every rule, at its edge and just past it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

mod support;

use std::collections::BTreeMap;

use support::*;
use vibecoin_execution::{
    BlockExecutor, BlockOutcome, ExecutionError, InvalidTransaction, MemoryState, ReadError, State,
    StateError, StateReader, admit, execute_block, execute_body, read_burned, read_schedule, read_supply,
};
use vibecoin_primitives::{
    Account, AccountType, Address, Amount, ChainParams, Failure, Hash, Height, Nonce, Operation, Outcome,
    ProposerSchedule, Round, StateKey, VerifiedTransaction, account_key, encode, records,
};

fn run(state: &MemoryState, transactions: &[VerifiedTransaction]) -> (MemoryState, BlockOutcome) {
    let outcome = execute_body(state, context(), transactions, Round(0)).unwrap();
    let (next, diff) = state.apply(&outcome.changes).unwrap();
    assert_eq!((diff.parent_root, diff.root), (state.root(), next.root()));
    assert!(diff.entries.is_sorted_by(|a, b| a.key < b.key) && diff.entries.iter().all(|e| e.old != e.new));
    (next, outcome)
}

fn balance(state: &MemoryState, address: Address) -> Option<u64> {
    state.accounts().get(&address).map(|account| account.balance.0)
}

fn outcomes(outcome: &BlockOutcome) -> Vec<Outcome> {
    outcome
        .receipts
        .0
        .iter()
        .map(|receipt| receipt.v1().outcome)
        .collect()
}

/// Runs one transaction of user 1, with a balance of 1,000 and a fee of 10, next to user 2, with `u64::MAX - 5`.
#[track_caller]
fn check(operations: Vec<Operation>, expected: Outcome, left: u64, burned: u64) {
    let state = state(&[(user(1), 1_000), (user(2), u64::MAX - 5)]);
    let (next, outcome) = run(&state, &[tx(1, 0, 10, operations)]);
    assert_eq!(outcomes(&outcome), [expected]);
    assert_eq!(balance(&next, user(1)), Some(left));
    assert_eq!(outcome.burned, Amount(burned));
    assert_eq!(outcome.receipts.0.first().unwrap().v1().burned, Amount(burned));
    assert_eq!(read_burned(&next), Ok(Amount(burned)));
    assert_eq!(
        balance(&next, PAYOUT),
        Some(10),
        "the fee is paid whatever happens"
    );
    assert_eq!(
        next.accounts().get(&user(1)).unwrap().nonce,
        Nonce(1),
        "so is the nonce"
    );
}

fn failed(operation: u32, reason: Failure) -> Outcome {
    Outcome::Failed { operation, reason }
}

fn poor(needed: u64, available: u64) -> Failure {
    Failure::InsufficientFunds {
        needed: Amount(needed),
        available: Amount(available),
    }
}

#[test]
fn a_transfer_moves_what_it_says() {
    check(vec![transfer(user(2), 5)], Outcome::Success, 985, 0);
}

#[test]
fn a_new_account_costs_its_price_on_top() {
    check(vec![transfer(stranger(1), 5)], Outcome::Success, 885, 100);
    check(vec![transfer(stranger(1), 890)], Outcome::Success, 0, 100);
    check(
        vec![transfer(stranger(1), 891)],
        failed(0, poor(991, 990)),
        990,
        0,
    );
}

#[test]
fn a_second_transfer_to_a_new_account_costs_no_price() {
    check(
        vec![transfer(stranger(1), 5), transfer(stranger(1), 5)],
        Outcome::Success,
        880,
        100,
    );
}

#[test]
fn a_transfer_of_all_that_is_left_works_and_of_one_more_does_not() {
    check(
        vec![transfer(stranger(1), 1), transfer(stranger(1), 889)],
        Outcome::Success,
        0,
        100,
    );
    check(
        vec![transfer(stranger(1), 1), transfer(stranger(1), 890)],
        failed(1, poor(890, 889)),
        990,
        0,
    );
}

#[test]
fn a_transfer_of_zero_fails() {
    check(vec![transfer(user(2), 0)], failed(0, Failure::ZeroAmount), 990, 0);
    check(
        vec![transfer(stranger(1), 0)],
        failed(0, Failure::ZeroAmount),
        990,
        0,
    );
}

#[test]
fn a_transfer_to_oneself_changes_nothing_but_needs_the_money() {
    check(vec![transfer(user(1), 990)], Outcome::Success, 990, 0);
    check(vec![transfer(user(1), 991)], failed(0, poor(991, 990)), 990, 0);
    check(vec![transfer(user(1), 0)], failed(0, Failure::ZeroAmount), 990, 0);
}

#[test]
fn the_chains_own_account_takes_no_transfers() {
    check(
        vec![transfer(Address::system(), 1)],
        failed(0, Failure::SystemRecipient),
        990,
        0,
    );
    let mut accounts = BTreeMap::from([(user(1), account(1_000, 0))]);
    accounts.insert(
        stranger(9),
        Account {
            kind: AccountType::System,
            ..Account::default()
        },
    );
    let schedule = encode(&ProposerSchedule::genesis(&validators()));
    accounts.insert(
        Address::system(),
        Account {
            kind: AccountType::System,
            ..Account::default()
        },
    );
    let state = MemoryState::new(
        accounts,
        BTreeMap::from([((Address::system(), records::SCHEDULE), schedule)]),
    );
    let (_, outcome) = run(&state, &[tx(1, 0, 10, vec![transfer(stranger(9), 1)])]);
    assert_eq!(outcomes(&outcome), [failed(0, Failure::SystemRecipient)]);
}

#[test]
fn a_recipients_balance_does_not_overflow() {
    check(
        vec![transfer(user(2), 6)],
        failed(0, Failure::BalanceOverflow),
        990,
        0,
    );
    check(
        vec![transfer(user(2), 5), transfer(user(2), 1)],
        failed(1, Failure::BalanceOverflow),
        990,
        0,
    );
}

#[test]
fn a_cost_that_does_not_fit_fails_as_such() {
    check(
        vec![transfer(stranger(1), u64::MAX - 99)],
        failed(0, Failure::CostOverflow),
        990,
        0,
    );
    check(
        vec![transfer(stranger(1), u64::MAX - 100)],
        failed(0, poor(u64::MAX, 990)),
        990,
        0,
    );
    check(
        vec![transfer(user(2), u64::MAX)],
        failed(0, poor(u64::MAX, 990)),
        990,
        0,
    );
}

#[test]
fn a_slot_costs_its_bytes_and_removing_it_is_free() {
    check(vec![set(1, b"abc")], Outcome::Success, 920, 70);
    check(vec![set(1, b"")], Outcome::Success, 990, 0);
    check(vec![set(1, b"abc"), set(1, b"")], Outcome::Success, 920, 70);
    check(vec![set(1, b"abc"), set(1, b"abc")], Outcome::Success, 850, 140);
    check(vec![set(1, &[1; 64])], Outcome::Success, 798, 192);
    check(
        vec![set(1, &[1; 65])],
        failed(0, Failure::ValueTooLong { limit: 64 }),
        990,
        0,
    );
    check(
        vec![transfer(user(2), 5), set(1, &[1; 65])],
        failed(1, Failure::ValueTooLong { limit: 64 }),
        990,
        0,
    );
}

#[test]
fn a_slot_that_cannot_be_paid_is_not_set() {
    let state = state(&[(user(1), 79)]);
    let (next, outcome) = run(&state, &[tx(1, 0, 10, vec![set(1, b"abc")])]);
    assert_eq!(outcomes(&outcome), [failed(0, poor(70, 69))]);
    assert_eq!(next.slot(&user(1), &Hash([1; 32])), Ok(None));
    assert_eq!(next.accounts().get(&user(1)).unwrap().storage_root, None);
}

#[test]
fn a_slot_price_that_does_not_fit_fails_as_such() {
    let params = ChainParams {
        storage_byte_price: Amount(u64::MAX / 32),
        ..params()
    };
    let state = state(&[(user(1), 1_000)]);
    let outcome = execute_body(
        &state,
        context_with(params),
        &[tx(1, 0, 10, vec![set(1, b"abc")])],
        Round(0),
    )
    .unwrap();
    assert_eq!(outcomes(&outcome), [failed(0, Failure::CostOverflow)]);
}

#[test]
fn a_failed_operation_undoes_the_slots_before_it() {
    let before = state(&[(user(1), 1_000)]);
    let (before, _) = run(&before, &[tx(1, 0, 10, vec![set(1, b"old"), set(2, b"two")])]);
    let operations = vec![
        set(1, b"new"),
        set(1, b""),
        set(2, b""),
        set(3, b"x"),
        set(4, &[0; 65]),
    ];
    let (after, outcome) = run(&before, &[tx(1, 1, 10, operations)]);
    assert_eq!(
        outcomes(&outcome),
        [failed(4, Failure::ValueTooLong { limit: 64 })]
    );
    assert!(
        outcome
            .changes
            .slots
            .keys()
            .all(|(owner, _)| *owner == Address::system())
    );
    assert_eq!(after.slot(&user(1), &Hash([1; 32])), Ok(Some(b"old".to_vec())));
    assert_eq!(after.slot(&user(1), &Hash([3; 32])), Ok(None));
}

#[test]
fn an_undone_slot_shows_what_an_earlier_transaction_of_the_block_left() {
    let before = state(&[(user(1), 1_000)]);
    let first = tx(1, 0, 10, vec![set(1, b"old")]);
    let second = tx(1, 1, 10, vec![set(1, b"new"), transfer(user(1), 0)]);
    let (after, _) = run(&before, &[first, second]);
    assert_eq!(after.slot(&user(1), &Hash([1; 32])), Ok(Some(b"old".to_vec())));
}

#[test]
fn an_account_that_was_undone_does_not_exist() {
    let before = state(&[(user(1), 1_000)]);
    let (after, outcome) = run(
        &before,
        &[tx(1, 0, 10, vec![transfer(stranger(1), 5), transfer(user(1), 0)])],
    );
    assert_eq!(balance(&after, stranger(1)), None);
    assert!(!outcome.changes.accounts.contains_key(&stranger(1)));
    // And the next one pays for it again.
    let (_, outcome) = run(&after, &[tx(1, 1, 10, vec![transfer(stranger(1), 5)])]);
    assert_eq!(outcome.burned, Amount(100));
}

#[test]
fn what_an_account_received_in_the_block_can_be_spent_in_it() {
    let state = state(&[(user(1), 1_000), (user(3), 10)]);
    let transactions = [
        tx(3, 0, 10, vec![transfer(user(1), 1)]),
        tx(1, 0, 10, vec![transfer(user(3), 500)]),
        tx(3, 1, 10, vec![transfer(user(1), 490)]),
    ];
    let (next, outcome) = run(&state, &transactions);
    assert_eq!(
        outcomes(&outcome),
        [failed(0, poor(1, 0)), Outcome::Success, Outcome::Success]
    );
    assert_eq!(balance(&next, user(3)), Some(0));
    assert_eq!(balance(&next, user(1)), Some(980));
    assert_eq!(balance(&next, PAYOUT), Some(30));
}

#[test]
fn fees_cannot_be_spent_in_the_block_that_earns_them() {
    let state = state(&[(user(1), 1_000)]);
    let mut context = context();
    context.payout = user(4);
    let mut executor = BlockExecutor::new(&state, context);
    executor
        .execute(&tx(1, 0, 500, vec![transfer(user(1), 1)]))
        .unwrap();
    let error = executor
        .execute(&tx(4, 0, 10, vec![transfer(user(1), 1)]))
        .unwrap_err();
    let reason = InvalidTransaction::FeeUnpayable {
        fee: Amount(10),
        available: Amount(0),
    };
    assert!(
        matches!(error, ExecutionError::Invalid { index: 1, reason: got, .. } if got == reason),
        "{error}"
    );
    let outcome = executor.finish(Round(0)).unwrap();
    assert_eq!(outcome.changes.accounts.get(&user(4)), Some(&account(500, 0)));
    assert_eq!(outcome.burned, Amount(0), "the payout account costs no price");
}

#[test]
fn an_empty_block_changes_the_proposer_order_alone() {
    let state = state(&[(user(1), 1_000)]);
    let (next, outcome) = run(&state, &[]);
    assert_eq!(
        outcome.changes.accounts.keys().collect::<Vec<_>>(),
        [&Address::system()]
    );
    assert_eq!(
        outcome.changes.slots.keys().collect::<Vec<_>>(),
        [&(Address::system(), records::SCHEDULE)]
    );
    let schedule = read_schedule(&state).unwrap();
    assert_eq!(
        read_schedule(&next),
        Ok(schedule.after(&validators(), HEIGHT, Round(0)))
    );
    assert_eq!(read_supply(&next), Ok(Amount(1_000)));
}

#[test]
fn a_schedule_that_stays_the_same_is_not_written() {
    // A single validator always has the same turn.
    let set = vibecoin_primitives::ValidatorSet::new(validators().members()[..1].to_vec()).unwrap();
    let state = MemoryState::with_balances([], &ProposerSchedule::genesis(&set));
    let mut context = context();
    context.validators = std::sync::Arc::new(set);
    let outcome = execute_body(&state, context, &[], Round(0)).unwrap();
    assert_eq!(outcome.changes, Default::default());
}

#[test]
fn a_later_round_punishes_those_who_missed_their_turn() {
    let state = state(&[]);
    let [zero, one] = [Round(0), Round(1)].map(|round| {
        let outcome = execute_body(&state, context(), &[], round).unwrap();
        read_schedule(&state.apply(&outcome.changes).unwrap().0).unwrap()
    });
    assert_ne!(zero, one);
    assert_eq!(
        one,
        read_schedule(&state)
            .unwrap()
            .after(&validators(), HEIGHT, one_round())
    );
}

#[test]
fn an_offence_that_a_block_records_holds_its_signer_back() {
    let state = state(&[]);
    let offender = validators().members()[1].key;
    let offence = vibecoin_primitives::Offence {
        height: Height(1),
        validator: offender,
        kind: vibecoin_primitives::OffenceKind::Proposal,
    };
    let outcome = execute_block(&state, context(), &[], [offence], Round(0)).unwrap();
    let next = read_schedule(&state.apply(&outcome.changes).unwrap().0).unwrap();
    let mut expected = read_schedule(&state)
        .unwrap()
        .after(&validators(), HEIGHT, Round(0));
    expected.hold_back(&validators(), HEIGHT, [&offender]);
    assert_eq!(next, expected);
    let until = HEIGHT.0 + 1 + u64::from(vibecoin_primitives::PENALTY_OFFENCE);
    assert_eq!(next.turns[1].penalty_until, Height(until));
}

fn one_round() -> Round {
    Round(1)
}

#[test]
fn the_burned_total_grows_from_block_to_block() {
    let state = state(&[(user(1), 1_000)]);
    let (state, _) = run(&state, &[tx(1, 0, 10, vec![transfer(stranger(1), 1)])]);
    let (state, _) = run(&state, &[tx(1, 1, 10, vec![transfer(stranger(2), 1)])]);
    assert_eq!(read_burned(&state), Ok(Amount(200)));
    let total: u64 = state.accounts().values().map(|account| account.balance.0).sum();
    assert_eq!(total + 200, read_supply(&state).unwrap().0);
}

#[track_caller]
fn check_invalid(params: ChainParams, transaction: &VerifiedTransaction, expected: InvalidTransaction) {
    let state = state(&[(user(1), 1_000)]);
    let good = tx(1, 0, 10, vec![transfer(user(1), 1)]);
    let mut executor = BlockExecutor::new(&state, context_with(params.clone()));
    executor.execute(&good).unwrap();
    let before = format!("{executor:?}");
    let expected_error = ExecutionError::Invalid {
        index: 1,
        id: *transaction.id(),
        reason: expected,
    };
    assert_eq!(executor.execute(transaction), Err(expected_error.clone()));
    assert_eq!(
        format!("{executor:?}"),
        before,
        "an invalid transaction leaves no trace"
    );
    let next = tx(1, 1, 10, vec![transfer(user(1), 1)]);
    executor.execute(&next).unwrap();

    let whole = [good, transaction.clone(), next];
    assert_eq!(
        execute_body(&state, context_with(params), &whole, Round(0)),
        Err(expected_error)
    );
}

#[test]
fn an_invalid_transaction_is_refused_by_name_and_leaves_no_trace() {
    let pay = |nonce, fee| tx(1, nonce, fee, vec![transfer(user(1), 1)]);
    let until = |height| {
        let mut body = body(1, 1, 10, vec![transfer(user(1), 1)]);
        body.valid_until = Height(height);
        sign(1, body)
    };
    let (expected, got) = (Nonce(1), Nonce(0));
    check_invalid(
        params(),
        &pay(0, 10),
        InvalidTransaction::NonceTooLow { expected, got },
    );
    check_invalid(
        params(),
        &pay(2, 10),
        InvalidTransaction::NonceTooHigh {
            expected,
            got: Nonce(2),
        },
    );
    let got = Nonce(u64::MAX);
    check_invalid(
        params(),
        &pay(u64::MAX, 10),
        InvalidTransaction::NonceExhausted { got },
    );
    let (least, got) = (Amount(10), Amount(9));
    check_invalid(params(), &pay(1, 9), InvalidTransaction::FeeTooLow { least, got });
    let (fee, available) = (Amount(991), Amount(990));
    check_invalid(
        params(),
        &pay(1, 991),
        InvalidTransaction::FeeUnpayable { fee, available },
    );
    let (valid_until, height) = (Height(9), HEIGHT);
    check_invalid(
        params(),
        &until(9),
        InvalidTransaction::Expired { valid_until, height },
    );
    let (valid_until, most) = (Height(61), Height(60));
    check_invalid(
        params(),
        &until(61),
        InvalidTransaction::ValidTooLong { valid_until, most },
    );
    let many = tx(1, 1, 10, vec![transfer(user(1), 1); 9]);
    check_invalid(
        params(),
        &many,
        InvalidTransaction::OperationCount { limit: 8, got: 9 },
    );
    let big = pay(1, 10);
    let limit = big.byte_len() + 1;
    let bigger = tx(1, 1, 10, vec![transfer(user(1), 1); 2]);
    let tight = ChainParams {
        transaction_bytes_max: limit,
        ..params()
    };
    check_invalid(
        tight,
        &bigger,
        InvalidTransaction::TooLarge {
            limit,
            got: bigger.byte_len(),
        },
    );
}

#[test]
fn what_is_just_within_the_rules_is_executed() {
    let most = tx(1, 0, 10, vec![transfer(user(1), 1); 8]);
    let mut late = body(1, 1, 10, vec![transfer(user(1), 1)]);
    late.valid_until = Height(60);
    let whole = tx(1, 2, 980, vec![transfer(user(1), 1)]);
    let state = state(&[(user(1), 1_000)]);
    let (next, outcome) = run(&state, &[most, sign(1, late), whole]);
    assert_eq!(
        outcomes(&outcome),
        [Outcome::Success, Outcome::Success, failed(0, poor(1, 0))]
    );
    assert_eq!(balance(&next, user(1)), Some(0));
}

#[test]
fn the_fee_counts_bytes() {
    let params = ChainParams {
        fee_per_byte: Amount(3),
        ..params()
    };
    let bytes = u64::from(tx(1, 0, 0, vec![transfer(user(1), 1)]).byte_len());
    let state = state(&[(user(1), 10_000)]);
    let mut executor = BlockExecutor::new(&state, context_with(params));
    let (least, got) = (Amount(10 + 3 * bytes), Amount(9 + 3 * bytes));
    let error = executor
        .execute(&tx(1, 0, got.0, vec![transfer(user(1), 1)]))
        .unwrap_err();
    let reason = InvalidTransaction::FeeTooLow { least, got };
    assert!(
        matches!(error, ExecutionError::Invalid { reason: found, .. } if found == reason),
        "{error}"
    );
    executor
        .execute(&tx(1, 0, least.0, vec![transfer(user(1), 1)]))
        .unwrap();
}

#[test]
fn an_account_without_money_or_existence_cannot_send() {
    let state = state(&[(user(1), 1_000)]);
    let mut executor = BlockExecutor::new(&state, context());
    let error = executor
        .execute(&tx(9, 0, 10, vec![transfer(user(1), 1)]))
        .unwrap_err();
    let reason = InvalidTransaction::FeeUnpayable {
        fee: Amount(10),
        available: Amount(0),
    };
    assert!(
        matches!(error, ExecutionError::Invalid { index: 0, reason: got, .. } if got == reason),
        "{error}"
    );
    assert_eq!(executor.finish(Round(0)).unwrap().changes.accounts.len(), 1);
}

#[test]
fn a_block_whose_fees_do_not_fit_leaves_the_transaction_out() {
    let state = state(&[(user(1), u64::MAX), (user(2), 1_000)]);
    let mut executor = BlockExecutor::new(&state, context());
    executor
        .execute(&tx(1, 0, u64::MAX - 10, vec![transfer(user(1), 1)]))
        .unwrap();
    let error = executor
        .execute(&tx(2, 0, 11, vec![transfer(user(2), 1)]))
        .unwrap_err();
    let reason = InvalidTransaction::BlockFeesOverflow;
    assert!(
        matches!(error, ExecutionError::Invalid { reason: got, .. } if got == reason),
        "{error}"
    );
    executor
        .execute(&tx(2, 0, 10, vec![transfer(user(2), 1)]))
        .unwrap();
    assert_eq!(executor.finish(Round(0)).unwrap().fees, Amount(u64::MAX));
}

#[test]
fn a_payout_that_does_not_fit_is_an_error_and_no_panic() {
    let state = state(&[(user(1), 1_000), (PAYOUT, u64::MAX - 9)]);
    let error = execute_body(
        &state,
        context(),
        &[tx(1, 0, 10, vec![transfer(user(1), 1)])],
        Round(0),
    );
    assert!(
        matches!(
            error,
            Err(ExecutionError::Overflow {
                added: Amount(10),
                ..
            })
        ),
        "{error:?}"
    );
}

#[test]
fn the_pool_asks_the_same_rules_but_lets_nonces_wait() {
    let check = |account: Option<Account>, transaction: &VerifiedTransaction| {
        admit(account.as_ref(), &params(), HEIGHT, transaction)
    };
    let ahead = tx(1, 5, 10, vec![transfer(user(1), 1)]);
    assert_eq!(check(Some(account(10, 5)), &ahead), Ok(()));
    assert_eq!(check(Some(account(10, 0)), &ahead), Ok(()));
    let (expected, got) = (Nonce(6), Nonce(5));
    assert_eq!(
        check(Some(account(10, 6)), &ahead),
        Err(InvalidTransaction::NonceTooLow { expected, got })
    );
    let poor = |available| {
        Err(InvalidTransaction::FeeUnpayable {
            fee: Amount(10),
            available: Amount(available),
        })
    };
    assert_eq!(check(Some(account(9, 0)), &ahead), poor(9));
    assert_eq!(check(None, &ahead), poor(0));
    let system = Account {
        kind: AccountType::System,
        ..account(10, 5)
    };
    assert_eq!(check(Some(system), &ahead), Err(InvalidTransaction::SystemSender));
}

/// A store that fails for one address.
struct Broken(MemoryState, Address);

impl StateReader for Broken {
    fn account(&self, address: &Address) -> Result<Option<Account>, ReadError> {
        if *address == self.1 {
            return Err(ReadError::new("disk on fire"));
        }
        self.0.account(address)
    }

    fn slot(&self, address: &Address, slot: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.slot(address, slot)
    }
}

#[test]
fn a_store_that_fails_is_not_the_transactions_fault() {
    let broken = Broken(state(&[(user(1), 1_000)]), user(2));
    let error = execute_body(
        &broken,
        context(),
        &[tx(1, 0, 10, vec![transfer(user(2), 1)])],
        Round(0),
    );
    assert_eq!(error, Err(ExecutionError::Read(ReadError::new("disk on fire"))));
}

#[test]
fn damaged_records_are_named() {
    let system = BTreeMap::from([(Address::system(), Account::default())]);
    let with = |slot, value: &[u8]| {
        MemoryState::new(
            system.clone(),
            BTreeMap::from([((Address::system(), slot), value.to_vec())]),
        )
    };
    let what = |error: ReadError| error.what;
    assert_eq!(read_burned(&with(records::SUPPLY, &[1])), Ok(Amount(0)));
    assert!(what(read_burned(&with(records::BURNED, &[1])).unwrap_err()).contains("1 bytes, expected 8"));
    assert!(what(read_supply(&with(records::BURNED, &[1])).unwrap_err()).contains("\"supply\" is missing"));
    assert!(what(read_schedule(&with(records::BURNED, &[1])).unwrap_err()).contains("schedule\" is missing"));
    assert!(what(read_schedule(&with(records::SCHEDULE, &[1])).unwrap_err()).contains("malformed"));

    let schedule = encode(&ProposerSchedule::default());
    let error = execute_body(with(records::SCHEDULE, &schedule), context(), &[], Round(0));
    assert_eq!(error, Err(ExecutionError::Schedule { expected: 3, got: 0 }));
}

#[test]
fn slots_without_an_owner_are_refused() {
    let state = state(&[]);
    let changes = vibecoin_execution::StateChanges {
        slots: BTreeMap::from([((user(1), Hash([1; 32])), Some(vec![1]))]),
        ..Default::default()
    };
    assert_eq!(
        state.apply(&changes).unwrap_err(),
        StateError::NoOwner { owner: user(1) }
    );
}

#[test]
fn a_diff_has_both_sides_of_every_row() {
    let state = state(&[(user(1), 1_000)]);
    let outcome = execute_body(&state, context(), &[tx(1, 0, 10, vec![set(1, b"abc")])], Round(0)).unwrap();
    let (next, diff) = state.apply(&outcome.changes).unwrap();
    let key = StateKey::Account(account_key(&user(1)));
    let row = diff.entries.iter().find(|entry| entry.key == key).unwrap();
    assert!(row.old.is_some() && row.new.is_some());
    assert_eq!(
        diff.entries.len(),
        6,
        "sender, payout, system; its slot, the schedule, the burned total"
    );
    assert_ne!(next.accounts().get(&user(1)).unwrap().storage_root, None);
    assert_ne!(state.root(), next.root());
    assert_eq!(
        state.slot(&user(1), &Hash([1; 32])),
        Ok(None),
        "the old state is as it was"
    );
}
