//! Files that are refused, each with the place of the fault.

use super::*;

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
