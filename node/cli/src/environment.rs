//! The environment, which is not trusted: variables may be empty, or name invalid paths.
//!
//! | Variable | Used when |
//! | --- | --- |
//! | `HOME`, `XDG_DATA_HOME`, `TMPDIR` | it is an absolute path |
//! | `VIBECOIN_HOME`, `VIBECOIN_URL`, `VIBECOIN_OUTPUT`, `NO_COLOR` | it is not empty |
//! | `VIBECOIN_PASSWORD` | it is set; an empty one is an error, never "no passphrase" |
//! | `VIBECOIN__SECTION__KEY` | it is set; its value must be valid (`vibecoin-config`) |
//! | another `VIBECOIN_…` | never: it is refused, unless the scripts, the build or the tests use it |

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The value of a variable; an empty one counts as not set.
pub fn value(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// `$XDG_DATA_HOME/vibecoin`, or `~/.local/share/vibecoin`. A variable that is empty or relative counts as
/// absent: it would create a home in the working directory.
pub fn default_home(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data = absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local").join("share")))?;
    Some(data.join("vibecoin"))
}

/// The folder for temporary files: `$TMPDIR` when that is an absolute path.
pub fn temporary_folder() -> PathBuf {
    let given = std::env::temp_dir();
    if given.is_absolute() {
        given
    } else {
        Path::new("/tmp").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_home_is_in_the_data_directory() {
        let with = |pairs: &[(&str, &str)]| {
            default_home(|name| {
                let mut pairs = pairs.iter();
                pairs
                    .find(|(known, _)| *known == name)
                    .map(|(_, path)| path.into())
            })
        };
        assert_eq!(
            with(&[("XDG_DATA_HOME", "/d"), ("HOME", "/h")]),
            Some("/d/vibecoin".into())
        );
        assert_eq!(
            with(&[("XDG_DATA_HOME", "relative"), ("HOME", "/h")]),
            Some("/h/.local/share/vibecoin".into())
        );
        for nowhere in [
            &[][..],
            &[("HOME", "")],
            &[("HOME", "h")],
            &[("XDG_DATA_HOME", "")],
        ] {
            assert_eq!(with(nowhere), None, "{nowhere:?}");
        }
    }
}
