#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use proptest::prelude::*;

use super::*;

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn each_layer_wins_over_the_one_below_and_is_named_as_the_origin() {
    let env = |key: &str, value: &str| [(key.to_owned(), value.to_owned())];
    let file = Sources::new().file("# a comment\n[rpc]\nport = 1\n");
    let loaded = file.load().unwrap();
    assert_eq!(
        (loaded.config.rpc.port, loaded.origin("rpc.port")),
        (1, Origin::File { line: 3 })
    );
    assert_eq!(loaded.origin("rpc.addr"), Origin::Default);
    let loaded = file.clone().env(env("VIBECOIN__RPC__PORT", "2")).load().unwrap();
    let variable = "VIBECOIN__RPC__PORT".to_owned();
    assert_eq!(
        (loaded.config.rpc.port, loaded.origin("rpc.port")),
        (2, Origin::Environment { variable })
    );
    let loaded = file
        .env(env("VIBECOIN__RPC__PORT", "2"))
        .flag("rpc.port", "3")
        .load()
        .unwrap();
    assert_eq!(
        (loaded.config.rpc.port, loaded.origin("rpc.port")),
        (3, Origin::Flag)
    );
}

#[test]
fn variables_of_other_programs_are_passed_over_and_typos_in_ours_are_not() {
    let load = |name: &str, value: &str| Sources::new().env([(name.to_owned(), value.to_owned())]).load();
    assert_eq!(load("VIBECOIN_HOME", "x").unwrap().config, Config::default());
    assert_eq!(
        load("VIBECOIN__RPC__PROT", "1").unwrap_err().to_string(),
        "environment variable VIBECOIN__RPC__PROT: rpc.prot: unknown key; did you mean \"VIBECOIN__RPC__PORT\"?"
    );
    assert_eq!(
        load("VIBECOIN__RPC__PORT", "many").unwrap_err().to_string(),
        "environment variable VIBECOIN__RPC__PORT: rpc.port: found \"many\", expected 0 to 65535"
    );
}

#[test]
fn a_variable_that_spells_a_knob_otherwise_is_refused_by_name() {
    let load = |name: &str| Sources::new().env([(name.to_owned(), "1".to_owned())]).load();
    for name in [
        "VIBECOIN_RPC_PORT",
        "VIBECOIN__RPC_PORT",
        "VIBECOIN_RPC__PORT",
        "VIBECOIN__rpc__port",
        "vibecoin__rpc__port",
        "VIBECOIN_RPCPORT",
    ] {
        assert_eq!(
            load(name).unwrap_err().to_string(),
            format!("environment variable {name}: unknown key; did you mean \"VIBECOIN__RPC__PORT\"?")
        );
    }
    for name in [
        "VIBECOIN_PASSWORD",
        "VIBECOIN_HOME",
        "VIBECOIN_",
        "RPC_PORT",
        "vibecoi\u{e9}",
        "",
    ] {
        assert_eq!(load(name).unwrap().config, Config::default(), "{name}");
    }
    for (name, meant) in [
        ("VIBECOIN_RPC__PROT", "VIBECOIN__RPC__PORT"),
        ("VIBECOIN_PORT", "VIBECOIN__RPC__PORT"),
        ("VIBECOIN_NOPE", "VIBECOIN_HOME"),
    ] {
        assert_eq!(
            load(name).unwrap_err().to_string(),
            format!("environment variable {name}: unknown key; did you mean {meant:?}?")
        );
    }
    // No other variable of the program equals the name of a knob without its underscores.
    for knob in KNOBS {
        assert!(load(&environment_name(knob)).map_or_else(|error| error.key == knob.key(), |_| true));
    }
}

