//! Partitions of the network, and healing.

use super::*;

#[test]
fn a_cut_is_made_of_bans_survives_a_restart_of_a_node_and_is_healed() {
    let bench = Bench::new();
    let up = bench.up("-v 4 -n 1");
    let ids: Vec<&str> = (0..5)
        .map(|number| up["nodes"][number]["peerId"].as_str().unwrap())
        .collect();
    let banned = |number: usize| {
        let home = up["nodes"][number]["home"].as_str().unwrap();
        let text = fs::read_to_string(Path::new(home).join("db/bans")).unwrap_or_default();
        let known = |line: &str| ids.iter().position(|id| *id == line).unwrap();
        let mut numbers: Vec<usize> = text.lines().map(known).collect();
        numbers.sort_unstable();
        numbers
    };
    bench.ok("partition 0,1/2,3");
    assert_eq!((banned(0), banned(4)), (vec![2, 3], vec![2, 3]));
    assert_eq!((banned(2), banned(3)), (vec![0, 1, 4], vec![0, 1, 4]));
    assert!(
        text_of(&bench.run("status").unwrap())
            .contains("validator-0,validator-1,full-0 / validator-2,validator-3")
    );

    // A restarted node is behind the partition again.
    bench.ok("kill-node 2");
    fs::remove_file(bench.dir().join("validator-2/db/bans")).unwrap();
    bench.start("start-node 2").unwrap();
    assert_eq!(banned(2), [0, 1, 4]);

    // A second partition lifts the bans that it does not need.
    bench.ok("partition 3/0,1,2,4");
    assert_eq!(banned(3), [0, 1, 2, 4]);
    assert_eq!((banned(0), banned(2)), (vec![3], vec![3]));

    assert_eq!(bench.ok("heal")["healed"], true);
    assert!((0..5).all(|number| banned(number).is_empty()));
    assert_eq!(bench.ok("heal")["healed"], false);
}

#[test]
fn a_cut_that_a_node_cannot_make_is_not_begun() {
    let bench = Bench::new();
    bench.up("-v 2 -n 0");
    fs::remove_file(bench.dir().join("validator-1/admin.token")).unwrap();
    assert_eq!(bench.run("partition 0/1").unwrap_err().reason, "no_admin");
    assert!(!bench.dir().join("validator-0/db/bans").exists());
    assert_eq!(bench.ok("heal")["healed"], false);
}

#[test]
fn a_network_to_which_a_node_was_added_while_it_was_cut_is_healed() {
    let bench = Bench::new();
    bench.up("-v 2 -n 0");
    bench.ok("partition 0/1");
    bench.start("add-node").unwrap();
    let record = |number: usize| Devnet::look(&bench.dir()).unwrap().node(number).unwrap();
    let bans = |number: usize| record(number).home.join("db/bans");
    let banned = |number: usize| {
        let text = fs::read_to_string(bans(number)).unwrap_or_default();
        let mut ids: Vec<String> = text.lines().map(str::to_owned).collect();
        ids.sort_unstable();
        ids
    };
    // The new node is in the first group.
    let mut first = [record(0).peer_id, record(2).peer_id];
    first.sort_unstable();
    assert_eq!(
        (banned(0), banned(2)),
        (vec![record(1).peer_id], vec![record(1).peer_id])
    );
    assert_eq!(banned(1), first);
    // As after a `heal` that was interrupted.
    fs::remove_file(bans(0)).unwrap();
    assert_eq!(bench.ok("heal")["healed"], true);
    assert!((0..3).all(|number| banned(number).is_empty()));
    assert_eq!(bench.ok("heal")["healed"], false);
}
