//! `vibecoin keys`: keys of accounts, encrypted on disk.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vibecoin_devnet::home::make_private;
use vibecoin_keystore::{COIN_TYPE_TEST, KeyError, KeyInfo, KeyList, Mnemonic, import};
use vibecoin_primitives::{PublicKey, SecretKey, Signature};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::hex_args::{bytes, fixed};
use crate::numbers::whole;
use crate::output::{self, Answer};
use crate::passphrase::PassphraseArgs;
use crate::signer::{load, opened};

const EXAMPLES: &str = "\
Examples:
  vibecoin keys new alice                        24 words and an encrypted file
  vibecoin keys import bob --mnemonic words.txt  the same key from its words
  vibecoin keys list
  vibecoin keys sign alice --message 0x68656c6c6f";

/// Prefix of a message that is signed by hand, so that it can never be a transaction or a vote.
const MESSAGE_TAG: &[u8] = b"vibecoin/message/v1";

/// The last account of a path of SLIP-10, whose numbers are below 2^31.
const ACCOUNT_MAX: u64 = (1 << 31) - 1;

/// The commands of `keys`.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum KeysCommand {
    /// Make a key; its 24 words are printed once
    New {
        /// The name
        name: String,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Take a key from elsewhere
    Import {
        /// The name
        name: String,
        #[command(flatten)]
        from: ImportSource,
        /// Which account of the words, 0 to 2147483647
        #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = whole::<u32>(0..=ACCOUNT_MAX))]
        account: u32,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// List the keys of the home
    List,
    /// Show one key, without its secret
    Show {
        /// Name or address
        key: String,
    },
    /// Sign a message of your own
    Sign {
        /// Name or address
        key: String,
        /// The message as hex, with or without 0x
        #[arg(long, value_name = "HEX")]
        message: String,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Check a signature made by `keys sign`; exit 8 when it does not hold
    Verify {
        /// The public key as hex
        #[arg(long, value_name = "HEX")]
        public_key: String,
        /// The signature as hex
        #[arg(long, value_name = "HEX")]
        signature: String,
        /// The message as hex
        #[arg(long, value_name = "HEX")]
        message: String,
    },
    /// Print a key's secret seed; whoever sees it has the account
    Export {
        /// Name or address
        key: String,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Give a key another name
    Rename {
        /// The old name
        from: String,
        /// The new name
        to: String,
    },
    /// Remove a key; without its words or a copy the account is lost
    Delete {
        /// The name
        name: String,
    },
    /// Change the passphrase; the new one comes from --new-password-file or the terminal
    Passwd {
        /// Name or address
        key: String,
        /// File that holds the new passphrase
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
}

/// Where an imported key comes from. `-` is stdin; secrets are never arguments.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct ImportSource {
    /// File with the words
    #[arg(long, value_name = "FILE")]
    mnemonic: Option<PathBuf>,
    /// File with the 32-byte seed as hex
    #[arg(long, value_name = "FILE")]
    hex_file: Option<PathBuf>,
    /// File of `solana-keygen`
    #[arg(long, value_name = "FILE")]
    solana_json: Option<PathBuf>,
}

impl KeysCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Exit 5 for a key that does not exist, 40 for one that cannot be read.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        match self {
            Self::New { name, passphrase } => new(context, &name, &passphrase),
            Self::Import {
                name,
                from,
                account,
                passphrase,
            } => {
                let key = from.read(account).map_err(of_import)?;
                store(context, &name, &key, &passphrase).map(|info| Answer::new(view(&info)))
            }
            Self::List => list(context),
            Self::Show { key } => Ok(Answer::new(view(&context.keys_with(&key)?.find(&key)?))),
            Self::Sign {
                key,
                message,
                passphrase,
            } => {
                let key = load(context, &key, &passphrase)?;
                let signature = key.sign(&tagged(&bytes("message", &message)?)).to_string();
                let public_key = key.public_key().to_string();
                Ok(Answer::new(json!({ "publicKey": public_key, "signature": signature })).text(signature))
            }
            Self::Verify {
                public_key,
                signature,
                message,
            } => verify(&public_key, &signature, &message),
            Self::Export { key, passphrase } => export(context, &key, &passphrase),
            Self::Rename { from, to } => {
                Ok(Answer::new(view(&context.keys_with(&from)?.rename(&from, &to)?)))
            }
            Self::Delete { name } => delete(context, &name),
            Self::Passwd {
                key,
                new_password_file,
                passphrase,
            } => {
                let keys = opened(context, context.keys_with(&key)?, &passphrase)?;
                let new = passphrase.to_replace(new_password_file.as_deref(), &key)?;
                let info = keys.change_passphrase(&key, &mut passphrase.source(), new.as_ref());
                Ok(Answer::new(view(
                    &info.map_err(|error| passphrase.failed(error))?,
                )))
            }
        }
    }
}

impl ImportSource {
    fn read(&self, account: u32) -> Result<SecretKey, KeyError> {
        let text = |path: &PathBuf| files::read_secret(path);
        match self {
            Self {
                mnemonic: Some(path), ..
            } => Mnemonic::parse(&text(path)?)?.account_key(COIN_TYPE_TEST, account),
            Self {
                hex_file: Some(path), ..
            } => import::hex_seed(&text(path)?),
            Self {
                solana_json: Some(path),
                ..
            } => import::solana_json(&text(path)?),
            // The argument parser requires one of them.
            _ => Err(KeyError::Import {
                detail: "nothing to import".to_owned(),
            }),
        }
    }
}

/// The imported file belongs to the caller: a fault in its content is not a fault of a key of the home.
fn of_import(error: KeyError) -> CliError {
    let content = matches!(error, KeyError::Import { .. });
    let error = CliError::from(error);
    if !content {
        return error;
    }
    CliError {
        hint: error.hint,
        ..CliError::new(Exit::InvalidFile, error.message)
    }
}

fn store(
    context: &Context,
    name: &str,
    key: &SecretKey,
    passphrase: &PassphraseArgs,
) -> Result<KeyInfo, CliError> {
    make_private(context.home()?)?;
    let keys = opened(context, context.keystore()?, passphrase)?;
    let passphrase = passphrase.for_new_key(name)?;
    Ok(keys.create(name, key, passphrase.as_ref())?)
}

fn new(context: &Context, name: &str, passphrase: &PassphraseArgs) -> Result<Answer, CliError> {
    let words = Mnemonic::generate()?;
    let key = words.account_key(COIN_TYPE_TEST, 0)?;
    let info = store(context, name, &key, passphrase)?;
    output::say("Write the words down and keep them to yourself: they are the key, and are not shown again.");
    let mut json = view(&info);
    if let Value::Object(fields) = &mut json {
        fields.insert("mnemonic".to_owned(), json!(words.phrase().as_str()));
    }
    Ok(Answer::new(json).shown_once())
}

fn list(context: &Context) -> Result<Answer, CliError> {
    let (list, dir) = match context.keys_there()? {
        Ok(keys) => (keys.list()?, keys.dir().to_owned()),
        Err(dir) => (KeyList::default(), dir),
    };
    for refused in &list.refused {
        output::note(&format!("warning: {refused}"));
    }
    let width = list.keys.iter().map(|key| key.name.len()).max().unwrap_or(0);
    let text: String = list
        .keys
        .iter()
        .map(|key| {
            let mark = if key.encrypted { "" } else { "  not encrypted" };
            format!("{:<width$}  {}{mark}\n", key.name, key.address)
        })
        .collect();
    let text = if text.is_empty() {
        let why = match context.home()? {
            home if home.exists() => String::new(),
            home => format!(": the home {} does not exist", home.display()),
        };
        format!("no keys in {}{why}\n", dir.display())
    } else {
        text
    };
    Ok(Answer::new(list.keys.iter().map(view).collect::<Vec<_>>()).text(text))
}

fn view(info: &KeyInfo) -> Value {
    json!({
        "name": info.name,
        "address": info.address,
        "publicKey": info.public_key.to_string(),
        "encrypted": info.encrypted,
    })
}

fn tagged(message: &[u8]) -> Vec<u8> {
    [MESSAGE_TAG, message].concat()
}

fn verify(public_key: &str, signature: &str, message: &str) -> Result<Answer, CliError> {
    let key = fixed("public key", public_key).map(PublicKey)?;
    let signature = fixed("signature", signature).map(Signature)?;
    key.verify(&tagged(&bytes("message", message)?), &signature)
        .map_err(|error| CliError::unverified(error.to_string()).reason("bad_signature"))?;
    Ok(Answer::new(json!({ "valid": true })).text("valid"))
}

fn export(context: &Context, key: &str, passphrase: &PassphraseArgs) -> Result<Answer, CliError> {
    if !context.globals.yes {
        return Err(CliError::usage("the secret would be printed").hint("say --yes if that is what you want"));
    }
    let keys = opened(context, context.keys_with(key)?, passphrase)?;
    let seed = keys.export(key, &mut passphrase.source());
    let seed = seed.map_err(|error| passphrase.failed(error))?;
    Ok(Answer::new(json!({ "seed": seed.as_str() })).text(seed.as_str()))
}

fn delete(context: &Context, name: &str) -> Result<Answer, CliError> {
    if !context.globals.yes {
        return Err(CliError::usage(format!("the key {name} would be gone for good"))
            .hint("say --yes if you have its words or a copy"));
    }
    context.keys_with(name)?.delete(name)?;
    Ok(Answer::new(json!({ "deleted": name })).text(format!("deleted {name}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn commands_that_only_look_make_nothing() {
        use crate::commands::Arguments;
        use clap::Parser as _;

        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("absent");
        let run = |line: &str| {
            let words = ["vibecoin", "--yes", "--home", home.to_str().unwrap()].into_iter();
            let arguments = Arguments::try_parse_from(words.chain(line.split(' '))).unwrap();
            let context = Context::new(arguments.globals);
            arguments.command.run(&context)
        };
        for line in [
            "keys show a",
            "keys export a",
            "keys sign a --message 00",
            "keys rename a b",
            "keys delete a",
            "keys passwd a",
            "account show a",
            "account proof a --out f",
            "mempool account a",
            "transfer a 1 --from a",
            "tx build --from a --transfer a=1",
        ] {
            let error = run(line).unwrap_err();
            assert_eq!(
                (error.exit, error.reason.as_str()),
                (Exit::NotFound, "not_found"),
                "{line}"
            );
            assert!(error.message.contains("the home"), "{line}: {}", error.message);
            assert!(error.hint.unwrap().contains("--home"), "{line}");
            assert!(!home.exists(), "{line}");
        }
        let listed = run("keys list").unwrap().render(crate::output::Format::Text);
        assert_eq!(
            listed.trim_end(),
            format!(
                "no keys in {}: the home {} does not exist",
                home.join("keys").display(),
                home.display()
            )
        );
        assert!(!home.exists());
    }

    #[test]
    fn a_file_without_a_key_is_invalid_and_one_that_may_not_be_read_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "abandon ".repeat(11)).unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let some = || Some(path.clone());
        let sources = [(some(), None, None), (None, some(), None), (None, None, some())];
        for (mnemonic, hex_file, solana_json) in sources {
            let from = ImportSource {
                mnemonic,
                hex_file,
                solana_json,
            };
            for (bits, exit) in [(0o600, Exit::InvalidFile), (0o644, Exit::Key)] {
                mode(bits);
                let error = from.read(0).map_err(of_import).err().unwrap();
                assert_eq!(error.exit, exit, "{from:?}: {error:?}");
                assert_eq!(
                    (error.code, &error.reason),
                    (i64::from(exit.code()), &exit.symbol())
                );
            }
        }
    }
}
