//! A file that is written in place: on disk, or in memory with simulated power cuts.

use crate::StorageError;
use crate::rng;
use parking_lot::Mutex;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that is read once and then written in place.
pub trait RawFile: Send {
    /// Name of the file in errors.
    fn name(&self) -> String;

    /// Reads all bytes.
    ///
    /// # Errors
    /// [`StorageError`] when the disk fails.
    fn read(&self) -> Result<Vec<u8>, StorageError>;

    /// Writes `bytes` at `offset`, past the end if necessary. Not durable before [`RawFile::sync`].
    ///
    /// # Errors
    /// [`StorageError::DiskFull`] or [`StorageError::Io`]; the file is unusable afterwards.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageError>;

    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    /// As [`RawFile::write_at`].
    fn truncate(&mut self, len: u64) -> Result<(), StorageError>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// As [`RawFile::write_at`]. Never call it again after an error.
    fn sync(&mut self) -> Result<(), StorageError>;
}

/// A file on disk. Its first error is final: every later call returns it.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    path: PathBuf,
    fault: Option<StorageError>,
}

impl DiskFile {
    /// Creates a file with this content that must not exist yet. File and folder are synced. It is named only
    /// when it is complete: after a kill or on a full disk there is the file or none.
    ///
    /// # Errors
    /// [`StorageError`], also when the file exists.
    pub fn create(path: &Path, content: &[u8]) -> Result<Self, StorageError> {
        let fault = |error| StorageError::make(path.display().to_string(), &error);
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = folder.join(format!(".{name}.new"));
        // Removed, not truncated: it may be another name of a file that is in use.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fault(error)),
            _ => {}
        }
        let made = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&new)
            .and_then(|file| {
                file.write_all_at(content, 0)?;
                file.sync_all()?;
                name_new(&new, path)?;
                Ok(file)
            });
        // Gone already if it was renamed; a remaining one is replaced by the next file.
        let _other_name = std::fs::remove_file(&new);
        let file = made.map_err(fault)?;
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(fault)?;
        Ok(Self {
            file,
            path: path.to_owned(),
            fault: None,
        })
    }

    /// Opens a file that exists.
    ///
    /// # Errors
    /// [`StorageError::Missing`] when it does not exist, else a fault of the disk.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|error| StorageError::io(path.display().to_string(), &error))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            fault: None,
        })
    }

    fn once(&mut self, act: impl FnOnce(&File) -> std::io::Result<()>) -> Result<(), StorageError> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        act(&self.file).map_err(|error| {
            let fault = StorageError::io(self.path.display().to_string(), &error);
            self.fault = Some(fault.clone());
            fault
        })
    }
}

/// Gives a file its name, which must be free. A link does not replace another file, as a rename would.
fn name_new(new: &Path, path: &Path) -> std::io::Result<()> {
    match std::fs::hard_link(new, path) {
        // A file system without links.
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists && !path.exists() => {
            std::fs::rename(new, path)
        }
        done => done,
    }
}

impl RawFile for DiskFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&self) -> Result<Vec<u8>, StorageError> {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| file.read_to_end(&mut bytes));
        read.map_err(|error| StorageError::io(self.name(), &error))?;
        Ok(bytes)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.once(|file| file.write_all_at(bytes, offset))
    }

    fn truncate(&mut self, len: u64) -> Result<(), StorageError> {
        self.once(|file| file.set_len(len))
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.once(File::sync_data)
    }
}

#[derive(Debug, Default)]
struct Memory {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Operations since the last sync, oldest first.
    since: Vec<Done>,
    fault: Option<StorageError>,
}

#[derive(Debug)]
enum Done {
    Wrote(u64, Vec<u8>),
    Cut(u64),
}

/// Number of bytes that a disk writes atomically.
const SECTOR_BYTES: usize = 512;

/// A file in memory. Clones share it, as a restarted process shares its disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryFile {
    inner: Arc<Mutex<Memory>>,
}

