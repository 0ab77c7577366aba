//! Sources of passphrases: a file, the environment, the terminal. Never an argument.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;
use vibecoin_keystore::{KeyError, KeyInfo, Passphrase, PassphraseSource, process};
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::exit::Exit;
use crate::files;

/// Where the passphrase of a key comes from.
#[derive(Args, Clone, Debug, Default)]
pub struct PassphraseArgs {
    /// File that holds the passphrase [default: $VIBECOIN_PASSWORD, or the terminal]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Take and make keys without encryption; for development only
    #[arg(long)]
    pub allow_unencrypted: bool,
}

impl PassphraseArgs {
    /// Source of the passphrase of an existing key.
    pub fn source(&self) -> impl PassphraseSource + use<> {
        let file = self.password_file.clone();
        move |key: &KeyInfo| match ask_elsewhere(file.as_deref()) {
            Some(found) => found,
            None => Passphrase::new(prompt(&format!("Passphrase of {}: ", key.name))?.as_str()),
        }
    }

    /// The passphrase of a new key; none when unencrypted keys were allowed and none was given.
    pub fn for_new_key(&self, name: &str) -> Result<Option<Passphrase>, CliError> {
        if let Some(found) = ask_elsewhere(self.password_file.as_deref()) {
            return Ok(Some(found?));
        }
        if self.allow_unencrypted {
            return Ok(None);
        }
        ask_twice(name).map(Some)
    }

    /// The passphrase that replaces another: from `file` or the terminal, and never from the source of the
    /// old one. None when unencrypted keys were allowed and there is no file.
    pub fn to_replace(&self, file: Option<&Path>, name: &str) -> Result<Option<Passphrase>, CliError> {
        match file {
            Some(path) => {
                let text = files::read_secret(path)?;
                Ok(Some(Passphrase::from_file_text(&text)?))
            }
            None if self.allow_unencrypted => Ok(None),
            // All other sources have the old one.
            None => ask_twice(name).map(Some).map_err(|error| match error.exit {
                Exit::Key => error.hint("give the new one on a terminal, or with --new-password-file FILE"),
                _ => error,
            }),
        }
    }

    /// The error of a key that was to be decrypted. For a wrong passphrase it has the source of it: a variable
    /// may have been set long ago.
    pub fn failed(&self, error: KeyError) -> CliError {
        if !matches!(error, KeyError::Passphrase { .. }) {
            return error.into();
        }
        let hint = match &self.password_file {
            None if !process::is_given() => {
                "type it again, or name a file that has it with --password-file FILE"
            }
            None => {
                "`unset VIBECOIN_PASSWORD` to be asked for it on a terminal, or name a file that has it with --password-file FILE"
            }
            Some(_) => "name the file that has it with --password-file FILE",
        };
        let source = match &self.password_file {
            None if !process::is_given() => "it was typed".to_owned(),
            None => format!("it came from {}", process::VARIABLE),
            Some(path) => format!("it was read from {}", path.display()),
        };
        let error = CliError::from(error);
        let message = format!("{}; {source}", error.message);
        CliError { message, ..error }.hint(format!(
            "{hint}; if it is right, put back a copy of the key's file"
        ))
    }
}

fn ask_twice(name: &str) -> Result<Passphrase, CliError> {
    let first = prompt(&format!("New passphrase for {name}: "))?;
    if *first != *prompt("Again: ")? {
        return Err(CliError::usage("the two passphrases differ")
            .hint("nothing was written: type the same one twice, or name a file that has it with --password-file FILE"));
    }
    Ok(Passphrase::new(first.as_str())?)
}

/// A passphrase from a file or the environment; `None` when neither was given.
fn ask_elsewhere(file: Option<&Path>) -> Option<Result<Passphrase, KeyError>> {
    match file {
        Some(path) => Some(files::read_secret(path).and_then(|text| Passphrase::from_file_text(&text))),
        None => process::passphrase(),
    }
}

fn prompt(question: &str) -> Result<Zeroizing<String>, KeyError> {
    if !std::io::stdin().is_terminal() {
        return Err(KeyError::NoPassphrase {
            detail: "there is no terminal to ask on".to_owned(),
        });
    }
    rpassword::prompt_password(question)
        .map(Zeroizing::new)
        .map_err(|error| KeyError::NoPassphrase {
            detail: error.to_string(),
        })
}
