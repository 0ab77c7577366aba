//! Names of the files of a snapshot, and the stored form of a chunk.
//!
//! ```text
//! folder:   manifest                SnapshotManifest
//!           chunks/HASH             stored chunk; HASH: 64 hex digits, hash of the chunk uncompressed
//!
//! archive:  8   "vbsnap", 0, 1      the last byte is the version
//!           4   u32 LE              bytes of the manifest, then the manifest
//!           per chunk of the manifest, in its order:
//!           4   u32 LE              bytes of the stored chunk, then the stored chunk
//!
//! stored chunk:  8  checksum of the rest: the first bytes of its hash
//!                …  the chunk, compressed: one LZ4 block
//! ```
//!
//! The manifest has the size of each chunk uncompressed; the buffer for it is of exactly this size, so a chunk that
//! unpacks to more is refused without more memory. The checksum detects damage that would unpack to the same chunk.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use vibecoin_primitives::{Domain, Hash};
use vibecoin_snapshot::ChunkInfo;

/// File of the manifest in the folder of a snapshot.
pub const MANIFEST: &str = "manifest";
/// Folder of the chunks in the folder of a snapshot.
pub const CHUNKS: &str = "chunks";
/// Start of the names of folders and files that are not complete: being written, or being deleted. No other program
/// uses it, because remains with such a name are removed wherever snapshots are made or deleted.
pub const UNFINISHED: &str = ".vibecoin-snapshot-";
/// First bytes of an archive.
pub const ARCHIVE_MAGIC: [u8; 8] = *b"vbsnap\0\x01";
/// Ending of the names of archives.
pub const ARCHIVE_ENDING: &str = ".vbsnap";
/// Bytes of the checksum of a stored chunk.
const CHECKSUM_BYTES: usize = 8;
/// Digits of the id in the name of a snapshot's folder.
const ID_DIGITS: usize = 16;

/// The hex digits of a hash, without a prefix.
pub fn digits(hash: &Hash) -> String {
    hash.0.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string does not fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

/// Name of the file of a chunk.
pub fn chunk_name(info: &ChunkInfo) -> String {
    digits(&info.hash)
}

/// Name of the folder of a snapshot: sorts by height, and is unique.
pub fn folder_name(height: u64, id: &Hash) -> String {
    let id = digits(id);
    format!("{height}-{}", id.get(..ID_DIGITS).unwrap_or(&id))
}

/// Returns true for a name that [`folder_name`] forms.
pub fn is_folder_name(name: &str) -> bool {
    let Some((height, id)) = name.split_once('-') else {
        return false;
    };
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    height
        .parse::<u64>()
        .is_ok_and(|number| number.to_string() == height)
        && id.len() == ID_DIGITS
        && id.bytes().all(is_hex)
}

/// Maximum bytes of the stored form of a chunk.
pub fn stored_bytes_max(info: &ChunkInfo) -> usize {
    let bytes = usize::try_from(info.bytes).unwrap_or(usize::MAX);
    lz4_flex::block::get_maximum_output_size(bytes).saturating_add(CHECKSUM_BYTES)
}

/// The stored form of a chunk.
pub fn store(chunk: &[u8]) -> Vec<u8> {
    let block = lz4_flex::block::compress(chunk);
    let mut stored = checksum(&block).to_vec();
    stored.extend_from_slice(&block);
    stored
}

/// The chunk of its stored form, of the size that the manifest states.
///
/// # Errors
/// The damage, in words.
pub fn unstore(stored: &[u8], info: &ChunkInfo) -> Result<Vec<u8>, String> {
    let Some((sum, block)) = stored.split_first_chunk::<CHECKSUM_BYTES>() else {
        return Err(format!("only {} bytes are there", stored.len()));
    };
    if *sum != checksum(block) {
        return Err("the checksum is not that of the bytes".to_owned());
    }
    let bytes = usize::try_from(info.bytes).map_err(|_| "the chunk is too large".to_owned())?;
    let mut chunk = vec![0; bytes];
    match lz4_flex::block::decompress_into(block, &mut chunk) {
        Ok(unpacked) if unpacked == bytes => Ok(chunk),
        Ok(unpacked) => Err(format!(
            "it unpacks to {unpacked} bytes, the manifest states {bytes}"
        )),
        Err(error) => Err(format!(
            "it cannot be unpacked to the {bytes} bytes that the manifest states: {error}"
        )),
    }
}

fn checksum(block: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = Domain::SnapshotChunk.hash(block);
    let mut sum = [0; CHECKSUM_BYTES];
    sum.iter_mut().zip(hash.0).for_each(|(to, from)| *to = from);
    sum
}

/// Opens a plain file: no link, and without waiting for the other end of a pipe.
pub fn open_plain(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"))
}

/// Reads a file of at most `max` bytes; `None` when it has more.
pub fn read_bounded(file: impl Read, max: usize) -> io::Result<Option<Vec<u8>>> {
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= max).then_some(bytes))
}

