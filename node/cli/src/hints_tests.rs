//! Every hint of the product is a row of `hints.md`: the options in it are options of the command that it is
//! about, and a test followed it, or there is a reason why no program can follow it.
//!
//! The hints are found in the sources by the positions of their texts: in the arguments of a function with a
//! parameter `hint`, in a function whose name has `hint` or `remedy` in it, and in the values of variables
//! `hint`, `see` or `remedy`. The hints of a refused genesis file have a separate table
//! (`genesis_hints_tests.rs`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _, Parser as _};

use crate::commands::Arguments;

const TABLE: &str = include_str!("../hints.md");
/// Folders whose sources contain messages of the program.
const ROOMS: [&str; 6] = ["node", "storage", "genesis", "rpc", "network", "runtime"];
/// Without messages, or tested elsewhere as a whole.
const LEFT_OUT: [&str; 2] = ["genesis_hints.rs", "catch_up.rs"];

/// A row of the table.
struct Row {
    hint: String,
    /// Commands whose options are in the hint.
    commands: Vec<String>,
    /// The test that follows it, or the reason why none can.
    tried: String,
}

fn rows() -> Vec<Row> {
    table("| Hint | Commands")
}

/// The rows of the scripts; `commands` are the scripts that have the hint.
fn script_rows() -> Vec<Row> {
    table("| Hint of a script")
}

fn table(head: &str) -> Vec<Row> {
    let lines = TABLE.lines().skip_while(|line| !line.starts_with(head));
    let cells = lines.skip(2).take_while(|line| !line.is_empty()).map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{line}");
        Row {
            hint: cells[0].to_owned(),
            commands: cells[1].split(',').map(|name| name.trim().to_owned()).collect(),
            tried: cells[2].to_owned(),
        }
    });
    cells.collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// A source file: its code, in which each text is replaced by `"N"`, and the texts.
#[derive(Default)]
struct Source {
    code: String,
    texts: Vec<String>,
}

