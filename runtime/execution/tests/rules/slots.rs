//! Slots, and what a failed operation undoes.

use super::*;

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
