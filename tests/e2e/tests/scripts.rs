//! The scripts of the checkout: from any directory, through links, and in a foreign environment.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use vibecoin_tests_e2e::binary;

fn scripts() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
    folder.canonicalize().unwrap()
}

fn run(program: &Path, arguments: &[&str], folder: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new("bash");
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("VIBECOIN_") || name.starts_with("DEVNET_") {
            command.env_remove(name);
        }
    }
    command
        .arg(program)
        .args(arguments)
        .current_dir(folder)
        .env("CDPATH", ".:/tmp:/")
        .envs(variables.iter().copied());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Scripts that run the node's program, with arguments that reach that point.
const RUNNERS: [(&str, &[&str]); 14] = [
    ("add-node.sh", &[]),
    ("devnet-logs.sh", &[]),
    ("devnet.sh", &["status"]),
    ("faucet.sh", &["dev1"]),
    ("kill-node.sh", &["0"]),
    ("load.sh", &[]),
    ("partition.sh", &["0/1"]),
    ("restart-node.sh", &["0"]),
    ("send.sh", &["dev1", "1"]),
    ("snapshot.sh", &["create"]),
    ("snapshot.sh", &["sync"]),
    ("start-devnet.sh", &[]),
    ("stop-devnet.sh", &[]),
    ("testnet.sh", &["-o", "net"]),
];

