//! Devnets whose folder is moved, copied, linked or the user's own.

use std::os::unix::fs::symlink;

use super::*;

/// A devnet outside of the bench's folder. Stopped when dropped.
struct Elsewhere<'a> {
    bench: &'a Bench,
    dir: PathBuf,
}

impl Elsewhere<'_> {
    fn ok(&self, line: &str) -> Value {
        json_of(&Bench::run_in(&self.dir, line).unwrap())
    }

    fn up(&self) -> Value {
        self.ok(&format!("up --binary {}", self.bench.binary().display()))
    }
}

impl Drop for Elsewhere<'_> {
    fn drop(&mut self) {
        let _done = Bench::run_in(&self.dir, "down --grace 0");
    }
}

fn elsewhere<'a>(bench: &'a Bench, name: &str) -> Elsewhere<'a> {
    let dir = bench.scratch.path().join(name);
    Elsewhere { bench, dir }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(copied.success());
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_devnet_that_is_moved_is_the_same_running_and_stopped() {
    let bench = Bench::new();
    bench.up("-v 2 -n 0");
    let text = fs::read_to_string(bench.dir().join("devnet.json")).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(written["nodes"][1]["home"], "validator-1");
    assert_eq!(written["nodes"][1]["log"], "validator-1.log");
    let running = bench.pids();
    let moved = elsewhere(&bench, "moved");
    fs::rename(bench.dir(), &moved.dir).unwrap();
    assert_eq!(Bench::pids_in(&moved.dir), running);
    let home = moved.dir.canonicalize().unwrap().join("validator-0");
    assert_eq!(moved.ok("status")["nodes"][0]["home"], json!(home));
    assert_eq!(moved.up()["startedNodes"], 0);
    assert_eq!(moved.ok("down")["stopped"], 2);
    assert!(running.iter().flatten().all(|pid| !alive(*pid)));

    let again = elsewhere(&bench, "again");
    fs::rename(&moved.dir, &again.dir).unwrap();
    assert_eq!(again.up()["startedNodes"], 2);
    let data = fs::read_to_string(again.dir.join("validator-0/db/data")).unwrap();
    assert_eq!(data.lines().count(), 2, "the same home");
    assert_eq!(again.ok("destroy")["destroyed"], true);
    assert!(!again.dir.exists());
}

#[test]
fn nodes_whose_folder_went_to_another_file_system_are_stopped_before_others_start() {
    let bench = Bench::new();
    bench.up("-v 2 -n 0");
    let running = bench.pids();
    let moved = elsewhere(&bench, "moved");
    // As `mv` does between file systems.
    copy(&bench.dir(), &moved.dir);
    fs::remove_dir_all(bench.dir()).unwrap();
    assert_eq!(Bench::pids_in(&moved.dir), running);
    for line in ["up", "start-node 0", "add-node"] {
        let line = format!("{line} --binary {}", bench.binary().display());
        let refused = Bench::run_in(&moved.dir, &line).unwrap_err();
        assert_eq!(refused.reason, "moved", "{line}: {refused:?}");
        assert!(
            refused
                .hint
                .unwrap()
                .contains(&format!("`vibecoin devnet --dir {} down`", moved.dir.display())),
            "{line}"
        );
    }
    assert_eq!(
        Bench::pids_in(&moved.dir),
        running,
        "nothing was started beside them"
    );
    assert_eq!(moved.ok("down")["stopped"], 2);
    assert!(running.iter().flatten().all(|pid| !alive(*pid)));
    assert_eq!(moved.up()["startedNodes"], 2);
    assert_eq!(moved.ok("destroy")["destroyed"], true);
    assert!(!moved.dir.exists());
}

