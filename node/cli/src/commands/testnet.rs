//! `vibecoin testnet generate`: the files of a network on several hosts. The planner is `node/devnet`; here are the
//! arguments and what is printed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use vibecoin_devnet::deployment::Kind;
use vibecoin_devnet::generate::{GENESIS_FILE, generate, summary};
use vibecoin_devnet::home::now;
use vibecoin_devnet::plan::{Hosts, NODES_MAX, Network, Spec};
use vibecoin_devnet::profile::Profile;
use vibecoin_keystore::Passphrase;
use vibecoin_primitives::TimeMs;

use crate::context::Context;
use crate::error::CliError;
use crate::files;
use crate::network_args::{FaultModelName, NetworkProfile};
use crate::numbers::whole;
use crate::output::{Answer, Format, REPORTER};
use crate::passphrase::PassphraseArgs;

const EXAMPLES: &str = "\
Examples:
  vibecoin testnet generate -v 4 -n 1 -o net --hostname-prefix node \\
      --format systemd
  vibecoin testnet generate -v 3 -o net --host 10.0.0.1 --host 10.0.0.2 \\
      --host 10.0.0.3
  vibecoin testnet generate -v 4 -o net --format compose

The same files each time:
  vibecoin testnet generate -v 4 -o net --seed 7 --time-ms 1700000000000

Whoever knows the seed has every key. Without --seed the keys come from the operating system's randomness. \
Copy each home to its host and run `vibecoin node --home HOME --allow-unencrypted` there, or with \
--password-file as the keys were made with. (For results as JSON write --output json; -o is the folder.)";

/// The commands of `testnet`.
#[derive(Debug, Subcommand)]
pub enum TestnetCommand {
    /// Write the homes of all nodes of a network
    Generate(Box<GenerateArgs>),
}

impl TestnetCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Exit 2 for an impossible network, 1 when the folder is not empty.
    pub fn run(self, _context: &Context) -> Result<Answer, CliError> {
        match self {
            Self::Generate(args) => args.run(),
        }
    }
}

/// Format of the deployment files beside the homes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DeployFormat {
    /// Nothing.
    #[default]
    Files,
    /// A compose file with a container for each node.
    Compose,
    /// A unit file for each node.
    Systemd,
}

impl From<DeployFormat> for Kind {
    fn from(format: DeployFormat) -> Self {
        match format {
            DeployFormat::Files => Self::Files,
            DeployFormat::Compose => Self::Compose,
            DeployFormat::Systemd => Self::Systemd,
        }
    }
}

/// Arguments of `testnet generate`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct GenerateArgs {
    /// Validators
    #[arg(short = 'v', long, default_value_t = 4, allow_negative_numbers = true, value_parser = whole::<u32>(1..=u64::from(NODES_MAX)))]
    pub validators: u32,
    /// Nodes that only follow
    #[arg(short = 'n', long = "full", default_value_t = 0, allow_negative_numbers = true, value_parser = whole::<u32>(0..=u64::from(NODES_MAX)))]
    pub full: u32,
    /// The folder to write; must not hold a network
    #[arg(short = 'o', long, value_name = "DIR")]
    pub out: PathBuf,
    /// Where the nodes are: one address for all, or one for each, in their order [default: 127.0.0.1]
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// The nodes are on hosts of this name with their number behind it
    #[arg(long, value_name = "PREFIX", conflicts_with = "hosts")]
    pub hostname_prefix: Option<String>,
    /// RPC of the first node of a host; P2P, metrics and admin follow; the next node of it is 10 higher
    #[arg(long, value_name = "PORT", default_value_t = 27_656, allow_negative_numbers = true, value_parser = whole::<u16>(1..=65_535))]
    pub starting_port: u16,
    /// What to write beside the homes
    #[arg(long, value_enum, default_value = "files")]
    pub format: DeployFormat,
    /// Where all keys come from; equal seeds make equal keys
    #[arg(long, value_name = "TEXT")]
    pub seed: Option<String>,
    /// Which faults the validators survive
    #[arg(long, value_enum, default_value = "byzantine")]
    pub fault_model: FaultModelName,
    /// The rules
    #[arg(long, value_enum, default_value = "devnet")]
    pub profile: NetworkProfile,
    /// Name of the network [default: that of the profile]
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
    /// Time of block 0 in milliseconds since 1970 [default: now]
    #[arg(long, value_name = "MS", allow_negative_numbers = true, value_parser = whole::<u64>(0..=u64::MAX))]
    pub time_ms: Option<u64>,
    /// Funded accounts with keys that everybody knows (dev0, dev1, …)
    #[arg(long, value_name = "COUNT", default_value_t = 0, allow_negative_numbers = true, value_parser = whole::<u32>(0..=1000))]
    pub dev_accounts: u32,
    /// File with the passphrase of the validator and account keys [default: they are not encrypted]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Form of results on stdout; `-o` is the folder here
    #[arg(long, value_enum, default_value_t, help_heading = "Global options")]
    output: Format,
    /// Say more
    #[arg(long, action = clap::ArgAction::Count, help_heading = "Global options")]
    verbose: u8,
}

