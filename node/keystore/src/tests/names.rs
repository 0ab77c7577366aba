//! New, renamed and deleted keys, imports, writers at one time.

use super::*;

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
