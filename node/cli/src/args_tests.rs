#![allow(clippy::unwrap_used)]

use clap::{CommandFactory as _, Parser as _};

use super::*;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(std::iter::once("vibecoin").chain(line.split_whitespace()))
}

#[test]
fn the_definition_of_the_arguments_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn every_line_of_the_outside_contract_is_understood() {
    for line in [
        "node --home D --dev --rpc.port 0",
        "node --home D --dev --rpc.port 8600 --rpc.addr 127.0.0.1 --genesis g.toml",
        "-u http://127.0.0.1:1 -o json transfer vibet1x 5 --from dev0 --home D --wait final",
        "-u http://127.0.0.1:1 account proof vibet1x --out f",
        "proof verify f --genesis g -o json",
        "proof verify f --genesis g --genesis-hash 0x00",
        "db check --home D -o json",
        "debug verify-sig --public-key 00 --signature 00 --message 00",
        "bench state",
        "bench poh",
        "bench codec",
        "bench verify",
        "bench load --accounts 10 --transactions 100 --batch 100 --connections 2 --from dev0",
        "init --home D --genesis g",
        "init --home D --genesis g --snapshot s",
        "node --home D --snapshot http://127.0.0.1:1/s",
        "--home D -o json snapshot create --dir d",
        "snapshot list",
        "snapshot info 0x0123",
        "snapshot verify s --genesis g",
        "snapshot restore s --into D",
        "snapshot pack 0x0123 --out f",
        "snapshot delete 0x0123",
        "genesis new --out g",
        "genesis validate g",
        "genesis hash g",
        "genesis show g",
        "testnet generate -v 4 -n 1 -o d --hostname-prefix h --starting-port 5 --format systemd --seed s --fault-model crash",
        "testnet generate -o d --host a --host b --profile bench --output json",
        "devnet up -v 4 -n 1 --seed 5 --fault-model byzantine --base-port 27100 --timeout 90 -o json",
        "devnet up",
        "-vv devnet --dir d down --grace 3",
        "devnet restart",
        "devnet status --watch",
        "devnet status --json",
        "devnet logs 2 -f --grep x",
        "devnet add-node --validator",
        "devnet add-node --from-snapshot",
        "devnet stop-node 2",
        "devnet start-node validator-1",
        "devnet kill-node 2",
        "devnet partition 0,1/2,3",
        "devnet heal",
        "devnet faucet vibet1x 5",
        "devnet load --tps 5 --accounts 9 --secs 3 --batch 100",
        "devnet destroy",
        "keys new a",
        "keys import a --mnemonic f",
        "keys list",
        "keys show a",
        "keys sign a --message 00",
        "keys verify --public-key 00 --signature 00 --message 00",
        "account show a",
        "tx build --from a --transfer b=1",
        "tx sign f --key a",
        "tx send 0x00",
        "tx show 0x00",
        "tx wait 0x00",
        "tx status 0x00",
        "tx decode 0x00",
        "block show",
        "block list",
        "block watch",
        "poh status",
        "poh verify",
        "poh bench",
        "mempool status",
        "mempool list",
        "mempool account a",
        "peers list --limit 5",
        "peers id",
        "peers add /ip4/127.0.0.1/tcp/1/p2p/x",
        "peers remove x",
        "peers ban x --reason slow --seconds 60",
        "peers unban x",
        "peers bans",
        "validator list",
        "validator show 0x00 --window 10",
        "validator schedule --from 1 --count 5",
        "validator status",
        "validator status --rounds 7",
        "status",
        "health",
        "db stats",
        "db rewind --to 5",
        "config show --origin",
        "config check f",
        "config get rpc.port",
        "rpc chain_getInfo {}",
        "subscribe headers",
        "version",
        "completions bash",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for line in [
        "",
        "nod",
        "transfer vibet1x --from dev0",
        "transfer vibet1x 0 --from dev0",
        "transfer vibet1x -5 --from dev0",
        "transfer vibet1x 18446744073709551616 --from dev0",
        "transfer vibet1x 1.5 --from dev0",
        "transfer vibet1x 5",
        "transfer vibet1x 5 --from dev0 --wait forever",
        "keys import a",
        "keys import a --mnemonic f --hex-file g",
        "node --rpc.prot 1",
        "status --timeout 0",
        "bench load --batch 101",
        "devnet up -v 0",
        "devnet up -v many",
        "devnet up --frobnicate",
        "devnet load --batch 101",
        "testnet generate -v 4",
        "testnet generate -o d --host a --hostname-prefix b",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn every_wrong_amount_is_answered_in_the_same_words() {
    for amount in ["-5", "1.5", "-1.5", "x", "18446744073709551616"] {
        for line in [
            format!("transfer vibet1x {amount} --from dev0"),
            format!("transfer vibet1x 5 --from dev0 --fee {amount}"),
            format!("genesis add-account g.toml vibet1x {amount}"),
            format!("account list --min-balance {amount}"),
        ] {
            let error = parse(&line).unwrap_err().to_string();
            assert!(error.contains("an amount is "), "{line}: {error}");
            let least = u64::from(!line.contains("--fee") && !line.contains("--min"));
            let words = format!("a whole number of base units, {least} to 18446744073709551615");
            assert!(error.contains(&words), "{line}: {error}");
        }
    }
}

#[test]
fn every_knob_is_a_flag_of_the_node() {
    for knob in vibecoin_config::KNOBS {
        assert!(
            parse(&format!("node --{} 1", knob.key())).is_ok(),
            "{}",
            knob.key()
        );
    }
}

#[test]
fn the_form_of_an_error_is_known_even_when_the_arguments_are_not() {
    let of = |line: &str, environment| format_of(line.split_whitespace().map(str::to_owned), environment);
    assert_eq!(of("-o json nonsense", None), Format::Json);
    assert_eq!(of("nonsense --output=ndjson", None), Format::Ndjson);
    assert_eq!(of("-ojson x", Some("text")), Format::Json);
    assert_eq!(of("-o text -o json x", None), Format::Json);
    assert_eq!(of("nonsense", Some("json")), Format::Json);
    assert_eq!(of("nonsense -o what", None), Format::Text);
    assert_eq!(of("x -- -o json", None), Format::Text);
}

/// Every command with its path, such as `devnet up`.
fn commands(command: clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
    for sub in command.get_subcommands() {
        commands(sub.clone(), &format!("{path} {}", sub.get_name()), found);
    }
    found.push((path.to_owned(), command));
}

/// The text behind the options is wrapped by clap at the width of the terminal: a paragraph that is wrapped in the source
/// too has short lines in between, and an example that is wrapped cannot be copied.
#[test]
fn no_help_text_is_wrapped_twice() {
    let mut all = Vec::new();
    commands(Arguments::command(), "vibecoin", &mut all);
    let mut looked_at = 0_usize;
    for (path, command) in all {
        let Some(after) = command.get_after_help().map(ToString::to_string) else {
            continue;
        };
        looked_at += 1;
        let is_prose = |line: &&str| !line.is_empty() && !line.starts_with(' ');
        for (line, next) in after.lines().zip(after.lines().skip(1)) {
            assert!(!(is_prose(&line) && is_prose(&next)), "{path}: {line}\n{next}");
        }
        let shown = command.term_width(80).render_long_help().to_string();
        for line in after.lines().filter(|line| line.starts_with(' ')) {
            assert!(
                shown.lines().any(|shown| shown == line.trim_end()),
                "{path}: not one line of 80 columns: {line}"
            );
        }
    }
    assert!(looked_at > 10, "{looked_at}");
}
