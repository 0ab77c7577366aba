//! Devnets after a command was refused, or killed at some point of its work.

use super::*;

/// Writes the state that a killed command left.
fn leave(bench: &Bench, change: impl FnOnce(&mut State)) {
    let mut net = Devnet::change(&bench.dir(), Reporter::SILENT).unwrap();
    change(net.existing_mut().unwrap());
    net.save().unwrap();
}

#[test]
fn a_refused_up_leaves_nothing() {
    let bench = Bench::new();
    let base = ports::Listening::now().free_base(20, None).unwrap();
    let taken = TcpListener::bind(("127.0.0.1", base + 3)).unwrap();
    let refused = bench.start(&format!("up -v 1 --base-port {base}")).unwrap_err();
    assert_eq!(refused.reason, "port_taken");
    assert!(!bench.dir().exists());
    fs::create_dir(bench.dir()).unwrap();
    bench.start(&format!("up -v 1 --base-port {base}")).unwrap_err();
    assert_eq!(fs::read_dir(bench.dir()).unwrap().count(), 0);
    // A home that is not recorded in the devnet.
    fs::create_dir(bench.dir().join("validator-0")).unwrap();
    assert_eq!(bench.start("up -v 1 -n 0").unwrap_err().reason, "exists");
    assert_eq!(fs::read_dir(bench.dir()).unwrap().count(), 1);
    drop(taken);
}

#[test]
fn a_devnet_whose_making_was_interrupted_is_made_anew() {
    let bench = Bench::new();
    for (missing, line) in [
        ("validator-1", "-v 2 -n 1"),
        ("validator-1/validator.key", "-v 2 -n 1"),
        ("validator-0/genesis.toml", ""),
        // The arguments of this command apply: there was no devnet.
        ("full-0/node.key", "-v 1 -n 2 --seed other"),
    ] {
        bench.up("-v 2 -n 1");
        bench.run("down --grace 0").unwrap();
        leave(&bench, |state| {
            state.nodes.iter_mut().for_each(|node| node.unfinished = true);
        });
        let path = bench.dir().join(missing);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
        // It is ignored until it is created again.
        assert!(text_of(&bench.run("status").unwrap()).contains("no devnet"));
        let down = text_of(&bench.run("down").unwrap());
        assert!(down.starts_with("nothing to stop"), "{down}");
        let up = bench.up(line);
        assert!(up["startedNodes"].as_u64().unwrap() >= 3, "{missing}: {up}");
        let data = fs::read_to_string(bench.dir().join("validator-0/db/data")).unwrap();
        assert_eq!(data.lines().count(), 1, "{missing}: a new home");
        assert_eq!(bench.ok("destroy --grace 0")["destroyed"], true);
        assert!(!bench.dir().exists());
    }
}

#[test]
fn an_interrupted_deletion_is_completed() {
    let bench = Bench::new();
    bench.up("-v 2 -n 0");
    bench.run("down --grace 0").unwrap();
    leave(&bench, |state| {
        state.nodes.iter_mut().for_each(|node| node.unfinished = true);
    });
    fs::remove_dir_all(bench.dir().join("validator-0")).unwrap();
    assert_eq!(bench.ok("destroy")["destroyed"], true);
    assert!(!bench.dir().exists());
}

#[test]
fn a_folder_with_nothing_but_the_lock_of_a_killed_command_can_be_used_and_destroyed() {
    let bench = Bench::new();
    drop(Devnet::change(&bench.dir(), Reporter::SILENT).unwrap());
    assert!(bench.dir().join("lock").exists());
    let destroyed = text_of(&bench.run("destroy").unwrap());
    assert!(destroyed.starts_with("nothing to destroy"), "{destroyed}");
    assert!(!bench.dir().exists());
    drop(Devnet::change(&bench.dir(), Reporter::SILENT).unwrap());
    bench.up("-v 1 -n 0");
    bench.ok("destroy --grace 0");
    assert!(!bench.dir().exists());
}

#[test]
fn a_node_whose_adding_was_interrupted_is_added_anew() {
    let bench = Bench::new();
    bench.up("-v 1 -n 0");
    for missing in ["node.key", "genesis.toml"] {
        let added = json_of(&bench.start("add-node").unwrap());
        assert_eq!(
            (added["node"].as_str(), added["number"].as_u64()),
            (Some("full-0"), Some(1))
        );
        bench.run("stop-node full-0").unwrap();
        leave(&bench, |state| state.nodes[1].unfinished = true);
        fs::remove_file(bench.dir().join("full-0").join(missing)).unwrap();
        assert_eq!(bench.pids().len(), 1, "it is not seen");
    }
    // A command about other nodes removes it.
    assert_eq!(bench.ok("kill-node 0")["wasRunning"], true);
    assert!(!bench.dir().join("full-0").exists());
    assert_eq!(bench.up("")["startedNodes"], 1);
    bench.start("add-node").unwrap();
}

#[test]
fn a_move_to_other_ports_that_was_interrupted_is_completed() {
    let bench = Bench::new();
    let before = bench.up("-v 2 -n 0")["basePort"].as_u64().unwrap();
    bench.run("down --grace 0").unwrap();
    let config = |node: &str| {
        let text = fs::read_to_string(bench.dir().join(node).join("config.toml")).unwrap();
        vibecoin_config::parse(&text).unwrap()
    };
    // One of the two has its new ports.
    let path = bench.dir().join("validator-0/config.toml");
    let text = fs::read_to_string(&path).unwrap();
    let other = before.checked_add(500).unwrap();
    fs::write(
        &path,
        text.replace(&format!("port = {before}"), &format!("port = {other}")),
    )
    .unwrap();
    assert_eq!(u64::from(config("validator-0").rpc.port), other);
    leave(&bench, |state| state.moving = true);
    let up = bench.up("");
    assert_eq!(up["basePort"], before);
    assert_eq!(u64::from(config("validator-0").rpc.port), before);
    assert_eq!(up["nodes"][0]["rpc"], format!("http://127.0.0.1:{before}"));
    assert!(up["moving"].is_null());
}
