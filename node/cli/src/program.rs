//! The commands in messages, as the reader can type them: hints are written for `vibecoin COMMAND`, and
//! displayed with the name by which this program was called and the options that lead to the same node and
//! home.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::error::CliError;
use crate::globals::Globals;
use crate::node_url::NodeUrl;
use crate::output::Answer;

pub use vibecoin_primitives::text::{quoted, quoted_path};

/// Name of this program in the texts of messages.
const NAME: &str = "vibecoin";
/// Start of a command in the texts of messages.
const WRITTEN: &str = "`vibecoin ";
/// Commands that contact no node.
const WITHOUT_NODE: [&str; 13] = [
    "completions",
    "config",
    "db",
    "debug",
    "devnet",
    "genesis",
    "init",
    "keys",
    "node",
    "proof",
    "snapshot",
    "testnet",
    "version",
];
/// Commands that use no home of the caller.
const WITHOUT_HOME: [&str; 5] = ["completions", "debug", "devnet", "testnet", "version"];

/// Form of commands for this caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    program: String,
    home: Option<String>,
    url: Option<String>,
}

impl Typed {
    /// From the name of the program, as the caller typed it, and the options. The value of a variable is
    /// included too: it may have been set for this command alone.
    pub fn new(program: Option<OsString>, globals: Option<&Globals>) -> Self {
        let home = globals.and_then(|globals| globals.home.as_deref());
        let url = globals.map(|globals| &globals.url);
        Self {
            program: program
                .as_deref()
                .and_then(OsStr::to_str)
                .filter(|name| !name.is_empty())
                .map_or_else(|| NAME.to_owned(), quoted),
            home: home.map(quoted_path),
            url: url.filter(|url| !url.is_of_home()).map(shown_url),
        }
    }

    /// For messages of a command that acts on a different node than its options: one of a devnet. The
    /// program's name is added later, by [`Self::shown`] of the caller's own.
    pub fn elsewhere(url: &NodeUrl, home: &Path) -> Self {
        Self {
            program: NAME.to_owned(),
            home: Some(quoted_path(home)),
            url: Some(shown_url(url)),
        }
    }

    /// A text with its commands as this caller can type them.
    pub fn shown(&self, text: &str) -> String {
        let mut parts = text.split(WRITTEN);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let command = part.split('`').next().unwrap_or_default();
            let first = command.split(' ').next().unwrap_or_default();
            out.push_str(&format!("`{} ", self.program));
            // Home and node are in the text already.
            if first.starts_with('-') {
                out.push_str(part);
                continue;
            }
            if let Some(home) = &self.home
                && !WITHOUT_HOME.contains(&first)
                && !command.contains("--home")
            {
                out.push_str(&format!("--home {home} "));
            }
            if let Some(url) = &self.url
                && !WITHOUT_NODE.contains(&first)
                && !command.contains("--url")
            {
                out.push_str(&format!("--url {url} "));
            }
            out.push_str(part);
        }
        out
    }

    /// The outcome of a command, with its commands in this form.
    pub fn outcome(&self, outcome: Result<Answer, CliError>) -> Result<Answer, CliError> {
        match outcome {
            Ok(answer) => Ok(answer.reworded(|text| self.shown(&text))),
            Err(error) => Err(self.error(error)),
        }
    }

    /// An error, with its commands in this form.
    pub fn error(&self, error: CliError) -> CliError {
        let message = self.shown(&error.message);
        CliError { message, ..error }.reworded(|hint| self.shown(&hint))
    }
}

