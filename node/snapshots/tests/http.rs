//! Snapshots from an HTTP server: an honest one, and servers that lie, stall and break off.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]

#[path = "../../../storage/tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::chain_in_memory;
use vibecoin_snapshot::ChunkSizes;
use vibecoin_snapshots::{
    Fetched, FilesError, SnapshotInfo, create_in_chunks, fetch, restore, unwatched, verify,
};
use vibecoin_storage::Store;
use vibecoin_storage::kv::RocksConfig;

/// Answer of a server to one request, instead of the file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    /// The file, with ranges.
    Honest,
    /// The file, always from its first byte.
    WithoutRanges,
    /// Half of what was asked for, then the end.
    Half,
    /// Half of the file, then nothing.
    Stall,
    /// One byte of the file is another.
    Flipped,
    /// A head without a line feed, one byte a second.
    DrippedHead,
    /// A body of one byte a second.
    DrippedBody,
    /// More bytes than the manifest allows, without end.
    Endless,
    /// A length of 2^63.
    Huge,
    /// Not HTTP.
    Noise,
    /// 404.
    Missing,
    /// Somewhere else.
    Elsewhere,
}

struct Server {
    url: String,
    /// Paths and first bytes that were asked for.
    asked: Arc<Mutex<Vec<(String, usize)>>>,
}

/// Serves a folder. `manner` is asked with the number of the request.
fn serve(folder: PathBuf, manner: impl Fn(usize, &str) -> Manner + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/snapshot/", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<(String, usize)>>> = Arc::default();
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let (name, from) = request(&stream);
            let count = {
                let mut seen = seen.lock().unwrap();
                seen.push((name.clone(), from));
                seen.len()
            };
            let file = fs::read(folder.join(&name)).unwrap_or_default();
            // The client may have left.
            let _left = answer(stream, &file, from, manner(count, &name));
        }
    });
    Server { url, asked }
}

fn request(stream: &TcpStream) -> (String, usize) {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap().unwrap();
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let mut from = 0;
    for line in lines {
        let line = line.unwrap();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("Range: bytes=") {
            from = range.trim_end_matches('-').parse().unwrap();
        }
    }
    (path.strip_prefix("/snapshot/").unwrap().to_owned(), from)
}

fn answer(mut stream: TcpStream, file: &[u8], from: usize, manner: Manner) -> std::io::Result<()> {
    let from = if manner == Manner::WithoutRanges { 0 } else { from };
    let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
    let body = &file[from..];
    let head = |status: &str, length: u64| format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
    let whole = head(status, body.len() as u64);
    match manner {
        Manner::Honest | Manner::WithoutRanges => {
            stream.write_all(whole.as_bytes())?;
            stream.write_all(body)
        }
        Manner::Half => {
            stream.write_all(whole.as_bytes())?;
            stream.write_all(&body[..body.len() / 2])
        }
        Manner::Stall => {
            stream.write_all(whole.as_bytes())?;
            stream.write_all(&body[..body.len() / 2])?;
            // The other side leaves first.
            let _left = BufReader::new(stream).lines().next();
            Ok(())
        }
        Manner::Flipped => {
            let mut other = body.to_vec();
            other[body.len() / 2] ^= 1;
            stream.write_all(whole.as_bytes())?;
            stream.write_all(&other)
        }
        Manner::DrippedHead => drip(&mut stream),
        Manner::DrippedBody => {
            stream.write_all(whole.as_bytes())?;
            drip(&mut stream)
        }
        Manner::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            loop {
                stream.write_all(&[0; 65_536])?;
            }
        }
        Manner::Huge => {
            stream.write_all(head(status, 1 << 63).as_bytes())?;
            stream.write_all(body)
        }
        Manner::Noise => stream.write_all(&[b'x'; 100_000]),
        Manner::Missing => stream.write_all(head("404 Not Found", 0).as_bytes()),
        Manner::Elsewhere => stream
            .write_all(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
    }
}

/// Sends a byte a second: less than the time without a byte after which a connection is given up.
fn drip(stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        stream.write_all(b"x")?;
        std::thread::sleep(Duration::from_secs(1));
    }
}

struct Made {
    store: Store,
    folder: tempfile::TempDir,
    info: SnapshotInfo,
}

fn made() -> Made {
    let (_, _, store) = chain_in_memory(30, 3);
    let folder = tempfile::tempdir().unwrap();
    let source = store.snapshot_source().unwrap();
    let sizes = ChunkSizes::small(1, 60);
    let info = create_in_chunks(&source, &folder.path().join("made"), sizes, &mut unwatched).unwrap();
    fs::create_dir(folder.path().join("home")).unwrap();
    Made { store, folder, info }
}