#[test]
fn a_list_entry_that_can_never_match_is_refused() {
    for (text, message) in [
        (
            "[rpc]\nhosts = [\"localhost:8545\"]",
            "rpc.hosts: found \"localhost:8545\", allowed is a list of host names and addresses without port, or *; did you mean \"localhost\"?",
        ),
        (
            "[rpc]\ncors_origins = [\"https://app.example/\"]",
            "rpc.cors_origins: found \"https://app.example/\", allowed is a list of origins such as https://host or http://host:port, or *; did you mean \"https://app.example\"?",
        ),
        (
            "[rpc]\ncors_origins = [\"https://*.example\"]",
            "rpc.cors_origins: found \"https://*.example\", allowed is a list of origins such as https://host or http://host:port, or *",
        ),
        (
            "[p2p]\npeers = [\"\"]",
            "p2p.peers: found \"\", allowed is a list of texts without white space",
        ),
        (
            "[p2p]\nreserved = [\"12D3\"]",
            "p2p.reserved: is for peers that connect to this node, but p2p.listen is empty, so none can",
        ),
        (
            "[p2p]\nexternal = [\"/ip4/1.2.3.4/tcp/1\"]\npeers = [\"x\"]",
            "p2p.external: is for peers that connect to this node, but p2p.listen is empty, so none can",
        ),
    ] {
        let found = refused(text);
        assert!(found.ends_with(message), "{found}");
    }
    let empty = refused("[rpc]\napi = []");
    assert!(
        empty.contains("rpc.api: found an empty list, allowed is a list of at least one of chain"),
        "{empty}"
    );
    let config = parse("[rpc]\nhosts = [\"*\"]\ncors_origins = [\"*\"]").unwrap();
    assert_eq!(
        (config.rpc.hosts, config.rpc.cors_origins),
        (vec!["*".to_owned()], vec!["*".to_owned()])
    );
}

#[test]
fn a_text_with_a_form_of_its_own_is_checked() {
    for (key, bad, good) in [
        ("node.moniker", "a\nb", "a b"),
        ("node.moniker", "", "a"),
        ("metrics.listen", "9464", "127.0.0.1:9464"),
        ("metrics.listen", "localhost:9464", ""),
        ("admin.listen", "127.0.0.1", "[::1]:0"),
        ("log.filter", "inof", "info"),
        ("log.filter", "", "off"),
        ("log.filter", "[x]=nope", "node[a{b=c}]=debug"),
        ("log.filter", "node[{a=b}]=lots", "trace"),
        ("log.filter", "info,a[b", "trace"),
        ("log.filter", "a]b[=debug", "trace"),
        ("log.filter", "nodee=trace", "node=trace"),
        ("rpc.port", "+5", "5"),
        ("rpc.port", "007", "0"),
        ("rpc.port", " 5", "7"),
    ] {
        let load = |value: &str| Sources::new().flag(key, value).load();
        let error = load(bad).unwrap_err();
        assert_eq!(error.key, key, "{error}");
        assert!(load(good).is_ok(), "{key} {good:?}");
    }
    let long = Sources::new().flag("node.moniker", "x".repeat(300)).load();
    assert!(long.unwrap_err().to_string().len() < 300);
}

#[test]
fn an_unknown_key_is_an_error_with_its_line_and_a_suggestion() {
    assert_eq!(
        refused("[rpc]\naddr = \"127.0.0.1\"\nprot = 1"),
        "line 3, column 1: rpc.prot: unknown key; did you mean \"port\"?"
    );
    assert_eq!(
        refused("[rcp]\nport = 1"),
        "line 1, column 2: rcp: unknown key; did you mean \"rpc\"?"
    );
    assert_eq!(
        refused("moniker = \"x\""),
        "line 1, column 1: moniker: unknown key; did you mean \"node.moniker\"?"
    );
    assert_eq!(
        refused("[rpc]\nzzzzzzzz = 1"),
        "line 2, column 1: rpc.zzzzzzzz: unknown key"
    );
    assert_eq!(
        refused("[rpc.addr]\nx = 1"),
        "line 1, column 1: rpc.addr: found a table, expected an IP address"
    );
}

