//! `vibecoin genesis`: the initial file of a chain.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use vibecoin_devnet::home::now;
use vibecoin_genesis::{BuiltGenesis, Genesis, GenesisError, Profile};
use vibecoin_primitives::{Address, AddressPrefix, Amount, Power, PublicKey, TimeMs, Validator};
use vibecoin_rpc_api::views::ParamsView;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::genesis_hints::for_typed;
use crate::network_args::FaultModelName;
use crate::numbers::{number, whole};
use crate::output::Answer;
use crate::sending::{address, funds};

const EXAMPLES: &str = "\
Examples:
  vibecoin genesis new --network mynet --account vibet1…=1000000 \\
      --validator 0x<public key>=1=vibet1… --out genesis.toml
  vibecoin genesis validate genesis.toml
  vibecoin genesis hash genesis.toml";

/// A named set of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProfileName {
    /// A local network: blocks of 100 ms.
    Devnet,
    /// Machines of their own: blocks of 320 ms.
    Production,
    /// One developer: blocks on demand, public keys.
    Dev,
}

/// The commands of `genesis`.
#[derive(Debug, Subcommand)]
pub enum GenesisCommand {
    /// Write a new genesis file
    #[command(after_help = EXAMPLES)]
    New {
        /// Where the parameters start from
        #[arg(long, value_enum, default_value = "devnet")]
        profile: ProfileName,
        /// Name of the network
        #[arg(long)]
        network: Option<String>,
        /// Prefix of addresses, 1 to 16 lower-case letters
        #[arg(long)]
        prefix: Option<String>,
        /// Which faults the validators survive
        #[arg(long, value_enum)]
        fault_model: Option<FaultModelName>,
        /// Time of block 0 in milliseconds since 1970 [default: now]
        #[arg(long, value_name = "MS", allow_negative_numbers = true, value_parser = number)]
        time_ms: Option<u64>,
        /// A funded account; may be repeated
        #[arg(long = "account", value_name = "ADDRESS=AMOUNT")]
        accounts: Vec<String>,
        /// A validator; may be repeated
        #[arg(long = "validator", value_name = "KEY=POWER=PAYOUT")]
        validators: Vec<String>,
        /// The file to write [default: stdout]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace the file if it is there
        #[arg(long, requires = "out")]
        force: bool,
    },
    /// Add a funded account to a file
    AddAccount {
        /// The file
        file: PathBuf,
        /// The account
        address: String,
        /// What it owns, in base units
        #[arg(allow_negative_numbers = true, value_parser = funds)]
        amount: u64,
    },
    /// Add a validator to a file
    AddValidator {
        /// The file
        file: PathBuf,
        /// Its public key, as 0x hex
        key: String,
        /// Its voting power
        #[arg(allow_negative_numbers = true, value_parser = power)]
        power: u64,
        /// The account that its fees are paid to
        payout: String,
    },
    /// Check a file; exit 7 with the offending line when it is refused
    Validate {
        /// The file [default: that of the home]
        file: Option<PathBuf>,
    },
    /// Print the genesis hash, which names the chain
    Hash {
        /// The file [default: that of the home]
        file: Option<PathBuf>,
    },
    /// Print what a file says
    Show {
        /// The file [default: that of the home]
        file: Option<PathBuf>,
    },
}

