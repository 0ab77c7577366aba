#![allow(clippy::unwrap_used)]

use std::any::TypeId;

use clap::Parser as _;

use super::*;
use crate::exit::Exit;

fn refused(line: &str) -> CliError {
    let words = line.split_whitespace();
    let refused = Arguments::try_parse_from(std::iter::once("vibecoin").chain(words.clone()));
    error(&refused.expect_err(line), words.map(str::to_owned))
}

#[test]
fn an_option_that_took_the_command_is_named() {
    for (line, option) in [
        ("--home transfer dev1 5 --from dev0", "--home took transfer"),
        ("-u account show dev1", "-u took account"),
    ] {
        let error = refused(line);
        assert!(error.hint.unwrap().starts_with(option), "{line}");
    }
    // A home may have such a name.
    assert!(Arguments::try_parse_from(["vibecoin", "--home", "account", "account", "list"]).is_ok());
    let error = refused("--home account account lisst");
    assert!(error.hint.unwrap().contains("list"));
}

#[test]
fn wrong_arguments_are_named_with_what_was_found_and_what_is_allowed() {
    let bounds = |least: u64, most: u64| {
        format!("it is a whole number, {least} to {most}, without sign and leading zeros")
    };
    for (line, message, hint) in [
        (
            "block list --limit 0",
            format!("--limit is \"0\": {}", bounds(1, 1000)),
            "see `vibecoin block list --help`",
        ),
        (
            "block list --limit=-1",
            format!("--limit is \"-1\": {}", bounds(1, 1000)),
            "see `vibecoin block list --help`",
        ),
        (
            "validator show 0x00 --window 1001",
            format!("--window is \"1001\": {}", bounds(1, 1000)),
            "see `vibecoin validator show --help`",
        ),
        (
            "keys import a --mnemonic f --account 2147483648",
            format!("--account is \"2147483648\": {}", bounds(0, 2_147_483_647)),
            "see `vibecoin keys import --help`",
        ),
        (
            "devnet up -v 101",
            format!("--validators is \"101\": {}", bounds(1, 100)),
            "see `vibecoin devnet up --help`",
        ),
        (
            "devnet up --base-port 65536",
            format!("--base-port is \"65536\": {}", bounds(1, 65_535)),
            "see `vibecoin devnet up --help`",
        ),
        (
            "status --timeout",
            "--timeout needs a value".to_owned(),
            "see `vibecoin status --help`",
        ),
        (
            "status --color blue",
            "--color is \"blue\": allowed are auto, always, never".to_owned(),
            "see `vibecoin status --help`",
        ),
        (
            "status --colour never",
            "unknown argument --colour".to_owned(),
            "did you mean --color? see `vibecoin status --help`",
        ),
        (
            "bloc list",
            "unknown command bloc".to_owned(),
            "did you mean block? see `vibecoin --help`",
        ),
        (
            "devnet stop",
            "unknown command stop".to_owned(),
            "did you mean down? see `vibecoin devnet --help`",
        ),
        (
            "devnet --dir d start",
            "unknown command start".to_owned(),
            "did you mean up? see `vibecoin devnet --help`",
        ),
        (
            "devnet stop-nod",
            "unknown command stop-nod".to_owned(),
            "did you mean stop-node? see `vibecoin devnet --help`",
        ),
        (
            "send",
            "unknown command send".to_owned(),
            "did you mean transfer? see `vibecoin --help`",
        ),
        (
            "transfer vibet1x 5",
            "missing: --from".to_owned(),
            "see `vibecoin transfer --help`",
        ),
        (
            "keys import a --mnemonic f --hex-file g",
            "--mnemonic cannot be given together with --hex-file".to_owned(),
            "see `vibecoin keys import --help`",
        ),
    ] {
        let error = refused(line);
        assert_eq!(
            (error.exit, error.reason.as_str()),
            (Exit::Usage, "usage"),
            "{line}"
        );
        assert_eq!(error.message, message, "{line}");
        assert_eq!(error.hint.as_deref(), Some(hint), "{line}");
    }
}

