//! Whole blocks: what is spent in them, fees, the order of proposers, offences.

use super::*;

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