impl GenesisCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Exit 7 for a file that is refused, or would be with the additions; 2 for an argument that is invalid
    /// in any case.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        let built = |file: Option<PathBuf>| {
            let path = context.genesis_or(file)?;
            let genesis = files::genesis(&path)?;
            let built = files::build(&path, &genesis)?;
            Ok::<_, CliError>((path, genesis, built))
        };
        match self {
            Self::New {
                profile,
                network,
                prefix,
                fault_model,
                time_ms,
                accounts,
                validators,
                out,
                force,
            } => {
                let mut genesis = start(profile, network, prefix, fault_model, time_ms)?;
                for text in &accounts {
                    add_account(&mut genesis, text, Exit::Usage)?;
                }
                for text in &validators {
                    add_validator(&mut genesis, text)?;
                }
                new(&genesis, files::named_out(out).as_deref(), force)
            }
            Self::AddAccount {
                file,
                address,
                amount,
            } => change(&file, |genesis| {
                add_account(genesis, &format!("{address}={amount}"), Exit::InvalidFile)
            }),
            Self::AddValidator {
                file,
                key,
                power,
                payout,
            } => change(&file, |genesis| {
                add_validator(genesis, &format!("{key}={power}={payout}"))
            }),
            Self::Validate { file } => {
                let (path, _, built) = built(file)?;
                Ok(Answer::new(json!({
                    "valid": true,
                    "file": path.display().to_string(),
                    "genesisHash": built.hash.to_string(),
                }))
                .text(format!("{} is valid: {}", path.display(), built.hash)))
            }
            Self::Hash { file } => {
                let hash = built(file)?.2.hash.to_string();
                Ok(Answer::new(json!({ "genesisHash": hash })).text(hash))
            }
            Self::Show { file } => {
                let (_, genesis, built) = built(file)?;
                Ok(Answer::new(show(&genesis, &built)?))
            }
        }
    }
}

fn start(
    profile: ProfileName,
    network: Option<String>,
    prefix: Option<String>,
    fault_model: Option<FaultModelName>,
    time_ms: Option<u64>,
) -> Result<Genesis, CliError> {
    let profile = match profile {
        ProfileName::Devnet => Profile::Devnet,
        ProfileName::Production => Profile::Production,
        ProfileName::Dev => Profile::Dev,
    };
    let mut params = profile.params();
    if let Some(network) = network {
        params.network = network;
    }
    if let Some(prefix) = prefix {
        params.address_prefix = prefix;
    }
    if let Some(model) = fault_model {
        params.fault_model = model.into();
    }
    params
        .check()
        .map_err(|error| CliError::usage(error.to_string()))?;
    let time = time_ms.map_or_else(now, TimeMs);
    Ok(Genesis {
        time,
        params,
        validators: Vec::new(),
        accounts: std::collections::BTreeMap::new(),
    })
}

fn prefix_of(genesis: &Genesis) -> Result<AddressPrefix, CliError> {
    genesis
        .params
        .prefix()
        .map_err(|error| CliError::new(Exit::InvalidFile, error.to_string()))
}

/// The address of an account. No home is needed here, so the remedy for one that is none names that of the keys.
fn owner(text: &str, genesis: &Genesis) -> Result<Address, CliError> {
    address(text, &prefix_of(genesis)?).map_err(|error| {
        error.hint(
            "an account is the address of a key: `vibecoin keys list --home DIR` shows those of a home, \
             `vibecoin keys new NAME --home DIR` makes one",
        )
    })
}

/// Adds the account of an argument; `twice` is the exit for an account that exists.
fn add_account(genesis: &mut Genesis, text: &str, twice: Exit) -> Result<(), CliError> {
    let (who, amount) = text
        .split_once('=')
        .ok_or_else(|| CliError::usage(format!("{text:?} is no ADDRESS=AMOUNT")))?;
    let who = owner(who, genesis)?;
    let amount = funds(amount).map_err(|error| CliError::usage(format!("{text:?}: {error}")))?;
    if genesis.accounts.insert(who, Amount(amount)).is_some() {
        return Err(CliError::new(
            twice,
            format!("the account in {text:?} is there twice"),
        ));
    }
    Ok(())
}

fn add_validator(genesis: &mut Genesis, text: &str) -> Result<(), CliError> {
    let mut parts = text.split('=');
    let (Some(key), Some(votes), Some(payout), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(CliError::usage(format!("{text:?} is no KEY=POWER=PAYOUT")));
    };
    let wrong = |error: String| CliError::usage(format!("validator {text:?}: {error}"));
    let key = PublicKey::from_hex(key).map_err(|error| wrong(format!("public key: {error}")))?;
    let power = Power(power(votes).map_err(wrong)?);
    let payout = owner(payout, genesis)?;
    genesis.validators.push(Validator { key, power, payout });
    Ok(())
}

