//! Every kind of error of a genesis file, with its hint followed: the file is valid afterwards.
#![allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Parser as _;
use vibecoin_genesis::Genesis;
use vibecoin_primitives::limits::VALIDATORS_MAX;
use vibecoin_primitives::{Address, AddressPrefix, PublicKey, SecretKey};

use super::*;
use crate::commands::Arguments;
use crate::context::Context;
use crate::output::Format;

fn key(seed: u8) -> PublicKey {
    SecretKey::from_seed(&[seed; 32]).public_key()
}

fn address(seed: u8, prefix: &str) -> String {
    Address::from(key(seed)).to_text(&AddressPrefix::new(prefix).unwrap())
}

/// A valid file: one validator with key 1, two accounts with keys 2 and 3.
fn text() -> String {
    format!(
        "format = 1\nprofile = \"devnet\"\nnetwork = \"test-1\"\ntime = \"2025-01-01T00:00:00Z\"\n\n\
         [parameters]\ntick_ms = 4\n\n\
         [[validators]]\nkey = \"{}\"\npower = 10\npayout = \"{}\"\n\n\
         [accounts]\n{} = 1000\n{} = 2000\n",
        key(1),
        address(2, "vibet"),
        address(2, "vibet"),
        address(3, "vibet"),
    )
}

/// A file in a separate folder.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("g.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("g.toml")
    }

    fn read(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    /// Runs the command of a hint, and returns its output.
    fn run(&self, command: &str) -> String {
        let home = self.folder.path().join("home");
        let line = match command.contains("--home") {
            true => command.to_owned(),
            false => format!("{command} --home {}", home.display()),
        };
        let arguments = Arguments::try_parse_from(line.split_whitespace()).unwrap();
        let context = Context::new(arguments.globals);
        let answer = arguments
            .command
            .run(&context)
            .unwrap_or_else(|error| panic!("{line}: {error:?}"));
        answer.render(Format::Text)
    }
}