impl MemoryFile {
    /// A file with this content, durable.
    #[must_use]
    pub fn new(content: Vec<u8>) -> Self {
        let inner = Memory {
            now: content.clone(),
            synced: content,
            ..Memory::default()
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// The file after a power cut: the synced state, and of the later operations a prefix drawn from `seed`,
    /// its last write torn, with or without zeros in the place of the rest.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let memory = self.inner.lock();
        let draw = |salt: u64, max: usize| {
            let bound = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
            usize::try_from(rng::mix(seed ^ salt).checked_rem(bound).unwrap_or(0)).unwrap_or(0)
        };
        let mut left = memory.synced.clone();
        let kept = draw(0, memory.since.len());
        for (index, done) in memory.since.iter().take(kept).enumerate() {
            match done {
                Done::Wrote(offset, bytes) if index.saturating_add(1) == kept => {
                    let part = bytes.get(..draw(1, bytes.len())).unwrap_or_default();
                    put(&mut left, *offset, part);
                    // The new size may be durable and the data not: then zeros are read there.
                    let end = usize::try_from(*offset)
                        .unwrap_or(usize::MAX)
                        .saturating_add(bytes.len());
                    if draw(2, 1) == 1 && left.len() < end {
                        left.resize(end, 0);
                    }
                }
                done => act(&mut left, done),
            }
        }
        Self::new(left)
    }

    /// The file after a power cut on a disk that writes its sectors in any order: each as it was at the last
    /// sync or after any of the writes since, and so the size, all drawn from `seed`.
    #[must_use]
    pub fn crash_out_of_order(&self, seed: u64) -> Self {
        let memory = self.inner.lock();
        let versions = u64::try_from(memory.since.len())
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let version_of = |place: usize| {
            let place = u64::try_from(place).unwrap_or(u64::MAX).saturating_add(1);
            rng::mix(seed ^ rng::mix(place))
                .checked_rem(versions)
                .unwrap_or(0)
        };
        let size_version = rng::mix(seed).checked_rem(versions).unwrap_or(0);
        let (mut state, mut left) = (memory.synced.clone(), Vec::new());
        let (mut version, mut size) = (0, 0);
        let mut since = memory.since.iter();
        loop {
            if version == size_version {
                size = state.len();
            }
            for (place, sector) in state.chunks(SECTOR_BYTES).enumerate() {
                if version_of(place) == version {
                    let offset = place.saturating_mul(SECTOR_BYTES);
                    put(&mut left, u64::try_from(offset).unwrap_or(u64::MAX), sector);
                }
            }
            let Some(done) = since.next() else { break };
            act(&mut state, done);
            version = version.saturating_add(1);
        }
        left.resize(size, 0);
        Self::new(left)
    }

    /// Flips one bit, durable or not.
    pub fn flip(&self, at: usize, bit: u8) {
        let memory = &mut *self.inner.lock();
        for bytes in [&mut memory.now, &mut memory.synced] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (bit & 7);
            }
        }
    }

    /// Makes every write and sync from now on fail with this error.
    pub fn fail(&self, error: StorageError) {
        self.inner.lock().fault = Some(error);
    }

    fn done(&self, done: Done) -> Result<(), StorageError> {
        let mut memory = self.inner.lock();
        if let Some(fault) = &memory.fault {
            return Err(fault.clone());
        }
        act(&mut memory.now, &done);
        memory.since.push(done);
        Ok(())
    }
}

fn act(bytes: &mut Vec<u8>, done: &Done) {
    match done {
        Done::Wrote(offset, written) => put(bytes, *offset, written),
        Done::Cut(len) => bytes.truncate(usize::try_from(*len).unwrap_or(usize::MAX)),
    }
}

fn put(bytes: &mut Vec<u8>, offset: u64, written: &[u8]) {
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let to = from.saturating_add(written.len());
    if bytes.len() < to && !written.is_empty() {
        bytes.resize(to, 0);
    }
    if let Some(place) = bytes.get_mut(from..to) {
        place.copy_from_slice(written);
    }
}

impl RawFile for MemoryFile {
    fn name(&self) -> String {
        "file in memory".to_owned()
    }

    fn read(&self) -> Result<Vec<u8>, StorageError> {
        Ok(self.inner.lock().now.clone())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.done(Done::Wrote(offset, bytes.to_vec()))
    }

    fn truncate(&mut self, len: u64) -> Result<(), StorageError> {
        self.done(Done::Cut(len))
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        let memory = &mut *self.inner.lock();
        if let Some(fault) = &memory.fault {
            return Err(fault.clone());
        }
        memory.synced.clone_from(&memory.now);
        memory.since.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vibecoin_primitives::FaultClass;

    #[test]
    fn a_full_disk_is_told_as_such_and_the_file_is_of_no_use_afterwards() {
        let mut full = DiskFile::open(Path::new("/dev/full")).expect("a device of every Linux");
        assert_eq!(
            full.write_at(0, b"x").expect_err("full").class(),
            FaultClass::DiskFull
        );
        assert_eq!(
            full.sync().expect_err("not tried again").class(),
            FaultClass::DiskFull
        );
    }

    #[test]
    fn a_new_file_has_its_name_when_it_is_whole_and_takes_no_other_ones_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        // The temporary file of a killed process, under another name of a file that is in use.
        let used = folder.path().join("used");
        std::fs::write(&used, b"precious").expect("a file");
        std::fs::hard_link(&used, folder.path().join(".file.new")).expect("a link");
        let made = DiskFile::create(&path, b"content").expect("a new file");
        assert_eq!(made.read().expect("its content"), b"content");
        assert!(DiskFile::create(&path, b"other").is_err());
        let nowhere = DiskFile::create(&folder.path().join("no/file"), b"x").expect_err("no such folder");
        assert_eq!(nowhere.class(), FaultClass::Io, "{nowhere}: nothing is damaged");
        assert_eq!(std::fs::read(&path).expect("the file"), b"content");
        assert_eq!(std::fs::read(&used).expect("the other file"), b"precious");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a list").count(), 2);
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_a_torn_prefix_of_the_rest_with_or_without_zeros() {
        let mut file = MemoryFile::new(Vec::new());
        file.write_at(0, b"synced").expect("memory");
        file.sync().expect("memory");
        file.write_at(6, b" first").expect("memory");
        file.write_at(12, b" second").expect("memory");
        let all = b"synced first second";
        let mut zeros = 0;
        let mut lengths: Vec<usize> = (0..200)
            .map(|seed| {
                let left = file.crash(seed).read().expect("memory");
                let kept = left
                    .iter()
                    .rposition(|byte| *byte != 0)
                    .map_or(0, |last| last.saturating_add(1));
                zeros = usize::from(kept < left.len()).saturating_add(zeros);
                assert!(
                    all.starts_with(left.get(..kept).expect("a part of it")),
                    "{left:?}"
                );
                assert!(
                    (6..=all.len()).contains(&kept) && left.len() <= all.len(),
                    "{left:?}"
                );
                kept
            })
            .collect();
        lengths.sort_unstable();
        lengths.dedup();
        assert!(lengths.len() > 10, "torn at many places: {lengths:?}");
        assert!(
            zeros > 20,
            "{zeros} of 200 crashes left zeros in the place of what was cut off"
        );
    }
}
