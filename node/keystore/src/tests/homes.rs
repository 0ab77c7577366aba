//! The keys of a node, and the lock of its home.

use super::*;

#[test]
fn developer_keys_are_the_same_everywhere() {
    let prefix = prefix();
    let keys = dev_keys(10).unwrap();
    let names: Vec<_> = keys.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "dev0", "dev1", "dev2", "dev3", "dev4", "dev5", "dev6", "dev7", "dev8", "dev9"
        ]
    );
    let first = Address::from(keys[0].1.public_key()).to_text(&prefix);
    assert_eq!(
        first,
        "vibet14xzxave52gpv4u7y5kqalyfz697cyvutg86nvg5ypa9cygdzqaqs6uv49h"
    );
    let validator = dev_validator(0).unwrap();
    assert_eq!(
        (validator.name.as_str(), validator.payout_name.as_str()),
        ("dev-validator", "dev-payout")
    );
    assert_eq!(dev_validator(3).unwrap().name, "dev-validator3");

    let mnemonic = Mnemonic::parse(DEV_MNEMONIC).unwrap();
    assert_eq!(
        mnemonic.account_key(COIN_TYPE_TEST, 7).unwrap().public_key(),
        keys[7].1.public_key()
    );
    let mut all: Vec<_> = keys.iter().map(|(_, key)| key.public_key()).collect();
    all.extend([validator.key.public_key(), validator.payout.public_key()]);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 12);
    check_refused(dev_keys(DEV_KEYS_MAX + 1), 40, "developer keys");
}

#[test]
fn a_nodes_keys_lie_where_the_layout_says() {
    let home = tempfile::tempdir().unwrap();
    let keys = NodeKeys::new(home.path(), prefix()).with_kdf(KdfParams::weak_for_tests());
    assert!(!keys.exists(NodeKeyRole::Validator).unwrap());
    check_refused(
        keys.load(NodeKeyRole::Validator, &mut NoPassphrase),
        40,
        "validator.key does not exist",
    );
    check_refused(
        keys.create(NodeKeyRole::Validator, &key(1), None),
        40,
        "unencrypted keys were not allowed",
    );
    keys.create(NodeKeyRole::Validator, &key(1), Some(&secret("one")))
        .unwrap();
    check_refused(
        keys.create(NodeKeyRole::Validator, &key(2), Some(&secret("x"))),
        1,
        "exists already",
    );
    assert!(keys.exists(NodeKeyRole::Validator).unwrap());
    assert_eq!(
        keys.info(NodeKeyRole::Validator).unwrap().public_key,
        key(1).public_key()
    );
    let loaded = keys.load(NodeKeyRole::Validator, &mut answer("one")).unwrap();
    assert_eq!(loaded.public_key(), key(1).public_key());

    let node = keys.load_or_create_node().unwrap();
    assert_eq!(
        keys.load_or_create_node().unwrap().public_key(),
        node.public_key()
    );
    assert_eq!(keys.path(NodeKeyRole::Node), home.path().join("node.key"));
    keys.accounts()
        .unwrap()
        .create("alice", &key(3), Some(&secret("three")))
        .unwrap();
    assert!(home.path().join("keys/alice.json").exists());
}

#[test]
fn a_nodes_keys_are_read_under_the_same_rules() {
    let home = tempfile::tempdir().unwrap();
    let keys = NodeKeys::new(home.path(), prefix()).allow_unencrypted();
    keys.create(NodeKeyRole::Validator, &key(1), None).unwrap();
    let path = keys.path(NodeKeyRole::Validator);
    chmod(&path, 0o640);
    check_refused(
        keys.load(NodeKeyRole::Validator, &mut NoPassphrase),
        40,
        "mode 0640",
    );
    chmod(&path, 0o600);
    // Other users may read a home, not write to it.
    chmod(home.path(), 0o755);
    keys.load(NodeKeyRole::Validator, &mut NoPassphrase).unwrap();
    chmod(home.path(), 0o775);
    check_refused(
        keys.load(NodeKeyRole::Validator, &mut NoPassphrase),
        40,
        "mode 0775, allowed is 0755",
    );
    chmod(home.path(), 0o700);
    let strict = NodeKeys::new(home.path(), prefix());
    check_refused(
        strict.load(NodeKeyRole::Validator, &mut NoPassphrase),
        40,
        "is not encrypted",
    );
    fs::copy(&path, keys.path(NodeKeyRole::Node)).unwrap();
    check_refused(
        keys.load_or_create_node(),
        40,
        "it says that its name is \"validator\"",
    );
}

#[test]
fn a_home_has_one_holder_and_names_it() {
    let home = tempfile::tempdir().unwrap();
    let lock = HomeLock::acquire(home.path()).unwrap();
    assert_eq!(lock.home(), home.path());
    let pid = std::process::id();
    match HomeLock::acquire(home.path()) {
        Err(KeyError::Locked { pid: Some(found), .. }) => assert_eq!(found, pid),
        other => panic!("{other:?}"),
    }
    check_refused(
        HomeLock::acquire(home.path()),
        9,
        &format!("is in use by process {pid}"),
    );
    drop(lock);
    drop(HomeLock::acquire(home.path()).unwrap());
}

#[test]
fn a_lock_file_alone_locks_nothing() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("LOCK"), "4194304999 and more than a number").unwrap();
    drop(HomeLock::acquire(home.path()).unwrap());
    assert_eq!(
        fs::read_to_string(home.path().join("LOCK")).unwrap(),
        format!("{}\n", std::process::id())
    );
    check_refused(HomeLock::acquire(home.path().join("nowhere")), 22, "cannot open");
}

#[test]
fn new_keys_are_never_the_same() {
    assert_ne!(generate().unwrap().public_key(), generate().unwrap().public_key());
}