impl Source {
    fn read(path: &Path) -> Self {
        let all = std::fs::read_to_string(path).unwrap();
        let mut out = Self::default();
        let mut rest = all.as_str();
        while let Some(first) = rest.chars().next() {
            if rest.starts_with("//") {
                rest = rest.find('\n').map_or("", |end| &rest[end..]);
            } else if first == '"' {
                rest = out.text(&rest[1..]);
            } else if let Some(raw) = rest.strip_prefix("r#\"") {
                rest = raw.split_once("\"#").unwrap().1;
            } else if first == '\'' && (rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'')) {
                // A character, which may be a bracket or a quotation mark. Lifetimes have no second mark.
                let end = rest.char_indices().skip(2).find(|(at, c)| *c == '\'' && *at > 1);
                rest = &rest[end.unwrap().0.max(2) + 1..];
            } else {
                out.code.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        let tests = out
            .code
            .find("#[cfg(test)]\n#[allow")
            .or_else(|| out.code.find("#[cfg(test)]\nmod tests {"));
        out.code.truncate(tests.unwrap_or(out.code.len()));
        out
    }

    /// Takes a text up to its end, and returns the remaining source.
    fn text<'a>(&mut self, from: &'a str) -> &'a str {
        let mut text = String::new();
        let mut chars = from.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.code.push_str(&format!("\"{}\"", self.texts.len()));
                    self.texts.push(text);
                    return &from[at + 1..];
                }
                '\\' => match chars.next() {
                    Some((at, '\n')) => {
                        let blank = from[at + 1..].chars().take_while(|c| c.is_whitespace()).count();
                        for _ in 0..blank {
                            let _blank = chars.next();
                        }
                    }
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, c)) => text.push(c),
                    None => {}
                },
                c => text.push(c),
            }
        }
        panic!("a text without end");
    }

    /// The code from here to the brackets that close the open ones, or to `stop` outside of them.
    fn block(&self, from: usize, stop: char) -> &str {
        let mut depth = 0_i32;
        for (at, c) in self.code[from..].char_indices() {
            match c {
                c if c == stop && depth == 0 => return &self.code[from..from + at],
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' if depth == 0 => return &self.code[from..from + at],
                ')' | ']' | '}' => depth -= 1,
                _ => {}
            }
        }
        &self.code[from..]
    }

    /// Positions of a word, except as a part of another.
    fn places<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(word).filter_map(move |(at, _)| {
            let before = self.code[..at].chars().next_back();
            let part = before.is_some_and(is_name) && word.starts_with(is_name);
            (!part).then_some(at + word.len())
        })
    }

    /// The functions with a last parameter `hint`, or whose name states that they return one.
    fn functions(&self, takes: &mut BTreeSet<String>) -> Vec<&str> {
        let mut makes = Vec::new();
        for at in self.places("fn ") {
            let name = self.code[at..]
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap();
            let opened = at + self.code[at..].find('(').unwrap() + 1;
            let parameters = self.block(opened, '\0');
            if parameters.contains("hint: &str") || parameters.contains("hint: impl Into<String>") {
                takes.insert(name.to_owned());
            } else if name.contains("hint") || name.contains("remedy") {
                let body = opened + self.code[opened..].find('{').unwrap() + 1;
                makes.push(self.block(body, '\0'));
            }
        }
        makes
    }

    /// The blocks that contain hints.
    fn blocks(&self, takes: &BTreeSet<String>) -> Vec<&str> {
        let mut found = self.functions(&mut BTreeSet::new());
        for name in takes {
            for at in self.places(&format!("{name}(")) {
                if self.code[..at].ends_with(&format!("fn {name}(")) {
                    continue;
                }
                let arguments = self.block(at, '\0').trim_end().trim_end_matches(',');
                found.push(last_argument(arguments));
            }
        }
        for start in [
            "let hint = ",
            "let hint: ",
            "let see = ",
            "let remedy = ",
            "remedy: ",
        ] {
            for at in self.places(start) {
                let stop = if start.starts_with("let") { ';' } else { ',' };
                found.push(self.block(at, stop));
            }
        }
        found
    }

    fn texts_in(&self, block: &str) -> Vec<&str> {
        let numbers = block.split('"').skip(1).step_by(2);
        numbers
            .filter_map(|number| self.texts.get(number.parse::<usize>().ok()?))
            .map(String::as_str)
            .collect()
    }
}

fn last_argument(arguments: &str) -> &str {
    let mut depth = 0_i32;
    let mut start = 0;
    for (at, c) in arguments.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => start = at + 1,
            _ => {}
        }
    }
    &arguments[start..]
}

/// The constants in a block: words in capitals.
fn constants(block: &str) -> impl Iterator<Item = &str> {
    let words = block.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.filter(|word| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

/// The folder of a source file's crate.
fn crate_of(path: &Path) -> PathBuf {
    let parents = path.ancestors();
    let mut crates = parents.filter(|folder| folder.join("Cargo.toml").is_file());
    crates.next().unwrap().to_owned()
}

/// Every hint in the sources, as written there, with its file.
fn swept() -> BTreeMap<String, PathBuf> {
    let mut files = Vec::new();
    for room in ROOMS {
        sources(&root().join(room), &mut files);
    }
    files.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let path = path.to_str().unwrap();
        !name.ends_with("tests.rs") && !path.contains("/tests/") && !LEFT_OUT.contains(&name)
    });
    let read: Vec<_> = files.iter().map(|path| (path, Source::read(path))).collect();
    // Functions are known only in their own crate.
    let mut takes: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    let mut named = BTreeMap::new();
    for (path, source) in &read {
        let _makes = source.functions(takes.entry(crate_of(path)).or_default());
        for at in source.places("const ") {
            let constant = source.block(at, ';');
            if let (Some((name, _)), [text]) =
                (constant.split_once(": &str ="), &source.texts_in(constant)[..])
            {
                named.insert(name, *text);
            }
        }
    }
    assert!(takes.values().any(|names| names.len() > 1), "{takes:?}");
    for library in ["node/client", "node/loadgen"] {
        let is_swept = takes.keys().any(|folder| folder.ends_with(library));
        assert!(is_swept, "{library} is not swept");
    }
    let mut found = BTreeMap::new();
    for (path, source) in &read {
        for block in source.blocks(&takes[&crate_of(path)]) {
            let constants = constants(block).filter_map(|name| named.get(name).copied());
            for text in source.texts_in(block).into_iter().chain(constants) {
                // Names and the text between two hints are not hints.
                let words = text.split(['{', '}']).step_by(2).collect::<String>();
                if words.contains(char::is_alphabetic) && text.split_whitespace().count() > 1 {
                    found.insert(text.to_owned(), (*path).clone());
                }
            }
        }
    }
    found
}

