//! The workspace according to cargo: packages, and their dependencies on this platform.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

pub const TARGET: &str = "x86_64-unknown-linux-gnu";

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

#[derive(Deserialize)]
pub struct Package {
    pub id: String,
    pub name: String,
    pub version: semver::Version,
    pub license: Option<String>,
    pub manifest_path: PathBuf,
    pub dependencies: Vec<Declared>,
}

/// A line of a manifest's dependency tables.
#[derive(Deserialize)]
pub struct Declared {
    pub name: String,
    pub source: Option<String>,
    pub req: String,
    /// `None` is a normal dependency.
    pub kind: Option<String>,
}

/// The packages that cargo would use for this platform, and those of the workspace among them.
pub struct Graph {
    pub packages: BTreeMap<String, Package>,
    pub members: BTreeSet<String>,
}

impl Graph {
    pub fn load() -> Self {
        #[derive(Deserialize)]
        struct Metadata {
            packages: Vec<Package>,
            workspace_members: BTreeSet<String>,
        }
        let output = cargo(&["metadata", "--format-version", "1", "--filter-platform", TARGET]);
        let metadata: Metadata = serde_json::from_str(&output).expect("cargo's own format");
        Self {
            packages: metadata
                .packages
                .into_iter()
                .map(|package| (package.id.clone(), package))
                .collect(),
            members: metadata.workspace_members,
        }
    }

    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.members.iter().map(|id| &self.packages[id])
    }
}

/// Runs cargo, from the lock file and the crates at hand. Only if a crate was never downloaded, in a
/// clone that was not built yet, is the registry queried.
fn cargo(arguments: &[&str]) -> String {
    cargo_in(".", arguments)
}

/// The same in a folder of the repository.
fn cargo_in(folder: &str, arguments: &[&str]) -> String {
    let run = |more: &[&str]| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(arguments)
            .arg("--locked")
            .args(more)
            .current_dir(root().join(folder))
            .output()
            .map_err(|error| format!("cargo does not run: {error}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    };
    run(&["--offline"])
        .or_else(|_| run(&[]))
        .unwrap_or_else(|said| panic!("cargo {arguments:?}: {said}"))
}

/// Linked packages of a crate, as a tree: normal dependencies with the features that this crate alone
/// requests, without those that only build, test or expand macros. `cargo metadata` does not provide
/// this: it joins the features of the whole workspace and names optional dependencies that are not
/// enabled.
pub struct Tree(Vec<(usize, String)>);

impl Tree {
    pub fn of(package: &str) -> Self {
        let edges = [
            "-e",
            "normal,no-proc-macro",
            "--no-dedupe",
            "--prefix",
            "depth",
            "--target",
            TARGET,
        ];
        let output = cargo(&[["tree", "-p", package].as_slice(), &edges].concat());
        let line = |line: &str| {
            let name = line.trim_start_matches(|c: char| c.is_ascii_digit());
            let depth = line[..line.len() - name.len()].parse().expect("a depth");
            (
                depth,
                name.split_whitespace().next().unwrap_or_default().to_owned(),
            )
        };
        Self(output.lines().filter(|text| !text.is_empty()).map(line).collect())
    }

    /// The names, each as often as it occurs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, name)| name.as_str())
    }

    /// A path from the root to a package that `wanted` accepts, not through packages that `closed`
    /// accepts.
    pub fn way(&self, wanted: impl Fn(&str) -> bool, closed: impl Fn(&str) -> bool) -> Option<String> {
        let mut way: Vec<&str> = Vec::new();
        let mut closed_at = usize::MAX;
        for (depth, name) in &self.0 {
            way.truncate(*depth);
            way.push(name);
            if *depth <= closed_at {
                closed_at = if closed(name) { *depth } else { usize::MAX };
            }
            if closed_at == usize::MAX && *depth > 0 && wanted(name) {
                return Some(way.join(" -> "));
            }
        }
        None
    }
}

/// A package of a lock file.
#[derive(Deserialize)]
pub struct Locked {
    pub name: String,
    pub version: semver::Version,
    pub source: Option<String>,
}

/// Name and version of every build dependency of the workspace's crates, on any platform and in any way. A
/// lock file names more: optional dependencies that are not enabled.
fn built(folder: &str) -> BTreeSet<(String, String)> {
    let arguments = [
        "tree",
        "--workspace",
        "--target",
        "all",
        "-e",
        "normal,build,dev",
        "--prefix",
        "none",
    ];
    let output = cargo_in(folder, &arguments);
    let package = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        Some((name.to_owned(), rest.split_whitespace().next()?.to_owned()))
    };
    output.lines().filter_map(package).collect()
}

/// The packages of every lock file of the repository that are built, with the file they are in.
pub fn locked_and_built() -> Vec<(&'static str, Locked)> {
    let built = LOCKS.map(|(file, folder)| (file, built(folder)));
    let is_built = |file: &str, package: &Locked| {
        let key = (package.name.clone(), package.version.to_string());
        built
            .iter()
            .any(|(of, built)| *of == file && built.contains(&key))
    };
    let mut all = locked();
    all.retain(|(file, package)| is_built(file, package));
    assert!(all.len() > 100, "the tree was not understood");
    all
}

/// The lock files, and the folders of their workspaces.
const LOCKS: [(&str, &str); 2] = [("Cargo.lock", "."), ("tests/fuzz/Cargo.lock", "tests/fuzz")];

/// The packages of every lock file of the repository, with the file they are in.
pub fn locked() -> Vec<(&'static str, Locked)> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Locked>,
    }
    let mut all = Vec::new();
    for (file, _) in LOCKS {
        let text =
            std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let lock: Lock = toml::from_str(&text).unwrap();
        all.extend(lock.package.into_iter().map(|package| (file, package)));
    }
    all
}

#[test]
fn a_way_is_found_unless_it_is_closed() {
    let lines = [
        (0, "root"),
        (1, "a"),
        (2, "core"),
        (3, "tokio"),
        (1, "b"),
        (2, "rand"),
    ];
    let tree = Tree(lines.map(|(depth, name)| (depth, name.to_owned())).to_vec());
    let way =
        |wanted: &'static str, closed: &'static str| tree.way(|name| name == wanted, |name| name == closed);
    assert_eq!(way("tokio", "").as_deref(), Some("root -> a -> core -> tokio"));
    assert_eq!(way("tokio", "core"), None);
    assert_eq!(
        way("rand", "core").as_deref(),
        Some("root -> b -> rand"),
        "a closed branch ends"
    );
    assert_eq!(way("core", "core"), None);
    assert_eq!(way("root", ""), None, "a crate does not depend on itself");
}
