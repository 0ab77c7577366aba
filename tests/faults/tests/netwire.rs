//! Namespaces, cuts and the link emulator over real devices: packets are treated as configured.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use vibecoin_tests_faults::netns::{Net, probe};

const FAULTS: &str = env!("CARGO_BIN_EXE_vibecoin-faults");
const NETWIRE: &str = env!("CARGO_BIN_EXE_vibecoin-netwire");

/// Answers in namespace 1 until dropped.
struct Echo(Child);

impl Echo {
    fn start(net: &Net, address: &str) -> Self {
        let mut child = net
            .command(1, Path::new(FAULTS))
            .args(["echo", address])
            .stdout(Stdio::piped())
            .spawn()
            .expect("echo starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        let _read = BufReader::new(stdout).read_line(&mut line);
        assert_eq!(line, "ready\n");
        Self(child)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Microseconds of round trips from namespace 0.
fn round_trips(net: &Net, address: &str, count: u32) -> Vec<u64> {
    let output = net
        .command(0, Path::new(FAULTS))
        .args(["rtt", address, &count.to_string()])
        .output()
        .expect("rtt runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[test]
fn this_machine_can_run_the_fault_tests() {
    println!("{}", probe().unwrap_or_else(|error| panic!("{error}")));
}

#[test]
fn the_emulated_link_delays_and_jitters_as_told() {
    let mut net = Net::new(2).unwrap_or_else(|error| panic!("{error}"));
    let started = net.emulate(Path::new(NETWIRE), 1, "delay-ms=30 jitter-ms=10");
    started.unwrap_or_else(|error| panic!("{error}"));
    let address = format!("{}:9000", net.peer_address(1));
    let _echo = Echo::start(&net, &address);
    let mut slow = round_trips(&net, &address, 20);
    slow.sort_unstable();
    println!("30 + 0 to 10 ms each way: {slow:?} µs");
    assert_eq!(slow.len(), 20);
    // Never faster than configured. How much slower depends on the load of the machine.
    assert!(slow.first().is_some_and(|least| *least >= 60_000), "{slow:?}");
    net.set_links("").unwrap_or_else(|error| panic!("{error}"));
    let fast = round_trips(&net, &address, 20);
    println!("no delay: {fast:?} µs");
    assert!(fast.iter().min() < slow.first(), "{fast:?}");
}

#[test]
fn a_cut_is_one_way_until_it_is_healed() {
    let net = Net::new(3).unwrap_or_else(|error| panic!("{error}"));
    let address = format!("{}:9000", net.address(1));
    let _echo = Echo::start(&net, &address);
    assert_eq!(round_trips(&net, &address, 3).len(), 3);
    // A cut between other namespaces has no effect here.
    net.cut(2, 1).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(round_trips(&net, &address, 3).len(), 3);
    let rules = |end| {
        let listed = net
            .command(end, Path::new("iptables"))
            .args(["-S", "INPUT"])
            .output();
        let listed = listed.expect("iptables runs").stdout;
        String::from_utf8_lossy(&listed).matches("DROP").count()
    };
    net.partition(&[&[0], &[1, 2]])
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!([rules(0), rules(1), rules(2)], [2, 2, 1]);
    net.heal().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!([rules(0), rules(1), rules(2)], [0, 0, 0]);
    assert_eq!(round_trips(&net, &address, 3).len(), 3);
}