#[test]
fn every_hint_of_the_sources_is_a_row_of_the_table() {
    let swept = swept();
    let rows: BTreeSet<_> = rows().into_iter().map(|row| row.hint).collect();
    let missing: Vec<_> = swept.iter().filter(|(hint, _)| !rows.contains(*hint)).collect();
    assert!(missing.is_empty(), "rows are missing in hints.md: {missing:#?}");
    let stale: Vec<_> = rows.iter().filter(|hint| !swept.contains_key(*hint)).collect();
    assert!(
        stale.is_empty(),
        "no source has these rows of hints.md: {stale:#?}"
    );
    assert!(rows.len() > 100, "{}", rows.len());
}

/// The command with this name, such as `keys new`.
fn command<'a>(root: &'a Command, name: &str) -> &'a Command {
    let parts = name.split_whitespace();
    parts.fold(root, |command, part| {
        let sub = command.find_subcommand(part);
        sub.unwrap_or_else(|| panic!("there is no command {name}"))
    })
}

/// The options in a text outside of its commands.
fn options(text: &str) -> BTreeSet<&str> {
    let prose = text.split('`').step_by(2);
    let words = prose.flat_map(|part| part.split(|c: char| c.is_whitespace() || ",;:".contains(c)));
    let options = words.filter(|word| word.starts_with('-') && word.len() > 1 && !word.contains('{'));
    options.collect()
}