/// The command of a hint, with its placeholders replaced by values.
fn command(hint: &str, values: &[(&str, &str)]) -> String {
    let quoted = hint.split('`').skip(1).step_by(2);
    let mut found = quoted.filter(|part| part.starts_with("vibecoin "));
    let command = found.next().unwrap_or_else(|| panic!("no command: {hint}"));
    let words = command.split(' ').map(|word| {
        let value = values.iter().find(|(name, _)| *name == word);
        value.map_or(word, |(_, value)| *value)
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Follows a hint: from the folder of the file, the hint and the broken text to the repaired text.
type Follow = Box<dyn Fn(&Bench, &str, &str) -> String>;

/// A text of the file, its broken form, and the procedure that follows the hint.
type Case = (String, String, Follow);

fn case(from: impl Into<String>, to: impl Into<String>, follow: Follow) -> Case {
    (from.into(), to.into(), follow)
}

/// Replaces a text by the one in the hint, or by a value that fits it.
fn replace(named: impl Into<String>, old: impl Into<String>, new: impl Into<String>) -> Follow {
    let (named, old, new) = (named.into(), old.into(), new.into());
    Box::new(move |_, hint, text| {
        assert!(hint.contains(&named), "{named}: {hint}");
        text.replacen(&old, &new, 1)
    })
}

/// Writes the text of the hint.
fn write(old: &str, new: &str) -> Follow {
    replace(new, old, new)
}

fn remove(part: impl Into<String>) -> Follow {
    replace("remove", part, "")
}

/// Puts the line of the hint at the top of the file.
fn top(line: &'static str) -> Follow {
    Box::new(move |_, hint, text| {
        assert!(
            hint.contains(&format!("`{line}`")) && hint.contains("top of the file"),
            "{hint}"
        );
        format!("{line}\n{text}")
    })
}

/// Takes the line of this key from the file that the hint's command prints.
fn form(key: &'static str, old: &'static str) -> Follow {
    Box::new(move |bench, hint, text| {
        let printed = bench.run(&command(hint, &[]));
        let lines = printed.lines().find(|line| line.starts_with(&format!("{key} =")));
        text.replacen(old, lines.unwrap_or_else(|| panic!("no {key} in {printed}")), 1)
    })
}

/// Removes a text, if any, and runs the hint's command with these values on the file.
fn run(removed: String, values: Vec<(&'static str, String)>) -> Follow {
    Box::new(move |bench, hint, text| {
        std::fs::write(bench.path(), text.replacen(&removed, "", 1)).unwrap();
        let values: Vec<_> = values
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        bench.run(&command(hint, &values));
        bench.read()
    })
}

/// Replaces a text by the output of the hint's command.
fn made(start: &'static str, old: String) -> Follow {
    Box::new(move |bench, hint, text| {
        let home = bench.folder.path().join("made").display().to_string();
        let line = command(hint, &[("NAME", "new"), ("DIR", &home)]);
        let printed = bench.run(&format!("{line} --allow-unencrypted"));
        let made = printed.split_whitespace().find(|word| word.starts_with(start));
        text.replacen(&old, made.unwrap_or_else(|| panic!("{printed}")), 1)
    })
}

fn words_and_parameters() -> Vec<Case> {
    let time = "time = \"2025-01-01T00:00:00Z\"";
    vec![
        case(
            "network = \"test-1\"",
            "netwrok = \"test-1\"",
            write("netwrok", "network"),
        ),
        case("tick_ms = 4", "gas_limit = 4", remove("gas_limit = 4")),
        case("\"devnet\"", "\"devnte\"", write("\"devnte\"", "\"devnet\"")),
        case(
            "\"devnet\"",
            "\"x\"",
            replace("one of these words", "\"x\"", "\"devnet\""),
        ),
        case("format = 1", "format = 2", write("format = 2", "format = 1")),
        case("format = 1\n", "", top("format = 1")),
        case(format!("{time}\n"), "", top("time = \"2025-01-01T00:00:00Z\"")),
        case(time, "time = \"yesterday\"", write("time = \"yesterday\"", time)),
        case("profile = \"devnet\"\n", "", top("profile = \"devnet\"")),
        case("tick_ms = 4", "tick_ms = 0", form("tick_ms", "tick_ms = 0")),
        case("tick_ms = 4", "tick_ms = 4.5", form("tick_ms", "tick_ms = 4.5")),
        case("tick_ms = 4", "fee_min = -1", form("fee_min", "fee_min = -1")),
        case(
            "network = \"test-1\"",
            "network = 1",
            form("network", "network = 1"),
        ),
        case(
            "network = \"test-1\"",
            "decimals = 19",
            form("decimals", "decimals = 19"),
        ),
        case(
            "network = \"test-1\"",
            "dev = \"no\"",
            form("dev", "dev = \"no\""),
        ),
    ]
}

fn validators() -> Vec<Case> {
    let first = address(2, "vibet");
    let validator = format!(
        "[[validators]]\nkey = \"{}\"\npower = 10\npayout = \"{first}\"\n\n",
        key(1)
    );
    let values = vec![
        ("KEY", key(1).to_string()),
        ("POWER", "1".to_owned()),
        ("PAYOUT", first.clone()),
    ];
    let weak = format!("0x{}", "00".repeat(32));
    let many = "[[validators]]\n".repeat(VALIDATORS_MAX);
    let payout = format!("payout = \"{first}\"");
    vec![
        case(validator.clone(), "", run(String::new(), values)),
        case(
            "[accounts]",
            format!("{validator}[accounts]"),
            remove(validator.clone()),
        ),
        case(
            "[accounts]",
            format!("{many}[accounts]"),
            replace("leave out 1 validators", many, ""),
        ),
        case("power = 10", "power = 0", write("power = 0", "power = 1")),
        case(
            "power = 10\n",
            "",
            replace("`power = 1`", "payout =", "power = 1\npayout ="),
        ),
        case(
            "power = 10",
            "power = \"much\"",
            write("power = \"much\"", "power = 1"),
        ),
        case(
            "power = 10",
            "power = 9223372036854775807",
            replace("less power", "9223372036854775807", "7"),
        ),
        case(key(1).to_string(), weak.clone(), made("0x", weak)),
        case(key(1).to_string(), "0x12", made("0x", "0x12".to_owned())),
        case(
            payout.clone(),
            format!("payout = \"{}\"", address(1, "vibet")),
            made("vibet1", address(1, "vibet")),
        ),
        case(
            payout,
            "payout = \"vibet1x\"",
            made("vibet1", "vibet1x".to_owned()),
        ),
    ]
}

fn accounts() -> Vec<Case> {
    let (first, second) = (address(2, "vibet"), address(3, "vibet"));
    let all = format!("[accounts]\n{first} = 1000\n{second} = 2000\n");
    let weak = Address([0; 32]).to_text(&AddressPrefix::new("vibet").unwrap());
    let add = |who: String| vec![("ADDRESS", who), ("AMOUNT", "5".to_owned())];
    let other_chain = format!("{} = 2000\n", address(3, "vibe"));
    let capitals = format!("{} = 1\n", first.to_uppercase());
    // The sum is computed in the order of the addresses.
    let (last, before) = if key(2).0 > key(3).0 {
        ("= 1000\n", 2000)
    } else {
        ("= 2000\n", 1000)
    };
    let left = (u64::MAX - before).to_string();
    let too_much = format!("= \"{}\"\n", u64::MAX);
    vec![
        case(all.clone(), "", run(String::new(), add(first.clone()))),
        case(all, "[accounts]\n", run(String::new(), add(first.clone()))),
        case("= 1000\n", "= 0\n", remove(format!("{first} = 0\n"))),
        case(
            "= 1000\n",
            "= \"rich\"\n",
            remove(format!("{first} = \"rich\"\n")),
        ),
        case(
            "[accounts]\n",
            format!("[accounts]\n{capitals}"),
            remove(capitals),
        ),
        case(last, too_much, write(&u64::MAX.to_string(), &left)),
        case(
            format!("{second} = 2000"),
            format!("{weak} = 2000"),
            remove(format!("{weak} = 2000\n")),
        ),
        case(
            format!("{second} = 2000\n"),
            other_chain.clone(),
            run(other_chain, add(key(3).to_string())),
        ),
    ]
}

#[test]
fn a_file_is_valid_once_its_hints_were_followed() {
    Genesis::parse(&text()).unwrap();
    let mut kinds = BTreeSet::new();
    let cases = [words_and_parameters(), validators(), accounts()];
    for (from, to, follow) in cases.into_iter().flatten() {
        let broken = text().replacen(&from, &to, 1);
        assert_ne!(broken, text(), "{from}");
        let bench = Bench::new(&broken);
        let Err(error) = Genesis::parse(&broken) else {
            panic!("accepted: {broken}");
        };
        let debug = format!("{:?}", error.problem);
        kinds.insert(debug.split([' ', '(']).next().unwrap_or_default().to_owned());
        let hint = for_file(&bench.path(), &error);
        let mended = follow(&bench, &hint, &broken);
        if let Err(still) = Genesis::parse(&mended) {
            panic!("{error}\n{hint}\n{still}\n{mended}");
        }
    }
    let all = [
        "Address",
        "Duplicate",
        "Missing",
        "Rule",
        "SupplyOverflow",
        "TooMany",
        "UnknownKey",
        "UnknownWord",
        "Value",
        "WeakKey",
        "WrongType",
    ];
    assert_eq!(kinds, all.map(str::to_owned).into(), "and Syntax, below");
}

#[test]
fn the_hint_of_a_syntax_error_shows_the_line() {
    let broken = text().replace("power = 10", "power 10");
    let bench = Bench::new(&broken);
    let error = Genesis::parse(&broken).unwrap_err();
    assert!(matches!(error.problem, Problem::Syntax { .. }), "{error}");
    let hint = for_file(&bench.path(), &error);
    let shell = hint.split('`').nth(1).unwrap();
    let shown = std::process::Command::new("sh")
        .args(["-c", shell])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&shown.stdout), "power 10\n");
}

#[test]
fn values_that_were_typed_have_hints_of_their_own() {
    let mut genesis = Genesis::parse(&text()).unwrap();
    let twice = genesis.validators.first().unwrap().clone();
    genesis.validators.push(twice);
    let error = genesis.check_draft().unwrap_err();
    assert_eq!(for_typed(&error), "leave out the validator that is there");
    genesis.validators.pop();
    genesis.check_draft().unwrap();
    genesis.accounts.values_mut().next().unwrap().0 = 0;
    let error = genesis.check_draft().unwrap_err();
    assert_eq!(for_typed(&error), "give 1 or more");
    genesis.accounts.values_mut().next().unwrap().0 = 1;
    genesis.check_draft().unwrap();
}

#[test]
fn a_configuration_and_a_genesis_file_are_told_apart() {
    let check = |bench: &Bench, command: &str| {
        let line = format!("vibecoin {command} {}", bench.path().display());
        let arguments = Arguments::try_parse_from(line.split_whitespace()).unwrap();
        arguments.command.run(&Context::new(arguments.globals))
    };
    let configuration = Bench::new(&vibecoin_config::default_text());
    let genesis = Bench::new(&text());
    for (bench, wrong, right) in [
        (&configuration, "genesis validate", "config check"),
        (&genesis, "config check", "genesis validate"),
    ] {
        let hint = check(bench, wrong).unwrap_err().hint.unwrap();
        let named = command(&hint, &[]);
        assert!(named.starts_with(&format!("vibecoin {right} ")), "{hint}");
        let _valid = bench.run(&named);
    }
    // One without any key or table is not taken for either.
    let empty = Bench::new("# nothing\n");
    let hint = check(&empty, "genesis validate").unwrap_err().hint.unwrap();
    assert!(hint.contains("top of the file"), "{hint}");
}