#[test]
fn a_program_that_is_none_is_refused_with_a_sentence_by_every_script() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().to_str().unwrap();
    for (script, arguments) in RUNNERS {
        for program in ["/nope", "nope", here] {
            let path = scripts().join(script);
            let ran = run(&path, arguments, folder.path(), &[("VIBECOIN_BIN", program)]);
            let stderr = text(&ran.stderr);
            assert_eq!(ran.status.code(), Some(1), "{script} {program}: {stderr}");
            let lines: Vec<&str> = stderr.lines().collect();
            assert_eq!(lines.len(), 2, "{script} {program}: {stderr}");
            let error = format!("error: VIBECOIN_BIN is {program}, which is no program");
            assert_eq!(lines[0], error, "{script}");
            assert!(lines[1].starts_with("hint: "), "{script}: {stderr}");
            assert_eq!(text(&ran.stdout), "", "{script}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_script_does_the_same_through_a_link_from_anywhere_and_with_a_path_for_cd() {
    let folder = tempfile::tempdir().unwrap();
    let program = binary();
    let program = [("VIBECOIN_BIN", program.to_str().unwrap())];
    let link = folder.path().join("x");
    symlink(scripts().join("devnet.sh"), &link).unwrap();
    // A link to the link, by a relative path.
    symlink("x", folder.path().join("y")).unwrap();
    let root = scripts().parent().unwrap().to_owned();
    let direct = run(Path::new("scripts/devnet.sh"), &["status"], &root, &program);
    assert!(
        text(&direct.stdout).contains(&format!("{}/.devnet", root.display())),
        "{direct:?}"
    );
    let own = scripts();
    for (script, from) in [
        (link.as_path(), Path::new("/")),
        (Path::new("x"), folder.path()),
        (Path::new("./y"), folder.path()),
        (Path::new("../scripts/devnet.sh"), own.as_path()),
    ] {
        let ran = run(script, &["status"], from, &program);
        assert_eq!(
            ran.status.code(),
            direct.status.code(),
            "{}: {ran:?}",
            script.display()
        );
        assert_eq!(text(&ran.stdout), text(&direct.stdout), "{}", script.display());
    }
    // The hints contain the name that was typed, and the folder of a variable that may have been set for this
    // command.
    let dir = [program[0], ("DEVNET_DIR", "none")];
    let ran = run(Path::new("./y"), &["kill-node", "0"], folder.path(), &dir);
    assert!(text(&ran.stderr).contains("`./y --dir none up`"), "{ran:?}");
}

/// The line of the hint, without its mark.
fn hint_of(ran: &Output) -> String {
    let stderr = text(&ran.stderr);
    let hint = stderr.lines().find_map(|line| line.strip_prefix("hint: "));
    hint.unwrap_or_else(|| panic!("no hint: {stderr}")).to_owned()
}

/// Runs a command of a hint as a shell does.
fn shell(line: &str, folder: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new("bash");
    command.env_remove("VIBECOIN_BIN").envs(variables.iter().copied());
    command.args(["-c", line]).current_dir(folder).output().unwrap()
}

#[test]
fn the_hint_of_a_wrong_argument_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    for (script, arguments) in [
        ("bench-peers.sh", &["x"][..]),
        ("build.sh", &["x"]),
        ("sim.sh", &["--frobnicate"]),
        ("snapshot.sh", &["x"]),
        ("sim.sh", &["--seeds", "x"]),
        ("test.sh", &["x"]),
        ("reliability/json-suite.sh", &[]),
        ("reliability/kills.sh", &["x"]),
        ("reliability/network.sh", &["x"]),
        ("reliability/network.sh", &["--seed"]),
        ("reliability/quorum.sh", &["x"]),
        ("reliability/quorum.sh", &["--heights"]),
        ("reliability/rpc-strangers.sh", &["x"]),
        ("reliability/rpc-strangers.sh", &["--seconds"]),
        ("reliability/strangers.sh", &["--frobnicate"]),
        ("reliability/transfers.sh", &["x"]),
    ] {
        let ran = run(&scripts().join(script), arguments, folder.path(), &[]);
        assert_eq!(ran.status.code(), Some(2), "{script}: {ran:?}");
        let hint = hint_of(&ran);
        let help = hint
            .strip_prefix("see ")
            .unwrap_or_else(|| panic!("{script}: {hint}"));
        let help = shell(help, folder.path(), &[]);
        assert!(
            text(&help.stdout).starts_with(&format!("usage: scripts/{script}")),
            "{script}: {help:?}"
        );
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_targets_of_a_hint_are_those_of_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let cache = [("VIBECOIN_CACHE", folder.path().to_str().unwrap())];
    let fuzz = |arguments: &[&str]| run(&scripts().join("fuzz.sh"), arguments, folder.path(), &cache);
    let refused = fuzz(&["nonsense", "1"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let hint = hint_of(&refused);
    let named: Vec<_> = hint.strip_prefix("targets are: ").unwrap().split(' ').collect();
    let listed = text(&fuzz(&["list"]).stdout);
    assert_eq!(named, listed.lines().collect::<Vec<_>>());
    assert!(named.len() > 3, "{hint}");
}

#[test]
fn a_cache_that_cannot_be_made_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (here, fuzz) = (folder.path().to_str().unwrap(), scripts().join("fuzz.sh"));
    let variables = [
        ("VIBECOIN_CACHE", "/dev/null/x"),
        ("CARGO_TARGET_DIR", "/dev/null/y"),
    ];
    let refused = run(&fuzz, &["list"], folder.path(), &variables);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let hint = hint_of(&refused);
    let (_, export) = hint.split_once(": ").unwrap();
    let line = format!(
        "{}; {} list",
        export.replace("DIR=", "@=").replace("DIR", here),
        fuzz.display()
    );
    let line = line.replace("@=", "DIR=");
    let listed = shell(&line, folder.path(), &variables);
    assert!(
        listed.status.success() && !listed.stdout.is_empty(),
        "{line}: {listed:?}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let program = [("VIBECOIN_BIN", "/nope")];
    let suite = scripts().join("reliability/json-suite.sh");
    let refused = run(&suite, &["nowhere"], folder.path(), &program);
    assert!(
        text(&refused.stderr).contains("cannot read nowhere"),
        "{refused:?}"
    );
    std::fs::write(folder.path().join("cases"), "{}").unwrap();
    let hint = hint_of(&refused);
    let (_, line) = hint.split_once(": ").unwrap();
    let next = shell(&line.replace("CASES", "cases"), folder.path(), &program);
    assert!(text(&next.stderr).contains("VIBECOIN_BIN is /nope"), "{next:?}");
}

/// The environment in which a build takes no time: cargo is a stand-in that writes the program.
fn quick_build(folder: &Path) -> Vec<(&'static str, String)> {
    use std::os::unix::fs::PermissionsExt as _;
    let tools = folder.join("tools");
    std::fs::create_dir(&tools).unwrap();
    let cargo = tools.join("cargo");
    let script = "#!/bin/sh\nmkdir -p \"$CARGO_TARGET_DIR/release\"\ncp /bin/true \"$CARGO_TARGET_DIR/release/vibecoin\"\n";
    std::fs::write(&cargo, script).unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let target = folder.join("target").to_str().unwrap().to_owned();
    let mut variables = vec![("PATH", path), ("CARGO_TARGET_DIR", target)];
    // That of this build, which has RocksDB.
    variables.extend(std::env::var("VIBECOIN_CACHE").map(|cache| ("VIBECOIN_CACHE", cache)));
    variables
}

#[test]
fn a_build_that_no_script_would_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let quick = quick_build(&root);
    let with = |program: Option<&str>| -> Vec<(&str, String)> {
        let program = program.map(|program| ("VIBECOIN_BIN", program.to_owned()));
        quick.iter().cloned().chain(program).collect()
    };
    let try_run = |script: &str, arguments: &[&str], program: &str| {
        let variables = with(Some(program));
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        run(&scripts().join(script), arguments, &root, &variables)
    };
    let built = root.join("target/release/vibecoin");
    for (script, arguments, program) in [
        ("build.sh", &[][..], "/nope"),
        ("build.sh", &[], "true"),
        ("devnet.sh", &["status"], "/nope"),
    ] {
        let refused = try_run(script, arguments, program);
        assert_eq!(refused.status.code(), Some(1), "{script} {program}: {refused:?}");
        assert!(text(&refused.stderr).starts_with(&format!("error: VIBECOIN_BIN is {program}, ")));
        assert!(!built.exists(), "nothing is built");
        let hint = hint_of(&refused);
        let (_, line) = hint.split_once(": ").unwrap();
        let variables = with(Some(program));
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let done = shell(line, &root, &variables);
        assert!(done.status.success(), "{line}: {done:?}");
        assert_eq!(text(&done.stdout), format!("{}\n", built.display()));
        std::fs::remove_file(&built).unwrap();
    }
    // The usual way to name the program: it can be built again.
    let again = try_run("build.sh", &[], built.to_str().unwrap());
    assert_eq!(text(&again.stdout), format!("{}\n", built.display()), "{again:?}");
}

#[test]
fn a_usage_error_behind_a_script_names_the_script() {
    let folder = tempfile::tempdir().unwrap();
    let program = binary();
    let program = [("VIBECOIN_BIN", program.to_str().unwrap())];
    for (script, arguments, command) in [
        ("devnet.sh", &["up", "--frobnicate"][..], "up --help`"),
        ("start-devnet.sh", &["--frobnicate"], "up --help`"),
        ("devnet.sh", &["stop"], "--help`"),
    ] {
        let ran = run(&scripts().join(script), arguments, folder.path(), &program);
        assert_eq!(ran.status.code(), Some(2), "{script}: {ran:?}");
        let stderr = text(&ran.stderr);
        let hint = stderr.lines().find(|line| line.starts_with("hint: ")).unwrap();
        let expected = format!("`{}/devnet.sh {command}", scripts().display());
        assert!(hint.contains(&expected), "{script}: {hint}");
        let line = hint.split('`').nth(1).unwrap();
        let followed = Command::new("sh")
            .args(["-c", line])
            .envs(program)
            .output()
            .unwrap();
        assert!(followed.status.success(), "{line}: {followed:?}");
    }
}

#[test]
fn every_script_has_the_prelude_and_help_without_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(scripts()).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let sourced = ["prelude.sh", "native.sh"].contains(&name.as_str());
        if sourced || !name.ends_with(".sh") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        assert!(name == "test.sh" || source.contains("/prelude.sh\"\n"), "{name}");
        let link = folder.path().join(&name);
        symlink(&path, &link).unwrap();
        let ran = run(&link, &["--help"], folder.path(), &[("VIBECOIN_BIN", "/nope")]);
        assert_eq!(ran.status.code(), Some(0), "{name}: {ran:?}");
        assert!(
            text(&ran.stdout).starts_with(&format!("usage: scripts/{name}")),
            "{name}"
        );
        assert_eq!(text(&ran.stderr), "", "{name}");
        // As users type it, whatever their `sh` is.
        let typed = shell(&format!("sh {} --help", link.display()), folder.path(), &[]);
        assert_eq!(
            (typed.status.code(), typed.stdout),
            (Some(0), ran.stdout),
            "{name}"
        );
    }
}