/// An address as part of a command. Its password, if it has one, is left to the reader.
fn shown_url(url: &NodeUrl) -> String {
    quoted(&url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(program: &str, home: Option<&str>, url: Option<&str>) -> Typed {
        Typed {
            program: quoted(program),
            home: home.map(quoted),
            url: url.map(quoted),
        }
    }

    #[test]
    fn a_command_in_a_hint_is_one_that_the_caller_can_type() {
        let plain = typed("vibecoin", None, None);
        let text = "ask with `vibecoin tx wait 0xab`, or `vibecoin keys list`; see `ls /`";
        assert_eq!(plain.shown(text), text);
        let full = typed("./a b/vibecoin", Some("/h"), Some("http://127.0.0.1:1"));
        assert_eq!(
            full.shown(text),
            "ask with `'./a b/vibecoin' --home /h --url http://127.0.0.1:1 tx wait 0xab`, \
             or `'./a b/vibecoin' --home /h keys list`; see `ls /`"
        );
        assert_eq!(
            full.shown("`vibecoin init --home /x --validator` makes one; `vibecoin devnet up`"),
            "`'./a b/vibecoin' init --home /x --validator` makes one; `'./a b/vibecoin' devnet up`"
        );
    }

    #[test]
    fn a_command_for_a_node_of_a_devnet_names_its_home_and_address() {
        let node = Typed::elsewhere(&"http://127.0.0.1:27100".into(), Path::new("/d/validator 0"));
        let inner = node.shown("`vibecoin keys list`, `vibecoin tx wait 0xab`, `vibecoin devnet up`");
        let caller = typed("./v", Some("/h"), Some("http://h:1"));
        assert_eq!(
            caller.shown(&inner),
            "`./v --home '/d/validator 0' keys list`, \
             `./v --home '/d/validator 0' --url http://127.0.0.1:27100 tx wait 0xab`, `./v devnet up`"
        );
    }

    #[test]
    fn an_option_that_a_variable_may_have_set_for_one_command_is_named() {
        use clap::Parser as _;
        let line = ["vibecoin", "--home", "/h", "--url", "http://h:1", "status"];
        let globals = crate::commands::Arguments::try_parse_from(line).map(|arguments| arguments.globals);
        let globals = globals.ok();
        assert_eq!(
            Typed::new(Some("./v".into()), globals.as_ref()),
            typed("./v", Some("/h"), Some("http://h:1"))
        );
    }

    /// The text of a source file without its comments, with continued lines joined.
    fn strings_of(path: &Path) -> std::io::Result<String> {
        let text = std::fs::read_to_string(path)?;
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let mut out = String::new();
        for line in code {
            match line.strip_suffix('\\') {
                Some(goes_on) => out.push_str(goes_on.trim_start()),
                None => out.push_str(&format!("{line}\n")),
            }
        }
        Ok(out)
    }

    fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if path.is_dir() {
                sources(&path, found)?;
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && name != "program.rs" {
                found.push(path);
            }
        }
        Ok(())
    }

    /// An unquoted path with a space would be two words in a command.
    #[test]
    fn no_command_that_a_message_names_has_an_unquoted_path() {
        use crate::error::CliError;
        use std::io::{Error, ErrorKind};
        use vibecoin_keystore::KeyError;

        let folder = tempfile::Builder::new().prefix("a b").tempdir().unwrap();
        let there = folder.path().join("it's");
        std::fs::write(&there, "").unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        let mut hints = Vec::new();
        for kind in [
            ErrorKind::NotFound,
            ErrorKind::PermissionDenied,
            ErrorKind::StorageFull,
        ] {
            for name in ["it's", "link", "not/there"] {
                let error = CliError::file("read", &folder.path().join(name))(Error::from(kind));
                hints.extend(error.hint);
            }
        }
        let path = || there.clone();
        let keys = [
            KeyError::TooOpen {
                path: path(),
                mode: 0o644,
                allowed: 0o600,
            },
            KeyError::Owner {
                path: path(),
                found: 1,
                expected: 2,
            },
            KeyError::Missing {
                path: folder.path().join("validator.key"),
            },
        ];
        for error in keys {
            let error = CliError::from(error);
            hints.push(error.message);
            hints.extend(error.hint);
        }
        let root = folder.path().display().to_string();
        let mut commands = 0_usize;
        for hint in &hints {
            // The remedy for a mode is the command alone.
            let alone = hint.starts_with("chmod");
            for command in hint.split('`').skip(usize::from(!alone)).step_by(2) {
                commands = commands.saturating_add(1);
                let word = command.find(&root).map(|at| command.split_at(at).0);
                assert!(word.is_none_or(|before| before.ends_with('\'')), "{hint}");
            }
        }
        assert!(commands > 10, "{hints:?}");
    }

    #[test]
    fn every_command_that_a_message_names_can_be_typed() -> std::io::Result<()> {
        use clap::Parser as _;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        for room in [
            "src",
            "../devnet/src",
            "../engine/src",
            "../config/src",
            "../../storage/src",
            "../../genesis/src",
        ] {
            sources(&root.join(room), &mut files)?;
        }
        let mut named = 0_usize;
        for path in files {
            let text = strings_of(&path)?;
            for part in text.split(WRITTEN).skip(1) {
                let command = part.split('`').next().unwrap_or_default();
                // Refers to the author of a file, not to a command to type.
                if command == "testnet generate" {
                    continue;
                }
                let words = command.split_whitespace().map(|word| match word {
                    "N" | "PORT" | "AMOUNT" | "POWER" | "HEIGHT" => "1",
                    word => word,
                });
                let line: Vec<_> = std::iter::once("vibecoin").chain(words).collect();
                // A command in parts (`{}`) is one argument each; a whole group of commands prints its help.
                if let Err(error) = crate::commands::Arguments::try_parse_from(&line) {
                    assert!(!error.use_stderr(), "{}: `{command}`: {error}", path.display());
                }
                named = named.saturating_add(1);
            }
        }
        assert!(named > 30, "{named}");
        Ok(())
    }
}
