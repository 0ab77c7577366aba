//! Files and folders that others may open.

use super::*;

#[test]
fn new_files_and_directories_are_closed_to_others() {
    let (home, store) = store();
    store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    assert_eq!(mode(store.dir()), 0o700);
    assert_eq!(mode(&store.path("alice")), 0o600);
    let node = NodeKeys::new(home.path().join("a/b"), prefix());
    node.load_or_create_node().unwrap();
    assert_eq!(mode(node.home()), 0o700);
    assert_eq!(mode(&node.path(NodeKeyRole::Node)), 0o600);
}

#[test]
fn what_others_may_open_is_refused() {
    let (_home, store) = store();
    store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    for open in [0o640, 0o604, 0o620, 0o610, 0o660, 0o644, 0o777] {
        chmod(&store.path("alice"), open);
        check_refused(
            store.load("alice", &mut answer("one")),
            40,
            &format!("mode {open:04o}, allowed is 0600"),
        );
    }
    chmod(&store.path("alice"), 0o400);
    store.load("alice", &mut answer("one")).unwrap();
    for open in [0o750, 0o705, 0o710, 0o755] {
        chmod(store.dir(), open);
        check_refused(
            Keystore::open(store.dir(), prefix()),
            40,
            &format!("mode {open:04o}, allowed is 0700"),
        );
    }
    chmod(store.dir(), 0o700);
    Keystore::open(store.dir(), prefix()).unwrap();
}

#[test]
fn what_is_no_plain_file_or_directory_is_refused() {
    let (home, store) = store();
    store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    fs::rename(store.path("alice"), home.path().join("alice.json")).unwrap();
    symlink(home.path().join("alice.json"), store.path("alice")).unwrap();
    check_refused(
        store.load("alice", &mut answer("one")),
        40,
        "is a symbolic link, expected a regular file",
    );
    fs::create_dir(store.path("dir")).unwrap();
    check_refused(store.find("dir"), 40, "is a directory, expected a regular file");
    let pipe = store.path("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    check_refused(store.find("pipe"), 40, "is a pipe, expected a regular file");

    symlink(store.dir(), home.path().join("link")).unwrap();
    check_refused(
        Keystore::open(home.path().join("link"), prefix()),
        40,
        "is a symbolic link, expected a directory",
    );
    check_refused(
        Keystore::open(home.path().join("alice.json"), prefix()),
        40,
        "is no directory",
    );
}

#[test]
fn a_file_of_another_user_is_refused() {
    let (_home, store) = store();
    store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    // Only root can give a file away; elsewhere a file of root is used, which every user can read.
    if std::os::unix::fs::chown(store.path("alice"), Some(12_345), None).is_ok() {
        check_refused(
            store.load("alice", &mut answer("one")),
            40,
            "belongs to user 12345",
        );
    } else {
        check_refused(read_secret_text(Path::new("/etc/hostname")), 40, "has mode");
    }
}

#[test]
fn a_secret_text_is_read_under_the_same_rules() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("password");
    check_refused(read_secret_text(&path), 40, "does not exist");
    fs::write(&path, "correct horse\n").unwrap();
    chmod(&path, 0o644);
    check_refused(read_secret_text(&path), 40, "mode 0644");
    chmod(&path, 0o600);
    assert_eq!(*read_secret_text(&path).unwrap(), "correct horse\n");
    let link = home.path().join("link");
    symlink(&path, &link).unwrap();
    check_refused(read_secret_text(&link), 40, "a symbolic link");
    fs::write(&path, [0xff, 0xfe]).unwrap();
    check_refused(read_secret_text(&path), 40, "is not UTF-8 text");
    fs::write(&path, vec![b'x'; FILE_BYTES_MAX + 1]).unwrap();
    check_refused(read_secret_text(&path), 40, "more than");
    if std::os::unix::fs::chown(&path, Some(12_345), None).is_ok() {
        check_refused(read_secret_text(&path), 40, "belongs to user 12345");
    }
}

#[test]
fn a_secret_text_is_written_for_this_user_alone_and_never_over_anything() {
    let home = tempfile::tempdir().unwrap();
    let (path, target) = (home.path().join("token"), home.path().join("target"));
    create_secret_text(&path, "one\n").unwrap();
    assert_eq!(
        (mode(&path), fs::read_to_string(&path).unwrap()),
        (0o600, "one\n".to_owned())
    );
    check_refused(create_secret_text(&path, "two"), 1, "exists already");
    let link = home.path().join("link");
    symlink(&target, &link).unwrap();
    check_refused(create_secret_text(&link, "two"), 1, "exists already");
    assert!(!target.exists());
}

#[test]
fn the_remedy_of_an_open_file_is_a_command() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("pass word");
    fs::write(&path, "x").unwrap();
    chmod(&path, 0o640);
    let error = read_secret_text(&path).unwrap_err();
    let command = format!("chmod 600 '{}'", path.display());
    assert!(error.to_string().contains(&format!("`{command}`")), "{error}");
    assert_eq!(error.remedy(), Some(command));
}

#[test]
fn keys_are_where_the_configuration_has_them() {
    let home = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let (accounts, node) = (
        elsewhere.path().join("accounts"),
        elsewhere.path().join("net.key"),
    );
    let keys = NodeKeys::new(home.path().join("h"), prefix())
        .with_places(&accounts, &node)
        .with_kdf(KdfParams::weak_for_tests())
        .allow_unencrypted();
    assert!(!keys.exists(NodeKeyRole::Node).unwrap());
    let made = keys.load_or_create_node().unwrap();
    assert!(node.exists() && keys.exists(NodeKeyRole::Node).unwrap());
    assert_eq!(
        keys.info(NodeKeyRole::Node).unwrap().public_key,
        made.public_key()
    );
    keys.accounts().unwrap().create("alice", &key(1), None).unwrap();
    assert!(accounts.join("alice.json").exists());
    keys.create(NodeKeyRole::Validator, &key(2), None).unwrap();
    assert!(home.path().join("h/validator.key").exists());
}