/// Parses a voting power.
fn power(text: &str) -> Result<u64, String> {
    whole(1..=u64::MAX)(text).map_err(|error| format!("the voting power is {text:?}, {error}"))
}

fn new(genesis: &Genesis, out: Option<&Path>, force: bool) -> Result<Answer, CliError> {
    genesis.check_draft().map_err(refused)?;
    let text = genesis.to_toml();
    // A file to be completed by hand has no hash yet.
    let hash = genesis.build().ok().map(|built| built.hash.to_string());
    let Some(path) = out else {
        return Ok(Answer::new(json!({ "genesisHash": hash, "text": text })).text(text));
    };
    files::write_out(path, &text, force)?;
    let said = match &hash {
        Some(hash) => format!("wrote {}: {hash}", path.display()),
        None => format!(
            "wrote {}; add {} before it can be used",
            path.display(),
            missing(genesis)
        ),
    };
    Ok(Answer::new(json!({ "file": path.display().to_string(), "genesisHash": hash })).text(said))
}

/// The missing parts of a draft without other faults.
fn missing(genesis: &Genesis) -> &'static str {
    match (genesis.accounts.is_empty(), genesis.validators.is_empty()) {
        (true, false) => "an account",
        (false, true) => "a validator",
        _ => "accounts and validators",
    }
}

/// A genesis from the command line that `genesis validate` would refuse.
fn refused(error: GenesisError) -> CliError {
    CliError::usage(error.to_string()).hint(format!("{}; nothing was written", for_typed(&error)))
}

fn change(path: &Path, edit: impl FnOnce(&mut Genesis) -> Result<(), CliError>) -> Result<Answer, CliError> {
    let mut genesis = files::genesis_draft(path)?;
    edit(&mut genesis)?;
    // The code of `genesis validate`, which would refuse the file; the file was valid before, so the remedy
    // differs.
    genesis.check_draft().map_err(|error| {
        CliError::genesis(path, &error).hint(format!("{}; the file is unchanged", for_typed(&error)))
    })?;
    let hash = genesis.build().ok().map(|built| built.hash.to_string());
    files::write(path, &genesis.to_toml(), true)?;
    Ok(Answer::new(
        json!({ "file": path.display().to_string(), "genesisHash": hash }),
    ))
}