impl GenerateArgs {
    fn run(self) -> Result<Answer, CliError> {
        let network = Network::plan(&self.spec()?)?;
        let passphrase = self.passphrase()?;
        let out = &self.out;
        generate(out, &network, self.format.into(), passphrase.as_ref(), REPORTER)?;
        let genesis = out.join(GENESIS_FILE);
        let hash = files::build(&genesis, &network.genesis)?.hash;
        let mut text = format!(
            "wrote {} nodes to {}, chain {hash}\n",
            network.nodes.len(),
            out.display()
        );
        for node in &network.nodes {
            text.push_str(&format!("{:<13} {}\n", node.name, node.peer().join(" ")));
        }
        Ok(Answer::new(summary(out, &network)).text(text))
    }

    fn spec(&self) -> Result<Spec, CliError> {
        let hosts = match (&self.hostname_prefix, self.hosts.as_slice()) {
            (Some(prefix), _) => Hosts::Prefix(prefix.clone()),
            (None, []) if self.format == DeployFormat::Compose => Hosts::Names,
            (None, []) => Hosts::One("127.0.0.1".to_owned()),
            (None, [one]) => Hosts::One(one.clone()),
            (None, each) => Hosts::Each(each.to_vec()),
        };
        let mut params = Profile::from(self.profile).params(self.fault_model.into());
        if let Some(network) = &self.network {
            params.network = network.clone();
        }
        let seed = match &self.seed {
            Some(seed) => seed.clone(),
            None => vibecoin_primitives::hex::encode(vibecoin_keystore::generate()?.seed().as_slice()),
        };
        Ok(Spec {
            validators: self.validators,
            full: self.full,
            seed,
            params,
            time: self.time_ms.map_or_else(now, TimeMs),
            hosts,
            starting_port: self.starting_port,
            dev_accounts: self.dev_accounts,
        })
    }

    fn passphrase(&self) -> Result<Option<Passphrase>, CliError> {
        if self.password_file.is_none() {
            return Ok(None);
        }
        let source = PassphraseArgs {
            password_file: self.password_file.clone(),
            allow_unencrypted: false,
        };
        source.for_new_key("all keys")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use clap::Parser as _;

    fn generate(line: &str, out: &Path) -> Result<Answer, CliError> {
        let line = format!("vibecoin testnet generate --out {} {line}", out.display());
        let arguments = crate::commands::Arguments::try_parse_from(line.split_whitespace()).unwrap();
        let context = Context::new(arguments.globals);
        arguments.command.run(&context)
    }

    fn tree(dir: &Path, into: &mut Vec<(PathBuf, Vec<u8>)>, root: &Path) {
        let mut entries: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                tree(&path, into, root);
            } else {
                into.push((
                    path.strip_prefix(root).unwrap().to_owned(),
                    std::fs::read(&path).unwrap(),
                ));
            }
        }
    }

    #[test]
    fn a_seed_and_a_time_make_the_same_files_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let made = |name: &str, seed: &str| {
            let out = dir.path().join(name);
            generate(
                &format!("-v 2 -n 1 --seed {seed} --time-ms 1700000000000 --format systemd"),
                &out,
            )
            .unwrap();
            let mut files = Vec::new();
            tree(&out, &mut files, &out);
            files
        };
        let (one, two, other) = (made("one", "a"), made("two", "a"), made("three", "b"));
        assert!(one == two);
        assert!(one != other);
        assert!(
            one.iter()
                .any(|(path, _)| path == Path::new("validator-1.service"))
        );
        assert!(
            one.iter()
                .any(|(path, _)| path == Path::new("operator/keys/faucet.json"))
        );
    }

    #[test]
    fn a_folder_that_holds_a_network_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("net");
        generate("-v 1 --seed a", &out).unwrap();
        let genesis = std::fs::read(out.join(GENESIS_FILE)).unwrap();
        assert_eq!(generate("-v 1 --seed b", &out).unwrap_err().reason, "exists");
        assert_eq!(std::fs::read(out.join(GENESIS_FILE)).unwrap(), genesis);
    }

    #[test]
    fn what_an_interrupted_command_left_is_made_anew_and_what_is_not_its_own_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("net");
        let line = "-v 2 --seed a --time-ms 1700000000000";
        generate(line, &out).unwrap();
        // As a kill leaves it, at the very end and in the middle.
        let whole = || {
            let mut files = Vec::new();
            tree(&out, &mut files, &out);
            files
        };
        let made = whole();
        for missing in ["operator/keys/faucet.json", "validator-1", "genesis.toml"] {
            std::fs::rename(out.join("network.json"), out.join("network.json.unfinished")).unwrap();
            let path = out.join(missing);
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
            std::fs::write(out.join("mine"), "precious").unwrap();
            generate(line, &out).unwrap();
            std::fs::remove_file(out.join("mine")).unwrap();
            assert!(whole() == made, "{missing}");
        }
        // A home that existed before.
        let other = dir.path().join("other");
        std::fs::create_dir_all(other.join("validator-1")).unwrap();
        let refused = generate(line, &other).unwrap_err();
        assert_eq!(refused.reason, "exists");
        assert_eq!(std::fs::read_dir(&other).unwrap().count(), 1);
        // A failure in the middle: a file is in the place of a required folder.
        let full = dir.path().join("full");
        std::fs::create_dir(&full).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", full.join("operator")).unwrap();
        assert!(generate(line, &full).is_err());
        assert_eq!(std::fs::read_dir(&full).unwrap().count(), 1);
    }
}
