//! Transactions that a block must not hold: the rules checked before a transaction touches the state.

use vibecoin_primitives::{
    Account, AccountType, Amount, ChainParams, Demand, Excess, Height, Nonce, TransactionBody,
    VerifiedTransaction,
};

use crate::planted;

/// Reason why a transaction is not allowed in the block (or, from [`admit`], in the next one).
///
/// A validator refuses a block with such a transaction; a proposer leaves the transaction out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTransaction {
    /// More bytes than the chain allows.
    #[error("transaction of {got} bytes is over the limit of {limit}")]
    TooLarge {
        /// The chain's limit in bytes.
        limit: u32,
        /// Bytes of the transaction.
        got: u32,
    },
    /// No operations, or more than the chain allows.
    #[error("a transaction has 1 to {limit} operations, this one has {got}")]
    OperationCount {
        /// The chain's limit.
        limit: u32,
        /// Number of operations of the transaction.
        got: usize,
    },
    /// The transaction demands more of the state than the chain allows.
    #[error("{} are {}, the chain allows {}", .0.what, .0.got, .0.limit)]
    Demand(Excess),
    /// The fee is below the minimum fee for a transaction of this size and with so many slots.
    #[error("fee {got} is below the least fee {least}")]
    FeeTooLow {
        /// The minimum fee for this many bytes.
        least: Amount,
        /// The fee offered.
        got: Amount,
    },
    /// The last allowed height of the transaction has passed.
    #[error("expired: valid until height {valid_until}, the block has height {height}")]
    Expired {
        /// Last height at which the transaction may be in a block.
        valid_until: Height,
        /// The block's height.
        height: Height,
    },
    /// The transaction is valid for longer than the chain allows.
    #[error("valid until height {valid_until}, allowed is at most {most}")]
    ValidTooLong {
        /// Last height at which the transaction may be in a block.
        valid_until: Height,
        /// The maximum allowed now.
        most: Height,
    },
    /// The account has already used this nonce.
    #[error("nonce {got} is behind the account's next nonce {expected}")]
    NonceTooLow {
        /// The account's next nonce.
        expected: Nonce,
        /// The transaction's nonce.
        got: Nonce,
    },
    /// Transactions with lower nonces must precede it.
    #[error("nonce {got} is ahead of the account's next nonce {expected}")]
    NonceTooHigh {
        /// The account's next nonce.
        expected: Nonce,
        /// The transaction's nonce.
        got: Nonce,
    },
    /// The account has used up all nonces.
    #[error("nonce {got} is the last one and cannot be spent")]
    NonceExhausted {
        /// The transaction's nonce.
        got: Nonce,
    },
    /// The account cannot pay the fee.
    #[error("the account has {available}, the fee is {fee}")]
    FeeUnpayable {
        /// The fee offered.
        fee: Amount,
        /// The account's balance.
        available: Amount,
    },
    /// The sender is an account of the chain itself.
    #[error("the sender belongs to the chain and sends no transactions")]
    SystemSender,
    /// Its execution triggered a bug of this node, which keeps it out of its pool and its blocks.
    #[error("executing it met a bug of this node, which has set it aside")]
    SetAside,
    /// The block's fees would not fit in 64 bits.
    #[error("the fees of the block would overflow")]
    BlockFeesOverflow,
}

/// Returns an error unless `transaction` may wait for the block at `next_height`, given its sender's account.
///
/// Checks everything that makes a block invalid, except that a nonce ahead of the account's is accepted: the
/// pool limits the distance. The success of the operations is not checked.
///
/// # Errors
/// [`InvalidTransaction`] with the first rule that does not hold.
pub fn admit(
    account: Option<&Account>,
    params: &ChainParams,
    next_height: Height,
    transaction: &VerifiedTransaction,
) -> Result<(), InvalidTransaction> {
    check_form(params, next_height, transaction)?;
    let account = account.copied().unwrap_or_default();
    match spend(&account, transaction.body()) {
        Ok(_) | Err(InvalidTransaction::NonceTooHigh { .. }) => {}
        Err(error) => return Err(error),
    }
    pay(&account, transaction.body().fee).map(|_| ())
}

/// The rules that need no account.
pub(crate) fn check_form(
    params: &ChainParams,
    height: Height,
    transaction: &VerifiedTransaction,
) -> Result<(), InvalidTransaction> {
    let (body, bytes) = (transaction.body(), transaction.byte_len());
    if bytes > params.transaction_bytes_max {
        return Err(InvalidTransaction::TooLarge {
            limit: params.transaction_bytes_max,
            got: bytes,
        });
    }
    let count = body.operations.len();
    if count == 0 || count > usize::try_from(params.operations_max).unwrap_or(usize::MAX) {
        return Err(InvalidTransaction::OperationCount {
            limit: params.operations_max,
            got: count,
        });
    }
    if let Some(excess) = Demand::of(body, params).exceeds_transaction(params) {
        return Err(InvalidTransaction::Demand(excess));
    }
    let least = params.fee_for(bytes, body.slot_count());
    if body.fee < least {
        return Err(InvalidTransaction::FeeTooLow { least, got: body.fee });
    }
    let valid_until = body.valid_until;
    if valid_until < height {
        return Err(InvalidTransaction::Expired { valid_until, height });
    }
    let most = height.saturating_add(params.validity_window);
    if valid_until > most {
        return Err(InvalidTransaction::ValidTooLong { valid_until, most });
    }
    Ok(())
}

/// The account after it has paid the fee and spent the nonce; the account itself is not changed.
pub(crate) fn charge(account: &Account, body: &TransactionBody) -> Result<Account, InvalidTransaction> {
    let nonce = spend(account, body)?;
    let balance = pay(account, body.fee)?;
    Ok(Account {
        balance,
        nonce,
        ..*account
    })
}

/// The account's nonce once this transaction has spent one.
fn spend(account: &Account, body: &TransactionBody) -> Result<Nonce, InvalidTransaction> {
    if account.kind == AccountType::System {
        return Err(InvalidTransaction::SystemSender);
    }
    let (expected, got) = (account.nonce, body.nonce);
    if planted::is_spent(got, expected) {
        return Err(InvalidTransaction::NonceTooLow { expected, got });
    }
    // The last nonce has no successor, so no transaction is ever behind it and it can never be spent.
    let next = got.next().ok_or(InvalidTransaction::NonceExhausted { got })?;
    if got > expected {
        return Err(InvalidTransaction::NonceTooHigh { expected, got });
    }
    Ok(next)
}

/// The account's balance once it has paid the fee.
fn pay(account: &Account, fee: Amount) -> Result<Amount, InvalidTransaction> {
    let available = account.balance;
    available
        .checked_sub(fee)
        .ok_or(InvalidTransaction::FeeUnpayable { fee, available })
}