/// Returns true for an error that shows damage of a snapshot, not a fault of the system: a file is missing, cut short,
/// or not a plain one.
pub fn is_damage(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::NotFound,
        io::ErrorKind::NotADirectory,
        io::ErrorKind::InvalidInput,
        io::ErrorKind::UnexpectedEof,
    ];
    // A link, and a socket.
    let codes = [Errno::LOOP, Errno::NXIO].map(|code| Some(code.raw_os_error()));
    kinds.contains(&error.kind()) || codes.contains(&error.raw_os_error())
}

/// Makes the entries of a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Bytes that this user may still write below a folder.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use vibecoin_snapshot::{KeyPrefix, chunk_hash};
    use vibecoin_trie::Nibbles;

    use super::*;

    fn info(chunk: &[u8]) -> ChunkInfo {
        ChunkInfo {
            owner: Hash::ZERO,
            root: Hash([1; 32]),
            prefix: KeyPrefix::new(&Nibbles::EMPTY),
            bytes: u32::try_from(chunk.len()).unwrap(),
            rows: 1,
            hash: chunk_hash(chunk),
        }
    }

    #[test]
    fn names_of_snapshots_are_distinguished_from_others() {
        for height in [0, 1, 30, u64::MAX] {
            assert!(is_folder_name(&folder_name(height, &Hash([0xab; 32]))));
        }
        for name in [
            "",
            "db",
            "-0123456789abcdef",
            "1-0123456789abcde",
            "1-0123456789abcdef0",
            "1-0123456789ABCDEF",
            "+1-0123456789abcdef",
            "01-0123456789abcdef",
            "1-2-0123456789abcdef",
        ] {
            assert!(!is_folder_name(name), "{name}");
        }
    }

    #[test]
    fn faults_of_the_system_are_no_damage() {
        for code in [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NXIO] {
            assert!(is_damage(&io::Error::from(code)), "{code:?}");
        }
        for code in [Errno::ACCESS, Errno::IO, Errno::MFILE, Errno::NOMEM] {
            assert!(!is_damage(&io::Error::from(code)), "{code:?}");
        }
    }

    #[test]
    fn a_chunk_comes_back_and_one_of_another_size_does_not() {
        let chunk: Vec<u8> = (0..10_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let (stored, info) = (store(&chunk), info(&chunk));
        assert!(stored.len() < chunk.len() / 2, "{} bytes", stored.len());
        assert!(stored.len() <= stored_bytes_max(&info));
        assert_eq!(unstore(&stored, &info), Ok(chunk));
        for bytes in [0, 1, info.bytes - 1, info.bytes + 1] {
            unstore(&stored, &ChunkInfo { bytes, ..info }).unwrap_err();
        }
        for len in 0..stored.len() {
            unstore(stored.get(..len).unwrap(), &info).unwrap_err();
        }
    }

    #[test]
    fn a_stored_chunk_is_a_checksum_and_an_lz4_block() {
        // One token: eight literals, and no match.
        let block = b"\x80snapshot".to_vec();
        let sum = Domain::SnapshotChunk.hash(&block);
        let stored = [sum.0.get(..8).unwrap(), &block].concat();
        assert_eq!(unstore(&stored, &info(b"snapshot")), Ok(b"snapshot".to_vec()));
    }

    #[test]
    fn bytes_that_do_not_shrink_stay_below_the_bound() {
        let mut state = 1u64;
        let mut noise = Vec::new();
        for _ in 0..100_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.push(state.to_be_bytes()[0]);
        }
        let (stored, info) = (store(&noise), info(&noise));
        assert!(stored.len() <= stored_bytes_max(&info), "{}", stored.len());
        assert_eq!(unstore(&stored, &info), Ok(noise));
    }

    #[test]
    fn a_chunk_that_unpacks_to_much_more_is_refused() {
        let stored = store(&vec![0; 64 << 20]);
        let small = info(&[0; 1_000]);
        let refused = unstore(&stored, &small).unwrap_err();
        assert!(
            refused.contains("cannot be unpacked to the 1000 bytes"),
            "{refused}"
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed_before_unpacking() {
        let chunk = vec![7; 300];
        let (stored, info) = (store(&chunk), info(&chunk));
        for at in 0..stored.len() * 8 {
            let mut damaged = stored.clone();
            *damaged.get_mut(at / 8).unwrap() ^= 1 << (at % 8);
            let refused = unstore(&damaged, &info).unwrap_err();
            assert_eq!(refused, "the checksum is not that of the bytes");
        }
    }
}