fn show(genesis: &Genesis, built: &BuiltGenesis) -> Result<Value, CliError> {
    let prefix = prefix_of(genesis)?;
    let show = |address: &Address| address.to_text(&prefix);
    let validators = genesis.validators.iter().map(|validator| {
        json!({
            "key": validator.key.to_string(),
            "power": validator.power.0.to_string(),
            "payout": show(&validator.payout),
        })
    });
    let accounts = genesis.accounts.iter();
    Ok(json!({
        "chainId": built.params.network,
        "genesisHash": built.hash.to_string(),
        "timestampMs": genesis.time.0.to_string(),
        "addressPrefix": built.params.address_prefix,
        "symbol": built.params.symbol,
        "decimals": built.params.decimals,
        "dev": built.params.dev,
        "supply": built.supply.0.to_string(),
        "stateRoot": built.header.state_root.to_string(),
        "params": ParamsView::from(&built.params),
        "validators": validators.collect::<Vec<_>>(),
        "accounts": accounts
            .map(|(who, amount)| json!({ "address": show(who), "balance": amount.0.to_string() }))
            .collect::<Vec<_>>(),
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::commands::Arguments;
    use crate::output::Format;

    const KEY: &str = "0x8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";

    fn run(words: &[&str]) -> Result<String, CliError> {
        let line = ["vibecoin", "genesis"].iter().chain(words);
        let arguments = Arguments::try_parse_from(line)
            .map_err(|error| crate::usage::error(&error, words.iter().map(|word| (*word).to_owned())))?;
        let context = Context::new(arguments.globals);
        let answer = arguments.command.run(&context)?;
        Ok(answer.render(Format::Text))
    }

    fn payout(seed: u8) -> String {
        let key = vibecoin_primitives::SecretKey::from_seed(&[seed; 32]).public_key();
        Address::from(key).to_text(&AddressPrefix::new("vibet").unwrap())
    }

    #[test]
    fn what_is_typed_twice_or_is_nothing_is_refused_by_every_writer() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("g.toml");
        let path = file.to_str().unwrap();
        // The key of a validator is not an account, so it differs from that of the first seed.
        let (first, second) = (payout(2), payout(3));
        let (account, validator) = (format!("{first}=5"), format!("{KEY}=1={first}"));
        let made = run(&[
            "new",
            "--account",
            &account,
            "--validator",
            &validator,
            "--out",
            path,
        ]);
        assert!(made.unwrap().contains(": 0x"));
        let text = std::fs::read_to_string(&file).unwrap();
        let other = folder.path().join("other.toml");
        let other = other.to_str().unwrap();
        // A conflict with the file has the exit code of `validate`, which would refuse the result.
        let most = u64::MAX.to_string();
        let unfit: [&[&str]; 3] = [
            &["add-account", path, &first, "5"],
            &["add-account", path, &second, &most],
            &["add-validator", path, KEY, "1", &first],
        ];
        for words in unfit {
            let error = run(words).unwrap_err();
            assert_eq!(
                (error.exit, error.reason.as_str()),
                (Exit::InvalidFile, "input_file_invalid"),
                "{words:?}"
            );
        }
        let wrong: [&[&str]; 6] = [
            &["add-account", path, &second, "0"],
            &["add-account", path, &second, "-1"],
            &["add-validator", path, KEY, "0", &first],
            &["add-validator", path, KEY, "-1", &first],
            &[
                "new",
                "--account",
                &account,
                "--account",
                &account,
                "--out",
                other,
            ],
            &[
                "new",
                "--validator",
                &validator,
                "--validator",
                &validator,
                "--out",
                other,
            ],
        ];
        for words in wrong {
            let error = run(words).unwrap_err();
            assert_eq!(
                (error.exit, error.reason.as_str()),
                (Exit::Usage, "usage"),
                "{words:?}"
            );
            if words.contains(&"0") || words.contains(&"-1") {
                assert!(error.message.contains(" 1 to "), "{}", error.message);
            }
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        assert!(!Path::new(other).exists());
    }

    #[test]
    fn of_several_addresses_the_bad_one_is_named() {
        let (good, mut bad) = (payout(2), payout(3));
        assert_ne!(bad.pop(), None);
        // Of another network: the checksum covers the prefix, so it is computed with it.
        let key = vibecoin_primitives::SecretKey::from_seed(&[4; 32]).public_key();
        let other = Address::from(key).to_text(&AddressPrefix::new("vibe").unwrap());
        let known = format!("{good}=1");
        for bad in [&bad, &other] {
            let (account, validator) = (format!("{bad}=1"), format!("{KEY}=1={bad}"));
            for option in [["--account", &account], ["--validator", &validator]] {
                let error = run(&[&["new", "--account", &known][..], &option].concat()).unwrap_err();
                assert!(
                    error.message.starts_with(&format!("{bad:?}: ")),
                    "{}",
                    error.message
                );
            }
        }
    }

    #[test]
    fn a_dash_is_stdout() {
        let first = payout(2);
        let account = format!("{first}=5");
        let new = ["new", "--time-ms", "1700000000000", "--account", &account];
        let plain = run(&new).unwrap();
        assert!(plain.contains(&first), "{plain}");
        assert_eq!(run(&[&new[..], &["--out", "-"]].concat()).unwrap(), plain);
        assert!(!Path::new("-").exists());
    }

    #[test]
    fn a_new_file_that_is_not_complete_says_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("g.toml");
        let path = file.to_str().unwrap();
        let first = payout(2);
        let (account, validator) = (format!("{first}=5"), format!("{KEY}=1={first}"));
        for (words, lacks) in [
            (&[][..], "add accounts and validators before"),
            (&["--account", account.as_str()][..], "add a validator before"),
            (&["--validator", validator.as_str()][..], "add an account before"),
        ] {
            let said = run(&[&["new", "--force", "--out", path][..], words].concat()).unwrap();
            assert!(said.contains(lacks), "{said}");
        }
    }
}
