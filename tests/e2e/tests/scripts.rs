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
const RUNNERS: [(&str, &[&str]); 12] = [
    ("add-node.sh", &[]),
    ("devnet-logs.sh", &[]),
    ("devnet.sh", &["status"]),
    ("faucet.sh", &["dev1"]),
    ("kill-node.sh", &["0"]),
    ("load.sh", &[]),
    ("partition.sh", &["0/1"]),
    ("restart-node.sh", &["0"]),
    ("send.sh", &["dev1", "1"]),
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
    }
}