#[test]
fn the_options_that_a_hint_names_are_options_of_its_commands() {
    let mut root = Arguments::command();
    root.build();
    let mut looked_at = 0_usize;
    for row in rows() {
        let options = options(&row.hint);
        assert_eq!(
            options.is_empty(),
            row.commands == ["-"],
            "{}: which commands take {options:?}?",
            row.hint
        );
        for name in row.commands.iter().filter(|name| *name != "-") {
            let command = command(&root, name);
            for option in &options {
                let known = command
                    .get_arguments()
                    .any(|argument| match option.strip_prefix("--") {
                        Some(long) => argument.get_long() == Some(long),
                        None => argument
                            .get_short()
                            .is_some_and(|short| *option == format!("-{short}")),
                    });
                assert!(known, "{name} has no {option}: {}", row.hint);
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 40, "{looked_at}");
}

#[test]
fn the_commands_that_a_hint_names_are_parsed() {
    let mut looked_at = 0_usize;
    for row in rows() {
        for line in row
            .hint
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|part| part.starts_with("vibecoin "))
        {
            let words = line.split_whitespace().map(|word| match word {
                "N" | "PORT" | "AMOUNT" | "POWER" | "HEIGHT" => "1",
                word => word,
            });
            let parsed = Arguments::try_parse_from(words);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            looked_at += 1;
        }
    }
    assert!(looked_at > 30, "{looked_at}");
}

#[test]
fn every_hint_is_followed_by_a_test_that_is_there_or_has_a_reason() {
    let mut files = Vec::new();
    for room in ["node", "tests/e2e"] {
        sources(&root().join(room), &mut files);
    }
    let code: String = files
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let mut followed = 0_usize;
    for row in rows().into_iter().chain(script_rows()) {
        let test = row
            .tried
            .strip_prefix('`')
            .and_then(|rest| rest.split('`').next());
        match test {
            Some(test) => {
                assert!(code.contains(&format!("fn {test}()")), "{test}");
                followed += 1;
            }
            None => assert!(
                row.tried.starts_with("no: ") && row.tried.len() > 20,
                "{}: {}",
                row.hint,
                row.tried
            ),
        }
    }
    assert!(followed * 3 > rows().len() * 2, "{followed} of {}", rows().len());
}

/// The hints of a script's text: the second arguments of `die` and `wrong`, and what a `printf` writes behind `hint: `.
/// A part that the shell fills in is `{}`.
fn hints_of_script(text: &str) -> BTreeSet<String> {
    let code = text.replace("\\\n", " ");
    let mut found = BTreeSet::new();
    for line in code.lines().filter(|line| !line.trim_start().starts_with('#')) {
        if let Some((_, rest)) = line.split_once("hint: ").filter(|_| line.contains("printf '")) {
            let end = rest.find(['\\', '\'']).unwrap();
            found.insert(rest[..end].replace("%q", "{}").replace("%s", "{}"));
        }
        for word in ["die \"", "wrong \""] {
            for (at, _) in line.match_indices(word) {
                if line[..at].ends_with(|c: char| c.is_alphanumeric()) {
                    continue;
                }
                let (_message, rest) = quoted_by_shell(&line[at + word.len()..]);
                if let Some(rest) = rest.trim_start().strip_prefix('"') {
                    found.insert(quoted_by_shell(rest).0);
                }
            }
        }
    }
    // The function that prints its argument.
    found.remove("{}");
    found
}

/// A text up to its closing mark, with `{}` for `$name`, `${…}` and `$(…)`, and what is behind it.
fn quoted_by_shell(from: &str) -> (String, &str) {
    let mut text = String::new();
    let mut rest = from;
    while let Some(first) = rest.chars().next() {
        let behind = &rest[first.len_utf8()..];
        rest = match first {
            '"' => return (text, behind),
            '$' => {
                text.push_str("{}");
                let closing = match behind.chars().next() {
                    Some('(') => ')',
                    Some('{') => '}',
                    _ => {
                        let is_name = |c: char| c.is_alphanumeric() || c == '_';
                        rest = behind.trim_start_matches(is_name);
                        continue;
                    }
                };
                let end = behind.find(closing).unwrap();
                &behind[end + 1..]
            }
            c => {
                text.push(c);
                behind
            }
        };
    }
    panic!("a text without end: {from}");
}

#[test]
fn the_hints_of_a_script_are_found() {
    let text = "a || die \"x\"\n  # die \"x\" \"no\"\nb || die \"x $1\" \\\n \"do $(printf %q \"$0\") it\"\n\
                wrong \"x\" \"try ${all[*]}\"; printf 'error: %s\\nhint: see %q\\n' x\nsay \"hint: $2\"\n";
    let expected = ["do {} it", "see {}", "try {}"].map(str::to_owned);
    assert_eq!(hints_of_script(text), BTreeSet::from(expected));
}

#[test]
fn every_hint_of_the_scripts_is_a_row_of_their_table() {
    let mut swept: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for folder in ["scripts", "scripts/reliability"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name.ends_with(".sh") {
                for hint in hints_of_script(&std::fs::read_to_string(&path).unwrap()) {
                    swept.entry(hint).or_default().insert(name.clone());
                }
            }
        }
    }
    let rows: BTreeMap<String, BTreeSet<String>> = script_rows()
        .into_iter()
        .map(|row| (row.hint, row.commands.into_iter().collect()))
        .collect();
    assert_eq!(rows, swept);
    assert!(rows.len() > 15, "{}", rows.len());
}
