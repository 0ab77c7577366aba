//! A store that fails, damaged records, and diffs.

use super::*;

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
