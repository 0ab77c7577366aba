#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use tempfile::TempDir;
use vibecoin_primitives::{Address, AddressPrefix, SecretKey};

use super::*;
use crate::dev::{DEV_KEYS_MAX, DEV_MNEMONIC};
use crate::private::{FILE_BYTES_MAX, create_secret_text, read_secret_text};

fn prefix() -> AddressPrefix {
    AddressPrefix::new("vibet").unwrap()
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn secret(text: &str) -> Passphrase {
    Passphrase::new(text).unwrap()
}

/// A source that returns this text.
fn answer(text: &str) -> impl FnMut(&KeyInfo) -> Result<Passphrase, KeyError> {
    move |_| Passphrase::new(text)
}

/// A store with cheap encryption, and its directory.
fn store() -> (TempDir, Keystore) {
    let home = tempfile::tempdir().unwrap();
    let store = Keystore::open(home.path().join("keys"), prefix()).unwrap();
    (home, store.with_kdf(KdfParams::weak_for_tests()))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The message and exit code of an operation that must be refused. A secret key has no `Debug`.
#[track_caller]
fn refused<T>(result: Result<T, KeyError>) -> (u8, String) {
    match result {
        Ok(_) => panic!("accepted"),
        Err(error) => (error.exit_code(), error.to_string()),
    }
}

#[track_caller]
fn check_refused<T>(result: Result<T, KeyError>, code: u8, text: &str) {
    let (found, message) = refused(result);
    assert!(message.contains(text), "{message}");
    assert_eq!(found, code, "{message}");
}

#[test]
fn a_key_comes_back_by_name_and_by_address() {
    let (_home, store) = store();
    let info = store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    store.create("bob", &key(2), Some(&secret("two"))).unwrap();
    assert_eq!(
        info.address,
        Address::from(key(1).public_key()).to_text(&prefix())
    );
    for query in ["alice", &info.address] {
        let loaded = store.load(query, &mut answer("one")).unwrap();
        assert_eq!(loaded.public_key(), key(1).public_key());
        assert_eq!(**loaded.seed(), [1; 32]);
    }
    // Another network's text for the same account finds it too.
    let main = Address::from(key(2).public_key()).to_text(&AddressPrefix::new("vibe").unwrap());
    assert_eq!(store.find(&main).unwrap().name, "bob");
    let names: Vec<_> = store
        .list()
        .unwrap()
        .keys
        .into_iter()
        .map(|info| info.name)
        .collect();
    assert_eq!(names, ["alice", "bob"]);
}

#[test]
fn a_key_outlives_the_store_and_its_file_shows_no_seed() {
    let (_home, store) = store();
    store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    let again = Keystore::open(store.dir(), prefix()).unwrap();
    assert_eq!(
        again.load("alice", &mut answer("one")).unwrap().public_key(),
        key(1).public_key()
    );
    let text = fs::read_to_string(store.path("alice")).unwrap();
    assert!(!text.contains(&const_hex::encode([1; 32])), "{text}");
    assert!(
        text.contains("\"m_kib\": 8") && text.contains("\"encryption\": \"argon2id-xchacha20poly1305\""),
        "{text}"
    );
}

#[test]
fn the_default_cost_is_64_mib_in_3_passes() {
    let (_home, store) = store();
    let store = store.with_kdf(KdfParams::default());
    store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    let text = fs::read_to_string(store.path("alice")).unwrap();
    assert!(
        text.contains("\"m_kib\": 65536,\n    \"t\": 3,\n    \"p\": 1,"),
        "{text}"
    );
    assert_eq!(
        store.load("alice", &mut answer("one")).unwrap().public_key(),
        key(1).public_key()
    );
}

#[test]
fn two_files_of_one_key_share_nothing_secret() {
    let (_home, store) = store();
    store.create("one", &key(1), Some(&secret("same"))).unwrap();
    store.create("two", &key(1), Some(&secret("same"))).unwrap();
    let line = |name: &str, field: &str| {
        let text = fs::read_to_string(store.path(name)).unwrap();
        text.lines().find(|line| line.contains(field)).unwrap().to_owned()
    };
    for field in ["salt", "nonce", "ciphertext"] {
        assert_ne!(line("one", field), line("two", field));
    }
}

#[test]
fn a_wrong_passphrase_or_none_opens_nothing() {
    let (_home, store) = store();
    store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    check_refused(
        store.load("alice", &mut answer("One")),
        40,
        "wrong passphrase for key \"alice\"",
    );
    check_refused(store.load("alice", &mut NoPassphrase), 40, "nobody can be asked");
    check_refused(store.load("alice", &mut answer("")), 40, "it is empty");
    check_refused(store.load("carol", &mut answer("one")), 5, "no key \"carol\" in ");
    check_refused(Passphrase::new("x".repeat(4097)), 40, "more than 4096 bytes");
}

#[test]
fn a_passphrase_file_loses_its_line_end_and_nothing_else() {
    for (text, same_as) in [
        ("one\n", "one"),
        ("one\r\n", "one"),
        (" one \n", " one "),
        ("one\n\n", "one\n"),
    ] {
        assert_eq!(
            Passphrase::from_file_text(text).unwrap().as_bytes(),
            same_as.as_bytes()
        );
    }
}

#[test]
fn unencrypted_keys_need_to_be_allowed_to_be_made_and_to_be_read() {
    let (_home, strict) = store();
    check_refused(
        strict.create("dev0", &key(1), None),
        40,
        "unencrypted keys were not allowed",
    );
    let open = Keystore::open(strict.dir(), prefix())
        .unwrap()
        .allow_unencrypted();
    let info = open.create("dev0", &key(1), None).unwrap();
    assert!(!info.encrypted);
    assert_eq!(
        open.load("dev0", &mut NoPassphrase).unwrap().public_key(),
        key(1).public_key()
    );
    assert!(
        fs::read_to_string(open.path("dev0"))
            .unwrap()
            .contains("\"encryption\": \"none\"")
    );
    check_refused(
        strict.load("dev0", &mut NoPassphrase),
        40,
        "key \"dev0\" is not encrypted",
    );
}

/// Every bit of an encrypted and of an unencrypted file, and every shorter file.
#[test]
fn a_changed_byte_anywhere_is_refused() {
    let (_home, store) = store();
    let store = store.allow_unencrypted();
    for passphrase in [Some(&secret("one")), None] {
        store.create("alice", &key(1), passphrase).unwrap();
        let path = store.path("alice");
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                // A digit of a cost may become a larger one; the cost is capped, but not small.
                let text = String::from_utf8_lossy(&changed);
                let costly = text.contains("\"m_kib\"") && !text.contains("\"m_kib\": 8,");
                fs::write(&path, &changed).unwrap();
                if !costly || store.find("alice").is_err() {
                    let (code, message) = refused(store.load("alice", &mut answer("one")));
                    assert_eq!(code, 40, "byte {at}, bit {bit}: {message}");
                } else {
                    check_refused(store.load("alice", &mut answer("one")), 40, "wrong passphrase");
                }
            }
            fs::write(&path, &bytes[..at]).unwrap();
            refused(store.find("alice"));
        }
        fs::write(&path, [&bytes[..], b"\n"].concat()).unwrap();
        check_refused(
            store.find("alice"),
            40,
            "not in the form that this program writes",
        );
        store.delete("alice").unwrap();
    }
}

