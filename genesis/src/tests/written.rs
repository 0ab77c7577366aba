//! The file that the library writes.

use super::*;

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