#[test]
fn a_value_out_of_range_or_of_another_type_says_what_is_allowed() {
    for (text, message) in [
        (
            "[rpc]\nport = 65536",
            "line 2, column 8: rpc.port: found 65536, allowed is 0 to 65535",
        ),
        (
            "[rpc]\nport = -1",
            "line 2, column 8: rpc.port: found \"-1\", allowed is 0 to 65535",
        ),
        (
            "[rpc]\nport = \"1\"",
            "line 2, column 8: rpc.port: found a text, expected 0 to 65535",
        ),
        (
            "[rpc]\nport = 1.5",
            "line 2, column 8: rpc.port: found a number with a fraction, expected 0 to 65535",
        ),
        (
            "[rpc]\naddr = \"here\"",
            "line 2, column 8: rpc.addr: found \"here\", allowed is an IP address",
        ),
        (
            "[log]\nformat = \"jsn\"",
            "line 2, column 10: log.format: found \"jsn\", allowed is one of text, json; did you mean \"json\"?",
        ),
        (
            "[node]\nvalidator = 1",
            "line 2, column 13: node.validator: found an integer, expected true or false",
        ),
        (
            "rpc = 1",
            "line 1, column 7: rpc: found a value, expected a table [rpc]",
        ),
    ] {
        assert_eq!(refused(text), message);
    }
    assert!(refused("[rpc]\napi = [\"chian\"]").ends_with("did you mean \"chain\"?"));
    assert!(
        refused("[rpc").starts_with("line 1, column 5: not TOML: "),
        "{}",
        refused("[rpc")
    );
    assert!(refused(&"#".repeat(CONFIG_BYTES_MAX + 1)).contains("1048577 bytes"));
}

#[test]
fn the_ends_of_every_range_are_allowed_and_the_next_value_is_not() {
    for knob in KNOBS {
        let crate::Kind::Count { least, most } = knob.kind else {
            continue;
        };
        let load = |value: u64| {
            Sources::new()
                .flag("rpc.cost_burst_per_ip", "100000000")
                .flag(knob.key(), value.to_string())
                .load()
        };
        assert!(load(most).is_ok(), "{} = {most}", knob.key());
        assert!(load(most + 1).is_err(), "{} = {}", knob.key(), most + 1);
        if knob.key() != "rpc.cost_burst_per_ip" {
            assert!(load(least).is_ok(), "{} = {least}", knob.key());
        }
        if let Some(below) = least.checked_sub(1) {
            assert!(load(below).is_err(), "{} = {below}", knob.key());
        }
    }
}

#[test]
fn lists_come_from_commas_outside_the_file() {
    let loaded = Sources::new()
        .flag("rpc.api", "chain, tx")
        .flag("rpc.hosts", "")
        .load()
        .unwrap();
    assert_eq!(loaded.config.rpc.api, ["chain", "tx"]);
    assert!(loaded.config.rpc.hosts.is_empty());
    assert!(Sources::new().flag("rpc.api", "chain,").load().is_err());
}

#[test]
fn nothing_secret_and_nothing_that_all_nodes_share_is_a_knob() {
    for knob in KNOBS {
        let name = knob.name;
        for word in [
            "secret",
            "seed",
            "mnemonic",
            "private",
            "tick",
            "fee",
            "fault",
            "block_bytes",
        ] {
            assert!(!name.contains(word), "{}", knob.key());
        }
    }
}

#[test]
fn entries_read_back_as_the_same_configuration() {
    let loaded = Sources::new()
        .file("[node]\nmoniker = \"a=\\\"b\\\" \\u00fc\"\n[rpc]\nhosts = [\"x\"]")
        .load()
        .unwrap();
    let text: String = loaded
        .entries()
        .map(|(knob, value, _)| format!("{} = {value}\n", knob.key()))
        .collect();
    assert_eq!(parse(&text).unwrap(), loaded.config);
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused_but_never_breaks(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_change_of_one_byte_of_a_good_file_is_survived(at in 0usize..400, byte in 0u8..128) {
        let mut text = crate::default_text().replace("\n#", "\n").into_bytes();
        let at = at * text.len() / 400;
        text[at] = byte;
        if let Ok(text) = String::from_utf8(text) {
            let _ = parse(&text);
        }
    }
}
