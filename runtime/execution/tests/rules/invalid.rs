//! Transactions that may be in no block.

use super::*;

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
