//! Key files: what opens them, what they show, changed and foreign ones.

use super::*;

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
