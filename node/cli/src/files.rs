//! Files that commands read and write, within bounds.

use std::io::Read as _;
use std::path::Path;

use vibecoin_genesis::{BuiltGenesis, GENESIS_BYTES_MAX, Genesis};
use vibecoin_keystore::{KeyError, private};
use vibecoin_light::Trust;
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::exit::Exit;

/// Reads at most `most` bytes of a file; `-` is stdin.
pub fn read(path: &Path, most: usize) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let done = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    done.map_err(CliError::file("read", path))?;
    if bytes.len() > most {
        let message = format!(
            "{} has more than {most} bytes, the most such a file may have",
            path.display()
        );
        return Err(CliError::new(Exit::InvalidFile, message));
    }
    Ok(bytes)
}

/// Reads a text file.
pub fn read_text(path: &Path, most: usize) -> Result<String, CliError> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| CliError::new(Exit::InvalidFile, format!("{} is not UTF-8 text", path.display())))
}

/// Reads a text with a secret: a file of this user that nobody else can read, not reached through a link; `-`
/// is stdin.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    if path != Path::new("-") {
        return private::read_secret_text(path);
    }
    let refused = |detail: String| KeyError::Import {
        detail: format!("stdin: {detail}"),
    };
    let most = private::FILE_BYTES_MAX;
    // The whole capacity from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most.saturating_add(1)));
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = std::io::stdin().lock().take(limit).read_to_end(&mut bytes);
    read.map_err(|error| refused(error.to_string()))?;
    if bytes.len() > most {
        return Err(refused(format!("more than {most} bytes")));
    }
    let text = str::from_utf8(&bytes).map_err(|_| refused("not text".to_owned()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Writes a new file; one that is there stays unless `overwrite`.
pub fn write(path: &Path, text: &str, overwrite: bool) -> Result<(), CliError> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    if !overwrite {
        options.create_new(true);
    }
    let done = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    done.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            CliError::new(Exit::Failure, format!("{} exists already", path.display())).reason("exists")
        }
        _ => CliError::file("write", path)(error),
    })
}

/// Reads a genesis file.
pub fn genesis(path: &Path) -> Result<Genesis, CliError> {
    let text = read_text(path, GENESIS_BYTES_MAX)?;
    Genesis::parse(&text).map_err(|error| CliError::genesis(path, &error))
}

/// Makes block 0 of a genesis file.
pub fn build(path: &Path, genesis: &Genesis) -> Result<BuiltGenesis, CliError> {
    genesis.build().map_err(|error| CliError::genesis(path, &error))
}

/// What a genesis file lets one believe.
pub fn trust(genesis: &BuiltGenesis) -> Trust {
    Trust::new(genesis.hash, &genesis.params, genesis.validators.clone())
}
