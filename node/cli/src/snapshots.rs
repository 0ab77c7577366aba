//! Snapshots as several commands meet them: their source, the restore into a home, and the progress.

pub mod running;
pub mod stop;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vibecoin_config::{Config, Paths};
use vibecoin_genesis::BuiltGenesis;
use vibecoin_snapshots::{
    Phase, Progress, RestoredHome, Snapshot, SnapshotInfo, check_free, clean, fetch, restore,
};
use vibecoin_storage::kv::RocksConfig;
use vibecoin_storage::{GenesisRecord, Store, StoreConfig};

use crate::error::CliError;
use crate::exit::Exit;
use crate::{files, output};

/// Time between two lines of progress.
const INTERVAL: Duration = Duration::from_secs(2);

/// Reason of the error of an operation that was stopped between two chunks.
pub const STOPPED: &str = "stopped";

/// Place of a snapshot to start from.
#[derive(Debug)]
pub enum Source {
    /// A folder or an archive, opened.
    Local(Box<Snapshot>),
    /// The folder of an HTTP server.
    Url(String),
}

impl Source {
    /// Reads the value of `--snapshot`. A folder or an archive is opened; a server is not contacted.
    ///
    /// # Errors
    /// Exit 2 for a kind of source that this version does not read, 5 when there is nothing, 8 for what is no snapshot.
    pub fn of(source: &Path) -> Result<Self, CliError> {
        let text = source.to_str().unwrap_or_default();
        if text.starts_with("http://") {
            return Ok(Self::Url(text.to_owned()));
        }
        if text.starts_with("https://") {
            return Err(CliError::usage("a snapshot is not fetched over TLS by this version").hint(
                "every chunk is verified, so http:// is as safe; or fetch an archive, `curl -fo FILE URL`, and name that \
                 file",
            ));
        }
        if text == "peers" && !source.exists() {
            return Err(
                CliError::usage("a snapshot is not fetched from peers by this version").hint(
                    "name a folder, an archive or a URL: `vibecoin snapshot create` makes one at a node of the chain",
                ),
            );
        }
        Ok(Self::Local(Box::new(Snapshot::open(source)?)))
    }

    /// Height of the snapshot, which is not known of a server's.
    pub fn height(&self) -> Option<u64> {
        match self {
            Self::Local(snapshot) => Some(snapshot.manifest().header.height.0),
            Self::Url(_) => None,
        }
    }

