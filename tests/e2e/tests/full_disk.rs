//! A disk without space: existing files stay whole, and partial files do not block a later start.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use vibecoin_primitives::SecretKey;
use vibecoin_tests_e2e::{Home, Node};

/// Mount point of the disk: set in a mount namespace of this test.
const MOUNT_AT: &str = "TEST_FULL_DISK";
/// Size of the disk, sufficient for the homes of the test.
const SIZE: &str = "size=128m";
/// Allocation unit of files on it.
const PAGE_BYTES: usize = 4096;

/// All files in a folder and below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// Takes all the space that is left.
fn fill(path: &Path) {
    let mut filler = File::create(path).unwrap();
    let error = loop {
        if let Err(error) = filler.write_all(&[1; 16 * PAGE_BYTES]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
}

/// Adds accounts to a genesis until one more would need another page, and returns that one.
fn fill_page(home: &Home, genesis: &Path) -> String {
    let path = genesis.to_str().unwrap();
    let mut accounts = (1..=u8::MAX).map(|seed| SecretKey::from_seed(&[seed; 32]).public_key().to_string());
    loop {
        let account = accounts.next().unwrap();
        let before = fs::read(genesis).unwrap();
        let _added = home.run(&["genesis", "add-account", path, &account, "5"]).ok();
        let after = fs::read(genesis).unwrap();
        assert!(after.len() > before.len());
        if after.len().div_ceil(PAGE_BYTES) > before.len().div_ceil(PAGE_BYTES) {
            fs::write(genesis, before).unwrap();
            return account;
        }
    }
}

#[test]
fn a_full_disk_cuts_no_file_and_blocks_no_later_start() {
    let Some(disk) = std::env::var_os(MOUNT_AT).map(PathBuf::from) else {
        // Runs the test again in a namespace in which a small disk can be mounted, and holds all temporary
        // files.
        let disk = tempfile::tempdir().unwrap();
        let test = "a_full_disk_cuts_no_file_and_blocks_no_later_start";
        let ran = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(MOUNT_AT, disk.path())
            .env("TMPDIR", disk.path())
            .output()
            .expect("unshare runs");
        let said = [&ran.stdout[..], &ran.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert!(
            ran.status.success() && said[0].contains("1 passed"),
            "(this test mounts a disk of its own, for which it needs `unshare --map-root-user --mount`)\n{}{}",
            said[0],
            said[1]
        );
        return;
    };
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", SIZE, "tmpfs"])
        .arg(&disk)
        .output()
        .unwrap();
    assert!(mounted.status.success(), "{mounted:?}");

    let chain = Home::devnet();
    assert!(chain.path().starts_with(&disk), "{}", chain.path().display());
    let genesis = chain.file("given.toml");
    let genesis_path = genesis.to_str().unwrap();
    let account = fill_page(&chain, &genesis);
    let text = fs::read_to_string(&genesis).unwrap();
    let starts: [&[&str]; 4] = [
        &["config", "init"],
        &["init", "--genesis", genesis_path],
        &["init", "--validator", "--allow-unencrypted"],
        &["keys", "new", "a", "--allow-unencrypted"],
    ];
    let homes = starts.map(|_| Home::new());
    let dev = Home::new();

    let filler = disk.join("filler");
    fill(&filler);
    let add = ["genesis", "add-account", genesis_path, &account, "5"];
    chain.run(&add).fails(21, "disk_full");
    assert_eq!(fs::read_to_string(&genesis).unwrap(), text);
    for (start, home) in starts.iter().zip(&homes) {
        home.run(start).fails(21, "disk_full");
        assert_eq!(files(home.path()), [] as [PathBuf; 0], "{start:?}");
    }
    dev.run(&["node", "--dev", "--rpc.port", "0"])
        .fails(21, "disk_full");
    assert_eq!(files(dev.path()), [] as [PathBuf; 0]);

    // With space again, everything continues from where it was.
    fs::remove_file(filler).unwrap();
    let _added = chain.run(&add).ok();
    let _valid = chain.run(&["genesis", "validate", genesis_path]).ok();
    for (start, home) in starts.iter().zip(&homes) {
        let _done = home.run(start).ok();
    }
    assert_eq!(Node::dev(&dev).stop(), 0);
}
