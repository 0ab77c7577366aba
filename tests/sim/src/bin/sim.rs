//! Runs one seed and prints what happened: `sim --seed S [--nodes N] [--sabotage NAME] [--trace]`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use vibecoin_tests_sim::{Config, Sabotage, run};

const USAGE: &str = "usage: sim --seed S [--nodes N] [--heights H] [--sabotage NAME] [--trace]";

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Config> {
    let mut config = Config::new(4, 0);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seed" => config.seed = arguments.next()?.parse().ok()?,
            "--nodes" => {
                config.nodes = arguments
                    .next()?
                    .parse()
                    .ok()
                    .filter(|nodes| (1..=50).contains(nodes))?
            }
            "--heights" => config.heights = arguments.next()?.parse().ok()?,
            "--sabotage" => {
                let name = arguments.next()?;
                config.sabotage = Sabotage::ALL
                    .into_iter()
                    .find(|sabotage| sabotage.name() == name)?;
            }
            "--trace" => config.print = true,
            _ => return None,
        }
    }
    Some(config)
}

fn main() -> ExitCode {
    let Some(config) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        eprintln!("sabotages: {}", Sabotage::ALL.map(Sabotage::name).join(", "));
        return ExitCode::from(2);
    };
    match run(&config) {
        Ok(report) => {
            let _closed = writeln!(io::stdout(), "{report}");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            let _closed = writeln!(io::stdout(), "{violation}");
            ExitCode::FAILURE
        }
    }
}
