//! Snapshots of a small real chain: made, damaged in every way, packed, restored, and continued.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]

#[path = "../../../storage/tests/support/mod.rs"]
mod support;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use support::{Chain, chain_in_memory, config, content};
use vibecoin_primitives::{Hash, Height, StateKey};
use vibecoin_snapshot::ChunkSizes;
use vibecoin_snapshots::{
    FilesError, Phase, Progress, RestoredHome, Snapshot, SnapshotInfo, check_free, clean, create,
    create_in_chunks, delete, find, list, pack, restore, unwatched, verify,
};
use vibecoin_storage::kv::RocksConfig;
use vibecoin_storage::{GenesisRecord, Store, StoreConfig};

const BLOCKS: u64 = 30;

/// A chain with a snapshot of its head.
struct Made {
    chain: Chain,
    store: Store,
    folder: tempfile::TempDir,
    info: SnapshotInfo,
}

/// Chunks of few rows, and own ones for accounts with more than a slot.
fn small() -> ChunkSizes {
    ChunkSizes::small(1, 60)
}

fn made() -> Made {
    let (chain, _, store) = chain_in_memory(BLOCKS, 3);
    let folder = tempfile::tempdir().unwrap();
    let info = create_in_chunks(
        &store.snapshot_source().unwrap(),
        &folder.path().join("snapshots"),
        small(),
        &mut unwatched,
    )
    .unwrap();
    Made {
        chain,
        store,
        folder,
        info,
    }
}

impl Made {
    fn genesis(&self) -> &GenesisRecord {
        self.store.genesis()
    }

    fn path(&self) -> &Path {
        &self.info.path
    }

    fn snapshots(&self) -> PathBuf {
        self.folder.path().join("snapshots")
    }

    fn db(&self) -> PathBuf {
        self.folder.path().join("home/db")
    }

    fn verified(&self) -> Result<(), FilesError> {
        verified(self.path(), self.genesis())
    }

    fn restored(&self) -> Result<RestoredHome, FilesError> {
        restored(self.path(), self.genesis(), &self.db())
    }

