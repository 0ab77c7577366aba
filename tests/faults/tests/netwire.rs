//! Namespaces, cuts and the link emulator over real devices: packets are treated as configured.

use std::path::Path;

use vibecoin_tests_faults::netns::{Net, probe};
use vibecoin_tests_nodes::Piped;

const FAULTS: &str = env!("CARGO_BIN_EXE_vibecoin-faults");
const NETWIRE: &str = env!("CARGO_BIN_EXE_vibecoin-netwire");

/// Answers in namespace 1 until dropped.
fn echo(net: &Net, address: &str) -> Piped {
    let mut command = net.command(1, Path::new(FAULTS));
    let mut echo = Piped::start(command.args(["echo", address])).expect("echo starts");
    assert_eq!(echo.line(), "ready");
    echo
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
    println!("{}", probe().unwrap());
}

#[test]
fn the_emulated_link_delays_and_jitters_as_told() {
    let mut net = Net::new(2).unwrap();
    net.emulate(Path::new(NETWIRE), 1, "delay-ms=30 jitter-ms=10")
        .unwrap();
    let address = format!("{}:9000", net.peer_address(1));
    let _echo = echo(&net, &address);
    let mut slow = round_trips(&net, &address, 20);
    slow.sort_unstable();
    println!("30 + 0 to 10 ms each way: {slow:?} µs");
    assert_eq!(slow.len(), 20);
    // Never faster than configured. How much slower depends on the load of the machine.
    assert!(slow.first().is_some_and(|least| *least >= 60_000), "{slow:?}");
    net.set_links("").unwrap();
    let fast = round_trips(&net, &address, 20);
    println!("no delay: {fast:?} µs");
    assert!(fast.iter().min() < slow.first(), "{fast:?}");
}

#[test]
fn a_cut_is_one_way_until_it_is_healed() {
    let net = Net::new(3).unwrap();
    let address = format!("{}:9000", net.address(1));
    let _echo = echo(&net, &address);
    assert_eq!(round_trips(&net, &address, 3).len(), 3);
    // A cut between other namespaces has no effect here.
    net.cut(2, 1).unwrap();
    assert_eq!(round_trips(&net, &address, 3).len(), 3);
    let rules = |end| {
        let listed = net
            .command(end, Path::new("iptables"))
            .args(["-S", "INPUT"])
            .output();
        let listed = listed.expect("iptables runs").stdout;
        String::from_utf8_lossy(&listed).matches("DROP").count()
    };
    net.partition(&[&[0], &[1, 2]]).unwrap();
    assert_eq!([rules(0), rules(1), rules(2)], [2, 2, 1]);
    net.heal().unwrap();
    assert_eq!([rules(0), rules(1), rules(2)], [0, 0, 0]);
    assert_eq!(round_trips(&net, &address, 3).len(), 3);
}
