//! Transfers: amounts, prices of accounts, overflows.

use super::*;

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
