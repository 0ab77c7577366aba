//! The long fault runs, for `scripts/reliability/network.sh`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Instant;

use vibecoin_tests_faults::netns::probe;
use vibecoin_tests_faults::{strangers, suites};

const HELP: &str = "\
usage: vibecoin-faults COMMAND [SEED]

Runs networks of real nodes in network namespaces and damages them. Needs root.
  network     partitions, cuts, loss, pauses, kills, garbage (N1 N2 N3 N5 N6 N9 C3 B6), the long way: 40 min
  short       the same in four minutes, as for every change
  loss        5 and 20 % of all packets lost, over TCP and over QUIC (N3)
  crash       three nodes that may stop but not lie: one killed, two killed, recovery
  kills       one of four validators killed at a time, twenty times; then all at once (C3)
  alone       one validator, killed again and again
  link        a network with 100 ± 30 ms on every link (N4)
  healing     a validator's database loses 1, 20 and 2,000 blocks under a current guard
  byzantine   one of four lies (B1, B3, B4); needs vibecoin-byzantine beside this program
  strangers   hostile peers and clients, one row each (15 min), or those that are named; needs vibecoin-stranger
              beside this program; exit 1 when a target is missed
  probe       says what this machine can do

  echo ADDRESS        answers bytes with the same bytes
  rtt ADDRESS COUNT   microseconds of COUNT round trips, one a line

The node is VIBECOIN_BIN, else the program `vibecoin` beside this one. Exit 0: everything holds.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["-h" | "--help"] | [] => println!("{HELP}"),
        ["echo", address] => return done(echo(address)),
        ["rtt", address, count] => return done(rtt(address, count)),
        ["probe"] => match probe() {
            Ok(report) => println!("{report}"),
            Err(error) => return fail(&error.to_string()),
        },
        ["strangers", chosen @ ..] => {
            return match strangers::run(chosen) {
                Ok(0) => ExitCode::SUCCESS,
                Ok(missed) => fail(&format!("{missed} targets missed")),
                Err(error) => fail(&error),
            };
        }
        [command, rest @ ..] => {
            let seed = match rest {
                [] => Ok(1),
                [seed] => seed.parse().map_err(|_| format!("{seed:?} is no seed")),
                _ => Err("too many arguments; see --help".to_owned()),
            };
            let seed = match seed {
                Ok(seed) => seed,
                Err(error) => return fail(&error),
            };
            match *command {
                "network" => suites::network(suites::Length::Long, seed),
                "short" => suites::network(suites::Length::Short, seed),
                "loss" => suites::loss(seed),
                "crash" => suites::crash(seed),
                "kills" => suites::kills(seed),
                "alone" => suites::alone(seed),
                "link" => suites::link(seed),
                "healing" => vibecoin_tests_faults::healing::run(&[1, 20, 2_000], seed),
                "byzantine" => suites::byzantine(seed),
                other => return fail(&format!("unknown command {other:?}; see --help")),
            }
        }
    }
    ExitCode::SUCCESS
}

fn fail(error: &str) -> ExitCode {
    eprintln!("error: vibecoin-faults: {error}");
    ExitCode::FAILURE
}

fn done(result: std::io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn echo(address: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("ready");
    for stream in listener.incoming() {
        let mut stream = stream?;
        stream.set_nodelay(true)?;
        let mut byte = [0];
        while stream.read(&mut byte)? > 0 {
            stream.write_all(&byte)?;
        }
    }
    Ok(())
}

fn rtt(address: &str, count: &str) -> std::io::Result<()> {
    let count: u32 = count.parse().map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    for _ in 0..count {
        let begun = Instant::now();
        stream.write_all(&[1])?;
        stream.read_exact(&mut [0])?;
        println!("{}", begun.elapsed().as_micros());
    }
    Ok(())
}