#[test]
fn a_copy_has_nodes_of_its_own() {
    let bench = Bench::new();
    bench.up("-v 1 -n 1");
    let running = bench.pids();
    let copied = elsewhere(&bench, "copied");
    copy(&bench.dir(), &copied.dir);
    assert_eq!(Bench::pids_in(&copied.dir), [None, None]);
    let original = |dir: &Path| {
        let net = Devnet::look(dir).unwrap();
        net.existing().unwrap().original.first().map(|(pid, _)| *pid)
    };
    assert_eq!(original(&copied.dir), running[0], "`up` warns of the same keys");
    assert_eq!(original(&bench.dir()), None);
    // An `up` that fails after it has written the file.
    bench.behave(Mode::Dies);
    let line = format!("up --binary {}", bench.binary().display());
    assert!(Bench::run_in(&copied.dir, &line).is_err());
    bench.behave(Mode::Good);
    assert_eq!(original(&copied.dir), running[0], "the next one warns, too");
    assert_eq!(copied.ok("down --grace 0")["stopped"], 0);
    assert_eq!(
        original(&copied.dir),
        running[0],
        "also after its own file was written"
    );
    assert_eq!(copied.ok("kill-node 0")["wasRunning"], false);
    let up = copied.up();
    assert_eq!(up["startedNodes"], 2);
    assert_ne!(up["nodes"][0]["rpc"], bench.ok("status")["nodes"][0]["rpc"]);
    copied.ok("destroy");
    assert!(!copied.dir.exists());
    assert_eq!(bench.pids(), running);
    assert!(running.iter().flatten().all(|pid| alive(*pid)));
}

#[test]
fn a_devnet_of_an_older_version_is_known_where_it_was_made_and_nowhere_else() {
    let bench = Bench::new();
    bench.up("-v 1 -n 0");
    let running = bench.pids();
    let path = bench.dir().join("devnet.json");
    let mut old: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let dir = bench.dir().canonicalize().unwrap();
    old.as_object_mut().unwrap().remove("folder");
    old["nodes"][0]["home"] = json!(dir.join("validator-0"));
    old["nodes"][0]["log"] = json!(dir.join("validator-0.log"));
    fs::write(&path, old.to_string()).unwrap();
    assert_eq!(bench.pids(), running);
    let copied = elsewhere(&bench, "copied");
    copy(&bench.dir(), &copied.dir);
    assert_eq!(Bench::pids_in(&copied.dir), [None]);
    assert_eq!(bench.ok("down")["stopped"], 1);
}

#[test]
fn a_folder_of_the_users_own_stays_without_what_the_devnet_made() {
    let bench = Bench::new();
    fs::create_dir(bench.dir()).unwrap();
    let destroyed = text_of(&bench.run("destroy").unwrap());
    assert!(destroyed.starts_with("nothing to destroy"), "{destroyed}");
    assert_eq!(names(&bench.dir()), [""; 0]);
    bench.up("-v 1 -n 0");
    assert_eq!(bench.ok("destroy --grace 5")["destroyed"], true);
    assert_eq!(names(&bench.dir()), [""; 0]);
}

#[test]
fn a_devnet_behind_a_link_is_that_of_the_folder() {
    let bench = Bench::new();
    let link = elsewhere(&bench, "link");
    symlink(bench.dir(), &link.dir).unwrap();
    let refused = Bench::run_in(&link.dir, "up").unwrap_err();
    assert!(refused.message.contains("symbolic link"), "{}", refused.message);
    bench.up("-v 1 -n 0");
    let running = bench.pids();
    assert_eq!(Bench::pids_in(&link.dir), running);
    assert_eq!(Bench::pids_in(&link.dir.join("")), running);
    assert_eq!(link.ok("down")["stopped"], 1);
    // A home on another disk.
    let (home, other) = (bench.dir().join("validator-0"), bench.scratch.path().join("disk"));
    fs::rename(&home, &other).unwrap();
    symlink(&other, &home).unwrap();
    assert_eq!(link.up()["startedNodes"], 1);
    assert_eq!(link.ok("destroy")["destroyed"], true);
    assert!(other.join("db/data").exists(), "what a link leads to stays");
}

#[test]
fn a_state_file_cannot_make_destroy_reach_out_of_the_folder() {
    let bench = Bench::new();
    let other = bench.scratch.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("precious"), "x").unwrap();
    let mut net = devnet_of(&bench.dir(), 1, 0);
    net.existing_mut().unwrap().nodes[0].home = other.clone();
    net.save().unwrap();
    drop(net);
    bench.run("destroy").unwrap();
    assert!(other.join("precious").exists());
    assert!(!bench.dir().exists());
    for name in ["../other", "a/b", "..", ".", "", "lock", "devnet.json", "/"] {
        let mut net = devnet_of(&bench.dir(), 1, 0);
        net.existing_mut().unwrap().nodes[0].name = name.to_owned();
        net.save().unwrap();
        drop(net);
        for line in ["destroy", "status", "up"] {
            let refused = bench.run(line).unwrap_err();
            assert_eq!(refused.exit, Exit::InvalidFile, "{name:?} {line}");
        }
        fs::remove_file(bench.dir().join("devnet.json")).unwrap();
    }
    assert!(other.join("precious").exists());
}
