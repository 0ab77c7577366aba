//! Nodes that are added while another devnet uses the next ports.

use super::*;

fn record(bench: &Bench, number: usize) -> vibecoin_devnet::NodeRecord {
    Devnet::look(&bench.dir()).unwrap().node(number).unwrap()
}

/// A foreign listener on one of the ports that the node with this number would have.
fn taken(bench: &Bench, number: u16) -> TcpListener {
    let net = Devnet::look(&bench.dir()).unwrap();
    let base = net.existing().unwrap().base_port;
    let ports = vibecoin_devnet::plan::ports(base, number).unwrap();
    TcpListener::bind(("127.0.0.1", ports.metrics())).unwrap()
}

#[test]
fn a_node_that_is_added_takes_the_next_free_ports_and_keeps_them() {
    let bench = Bench::new();
    bench.up("-v 1 -n 0");
    let first = record(&bench, 0);
    let other = taken(&bench, 1);
    let added = json_of(&bench.start("add-node").unwrap());
    let full = record(&bench, 1);
    let base = Devnet::look(&bench.dir()).unwrap().existing().unwrap().base_port;
    let own = full.own_port.unwrap();
    assert!(own > base + 10, "{own}");
    assert_eq!(added["rpc"], json!(format!("http://127.0.0.1:{own}")));
    assert!(full.p2p.as_ref().unwrap().contains(&format!("/tcp/{}/", own + 1)));
    assert_eq!(full.metrics, Some(format!("127.0.0.1:{}", own + 2)));
    assert_eq!(full.admin, Some(format!("127.0.0.1:{}", own + 3)));
    assert_eq!(record(&bench, 0), first, "the others stay where they are");

    // A stopped node keeps its ports.
    bench.run("stop-node 1").unwrap();
    let second = json_of(&bench.start("add-node").unwrap());
    assert_ne!(second["rpc"], added["rpc"]);
    let before = (record(&bench, 1).rpc, record(&bench, 2).rpc);

    // All nodes keep theirs, as long as these are free.
    bench.run("down --grace 0").unwrap();
    assert_eq!(bench.up("")["basePort"], base);
    assert_eq!((record(&bench, 1).rpc, record(&bench, 2).rpc), before);
    bench.run("down --grace 0").unwrap();
    drop(other);
    let there = TcpListener::bind(("127.0.0.1", own)).unwrap();
    bench.up("");
    let moved = record(&bench, 1);
    assert_eq!(
        moved.own_port, None,
        "where one cannot be, all move to ports in a row"
    );
    assert_ne!(moved.rpc, before.0);
    drop(there);
}

#[test]
fn a_move_that_was_interrupted_leaves_an_added_node_its_ports() {
    let bench = Bench::new();
    bench.up("-v 1 -n 0");
    let _other = taken(&bench, 1);
    bench.start("add-node").unwrap();
    bench.run("down --grace 0").unwrap();
    let before = record(&bench, 1);
    let mut net = Devnet::change(&bench.dir(), Reporter::SILENT).unwrap();
    net.existing_mut().unwrap().moving = true;
    net.save().unwrap();
    drop(net);
    let config = vibecoin_config::Paths::config_in(&before.home);
    fs::write(&config, "").unwrap();
    bench.up("");
    let after = record(&bench, 1);
    assert_eq!((&after.own_port, &after.rpc), (&before.own_port, &before.rpc));
    let written = vibecoin_config::parse(&fs::read_to_string(config).unwrap()).unwrap();
    assert_eq!(Some(written.rpc.port), after.own_port);
}
