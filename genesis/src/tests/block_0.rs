//! Block 0 of a file, and its hash.

use super::*;

#[test]
fn the_hash_of_a_fixed_file_never_changes() {
    let hash = genesis().build().unwrap().hash;
    assert_eq!(
        hash.to_string(),
        "0x5f4131e90ff629057f0b61fe1c0da333e0df8e5ef2e84a59c2f67a18675dce93"
    );
}

#[test]
fn a_file_says_what_its_profile_leaves_out() {
    let genesis = genesis();
    let expected = ChainParams {
        network: "test-1".to_owned(),
        tick_ms: 4,
        fee_min: Amount(200),
        ..ChainParams::devnet()
    };
    assert_eq!(genesis.params, expected);
    assert_eq!(genesis.time, TimeMs(1_735_689_600_000));
    assert_eq!(genesis.accounts[&Address::from(key(3))], Amount(1_000_000));
    assert_eq!(
        genesis.accounts[&Address::from(key(4))],
        Amount(u64::MAX - 1_000_000)
    );
    assert_eq!(
        genesis.validators[1],
        Validator {
            key: key(2),
            power: Power(20),
            payout: Address::from(key(4))
        }
    );
}

#[test]
fn three_ways_to_write_a_time_mean_the_same() {
    for time in [
        "2025-01-01T00:00:00Z",
        "2025-01-01 03:00:00+03:00",
        "1735689600000",
    ] {
        let changed = text().replace("\"2025-01-01T00:00:00Z\"", time);
        assert_eq!(Genesis::parse(&changed), Ok(genesis()), "{time}");
    }
}

#[test]
fn block_0_is_what_the_table_says() {
    let built = genesis().build().unwrap();
    let header = &built.header;
    assert_eq!(built.hash, header.hash());
    assert_eq!((header.height, header.ticks, header.poh_seq), (Height(0), 0, 0));
    assert_eq!(header.proposer, PublicKey([0; 32]));
    for zero in [
        header.parent,
        header.poh_hash,
        header.tx_root,
        header.receipt_root,
        header.evidence_root,
        header.last_commit_hash,
    ] {
        assert_eq!(zero, Hash::ZERO);
    }
    assert_eq!(header.time, TimeMs(1_735_689_600_000));
    assert_eq!(header.body_hash, built.body.hash());
    assert_eq!(built.body, Body::V1(Default::default()));
    assert_eq!(header.validators_hash, built.validators.hash());
    assert_eq!(header.next_validators_hash, built.validators.hash());
    assert_eq!(header.params_hash, built.params.hash());
    assert_eq!(built.supply, Amount(u64::MAX));
}

#[test]
fn the_system_account_holds_the_records_and_no_money() {
    let built = genesis().build().unwrap();
    let value = |slot| {
        built
            .slots
            .iter()
            .find(|(_, found, _)| *found == slot)
            .unwrap()
            .2
            .clone()
    };
    assert_eq!(value(records::SUPPLY), u64::MAX.to_le_bytes());
    assert_eq!(value(records::BURNED), [0; 8]);
    assert_eq!(
        decode::<ProposerSchedule>(&value(records::SCHEDULE)),
        Ok(built.schedule.clone())
    );
    assert_eq!(built.schedule, ProposerSchedule::genesis(&built.validators));
    assert_eq!(built.slots.len(), 3);

    let (_, system) = built
        .accounts
        .iter()
        .find(|(address, _)| *address == Address::system())
        .unwrap();
    assert_eq!((system.balance, system.kind), (Amount(0), AccountType::System));
    let sum: u128 = built
        .accounts
        .iter()
        .map(|(_, account)| u128::from(account.balance.0))
        .sum();
    assert_eq!(sum, u128::from(built.supply.0));
}

#[test]
fn the_state_root_is_that_of_the_listed_accounts_and_slots() {
    let built = genesis().build().unwrap();
    let root = |trie: Trie, entries: &[(Hash, Vec<u8>)]| {
        let changes: Vec<_> = entries
            .iter()
            .map(|(key, value)| Change {
                key: *key,
                old: None,
                new: Some(value),
            })
            .collect();
        trie.update(&changes, &MemoryState::default(), &Sequential)
            .unwrap()
            .0
            .root()
    };
    let slots: Vec<_> = built
        .slots
        .iter()
        .map(|(_, slot, value)| (slot_key(slot), value.clone()))
        .collect();
    let accounts: Vec<_> = built
        .accounts
        .iter()
        .map(|(address, account)| (account_key(address), encode(account)))
        .collect();
    let (_, system) = built
        .accounts
        .iter()
        .find(|(address, _)| *address == Address::system())
        .unwrap();
    let owner = account_key(&Address::system());
    assert_eq!(
        system.storage_root,
        Some(root(Trie::storage(owner, Hash::ZERO), &slots))
    );
    assert_eq!(
        built.header.state_root,
        root(Trie::accounts(Hash::ZERO), &accounts)
    );
}

#[test]
fn the_order_of_the_file_does_not_reach_the_hash() {
    let mut genesis = genesis();
    let hash = genesis.build().unwrap().hash;
    genesis.validators.reverse();
    assert_eq!(genesis.build().unwrap().hash, hash);
}

#[test]
fn every_field_reaches_the_hash() {
    let mut base = genesis();
    // Less than `operations_max`, which would otherwise have no value beside its own.
    base.params.transaction_slots_max = 32;
    let mut hashes = vec![base.build().unwrap().hash];
    let mut changed = |what: &str, change: &dyn Fn(&mut Genesis)| {
        let mut genesis = base.clone();
        change(&mut genesis);
        let hash = genesis
            .build()
            .unwrap_or_else(|error| panic!("{what}: {error}"))
            .hash;
        assert!(!hashes.contains(&hash), "{what} does not reach the hash");
        hashes.push(hash);
    };
    changed("time", &|genesis| genesis.time.0 += 1);
    changed("network", &|genesis| genesis.params.network.push('x'));
    changed("address_prefix", &|genesis| {
        genesis.params.address_prefix.push('x')
    });
    changed("symbol", &|genesis| genesis.params.symbol.push('x'));
    changed("decimals", &|genesis| genesis.params.decimals += 1);
    changed("fault_model", &|genesis| {
        genesis.params.fault_model = FaultModel::Crash
    });
    changed("dev", &|genesis| genesis.params.dev = true);
    for parameter in PARAMETERS {
        changed(parameter.name, &|genesis| {
            let value = (parameter.get)(&genesis.params);
            (parameter.set)(&mut genesis.params, value + 1).unwrap();
            if genesis.params.check().is_err() {
                (parameter.set)(&mut genesis.params, value - 1).unwrap();
            }
        });
    }
    changed("a validator's key", &|genesis| genesis.validators[0].key = key(9));
    changed("a validator's power", &|genesis| {
        genesis.validators[0].power.0 += 1
    });
    changed("a validator's payout", &|genesis| {
        genesis.validators[0].payout = key(9).into()
    });
    changed("a validator less", &|genesis| genesis.validators.truncate(1));
    changed("a balance", &|genesis| {
        *genesis.accounts.get_mut(&key(3).into()).unwrap() = Amount(7)
    });
    changed("an account less", &|genesis| {
        assert!(genesis.accounts.remove(&key(3).into()).is_some())
    });
    assert_eq!(hashes.len(), 8 + PARAMETERS.len() + 6);
}