    /// Every file of the snapshot, the manifest first.
    fn files(&self) -> Vec<PathBuf> {
        let mut chunks: Vec<PathBuf> = fs::read_dir(self.path().join("chunks"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        chunks.sort();
        chunks.insert(0, self.path().join("manifest"));
        chunks
    }

    /// Files with chunks, in the order of the manifest.
    fn chunks(&self) -> Vec<PathBuf> {
        let snapshot = Snapshot::open(self.path()).unwrap();
        let chunks = &snapshot.manifest().chunks;
        chunks.iter().map(|info| snapshot.chunk_path(info)).collect()
    }
}

fn verified(path: &Path, genesis: &GenesisRecord) -> Result<(), FilesError> {
    verify(&Snapshot::open(path)?, genesis, &mut unwatched)
}

fn restored(path: &Path, genesis: &GenesisRecord, db: &Path) -> Result<RestoredHome, FilesError> {
    let snapshot = Snapshot::open(path)?;
    restore(&snapshot, genesis, db, RocksConfig::default(), &mut unwatched)
}

fn opened(db: &Path) -> Store {
    let config = StoreConfig {
        background: false,
        ..config()
    };
    Store::open_path(db, None, config).unwrap()
}

fn rows(store: &Store) -> Vec<(StateKey, Vec<u8>)> {
    let source = store.snapshot_source().unwrap();
    source.rows().unwrap().map(Result::unwrap).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The snapshot is refused by both readers, as damaged, and neither leaves anything. Returns the chunk that is named.
fn refused(made: &Made) -> (Option<u32>, String) {
    let error = made.verified().unwrap_err();
    assert!(error.is_damage(), "{error}");
    let again = made.restored().unwrap_err();
    assert!(again.is_damage(), "{again}");
    assert_eq!(again.chunk(), error.chunk(), "{again}; {error}");
    let home = made.db().parent().unwrap().to_owned();
    assert!(!home.exists() || names(&home).is_empty(), "{again}");
    (error.chunk(), error.to_string())
}

#[test]
fn a_restored_chain_has_the_same_rows_and_goes_on() {
    let mut made = made();
    assert!(made.info.chunks > 5, "{} chunks", made.info.chunks);
    assert_eq!(made.info.height, Height(BLOCKS));
    assert_eq!(made.info.hash, made.store.head().hash);
    made.verified().unwrap();
    let home = made.restored().unwrap();
    assert_eq!(home.base, made.store.head());
    let copy = opened(&made.db());
    assert_eq!(rows(&copy), rows(&made.store));
    assert_eq!(
        home.accounts + home.slots,
        u64::try_from(rows(&copy).len()).unwrap()
    );
    assert_eq!(copy.head(), made.store.head());
    assert_eq!(copy.earliest(), Height(BLOCKS + 1));
    for draw in 0..5 {
        let block = made.chain.next(&made.store.view(), draw * 7 + 3);
        made.store.commit(&block).unwrap();
        made.chain.back_to(&made.store, Height(BLOCKS + draw));
        let block = made.chain.next(&copy.view(), draw * 7 + 3);
        copy.commit(&block).unwrap();
        assert_eq!(copy.head(), made.store.head());
    }
    assert_eq!(content(&copy.view()), content(&made.store.view()));
    assert_eq!(names(made.db().parent().unwrap()), ["db"]);
}

#[test]
fn two_nodes_make_the_same_snapshot_of_one_block() {
    let made = made();
    made.restored().unwrap();
    let copy = opened(&made.db());
    let other = made.folder.path().join("other");
    let source = copy.snapshot_source().unwrap();
    let info = create_in_chunks(&source, &other, small(), &mut unwatched).unwrap();
    assert_eq!(info.id, made.info.id);
    assert_eq!(
        names(&info.path.join("chunks")),
        names(&made.path().join("chunks"))
    );
    for file in made.files() {
        let twin = info.path.join(file.strip_prefix(made.path()).unwrap());
        assert_eq!(fs::read(&file).unwrap(), fs::read(twin).unwrap(), "{file:?}");
    }
}

#[test]
fn chunks_of_the_size_of_the_format_are_restored_too() {
    let made = made();
    let other = made.folder.path().join("other");
    let mut seen = Vec::new();
    let source = made.store.snapshot_source().unwrap();
    let info = create(&source, &other, &mut |progress| {
        seen.push(progress);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((info.chunks, seen.len()), (1, 1));
    assert_eq!((seen[0].phase, seen[0].bytes), (Phase::Create, info.bytes));
    verified(&info.path, made.genesis()).unwrap();
    restored(&info.path, made.genesis(), &made.db()).unwrap();
    assert_eq!(rows(&opened(&made.db())), rows(&made.store));
}

#[test]
fn a_flipped_byte_in_any_file_is_refused_and_its_chunk_named() {
    let made = made();
    let chunks = made.chunks();
    for file in made.files() {
        let whole = fs::read(&file).unwrap();
        for at in (0..whole.len())
            .step_by(1 + whole.len() / 25)
            .chain([whole.len() - 1])
        {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(&file, &damaged).unwrap();
            let (named, words) = refused(&made);
            if let Some(index) = chunks.iter().position(|chunk| *chunk == file) {
                assert_eq!(named, u32::try_from(index).ok(), "{words}");
                assert!(words.contains(&format!("chunk {index}")), "{words}");
            }
        }
        fs::write(&file, &whole).unwrap();
    }
    made.verified().unwrap();
    made.restored().unwrap();
}

#[test]
fn files_that_are_cut_missing_swapped_or_endless_are_refused() {
    let made = made();
    let chunks = made.chunks();
    for file in made.files() {
        let whole = fs::read(&file).unwrap();
        let index = chunks.iter().position(|chunk| *chunk == file);
        let index = index.map(|index| u32::try_from(index).unwrap());
        for len in [0, 1, 7, 8, 9, whole.len() / 2, whole.len() - 1] {
            fs::write(&file, &whole[..len]).unwrap();
            assert_eq!(refused(&made).0, index);
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(refused(&made).0, index, "missing");
        // No link is followed, whatever its target has.
        let elsewhere = made.folder.path().join("elsewhere");
        fs::write(&elsewhere, &whole).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
        assert_eq!(refused(&made).0, index, "a link");
        fs::remove_file(&file).unwrap();
        // Sparse, of 1 TiB: refused without being read to its end.
        fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(refused(&made).0, index, "endless");
        fs::write(&file, &whole).unwrap();
    }
    let (first, second) = (fs::read(&chunks[1]).unwrap(), fs::read(&chunks[2]).unwrap());
    fs::write(&chunks[1], &second).unwrap();
    fs::write(&chunks[2], &first).unwrap();
    assert_eq!(refused(&made).0, Some(1), "swapped");
}

#[test]
fn a_file_that_belongs_to_no_chunk_is_named() {
    let made = made();
    for place in ["chunks/0000", "chunks/.hidden", "more"] {
        let more = made.path().join(place);
        fs::write(&more, "x").unwrap();
        let error = made.verified().unwrap_err();
        assert!(error.is_damage(), "{error}");
        assert!(error.to_string().contains(place), "{error}");
        fs::remove_file(more).unwrap();
    }
    made.verified().unwrap();
}

#[test]
fn a_snapshot_of_another_chain_is_refused() {
    let made = made();
    let genesis = GenesisRecord {
        hash: Hash([1; 32]),
        ..made.genesis().clone()
    };
    let error = verified(made.path(), &genesis).unwrap_err();
    assert!(matches!(error, FilesError::Trust { .. }), "{error}");
    let error = restored(made.path(), &genesis, &made.db()).unwrap_err();
    assert!(matches!(error, FilesError::Trust { .. }), "{error}");
    assert!(!made.db().exists());
}

#[test]
fn what_is_no_snapshot_is_called_that() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    for path in [folder.path(), &file] {
        let error = Snapshot::open(path).unwrap_err();
        assert!(matches!(error, FilesError::NotASnapshot { .. }), "{error}");
    }
    let error = Snapshot::open(&folder.path().join("none")).unwrap_err();
    assert!(matches!(error, FilesError::File { .. }), "{error}");
}

#[test]
fn an_archive_is_the_same_snapshot() {
    let made = made();
    let file = made.folder.path().join("state.vbsnap");
    let snapshot = Snapshot::open(made.path()).unwrap();
    pack(&snapshot, &file, &mut unwatched).unwrap();
    let error = pack(&snapshot, &file, &mut unwatched).unwrap_err();
    assert!(matches!(error, FilesError::Exists { .. }), "{error}");
    // An archive that appears meanwhile stays, and nothing is left beside it.
    let raced = made.folder.path().join("raced.vbsnap");
    let error = pack(&snapshot, &raced, &mut |_| {
        fs::write(&raced, "another").unwrap();
        ControlFlow::Continue(())
    })
    .unwrap_err();
    assert!(matches!(error, FilesError::Exists { .. }), "{error}");
    assert_eq!(fs::read(&raced).unwrap(), b"another");
    assert_eq!(
        names(made.folder.path()),
        ["raced.vbsnap", "snapshots", "state.vbsnap"]
    );
    let packed = Snapshot::open(&file).unwrap().info();
    let expected = SnapshotInfo {
        path: file.clone(),
        ..made.info.clone()
    };
    assert_eq!(packed, expected);
    verified(&file, made.genesis()).unwrap();
    let whole = fs::read(&file).unwrap();
    let framed = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let mut framed = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
        framed.extend(bytes);
        framed
    };
    let mut parts = vec![b"vbsnap\0\x01".to_vec(), framed(&made.path().join("manifest"))];
    parts.extend(made.chunks().iter().map(|chunk| framed(chunk)));
    assert_eq!(whole, parts.concat());
    let damages = (0..whole.len()).step_by(1 + whole.len() / 400);
    for at in damages.chain([whole.len() - 1]) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&file, &damaged).unwrap();
        let error = verified(&file, made.genesis()).unwrap_err();
        assert!(error.is_damage(), "byte {at}: {error}");
    }
    for len in (0..whole.len()).step_by(1 + whole.len() / 100) {
        fs::write(&file, &whole[..len]).unwrap();
        let error = verified(&file, made.genesis()).unwrap_err();
        assert!(error.is_damage(), "{len} bytes: {error}");
    }
    fs::write(&file, [whole.as_slice(), b"x"].concat()).unwrap();
    let error = Snapshot::open(&file).unwrap_err();
    assert!(matches!(error, FilesError::Surplus { .. }), "{error}");
    fs::write(&file, &whole).unwrap();
    restored(&file, made.genesis(), &made.db()).unwrap();
    assert_eq!(rows(&opened(&made.db())), rows(&made.store));
}

#[test]
fn nothing_is_replaced() {
    let made = made();
    let source = made.store.snapshot_source().unwrap();
    let error = create(&source, &made.snapshots(), &mut unwatched).unwrap_err();
    assert!(
        matches!(&error, FilesError::Exists { path } if path == made.path()),
        "{error}"
    );
    made.restored().unwrap();
    let before = rows(&opened(&made.db()));
    let error = made.restored().unwrap_err();
    assert!(matches!(error, FilesError::HasDatabase { .. }), "{error}");
    assert_eq!(rows(&opened(&made.db())), before);
    let other = made.folder.path().join("other/db");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("notes"), "x").unwrap();
    let error = restored(made.path(), made.genesis(), &other).unwrap_err();
    assert!(matches!(error, FilesError::NotEmpty { .. }), "{error}");
    assert_eq!(names(&other), ["notes"]);
}

#[test]
fn a_mount_point_is_refused_and_a_link_to_the_folder_is_followed() {
    let error = check_free(Path::new("/proc")).unwrap_err();
    assert!(matches!(error, FilesError::MountPoint { .. }), "{error}");
    let made = made();
    let (disk, home) = (made.folder.path().join("disk"), made.folder.path().join("home"));
    fs::create_dir_all(disk.join("db")).unwrap();
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::symlink(disk.join("db"), made.db()).unwrap();
    made.restored().unwrap();
    assert!(made.db().is_symlink());
    assert_eq!(
        (names(&disk), names(&home)),
        (vec!["db".to_owned()], vec!["db".to_owned()])
    );
    assert_eq!(rows(&opened(&made.db())), rows(&made.store));
}

#[test]
fn a_killed_restore_is_begun_again() {
    let made = made();
    let (db, home) = (made.db(), made.db().parent().unwrap().to_owned());
    let new = home.join(".db.restore");
    // Killed in the middle.
    fs::create_dir_all(&new).unwrap();
    fs::write(new.join("000004.sst"), "half").unwrap();
    made.restored().unwrap();
    assert_eq!(names(&home), ["db"]);
    // Killed before the rename.
    fs::rename(&db, &new).unwrap();
    made.restored().unwrap();
    assert_eq!(names(&home), ["db"]);
    assert_eq!(rows(&opened(&db)), rows(&made.store));
    // An empty folder, as a package may have made it, is replaced.
    fs::remove_dir_all(&db).unwrap();
    fs::create_dir(&db).unwrap();
    made.restored().unwrap();
}

#[test]
fn remains_of_a_killed_process_are_no_snapshot_and_are_removed() {
    let made = made();
    let unfinished = made.snapshots().join(".vibecoin-snapshot-29");
    fs::create_dir_all(unfinished.join("chunks")).unwrap();
    assert_eq!(list(&made.snapshots()).unwrap().len(), 1);
    // A running process holds the lock of its folder.
    let lock = fs::File::open(&unfinished).unwrap();
    lock.lock().unwrap();
    fs::remove_dir_all(made.path()).unwrap();
    let source = made.store.snapshot_source().unwrap();
    create(&source, &made.snapshots(), &mut unwatched).unwrap();
    assert!(unfinished.exists());
    drop(lock);
    let info = list(&made.snapshots()).unwrap().remove(0).found.unwrap();
    fs::remove_dir_all(info.path).unwrap();
    create(&source, &made.snapshots(), &mut unwatched).unwrap();
    assert!(!unfinished.exists());
    assert_eq!(names(&made.snapshots()).len(), 1);
}

#[test]
fn remains_in_a_home_are_removed_and_nothing_else() {
    let made = made();
    let home = made.db().parent().unwrap().to_owned();
    let fetched = ".snapshot-7-0123456789abcdef";
    for folder in [
        ".db.restore",
        fetched,
        ".snapshot-notes",
        "snapshots/.vibecoin-snapshot-7",
    ] {
        fs::create_dir_all(home.join(folder).join("chunks")).unwrap();
    }
    let clean = || clean(&home, &made.db(), &home.join("snapshots")).unwrap();
    clean();
    // A fetch goes on with its chunks until there is a database.
    assert_eq!(
        names(&home),
        [".snapshot-7-0123456789abcdef", ".snapshot-notes", "snapshots"]
    );
    assert!(names(&home.join("snapshots")).is_empty());
    made.restored().unwrap();
    clean();
    assert_eq!(names(&home), [".snapshot-notes", "db", "snapshots"]);
}

#[test]
fn snapshots_are_found_by_their_id_and_deleted() {
    let made = made();
    let id = made.info.id.to_string();
    let name = made.path().file_name().unwrap().to_str().unwrap().to_owned();
    for text in [id.as_str(), &id[..10], &id[2..8], &id.to_uppercase()[2..], &name] {
        let found = find(&made.snapshots(), text).unwrap();
        assert_eq!(found, made.path(), "{text}");
    }
    for text in ["0x", "", "abc", "zzzz", "../snapshots"] {
        let error = find(&made.snapshots(), text).unwrap_err();
        assert!(matches!(error, FilesError::NotFound { .. }), "{text}: {error}");
    }
    let archive = made.snapshots().join("copy.vbsnap");
    pack(&Snapshot::open(made.path()).unwrap(), &archive, &mut unwatched).unwrap();
    let error = find(&made.snapshots(), &id).unwrap_err();
    assert!(matches!(error, FilesError::Ambiguous { count: 2, .. }), "{error}");
    delete(&find(&made.snapshots(), "copy.vbsnap").unwrap()).unwrap();
    // A damaged one is named by its folder.
    fs::write(made.path().join("manifest"), "x").unwrap();
    find(&made.snapshots(), &id).unwrap_err();
    delete(&find(&made.snapshots(), &name).unwrap()).unwrap();
    assert!(names(&made.snapshots()).is_empty());
    assert!(list(&made.folder.path().join("none")).unwrap().is_empty());
}

#[test]
fn folders_that_are_no_snapshots_are_neither_listed_nor_deleted() {
    let made = made();
    let home = made.snapshots();
    let name = "7-0123456789abcdef";
    for folder in ["db", ".new-7", name] {
        fs::create_dir(home.join(folder)).unwrap();
        fs::write(home.join(folder).join("CURRENT"), "x").unwrap();
    }
    let error = find(&home, "db").unwrap_err();
    assert!(matches!(error, FilesError::NotFound { .. }), "{error}");
    for folder in ["db", ".new-7", name] {
        let error = delete(&home.join(folder)).unwrap_err();
        assert!(matches!(error, FilesError::NotASnapshot { .. }), "{error}");
    }
    // Remains of an earlier attempt are not in the way, and of a link only the link is removed.
    let own = made.path().file_name().unwrap().to_str().unwrap().to_owned();
    let remains = home.join(format!(".vibecoin-snapshot-{own}"));
    fs::create_dir_all(remains.join("chunks")).unwrap();
    let link = home.join("8-0123456789abcdef");
    std::os::unix::fs::symlink(made.path(), &link).unwrap();
    delete(&link).unwrap();
    made.verified().unwrap();
    delete(made.path()).unwrap();
    assert_eq!(names(&home), [".new-7", name, "db"]);
}

#[test]
fn a_damaged_snapshot_is_listed_with_the_reason() {
    let made = made();
    fs::write(made.path().join("manifest"), "x").unwrap();
    let listed = list(&made.snapshots()).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].path, made.path());
    assert!(listed[0].found.is_err());
}

#[test]
fn an_operation_that_is_stopped_leaves_nothing() {
    let made = made();
    let other = made.folder.path().join("other");
    let source = made.store.snapshot_source().unwrap();
    for chunks in [1, 2, 5] {
        let error = create_in_chunks(&source, &other, small(), &mut after(chunks)).unwrap_err();
        assert!(matches!(error, FilesError::Stopped), "{error}");
        assert!(names(&other).is_empty());
        let snapshot = Snapshot::open(made.path()).unwrap();
        let config = RocksConfig::default();
        let error = restore(&snapshot, made.genesis(), &made.db(), config, &mut after(chunks)).unwrap_err();
        assert!(matches!(error, FilesError::Stopped), "{error}");
        assert!(names(made.db().parent().unwrap()).is_empty());
    }
    made.restored().unwrap();
}

/// Stops after this many chunks.
fn after(chunks: u32) -> impl FnMut(Progress) -> ControlFlow<()> {
    let mut seen = 0;
    move |_| {
        seen += 1;
        if seen < chunks {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}
