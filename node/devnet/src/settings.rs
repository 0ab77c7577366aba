//! The configuration of a home: file, environment and flags.

use std::ffi::OsString;
use std::path::Path;

use vibecoin_config::{CONFIG_BYTES_MAX, Config, ENV_PREFIX, Loaded, Paths, Sources};
use vibecoin_engine::NodeError;

use crate::error::{Class, Error};
use crate::files;

/// Keys whose values are addresses of other nodes.
const PEERS: [&str; 2] = ["p2p.peers", "p2p.bootnodes"];

/// Loads the configuration of a home, or the one in `file`. `flags` are keys with their values. `class` is that of the
/// error for a configuration that is refused.
///
/// # Errors
/// The fault of the configuration, or the error of the file.
pub fn load(
    home: Option<&Path>,
    file: Option<&Path>,
    flags: &[(String, String)],
    class: Class,
) -> Result<Loaded, Error> {
    let default = home.map(Paths::config_in);
    let text = match (file, &default) {
        (Some(path), _) => files::read_text(path, CONFIG_BYTES_MAX)?,
        (None, Some(path)) if files::exists(path)? => files::read_text(path, CONFIG_BYTES_MAX)?,
        (None, _) => String::new(),
    };
    let mut sources = Sources::new()
        .file(text)
        .env(environment(std::env::vars_os(), class)?);
    for (key, value) in flags {
        sources = sources.flag(key, value);
    }
    let path = file.or(default.as_deref()).unwrap_or(Path::new(""));
    let loaded = sources.load().map_err(|error| Error::Config {
        class,
        path: path.to_owned(),
        error: Box::new(error),
    })?;
    check_addresses(&loaded.config, class)?;
    Ok(loaded)
}

/// The check that only the network crate can do: of the addresses of peers.
///
/// # Errors
/// The first address that is refused, as a fault of this class.
pub fn check_addresses(config: &Config, class: Class) -> Result<(), Error> {
    vibecoin_engine::check_addresses(config).map_err(|error| {
        let fault = Error::new(class, error.to_string());
        match &error {
            NodeError::Config { what, .. } if PEERS.contains(&what.as_str()) => fault.hint(
                "write the whole address, with the identity of the node there, which prints it: `vibecoin peers id --url URL`",
            ),
            _ => fault,
        }
    })
}

/// The environment variables that are text. One of this program's that is not is refused by name.
fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
    class: Class,
) -> Result<Vec<(String, String)>, Error> {
    let mut read = Vec::new();
    for (name, value) in variables {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => read.push((name, value)),
            (Ok(name), Err(_)) if name.starts_with(ENV_PREFIX) => {
                let message = format!("environment variable {name}: its value is not UTF-8 text");
                return Err(Error::new(class, message));
            }
            // Its name is checked all the same.
            (Ok(name), Err(_)) => read.push((name, String::new())),
            _ => {}
        }
    }
    Ok(read)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_variable_of_the_configuration_that_is_no_text_is_refused_by_name() {
        let bad = || OsString::from_vec(vec![0xff]);
        let read = |name: &str| {
            environment(std::iter::once((name.into(), bad())), Class::Config)
                .map_err(|error| error.to_string())
        };
        assert_eq!(read("OTHER"), Ok(vec![("OTHER".to_owned(), String::new())]));
        let message = "environment variable VIBECOIN__RPC__PORT: its value is not UTF-8 text";
        assert_eq!(read("VIBECOIN__RPC__PORT"), Err(message.to_owned()));
        let odd_name = std::iter::once((bad(), "x".into()));
        assert_eq!(environment(odd_name, Class::Config).unwrap(), Vec::new());
    }
}