#[test]
fn a_name_of_another_program_leads_to_a_command_that_is_there() {
    let mut root = Arguments::command();
    root.build();
    for (command, names, meant) in OTHER_NAMES {
        let of = |start: &Command, path: &str| {
            path.split(' ')
                .try_fold(start.clone(), |at, name| at.find_subcommand(name).cloned())
        };
        let group = match command.split_once(' ') {
            None => Some(root.clone()),
            Some((_, path)) => of(&root, path),
        };
        let group = group.expect(command);
        assert!(of(&group, meant).is_some(), "{command} {meant}");
        for name in names {
            assert!(of(&group, name).is_none(), "{command} {name} is a command itself");
            let line = format!("{} {name}", command.trim_start_matches("vibecoin"));
            let hint = refused(&line).hint.unwrap();
            assert!(
                hint.starts_with(&format!("did you mean {meant}? ")),
                "{line}: {hint}"
            );
        }
    }
}

#[test]
fn an_option_of_another_program_leads_to_one_that_is_there() {
    let mut root = Arguments::command();
    root.build();
    for (command, names, meant) in OTHER_OPTIONS {
        let path = command.split(' ').skip(1);
        let of = path.fold(&root, |at, name| at.find_subcommand(name).expect(command));
        let has = |option: &str| {
            of.get_arguments()
                .any(|argument| argument.get_long() == option.strip_prefix("--"))
        };
        assert!(has(meant), "{command} {meant}");
        for name in names {
            assert!(!has(name), "{command} {name} is an option itself");
            let line = match command {
                "vibecoin" => format!("status {name} x"),
                _ => format!("{} {name} x", command.trim_start_matches("vibecoin")),
            };
            let hint = refused(&line).hint.unwrap();
            assert!(
                hint.starts_with(&format!("did you mean {meant}? ")),
                "{line}: {hint}"
            );
        }
    }
}

#[test]
fn a_method_behind_another_word_is_the_first_argument() {
    for line in ["rpc call chain_getHead {}", "rpc chain_getBlock chain_getHead {}"] {
        let hint = refused(line).hint.unwrap();
        assert!(hint.contains("`vibecoin rpc chain_get"), "{line}: {hint}");
    }
}

#[test]
fn the_command_is_found_behind_options_and_their_values() {
    for (line, command) in [
        ("", "vibecoin"),
        ("--home node -q", "vibecoin"),
        ("--home node block list", "vibecoin block list"),
        ("-o json block --home=tx list status", "vibecoin block list"),
        ("devnet --dir up add-node", "vibecoin devnet add-node"),
        ("-q keys -- new", "vibecoin keys"),
        ("-ojson keys show new", "vibecoin keys show"),
    ] {
        let words = line.split_whitespace().map(str::to_owned);
        assert_eq!(command_of(&Arguments::command(), words), command, "{line}");
    }
}

/// Options of a command and its subcommands, with the path to it, whose value is read as a number.
fn numbers(command: &Command, path: &str, found: &mut Vec<(String, String)>) {
    for argument in command.get_arguments() {
        let kind = argument.get_value_parser().type_id();
        let number = [
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
        ];
        if let Some(long) = argument.get_long()
            && number.into_iter().any(|number| kind == number)
        {
            found.push((path.to_owned(), long.to_owned()));
        }
    }
    for sub in command.get_subcommands() {
        numbers(sub, &format!("{path} {}", sub.get_name()), found);
    }
}

#[test]
fn no_number_is_left_to_the_words_of_clap() {
    let mut found = Vec::new();
    numbers(&Arguments::command(), "", &mut found);
    assert!(found.len() > 30, "{found:?}");
    for (path, long) in found {
        let words = ["-1", "+1", "01", "1.5", "x", "18446744073709551616"];
        for word in words {
            let line = format!("{} --{long}={word}", path.trim());
            let message = refused(&line).message;
            assert!(
                message.starts_with(&format!("--{long} is {word:?}: ")) && message.contains("whole number"),
                "{line}: {message}"
            );
        }
    }
}
