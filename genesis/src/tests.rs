#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

use proptest::prelude::*;
use vibecoin_primitives::{
    AccountType, AddressPrefix, Body, FaultModel, Hash, Height, Power, ProposerSchedule, PublicKey,
    SecretKey, account_key, decode, encode, records, slot_key,
};
use vibecoin_trie::model::MemoryState;
use vibecoin_trie::{Change, Sequential, Trie};

use super::*;
use crate::parameters::PARAMETERS;

fn key(seed: u8) -> PublicKey {
    SecretKey::from_seed(&[seed; 32]).public_key()
}

fn address(seed: u8) -> String {
    Address::from(key(seed)).to_text(&AddressPrefix::new("vibet").unwrap())
}

/// Two validators and two accounts; keys 1 to 4 are the keys of the seeds 1 to 4.
fn text() -> String {
    format!(
        r#"format = 1
profile = "devnet"
network = "test-1"
time = "2025-01-01T00:00:00Z"

[parameters]
tick_ms = 4
fee_min = 200

[[validators]]
key = "{}"
power = 10
payout = "{}"

[[validators]]
key = "{}"
power = 20
payout = "{}"

[accounts]
{} = 1_000_000
{} = "18446744073708551615"
"#,
        key(1),
        address(3),
        key(2),
        address(4),
        address(3),
        address(4),
    )
}

fn genesis() -> Genesis {
    Genesis::parse(&text()).unwrap()
}

