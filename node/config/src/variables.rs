//! Names of environment variables: detects those of this program, and suggests the intended name for an
//! unknown one.
//!
//! If it were ignored, a name with a typo would leave the operator with a default.

use crate::knobs::{KNOBS, Knob};
use crate::suggest::closest;
use crate::text::environment_name;

/// Prefix of all environment variables of this program.
const PREFIX: &str = "VIBECOIN_";
/// Variables with the prefix that are not knobs: of the commands, of the scripts, of the build, and of the
/// tests.
const OTHERS: [&str; 17] = [
    "BIN",
    "BYZANTINE",
    "CACHE",
    "E2E_KILLS",
    "E2E_SEED",
    "FUZZ_TARGET",
    "GIT",
    "HOME",
    "IMAGE",
    "NO_ROCKSDB",
    "OUTPUT",
    "PASSWORD",
    "PASSWORD_FD",
    "RUSTC",
    "TEST_SCALE",
    "TEST_STAND_IN_HOME",
    "URL",
];

/// The part of a name behind the prefix, in upper or lower case.
fn rest(variable: &str) -> Option<&str> {
    variable
        .get(..PREFIX.len())
        .filter(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
        .and_then(|_| variable.get(PREFIX.len()..))
        .filter(|rest| !rest.is_empty())
}

/// Returns true for a variable with the prefix of this program that is not read.
pub(crate) fn is_unknown(variable: &str, value: &str) -> bool {
    let Some(rest) = rest(variable) else {
        return false;
    };
    let other = variable.starts_with(PREFIX) && (OTHERS.contains(&rest) || is_of_kubernetes(rest, value));
    !other && !KNOBS.iter().any(|knob| environment_name(knob) == variable)
}

/// Returns true for a variable that Kubernetes sets in every container for a service named `vibecoin`.
fn is_of_kubernetes(rest: &str, value: &str) -> bool {
    let address = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|start| value.starts_with(start));
    let part = rest.strip_prefix("PORT_").is_some_and(|part| {
        let (port, what) = part.split_once('_').unwrap_or_default();
        let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        is_port
            && ["TCP", "UDP", "SCTP"]
                .iter()
                .any(|protocol| what.starts_with(protocol))
    });
    rest == "SERVICE_HOST" || rest.starts_with("SERVICE_PORT") || part || rest == "PORT" && address
}

fn letters(text: &str) -> String {
    text.replace('_', "").to_ascii_lowercase()
}

/// The knob that a variable names with wrong underscores or letters (`VIBECOIN_RPC_PORT`). Two spellings of
/// one knob would also have no order.
pub(crate) fn misspelt(variable: &str) -> Option<&'static Knob> {
    let wanted = letters(rest(variable)?);
    let found = KNOBS
        .iter()
        .find(|knob| letters(knob.section) + &letters(knob.name) == wanted)?;
    (environment_name(found) != variable).then_some(found)
}

/// The known name that is closest to an unknown one.
pub(crate) fn meant(variable: &str) -> Option<String> {
    let rest = rest(variable)?.trim_matches('_').to_ascii_lowercase();
    let rest = rest
        .split('_')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("_");
    // A knob without its section.
    if let Some(knob) = KNOBS.iter().find(|knob| knob.name == rest) {
        return Some(environment_name(knob));
    }
    let knobs = KNOBS
        .iter()
        .map(|knob| (format!("{}_{}", knob.section, knob.name), environment_name(knob)));
    let others = OTHERS
        .iter()
        .map(|name| (name.to_ascii_lowercase(), format!("{PREFIX}{name}")));
    let known: Vec<(String, String)> = others.chain(knobs).collect();
    let found = closest(&rest, known.iter().map(|(short, _)| short.as_str()))?;
    known
        .iter()
        .find(|(short, _)| short == found)
        .map(|(_, name)| name.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn a_name_that_nothing_reads_is_unknown_and_has_the_closest_one() {
        for (name, closest) in [
            ("VIBECOIN_RPC__PROT", Some("VIBECOIN__RPC__PORT")),
            ("VIBECOIN_PORT", Some("VIBECOIN__RPC__PORT")),
            ("VIBECOIN_NOPE", Some("VIBECOIN_HOME")),
            ("VIBECOIN_PASWORD", Some("VIBECOIN_PASSWORD")),
            ("vibecoin_home", Some("VIBECOIN_HOME")),
            ("VIBECOIN_COLOURFUL", None),
        ] {
            assert!(is_unknown(name, "1"), "{name}");
            assert_eq!(meant(name).as_deref(), closest, "{name}");
        }
        for name in [
            "VIBECOIN_HOME",
            "VIBECOIN_",
            "VIBECOINX",
            "HOME",
            "VIBECOIN__RPC__PORT",
            "vibecoi\u{e9}",
        ] {
            assert!(!is_unknown(name, "1"), "{name}");
        }
    }

    #[test]
    fn what_kubernetes_tells_every_container_is_not_for_this_program() {
        for (name, value) in [
            ("VIBECOIN_SERVICE_HOST", "10.0.0.1"),
            ("VIBECOIN_SERVICE_PORT", "8545"),
            ("VIBECOIN_SERVICE_PORT_RPC", "8545"),
            ("VIBECOIN_PORT", "tcp://10.0.0.1:8545"),
            ("VIBECOIN_PORT_8545_TCP", "tcp://10.0.0.1:8545"),
            ("VIBECOIN_PORT_8545_TCP_ADDR", "10.0.0.1"),
        ] {
            assert!(!is_unknown(name, value), "{name}");
        }
        for (name, value) in [
            ("VIBECOIN_PORT", "8545"),
            ("VIBECOIN_PORT_TCP", "1"),
            ("VIBECOIN_SERVICE", "1"),
        ] {
            assert!(is_unknown(name, value), "{name}");
        }
    }

    fn files(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                files(&path, found);
            } else if name.ends_with(".sh") || name.ends_with(".py") || name.ends_with(".rs") {
                found.push(path);
            }
        }
    }

    /// Otherwise a variable that a script or another program of ours starts to use would stop every command.
    #[test]
    fn every_variable_that_is_used_anywhere_is_known() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut found = Vec::new();
        for part in ["scripts", "node", "runtime", "network", "storage", "rpc", "tests"] {
            files(&root.join(part), &mut found);
        }
        let mut used = BTreeSet::new();
        for path in found {
            // These contain names that are invalid on purpose.
            let tests_names = path.ends_with("config/src/variables.rs")
                || path.ends_with("config/src/load.rs")
                || path.ends_with("config/src/load_tests.rs")
                || path.ends_with("tests/exit_codes.rs");
            if tests_names {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for part in text.split(PREFIX).skip(1) {
                let name: String = part
                    .chars()
                    .take_while(|letter| {
                        letter.is_ascii_uppercase() || letter.is_ascii_digit() || *letter == '_'
                    })
                    .collect();
                if !name.is_empty() && !name.starts_with('_') {
                    used.insert(name);
                }
            }
        }
        let unknown: Vec<_> = used
            .iter()
            .filter(|name| !OTHERS.contains(&name.as_str()))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(used.len() > 10, "{used:?}");
    }
}