    /// Makes the database of a home, whose lock the caller holds. From a server the snapshot is fetched first, chunk by
    /// verified chunk, into the home; those chunks stay there for the next attempt if this one fails.
    ///
    /// # Errors
    /// Exit 8 for a snapshot that is damaged or not of this chain, 21 when the disk is too small, 1 when the home has a
    /// database, 3 when the server does not give it; the home has no database then, or the one that it had.
    pub fn into_home(
        self,
        genesis: &BuiltGenesis,
        paths: &Paths,
        config: &Config,
        watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(SnapshotInfo, RestoredHome), CliError> {
        let restored = match self {
            Self::Local(snapshot) => into_home(&snapshot, genesis, paths, config, watch)?,
            Self::Url(url) => {
                check_free(&paths.db)?;
                let fetched = fetch(&url, &record(genesis), &paths.home, watch)?;
                into_home(&fetched.snapshot, genesis, paths, config, watch)?
            }
        };
        // Fetched chunks, also those of other attempts. The restore has succeeded.
        if let Err(error) = clean(&paths.home, &paths.db, &paths.snapshots) {
            output::note(&format!("warning: {error}"));
        }
        Ok(restored)
    }

    /// The description of the snapshot if the database of a home, whose lock the caller holds, began with its block: an
    /// earlier restore was killed after its last step. A server is not contacted, so of a URL this is not known.
    ///
    /// # Errors
    /// Those of the store.
    pub fn restored_before(&self, paths: &Paths, config: &Config) -> Result<Option<SnapshotInfo>, CliError> {
        let Self::Local(snapshot) = self else {
            return Ok(None);
        };
        if !files::exists(&paths.db.join("CURRENT"))? {
            return Ok(None);
        }
        let (base, info) = (open(&paths.db, config)?.base(), snapshot.info());
        Ok((base.height == info.height && base.hash == info.hash).then_some(info))
    }
}

/// Opens the store of a stopped node: no state is materialised in the background.
///
/// # Errors
/// Those of the store.
pub fn open(db: &Path, config: &Config) -> Result<Store, CliError> {
    let mut store = StoreConfig {
        background: false,
        ..StoreConfig::default()
    };
    store.rocks.block_cache_bytes = usize::try_from(config.storage.block_cache_bytes).unwrap_or(usize::MAX);
    Ok(Store::open_path(db, None, store)?)
}

/// The chain of a genesis file, as a store records it.
pub fn record(genesis: &BuiltGenesis) -> GenesisRecord {
    GenesisRecord {
        hash: genesis.hash,
        params: genesis.params.clone(),
        validators: genesis.validators.clone(),
    }
}

fn into_home(
    snapshot: &Snapshot,
    genesis: &BuiltGenesis,
    paths: &Paths,
    config: &Config,
    watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(SnapshotInfo, RestoredHome), CliError> {
    let rocks = RocksConfig {
        block_cache_bytes: usize::try_from(config.storage.block_cache_bytes).unwrap_or(usize::MAX),
        ..StoreConfig::default().rocks
    };
    let restored = restore(snapshot, &record(genesis), &paths.db, rocks, watch)?;
    Ok((snapshot.info(), restored))
}

/// The fields that every command about a snapshot prints.
pub fn view(info: &SnapshotInfo) -> Value {
    json!({
        "id": info.id.to_string(),
        "height": info.height.0.to_string(),
        "hash": info.hash.to_string(),
        "stateRoot": info.state_root.to_string(),
        "chunks": info.chunks,
        "bytes": info.bytes.to_string(),
        "path": info.path.display().to_string(),
    })
}

/// Lines of progress, one every two seconds.
#[derive(Debug)]
pub struct Meter {
    /// False where no lines are wanted (`--no-progress`).
    shown: bool,
    every: Duration,
    phase: Option<(Phase, Instant)>,
    next: Duration,
}

impl Meter {
    /// A meter for lines on stderr, or for none.
    pub fn on_stderr(no_progress: bool) -> Self {
        Self {
            shown: !no_progress,
            every: INTERVAL,
            phase: None,
            next: INTERVAL,
        }
    }

    /// The line, when one is due.
    pub fn due(&mut self, progress: Progress) -> Option<String> {
        let begun = match self.phase {
            Some((phase, begun)) if phase == progress.phase => begun,
            _ => {
                let now = Instant::now();
                self.phase = Some((progress.phase, now));
                self.next = self.every;
                now
            }
        };
        let elapsed = begun.elapsed();
        if elapsed < self.next {
            return None;
        }
        self.next = elapsed.saturating_add(self.every);
        Some(line(progress, elapsed))
    }

    /// Prints the line on stderr, when one is due and lines are wanted.
    pub fn print(&mut self, progress: Progress) -> ControlFlow<()> {
        if let Some(line) = self.due(progress).filter(|_| self.shown) {
            output::say(&line);
        }
        ControlFlow::Continue(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn line(progress: Progress, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let share = progress.done as f64 / (progress.all.max(1)) as f64;
    let mib = progress.bytes as f64 / (1024.0 * 1024.0);
    let left = if share > 0.0 {
        format!(", about {:.0} s left", seconds * (1.0 - share) / share)
    } else {
        String::new()
    };
    format!(
        "{}: {:.0} %, {mib:.1} MiB, {:.1} MiB/s{left}",
        progress.phase.label(),
        share * 100.0,
        mib / seconds
    )
}

/// The error for a home whose chain has no block yet.
pub fn no_block(home: &Path) -> CliError {
    let message = format!("the chain of {} has no block yet", home.display());
    CliError::new(Exit::NotFound, message)
        .hint("a snapshot is of a block: start the node, and wait for the first one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_share_the_rate_and_the_rest() {
        let progress = Progress {
            phase: Phase::Restore,
            done: 1,
            all: 4,
            bytes: 10 * 1024 * 1024,
        };
        let expected = "restoring: 25 %, 10.0 MiB, 5.0 MiB/s, about 6 s left";
        assert_eq!(line(progress, Duration::from_secs(2)), expected);
        let none = Progress { done: 0, ..progress };
        assert_eq!(
            line(none, Duration::from_secs(2)),
            "restoring: 0 %, 10.0 MiB, 5.0 MiB/s"
        );
    }

    #[test]
    fn a_source_is_a_folder_an_archive_or_a_url() {
        let of = |text: &str| Source::of(Path::new(text)).map_err(|error| error.exit);
        assert!(matches!(of("http://h:1/s"), Ok(Source::Url(url)) if url == "http://h:1/s"));
        assert!(matches!(of("https://h/s"), Err(Exit::Usage)));
        assert!(matches!(of("peers"), Err(Exit::Usage)));
        assert!(matches!(of("/nowhere/at/all"), Err(Exit::NotFound)));
    }

    #[test]
    fn the_first_line_comes_after_the_interval() {
        let progress = Progress {
            phase: Phase::Verify,
            done: 1,
            all: 2,
            bytes: 1,
        };
        let mut meter = Meter::on_stderr(false);
        assert_eq!(meter.due(progress), None);
        meter.every = Duration::ZERO;
        meter.next = Duration::ZERO;
        assert!(meter.due(progress).is_some());
    }
}
