//! Runs one attack against nodes of this machine or its namespaces; see the library.

use std::io::{BufRead as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use vibecoin_byzantine::{Attack, Setting, Stage};
use vibecoin_primitives::{Hash, PublicKey, SecretKey, hex};

/// Maximum duration of an attack, in seconds.
const SECONDS_MAX: u64 = 120;
/// Maximum number of attacking clients on each target.
const STRANGERS_MAX: usize = 2_000;

const HELP: &str = "\
usage: vibecoin-stranger ATTACK --genesis HASH --target IP:PORT [OPTION...]

A hostile peer. Prints `ready` when it is prepared, waits for a line on stdin, attacks, and prints a report in JSON.
Only loopback and private addresses are attacked, and never for longer than two minutes.

  --target IP:PORT    a node's TCP listener (RPC listener for rpc-…); again for each further node
  --source IP         an address to connect from; again for each further one
  --strangers N       identities at once on each target (default 1)
  --seconds N         how long (default 15)
  --key-file FILE     a file with the seed of a key in hex: a validator's, or an account's for rpc-waits
  --validator KEY     a validator, in whose name certificates are forged; again for each further one

attacks:";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() || arguments.iter().any(|word| word == "--help" || word == "-h") {
        println!("{HELP}");
        for attack in Attack::ALL {
            println!("  {:18}{}", attack.name(), attack.about());
        }
        return ExitCode::SUCCESS;
    }
    match parse(&arguments).and_then(|(attack, setting)| attack_with(attack, setting)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: vibecoin-stranger: {error}");
            ExitCode::FAILURE
        }
    }
}

fn attack_with(attack: Attack, setting: Setting) -> Result<(), String> {
    let stage = Stage::new(attack, setting);
    println!("ready");
    std::io::stdout().flush().map_err(|error| error.to_string())?;
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let report = runtime.block_on(stage.run());
    runtime.shutdown_timeout(Duration::from_secs(1));
    println!(
        "{}",
        serde_json::to_string(&report).map_err(|error| error.to_string())?
    );
    Ok(())
}

fn parse(arguments: &[String]) -> Result<(Attack, Setting), String> {
    let (name, options) = arguments.split_first().ok_or("no attack")?;
    let attack = Attack::named(name).ok_or_else(|| format!("there is no attack {name:?}; see --help"))?;
    let mut setting = Setting {
        genesis: Hash([0; 32]),
        targets: Vec::new(),
        sources: Vec::new(),
        strangers: 1,
        time: Duration::from_secs(15),
        key: None,
        validators: Vec::new(),
    };
    let mut genesis = false;
    for pair in options.chunks(2) {
        let [option, value] = pair else {
            return Err(format!("{} needs a value", pair.concat()));
        };
        let wrong = |what: &str| format!("{option} {value:?}: {what}");
        match option.as_str() {
            "--genesis" => {
                setting.genesis = Hash::from_hex(value).map_err(|_| wrong("is not a hash"))?;
                genesis = true;
            }
            "--target" => {
                let target: SocketAddr = value.parse().map_err(|_| wrong("is not IP:PORT"))?;
                setting.targets.push(target);
            }
            "--source" => {
                let source: IpAddr = value.parse().map_err(|_| wrong("is not an IP address"))?;
                setting.sources.push(source);
            }
            "--strangers" => setting.strangers = value.parse().map_err(|_| wrong("is not a number"))?,
            "--seconds" => {
                let seconds = value.parse().map_err(|_| wrong("is not a number"))?;
                setting.time = Duration::from_secs(seconds);
            }
            "--key-file" => {
                let text = std::fs::read_to_string(value).map_err(|error| wrong(&error.to_string()))?;
                let seed = hex::fixed::<32>(text.trim()).map_err(|_| wrong("holds no seed in hex"))?;
                setting.key = Some(SecretKey::from_seed(&seed));
            }
            "--validator" => {
                let key = PublicKey::from_hex(value).map_err(|_| wrong("is not a key"))?;
                setting.validators.push(key);
            }
            other => return Err(format!("unknown option {other}; see --help")),
        }
    }
    if !genesis || setting.targets.is_empty() {
        return Err("--genesis and --target are needed".to_owned());
    }
    if let Some(target) = setting.targets.iter().find(|target| !is_own(target.ip())) {
        return Err(format!(
            "{target} is no address of this machine or its namespaces"
        ));
    }
    if setting.time.as_secs() > SECONDS_MAX || setting.strangers > STRANGERS_MAX {
        return Err(format!(
            "at most {SECONDS_MAX} seconds and {STRANGERS_MAX} strangers on each target"
        ));
    }
    Ok((attack, setting))
}

/// Returns true if an address is a permitted target.
fn is_own(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback(),
    }
}