#[test]
fn a_file_that_was_put_under_another_name_is_refused() {
    let (_home, store) = store();
    store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    fs::rename(store.path("alice"), store.path("bob")).unwrap();
    check_refused(
        store.load("bob", &mut answer("one")),
        40,
        "it says that its name is \"alice\"",
    );
}

#[test]
fn a_sealed_seed_does_not_open_under_another_address() {
    let (_home, store) = store();
    store.create("alice", &key(1), Some(&secret("same"))).unwrap();
    store.create("bob", &key(2), Some(&secret("same"))).unwrap();
    let (alice, bob) = (
        fs::read_to_string(store.path("alice")).unwrap(),
        fs::read_to_string(store.path("bob")).unwrap(),
    );
    let (head, _) = alice.split_once("  \"encryption\"").unwrap();
    let (_, tail) = bob.split_once("  \"encryption\"").unwrap();
    fs::write(store.path("alice"), format!("{head}  \"encryption\"{tail}")).unwrap();
    store.find("alice").unwrap();
    check_refused(store.load("alice", &mut answer("same")), 40, "wrong passphrase");
}

#[test]
fn costs_above_the_caps_are_refused_before_they_are_paid() {
    let (_home, store) = store();
    store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    let text = fs::read_to_string(store.path("alice")).unwrap();
    for (from, to, expected) in [
        (
            "\"m_kib\": 8",
            "\"m_kib\": 1048577",
            "m_kib is 1048577, allowed is 8 to 1048576",
        ),
        (
            "\"m_kib\": 8",
            "\"m_kib\": 7",
            "m_kib is 7, allowed is 8 to 1048576",
        ),
        ("\"t\": 1", "\"t\": 17", "t is 17, allowed is 1 to 16"),
        ("\"t\": 1", "\"t\": 0", "t is 0, allowed is 1 to 16"),
        ("\"p\": 1", "\"p\": 5", "p is 5, allowed is 1 to 4"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        fs::write(store.path("alice"), changed).unwrap();
        let mut asked = |_: &KeyInfo| -> Result<Passphrase, KeyError> { panic!("asked for a passphrase") };
        check_refused(store.load("alice", &mut asked), 40, expected);
    }
    for kdf in [
        KdfParams {
            m_kib: 1 << 21,
            t: 1,
            p: 1,
        },
        KdfParams {
            m_kib: 16,
            t: 1,
            p: 4,
        },
    ] {
        let store = Keystore::open(store.dir(), prefix()).unwrap().with_kdf(kdf);
        check_refused(
            store.create("bob", &key(2), Some(&secret("two"))),
            40,
            "key derivation parameter m_kib",
        );
    }
}

#[test]
fn a_file_of_another_shape_is_refused_without_being_repeated() {
    let (_home, store) = store();
    let store = store.allow_unencrypted();
    store.create("alice", &key(1), None).unwrap();
    let path = store.path("alice");
    let text = fs::read_to_string(&path).unwrap();
    let seed = const_hex::encode([1; 32]);
    for (from, to, expected) in [
        (
            "\"version\": 1",
            "\"version\": 2",
            "its version is 2, this program reads 1",
        ),
        ("\"none\"", "\"rot13\"", "its encryption is unknown"),
        (
            "\"none\"",
            "\"argon2id-xchacha20poly1305\"",
            "its fields are not those of its encryption",
        ),
        (
            "  \"version\"",
            "  \"extra\": 1,\n  \"version\"",
            "other fields than a key file, line 2, column 9",
        ),
        (
            "\"seed\": \"",
            "\"seed\": 5, \"x\": \"",
            "other fields than a key file",
        ),
        (
            &seed,
            &seed.replacen("01", "02", 1),
            "its seed does not give its public key",
        ),
        ("{", "[", "a key file"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        fs::write(&path, changed).unwrap();
        let (code, message) = refused(store.load("alice", &mut NoPassphrase));
        assert!(
            message.contains(expected) && !message.contains(&seed[..16]),
            "{message}"
        );
        assert_eq!(code, 40);
    }
    fs::write(&path, vec![b' '; FILE_BYTES_MAX + 1]).unwrap();
    check_refused(store.find("alice"), 40, "has more than 65536 bytes");
    // The others stay visible beside an invalid one.
    store.create("bob", &key(2), None).unwrap();
    let list = store.list().unwrap();
    assert_eq!((list.keys.len(), list.refused.len()), (1, 1));
}

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

#[test]
fn a_key_is_never_overwritten() {
    let (_home, store) = store();
    store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    store.create("bob", &key(2), Some(&secret("two"))).unwrap();
    check_refused(
        store.create("alice", &key(3), Some(&secret("x"))),
        1,
        "exists already",
    );
    check_refused(store.rename("bob", "alice"), 1, "exists already");
    assert_eq!(store.find("alice").unwrap().public_key, key(1).public_key());
    assert_eq!(store.find("bob").unwrap().public_key, key(2).public_key());
}

#[test]
fn names_are_short_plain_and_no_addresses() {
    let (_home, store) = store();
    let address = Address::from(key(9).public_key()).to_text(&prefix());
    assert_eq!(address.len(), 64);
    for name in ["", "Alice", "a.b", "../x", "a/b", "ä", &"a".repeat(41), &address] {
        check_refused(
            store.create(name, &key(1), Some(&secret("one"))),
            2,
            "cannot name a key",
        );
    }
    for name in ["a", "0", "dev_0-x", &"a".repeat(40)] {
        store.create(name, &key(1), Some(&secret("one"))).unwrap();
    }
    check_refused(store.load("../keys/a", &mut answer("one")), 5, "no key");
}

#[test]
fn a_renamed_key_keeps_its_passphrase() {
    let (_home, store) = store();
    store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    assert_eq!(store.rename("alice", "carol").unwrap().name, "carol");
    check_refused(store.find("alice"), 5, "no key \"alice\"");
    assert_eq!(
        store.load("carol", &mut answer("one")).unwrap().public_key(),
        key(1).public_key()
    );
    check_refused(store.rename("alice", "dave"), 5, "no key \"alice\"");
    check_refused(store.rename("carol", "No"), 2, "cannot name a key");
}

#[test]
fn a_deleted_key_is_gone_even_if_it_was_damaged() {
    let (_home, store) = store();
    store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    fs::write(store.path("alice"), "damaged").unwrap();
    store.delete("alice").unwrap();
    assert!(!store.path("alice").exists());
    check_refused(store.delete("alice"), 5, "no key \"alice\"");
}

#[test]
fn a_new_passphrase_replaces_the_old_one() {
    let (_home, store) = store();
    store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    check_refused(
        store.change_passphrase("alice", &mut answer("wrong"), Some(&secret("two"))),
        40,
        "wrong passphrase",
    );
    store.load("alice", &mut answer("one")).unwrap();
    store
        .change_passphrase("alice", &mut answer("one"), Some(&secret("two")))
        .unwrap();
    check_refused(store.load("alice", &mut answer("one")), 40, "wrong passphrase");
    assert_eq!(
        store.load("alice", &mut answer("two")).unwrap().public_key(),
        key(1).public_key()
    );
    check_refused(
        store.change_passphrase("alice", &mut answer("two"), None),
        40,
        "not allowed",
    );
    let open = Keystore::open(store.dir(), prefix()).unwrap().allow_unencrypted();
    open.change_passphrase("alice", &mut answer("two"), None).unwrap();
    assert_eq!(
        open.load("alice", &mut NoPassphrase).unwrap().public_key(),
        key(1).public_key()
    );
}

#[test]
fn an_exported_seed_imports_as_the_same_key() {
    let (_home, store) = store();
    store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    let seed = store.export("alice", &mut answer("one")).unwrap();
    assert_eq!(*seed, format!("0x{}", "01".repeat(32)));
    assert_eq!(import::hex_seed(&seed).unwrap().public_key(), key(1).public_key());
}

#[test]
fn what_a_crash_left_behind_is_in_nobodys_way() {
    let (_home, store) = store();
    fs::write(store.dir().join(".alice.json.tmp"), "half a fi").unwrap();
    assert_eq!(store.list().unwrap().keys.len(), 0);
    store.create("alice", &key(1), Some(&secret("one"))).unwrap();
    assert_eq!(fs::read_dir(store.dir()).unwrap().count(), 1);
}

#[test]
fn many_hands_at_one_name_leave_one_whole_key() {
    let (_home, store) = store();
    let made: Vec<bool> = std::thread::scope(|scope| {
        let hands: Vec<_> = (0..8)
            .map(|i| {
                let store = Keystore::open(store.dir(), prefix())
                    .unwrap()
                    .with_kdf(KdfParams::weak_for_tests());
                scope.spawn(move || store.create("alice", &key(i), Some(&secret("one"))).is_ok())
            })
            .collect();
        hands.into_iter().map(|hand| hand.join().unwrap()).collect()
    });
    let winner = made.iter().position(|made| *made).unwrap();
    assert_eq!(made.iter().filter(|made| **made).count(), 1);
    let loaded = store.load("alice", &mut answer("one")).unwrap();
    assert_eq!(
        loaded.public_key(),
        key(u8::try_from(winner).unwrap()).public_key()
    );
}

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
