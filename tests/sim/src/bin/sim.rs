//! Runs one seed and prints its events, with `--trace` every step; or runs many, and prints the progress.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use vibecoin_primitives::FaultModel;
use vibecoin_primitives::planted::{self, Bug};
use vibecoin_tests_sim::{Behaviour, Config, Report, Sabotage, run, run_each};

/// Interval of the progress reports of a long run.
const PROGRESS: Duration = Duration::from_secs(10);

const USAGE: &str = "usage: sim --seed S [options]
       sim --many N [--seed FIRST]

  --seed S          decides everything that is left to chance
  --nodes N         validators, 1 to 50 (4)
  --heights H       heights before faults are switched off
  --crash-faults    quorums of more than half of the power, for nodes that stop but never lie
  --outage K        K nodes dead for long before the calm phase
  --absence H       heights that they are dead for
  --return H        heights of the calm phase
  --outage-loss N   messages lost meanwhile, in thousandths; a gap of 5 s between blocks ends the run
  --sabotage NAME   one promise broken in node 0
  --lie NAME        validator 0 lies
  --bug NAME        every node has the bug; only in a build with `--features planted`
  --trace           every step on a line: milliseconds, nodes, what happened

  --many N          runs N seeds on all cores: mostly four honest validators, some liars, sevens and threes
";

fn by_name<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str, wanted: &str) -> Option<T> {
    all.iter().copied().find(|item| name(*item) == wanted)
}

/// The run, and the number of runs if not one.
fn parse(mut arguments: impl Iterator<Item = String>) -> Option<(Config, Option<usize>)> {
    let mut config = Config::new(4, 0);
    let mut many = None;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--many" => many = Some(arguments.next()?.parse().ok()?),
            "--seed" => config.seed = arguments.next()?.parse().ok()?,
            "--nodes" => {
                config.nodes = arguments
                    .next()?
                    .parse()
                    .ok()
                    .filter(|nodes| (1..=50).contains(nodes))?
            }
            "--heights" => config.heights = arguments.next()?.parse().ok()?,
            "--crash-faults" => config.fault_model = FaultModel::Crash,
            "--outage" => config.outage = arguments.next()?.parse().ok()?,
            "--absence" => config.absence[0] = arguments.next()?.parse().ok()?,
            "--return" => config.absence[1] = arguments.next()?.parse().ok()?,
            "--outage-loss" => config.outage_loss = arguments.next()?.parse().ok()?,
            "--sabotage" => config.sabotage = by_name(&Sabotage::ALL, Sabotage::name, &arguments.next()?)?,
            "--lie" => {
                config.behaviour = by_name(&Behaviour::SIMULATED, Behaviour::name, &arguments.next()?)?
            }
            "--bug" => config.bug = Some(by_name(&Bug::ALL, Bug::name, &arguments.next()?)?),
            "--trace" => config.print = true,
            _ => return None,
        }
    }
    let sane = config.outage < config.nodes && (config.behaviour == Behaviour::None || config.nodes >= 4);
    sane.then_some((config, many))
}

/// Totals of a long run.
struct Sum {
    report: Report,
    done: usize,
    broken: usize,
    said: Instant,
}

fn run_many(first: u64, count: usize) -> ExitCode {
    let start = Instant::now();
    let config = |index: usize| Config::of_many(first.wrapping_add(index as u64));
    let sum = Mutex::new(Sum {
        report: Report::default(),
        done: 0,
        broken: 0,
        said: start,
    });
    println!("{count} seeds from {first}");
    run_each(count, config, |index, result| {
        let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        sum.done += 1;
        match result {
            Ok(report) => sum.report.add(&report),
            Err(violation) => {
                sum.broken += 1;
                let config = config(index);
                println!("seed {}: {violation}\n  {}", config.seed, config.replay_command());
            }
        }
        if sum.said.elapsed() >= PROGRESS || sum.done == count {
            sum.said = Instant::now();
            let seconds = start.elapsed().as_secs_f64();
            let rate = sum.done as f64 / seconds;
            let left = ((count - sum.done) as f64 / rate) as u64;
            println!(
                "{} of {count} seeds, {rate:.1}/s, {} broke a rule, {}:{:02} left",
                sum.done,
                sum.broken,
                left / 60,
                left % 60
            );
        }
    });
    let sum = sum
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    println!("{}", sum.report);
    if sum.broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn main() -> ExitCode {
    let Some((config, many)) = parse(std::env::args().skip(1)) else {
        eprint!("{USAGE}");
        eprintln!("\nsabotages: {}", Sabotage::ALL.map(Sabotage::name).join(", "));
        eprintln!(
            "\nlies (4 validators or more): {}",
            Behaviour::SIMULATED.map(Behaviour::name).join(", ")
        );
        eprintln!("\nbugs: {}", Bug::ALL.map(Bug::name).join(", "));
        return ExitCode::from(2);
    };
    if config.bug.is_some() && !planted::BUILT_IN {
        eprintln!(
            "error: this build has no bugs\nhint: cargo run --release -p vibecoin-tests-sim --features planted --bin sim -- …"
        );
        return ExitCode::from(2);
    }
    if let Some(count) = many {
        return run_many(config.seed, count);
    }
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