/// The error from the base text after one replacement.
#[track_caller]
fn refused(from: &str, to: &str) -> String {
    let changed = text().replacen(from, to, 1);
    assert_ne!(changed, text(), "{from:?} is not in the text");
    match Genesis::parse(&changed) {
        Ok(_) => panic!("accepted:\n{changed}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check_refused(from: &str, to: &str, expected: &str) {
    let error = refused(from, to);
    assert!(
        error.contains(expected),
        "\nfound    {error}\nexpected {expected}"
    );
}

#[test]
fn the_hash_of_a_fixed_file_never_changes() {
    let hash = genesis().build().unwrap().hash;
    assert_eq!(
        hash.to_string(),
        "0x9d59cc747b87b137a35e40ad7173c91f96082a1be075e36aadfdad28b37935a0"
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

#[test]
fn what_is_not_allowed_is_named_with_its_place() {
    for (from, to, expected) in [
        (
            "network",
            "netwrok",
            "line 3, column 1: netwrok: unknown key \"netwrok\", did you mean \"network\"?",
        ),
        (
            "tick_ms",
            "tick-ms",
            "line 7, column 1: parameters.tick-ms: unknown key \"tick-ms\", did you mean \"tick_ms\"?",
        ),
        (
            "fee_min",
            "gas_limit",
            "line 8, column 1: parameters.gas_limit: unknown key \"gas_limit\"; known are tick_ms, ",
        ),
        (
            "power",
            "stake",
            "line 12, column 1: validators[0].stake: unknown key \"stake\"; known are key, power, payout",
        ),
        (
            "format = 1",
            "format = 2",
            "line 1, column 10: format: found 2, allowed is 1",
        ),
        (
            "format = 1\n",
            "",
            "format: missing; expected the version of this file's format, 1",
        ),
        (
            "\"devnet\"",
            "\"devnot\"",
            "line 2, column 11: profile: found \"devnot\", did you mean \"devnet\"?; allowed are devnet, production, dev",
        ),
        (
            "profile = \"devnet\"\n",
            "",
            "address_prefix: missing; expected a value, or a profile that has one",
        ),
        (
            "\"test-1\"",
            "\"test 1\"",
            "line 3, column 11: network: found \"test 1\", allowed is 1 to 32 letters, digits, '-' or '_'",
        ),
        (
            "\"test-1\"",
            "7",
            "line 3, column 11: network: found an integer, expected a text in quotes",
        ),
        (
            "2025-01-01T",
            "2025-02-30T",
            "line 4, column 8: time: found \"2025-02-30T00:00:00Z\", allowed is a time with offset",
        ),
        (
            "00:00Z\"",
            "00:00\"",
            "line 4, column 8: time: found \"2025-01-01T00:00:00\", allowed is a time with offset",
        ),
        (
            "\"2025-01-01T00:00:00Z\"",
            "253402300800000",
            "line 4, column 8: time: found 253402300800000 ms, allowed is a time before 9999-12-31T23:59:59.999Z",
        ),
        (
            "\"2025-01-01T00:00:00Z\"",
            "true",
            "line 4, column 8: time: found true or false, expected a time",
        ),
        (
            "tick_ms = 4",
            "tick_ms = 0",
            "line 7, column 11: parameters.tick_ms: found 0, allowed is 1 to 1000",
        ),
        (
            "tick_ms = 4",
            "tick_ms = -4",
            "line 7, column 11: parameters.tick_ms: found -4, allowed is an integer from 0 to 18446744073709551615",
        ),
        (
            "tick_ms = 4",
            "tick_ms = 4294967296",
            "line 7, column 11: parameters.tick_ms: found 4294967296, allowed is at most 4294967295",
        ),
        (
            "tick_ms = 4",
            "tick_ms = 4.5",
            "line 7, column 11: parameters.tick_ms: found a number with a fraction, expected an integer",
        ),
        (
            "tick_ms = 4",
            "tick_ms = \"4 ms\"",
            "line 7, column 11: parameters.tick_ms: found \"4 ms\", allowed is an integer, or its decimal digits as text",
        ),
        (
            "tick_ms = 4",
            "tick_ms = 4\ntick_ms = 5",
            "line 8, column 1: not TOML: duplicate key",
        ),
        (
            "tick_ms = 4",
            "empty_block_interval_ms = 0",
            "line 7, column 27: parameters.empty_block_interval_ms: found 0, allowed is 1 to 3600000 unless dev is true",
        ),
        (
            "tick_ms = 4",
            "ticks_per_block = 1",
            "line 6, column 1: parameters.quiet_ticks: found 1, allowed is 0 to 0",
        ),
        (
            "fee_min = 200",
            "fee_min = 9223372036854775808",
            "line 8, column 11: parameters.fee_min: found 9223372036854775808, allowed is at most 9223372036854775807 without quotes; write larger ones as text, \"9223372036854775808\"",
        ),
        (
            "[parameters]",
            "fault_model = \"byzantin\"\n[parameters]",
            "line 6, column 15: fault_model: found \"byzantin\", did you mean \"byzantine\"?; allowed are byzantine, crash",
        ),
        (
            "[parameters]",
            "decimals = 19\n[parameters]",
            "line 6, column 12: decimals: found 19, allowed is 0 to 18",
        ),
        (
            "[parameters]",
            "decimals = 256\n[parameters]",
            "line 6, column 12: decimals: found 256, allowed is 0 to 18",
        ),
        (
            "[parameters]",
            "dev = \"yes\"\n[parameters]",
            "line 6, column 7: dev: found a text, expected true or false",
        ),
        (
            "[parameters]",
            "address_prefix = \"Vibe\"\n[parameters]",
            "line 6, column 18: address_prefix: found \"Vibe\", allowed is 1 to 16 lower-case letters",
        ),
        (
            "[parameters]",
            "address_prefix = \"vibe\"\n[parameters]",
            "validators[0].payout: address prefix is vibet, this chain uses vibe",
        ),
        (
            "key = \"0x",
            "key = \"",
            "line 11, column 7: validators[0].key: found 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c, allowed is a public key; hex must start with 0x",
        ),
        (
            "power = 10",
            "power = 0",
            "line 12, column 9: validators[0].power: found 0, allowed is 1 or more",
        ),
        (
            "power = 10\n",
            "",
            "line 10, column 1: validators[0].power: missing; expected the voting power, 1 or more",
        ),
        (
            "power = 10",
            "power = \"18446744073709551615\"",
            "line 10, column 1: validators: the summed power is above",
        ),
        ("= 1_000_000", "= 0", "column 68: accounts.vibet1"),
        ("= 1_000_000", "= 1_000_001", "on top of the"),
        (
            "= 1_000_000",
            "= [1]",
            "found a list, expected an integer, or its decimal digits as text",
        ),
        (
            "[accounts]",
            "[accounts]\nvibe1x = 5",
            "line 21, column 1: accounts.vibe1x: not a bech32m address",
        ),
        ("[accounts]", "[accounts", "line 20, column 10: not TOML: "),
    ] {
        check_refused(from, to, expected);
    }
}

#[test]
fn a_doubled_account_or_validator_names_both_places() {
    let third = address(3);
    let capitals = format!("[accounts]\n{} = 5", third.to_uppercase());
    let error = refused("[accounts]", &capitals);
    assert!(error.starts_with("line 22, column 1: accounts.vibet1"), "{error}");
    assert!(
        error.ends_with("account is here twice; the first is at line 21, column 1"),
        "{error}"
    );
    check_refused(
        "[accounts]",
        &format!("[accounts]\n{third} = 5"),
        "line 22, column 1: not TOML: duplicate key",
    );
    check_refused(
        &key(2).to_string(),
        &key(1).to_string(),
        "line 16, column 7: validators[1].key: validator is here twice; the first is at line 11, column 7",
    );
}

#[test]
fn keys_that_nobody_can_sign_with_are_refused() {
    let prefix = AddressPrefix::new("vibet").unwrap();
    let small = PublicKey([0; 32]);
    let weak = Address([0; 32]).to_text(&prefix);
    check_refused(
        &key(1).to_string(),
        &small.to_string(),
        "line 11, column 7: validators[0].key: nobody can ever sign for this key: public key is of small order",
    );
    check_refused(
        "[accounts]",
        &format!("[accounts]\n{weak} = 5"),
        ": nobody can ever sign for this key: public key is of small order",
    );
    check_refused(
        &address(3),
        &weak,
        "line 13, column 10: validators[0].payout: nobody can ever sign for this key",
    );
    check_refused(
        &address(3),
        &Address::from(key(1)).to_text(&prefix),
        "line 13, column 10: validators[0].payout: found the validator's own consensus key",
    );
    let system = Address::system().to_text(&prefix);
    check_refused(
        "[accounts]",
        &format!("[accounts]\n{system} = 5"),
        "found the chain's own account",
    );
    check_refused(
        &address(3),
        &system,
        "line 13, column 10: validators[0].payout: found the chain's own account",
    );
}

#[test]
fn a_typo_in_an_address_is_found_at_its_line() {
    let account = format!("\n{} = 1_000", address(3));
    let typo = account.replacen("vibet1", "vibet1q", 1);
    check_refused(&account, &typo, "line 21, column 1: accounts.vibet1q");
    let typo = address(4).replace("vibet1", "vibet1q");
    check_refused(
        &address(4),
        &typo,
        "line 18, column 10: validators[1].payout: not a bech32m address: ",
    );
}

#[test]
fn limits_are_checked_before_the_work() {
    let error = Genesis::parse(&" ".repeat(GENESIS_BYTES_MAX + 1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "found 134217729 bytes, allowed are at most 134217728"
    );

    let entry = text().split("[[validators]]").nth(1).unwrap().to_owned();
    let many = format!("[[validators]]{entry}").repeat(VALIDATORS_MAX + 1);
    let error = refused("[accounts]", &format!("{many}[accounts]"));
    let said = format!(
        "validators: found {} validators, allowed are at most {VALIDATORS_MAX}",
        VALIDATORS_MAX + 3
    );
    assert!(error.contains(&said), "{error}");
}

#[test]
fn as_many_validators_as_a_record_can_order_and_no_more() {
    let mut genesis = genesis();
    let validator = |seed: u64| {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Validator {
            key: SecretKey::from_seed(&bytes).public_key(),
            power: Power(1),
            payout: key(3).into(),
        }
    };
    let most = u64::try_from(VALIDATORS_MAX).unwrap();
    genesis.validators = (0..most).map(validator).collect();
    genesis.build().unwrap();
    genesis.validators = (0..=most).map(validator).collect();
    let error = genesis.build().unwrap_err().to_string();
    let said = format!("validators: found {} validators", most + 1);
    assert!(
        error.starts_with(&said) && error.contains(&format!("1 to {most} members")),
        "{error}"
    );
}

#[test]
fn a_value_that_breaks_a_rule_is_refused_without_a_text() {
    let refused = |change: &dyn Fn(&mut Genesis)| {
        let mut genesis = genesis();
        change(&mut genesis);
        genesis.build().unwrap_err().to_string()
    };
    assert!(
        refused(&|genesis| genesis.accounts.clear()).starts_with("accounts: missing; expected at least one")
    );
    assert!(refused(&|genesis| genesis.validators.clear()).starts_with("validators: found 0 validators"));
    assert!(
        refused(&|genesis| genesis.time = TimeMs::MAX).starts_with("time: found 18446744073709551615 ms")
    );
    let doubled = refused(&|genesis| genesis.validators[1] = genesis.validators[0].clone());
    assert_eq!(doubled, "validators[1].key: validator is here twice");
}

#[test]
fn a_name_cannot_break_out_of_its_quotes() {
    let mut genesis = genesis();
    genesis.params.network = "x\"\ndev = true # \\".to_owned();
    let error = Genesis::parse(&genesis.to_toml()).unwrap_err();
    assert_eq!(error.key, "network");
}

#[test]
fn a_column_counts_characters() {
    let error = Genesis::parse("format = 1\n\"größe\" = { x = 1 } # größe\nü").unwrap_err();
    assert_eq!(error.position, Some(Position { line: 3, column: 2 }));
    let text = "a = \"ä\"";
    assert_eq!(Position::of(text, text.len()), Position { line: 1, column: 8 });
}

#[test]
fn the_written_file_is_complete_and_readable() {
    let written = genesis().to_toml();
    for line in [
        "network = \"test-1\"                       # name of the chain",
        "tick_ms = 4                              # length of a tick, milliseconds",
        "fault_model = \"byzantine\"                # byzantine: quorum > 2/3; crash: quorum > 1/2, nobody may lie",
    ] {
        assert!(
            written.lines().any(|found| found == line),
            "{line} is not in\n{written}"
        );
    }
    assert!(written.contains(&format!("{} = \"18446744073708551615\"\n", address(4))));
    assert!(!written.contains("profile"));
    assert_eq!(Genesis::parse(&written), Ok(genesis()));
}

prop_compose! {
    fn any_genesis()(
        profile in 0..Profile::ALL.len(),
        crash: bool,
        time in 0..=TIME_MAX.0,
        prefix in "[a-z]{1,16}",
        network in "[A-Za-z0-9_-]{1,32}",
        nudges in proptest::collection::vec(any::<Option<u64>>(), PARAMETERS.len()),
        accounts in proptest::collection::btree_map(any::<[u8; 32]>(), 1..u64::MAX / 64, 1..20),
        validators in proptest::collection::btree_map(any::<[u8; 32]>(), 1..u64::MAX / 100 / 20, 1..20),
    ) -> Genesis {
        let mut params = Profile::ALL[profile].1.params();
        params.network = network;
        params.address_prefix = prefix;
        if crash {
            params.fault_model = FaultModel::Crash;
        }
        for (parameter, nudge) in PARAMETERS.iter().zip(nudges) {
            let old = (parameter.get)(&params);
            // Small and large values alike; values refused by the rules are reverted.
            let bits = nudge.map_or(0, |value| value % 63);
            if let Some(value) = nudge
                && ((parameter.set)(&mut params, value >> bits).is_err() || params.check().is_err())
            {
                (parameter.set)(&mut params, old).unwrap();
            }
        }
        let owner = |seed: &[u8; 32]| SecretKey::from_seed(seed).public_key();
        Genesis {
            time: TimeMs(time),
            params,
            accounts: accounts.iter().map(|(seed, balance)| (owner(seed).into(), Amount(*balance))).collect(),
            validators: validators
                .iter()
                .map(|(seed, power)| Validator { key: owner(seed), power: Power(*power), payout: key(1).into() })
                .collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_reads_back_the_same(genesis in any_genesis()) {
        let written = genesis.to_toml();
        prop_assert_eq!(Genesis::parse(&written), Ok(genesis.clone()));
        prop_assert_eq!(genesis.to_toml(), written);
        prop_assert_eq!(genesis.build().unwrap().hash, Genesis::parse(&genesis.to_toml()).unwrap().build().unwrap().hash);
    }

    #[test]
    fn no_text_makes_the_reader_fail_otherwise(text in "\\PC*", cut in 0..900usize, byte: u8) {
        let _ = Genesis::parse(&text);
        let mut bytes = self::text().into_bytes();
        bytes.truncate(cut.min(bytes.len()));
        let _ = Genesis::parse(&String::from_utf8_lossy(&bytes));
        if let Some(last) = bytes.last_mut() {
            *last = byte;
        }
        let _ = Genesis::parse(&String::from_utf8_lossy(&bytes));
    }
}
