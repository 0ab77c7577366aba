//! The rules that a genesis as a whole must keep.

use vibecoin_primitives::limits::VALIDATORS_MAX;
use vibecoin_primitives::{
    Address, AddressPrefix, Amount, ParamsError, PublicKey, ValidatorSet, ValidatorSetError,
};

use crate::{ACCOUNTS_MAX, Genesis, GenesisError, Problem, TIME_MAX, time};

impl Genesis {
    /// Checks every rule and returns the validators as a set and the sum of all balances.
    pub(crate) fn check(&self) -> Result<(ValidatorSet, Amount), GenesisError> {
        self.check_scalars()?;
        let prefix = self.params.prefix().map_err(params_error)?;
        let set = self.check_validators()?;
        Ok((set, self.check_accounts(&prefix)?))
    }

    /// Checks a file that is being written: every rule except that there must be an account and a validator.
    /// An accepted draft becomes valid by adding the missing entries alone.
    ///
    /// # Errors
    /// [`GenesisError`] with the key of the first value that can never be part of a valid genesis.
    pub fn check_draft(&self) -> Result<(), GenesisError> {
        self.check_scalars()?;
        if !self.validators.is_empty() {
            self.check_validators()?;
        }
        if !self.accounts.is_empty() {
            self.check_accounts(&self.params.prefix().map_err(params_error)?)?;
        }
        Ok(())
    }

    fn check_scalars(&self) -> Result<(), GenesisError> {
        self.params.check().map_err(params_error)?;
        if self.time > TIME_MAX {
            let allowed = format!("a time before {}", time::to_text(TIME_MAX));
            return Err(GenesisError::value("time", format!("{} ms", self.time), allowed));
        }
        Ok(())
    }

    fn check_validators(&self) -> Result<ValidatorSet, GenesisError> {
        let set = ValidatorSet::new(self.validators.clone()).map_err(|error| self.set_error(&error))?;
        for (index, validator) in self.validators.iter().enumerate() {
            check_owner(&validator.payout, || validator_key(index, "payout"))?;
        }
        Ok(set)
    }

    /// Names the list entry that caused a set's error.
    fn set_error(&self, error: &ValidatorSetError) -> GenesisError {
        let index_of = |key: &PublicKey| self.validators.iter().position(|validator| validator.key == *key);
        let field = |key: &PublicKey, field: &str| {
            index_of(key).map_or_else(|| "validators".to_owned(), |index| validator_key(index, field))
        };
        match error {
            ValidatorSetError::Order { key } => {
                let second = self
                    .validators
                    .iter()
                    .rposition(|validator| validator.key == *key);
                let name =
                    second.map_or_else(|| "validators".to_owned(), |index| validator_key(index, "key"));
                GenesisError::new(
                    name,
                    Problem::Duplicate {
                        what: "validator",
                        first: None,
                    },
                )
            }
            ValidatorSetError::NoPower { key } => GenesisError::value(field(key, "power"), "0", "1 or more"),
            ValidatorSetError::Key { key, fault } => {
                GenesisError::new(field(key, "key"), Problem::WeakKey(*fault))
            }
            ValidatorSetError::PayoutIsKey { key } => GenesisError::value(
                field(key, "payout"),
                "the validator's own consensus key",
                "an account with a key of its own",
            ),
            ValidatorSetError::Count { got } => GenesisError::value(
                "validators",
                format!("{got} validators"),
                format!("1 to {VALIDATORS_MAX} members"),
            ),
            other => GenesisError::new(
                "validators",
                Problem::Rule {
                    detail: other.to_string(),
                },
            ),
        }
    }

    fn check_accounts(&self, prefix: &AddressPrefix) -> Result<Amount, GenesisError> {
        if self.accounts.is_empty() {
            return Err(GenesisError::new(
                "accounts",
                Problem::Missing {
                    expected: "at least one account with a balance, or nobody could ever pay a fee"
                        .to_owned(),
                },
            ));
        }
        if self.accounts.len() > ACCOUNTS_MAX {
            let found = self.accounts.len();
            return Err(GenesisError::new(
                "accounts",
                Problem::TooMany {
                    what: "accounts",
                    found,
                    most: ACCOUNTS_MAX,
                },
            ));
        }
        let mut supply = Amount::ZERO;
        for (address, balance) in &self.accounts {
            let key = || account_key(address, prefix);
            if *balance == Amount::ZERO {
                return Err(GenesisError::value(
                    key(),
                    "0",
                    format!("1 to {} base units", u64::MAX),
                ));
            }
            check_owner(address, key)?;
            supply = supply.checked_add(*balance).ok_or_else(|| {
                GenesisError::new(
                    key(),
                    Problem::SupplyOverflow {
                        found: *balance,
                        before: supply,
                    },
                )
            })?;
        }
        Ok(supply)
    }
}

/// The owner of a balance must be a key under which signatures can verify.
fn check_owner(address: &Address, key: impl Fn() -> String) -> Result<(), GenesisError> {
    if *address == Address::system() {
        return Err(GenesisError::value(
            key(),
            "the chain's own account",
            "an account that somebody owns",
        ));
    }
    address
        .public_key()
        .check()
        .map_err(|fault| GenesisError::new(key(), Problem::WeakKey(fault)))
}

pub(crate) fn account_key(address: &Address, prefix: &AddressPrefix) -> String {
    format!("accounts.{}", address.to_text(prefix))
}

pub(crate) fn validator_key(index: usize, field: &str) -> String {
    format!("validators[{index}].{field}")
}

fn params_error(error: ParamsError) -> GenesisError {
    let top = ["network", "symbol", "address_prefix", "decimals"].contains(&error.name);
    let table = if top { "" } else { "parameters." };
    GenesisError::value(format!("{table}{}", error.name), error.got, error.allowed)
}