impl Made {
    fn serve(&self, manner: impl Fn(usize, &str) -> Manner + Send + 'static) -> Server {
        serve(self.info.path.clone(), manner)
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn fetch(&self, server: &Server) -> Result<Fetched, FilesError> {
        fetch(&server.url, self.store.genesis(), &self.home(), &mut unwatched)
    }
}

#[test]
fn a_snapshot_is_fetched_and_restored() {
    let made = made();
    let fetched = made.fetch(&made.serve(|_, _| Manner::Honest)).unwrap();
    assert_eq!(fetched.snapshot.info().id, made.info.id);
    verify(&fetched.snapshot, made.store.genesis(), &mut unwatched).unwrap();
    let db = made.home().join("db");
    let genesis = made.store.genesis();
    let restored = restore(
        &fetched.snapshot,
        genesis,
        &db,
        RocksConfig::default(),
        &mut unwatched,
    )
    .unwrap();
    assert_eq!(restored.base, made.store.head());
    fetched.remove().unwrap();
    assert_eq!(fs::read_dir(made.home()).unwrap().count(), 1);
}

#[test]
fn a_connection_that_breaks_goes_on_at_the_byte_and_without_ranges_again() {
    let made = made();
    let server = made.serve(|count, _| {
        if count.is_multiple_of(3) {
            Manner::Honest
        } else {
            Manner::Half
        }
    });
    let fetched = made.fetch(&server).unwrap();
    assert_eq!(fetched.snapshot.info().id, made.info.id);
    let asked = server.asked.lock().unwrap().clone();
    assert!(asked.iter().any(|(_, from)| *from > 0), "{asked:?}");
    fetched.remove().unwrap();
    let server = made.serve(|count, _| {
        if count.is_multiple_of(2) {
            Manner::WithoutRanges
        } else {
            Manner::Half
        }
    });
    let fetched = made.fetch(&server).unwrap();
    assert_eq!(fetched.snapshot.info().id, made.info.id);
}

#[test]
fn a_second_attempt_fetches_only_what_is_missing() {
    let made = made();
    let chunks = made.info.chunks;
    let broken = made.serve(|count, _| {
        if count > 4 {
            Manner::Missing
        } else {
            Manner::Honest
        }
    });
    let error = made.fetch(&broken).unwrap_err();
    assert!(
        matches!(&error, FilesError::Source { detail, .. } if detail.contains("404")),
        "{error}"
    );
    assert!(error.to_string().contains("/snapshot/chunks/"), "{error}");
    let server = made.serve(|_, _| Manner::Honest);
    let fetched = made.fetch(&server).unwrap();
    // The manifest again, and the chunks but for three.
    assert_eq!(server.asked.lock().unwrap().len(), 1 + chunks - 3);
    assert_eq!(fetched.snapshot.info().id, made.info.id);
}

#[test]
fn a_server_that_lies_is_refused_within_bounds() {
    let made = made();
    for manner in [
        Manner::Flipped,
        Manner::Endless,
        Manner::Huge,
        Manner::Noise,
        Manner::Missing,
        Manner::Elsewhere,
    ] {
        for from in [1, 2, 6] {
            let begun = Instant::now();
            let server = made.serve(move |count, _| if count < from { Manner::Honest } else { manner });
            let error = made.fetch(&server).unwrap_err();
            let is_damage = error.is_damage() && manner == Manner::Flipped;
            let is_source = matches!(error, FilesError::Source { .. }) && manner != Manner::Flipped;
            assert!(is_damage || is_source, "{manner:?} {from}: {error}");
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{manner:?} {from}: {error}"
            );
            // Nothing but whole chunks is left, for the next attempt.
            for entry in fs::read_dir(made.home()).unwrap() {
                fs::remove_dir_all(entry.unwrap().path()).unwrap();
            }
        }
    }
    let fetched = made.fetch(&made.serve(|_, _| Manner::Honest)).unwrap();
    assert_eq!(fetched.snapshot.info().id, made.info.id);
}

#[test]
fn a_server_that_stalls_is_left_and_named() {
    let made = made();
    let server = made.serve(|_, name| {
        if name == "manifest" {
            Manner::Honest
        } else {
            Manner::Stall
        }
    });
    let begun = Instant::now();
    let error = made.fetch(&server).unwrap_err();
    assert!(
        matches!(&error, FilesError::Source { detail, .. } if detail.contains("no byte for 2 s")),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(20), "{error}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let error = fetch(&url, made.store.genesis(), &made.home(), &mut unwatched).unwrap_err();
    assert!(error.to_string().contains(&format!("{url}/manifest")), "{error}");
}

#[test]
fn a_server_that_drips_is_left_in_time() {
    let made = made();
    for manner in [Manner::DrippedHead, Manner::DrippedBody] {
        let server = made.serve(move |_, _| manner);
        let begun = Instant::now();
        let error = made.fetch(&server).unwrap_err();
        assert!(
            matches!(&error, FilesError::Source { detail, .. } if detail.contains("not complete within")),
            "{manner:?}: {error}"
        );
        assert!(begun.elapsed() < Duration::from_secs(20), "{manner:?}: {error}");
    }
}
