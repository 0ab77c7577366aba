//! `deny.toml`, enforced: the same file that `cargo deny` reads, without the tool and without a network.

use std::collections::{BTreeMap, BTreeSet};

use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::graph::{Graph, Locked, Tree, locked, locked_and_built, root};
use crate::licences;

#[derive(Deserialize)]
struct Policy {
    advisories: Advisories,
    licenses: Licenses,
    sources: Sources,
    bans: Bans,
}

/// Inputs of `cargo deny check advisories`; this test has no database.
#[derive(Deserialize)]
struct Advisories {
    version: u32,
    yanked: String,
    ignore: Vec<Ignored>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ignored {
    id: String,
    reason: String,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_git: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Ban {
    /// `name` or `name:versions`.
    #[serde(rename = "crate")]
    spec: String,
    #[serde(default)]
    wrappers: BTreeSet<String>,
    #[serde(default)]
    deny_multiple_versions: bool,
    #[serde(default)]
    reason: String,
}

impl Ban {
    fn name(&self) -> &str {
        self.spec.split(':').next().unwrap_or_default()
    }

    fn versions(&self) -> VersionReq {
        let text = self.spec.split_once(':').map_or("*", |(_, versions)| versions);
        VersionReq::parse(text).unwrap_or_else(|error| panic!("deny.toml: {}: {error}", self.spec))
    }

    fn hits(&self, name: &str, version: &Version) -> bool {
        self.name() == name && self.versions().matches(version)
    }
}

fn policy() -> Policy {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    toml::from_str(&text).unwrap()
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// The packages that a list of bans matches. Bans with wrappers are checked separately.
fn banned(bans: &[Ban], packages: &[(&str, Locked)]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, Locked { name, version, .. }) in packages {
        let plain = bans
            .iter()
            .filter(|ban| ban.wrappers.is_empty() && !ban.deny_multiple_versions);
        found.extend(plain.filter(|ban| ban.hits(name, version)).map(|ban| {
            format!(
                "{file}: {name} {version} is banned as {}: {}",
                ban.spec, ban.reason
            )
        }));
    }
    found
}

#[test]
fn every_locked_crate_comes_from_one_registry() {
    let policy = policy();
    assert!(
        policy.sources.allow_git.is_empty(),
        "git dependencies are not pinned by a registry's checksum"
    );
    let mut registry: Option<String> = None;
    let mut found = Vec::new();
    for (file, Locked { name, source, .. }) in locked() {
        let good = match &source {
            // One registry for all: cargo's default, unless a configuration of this repository names
            // another.
            Some(source) => {
                source.starts_with("registry+") && *registry.get_or_insert(source.clone()) == *source
            }
            // Without a source it is a path: a crate of the workspace.
            None => name.starts_with("vibecoin-"),
        };
        if !good {
            found.push(format!(
                "{file}: {name} from {}",
                source.as_deref().unwrap_or("a path")
            ));
        }
    }
    assert_none("crates from elsewhere", &found);
}

#[test]
fn no_crate_that_is_built_is_banned_or_below_its_least_version() {
    assert_none("banned crates", &banned(&policy().bans.deny, &locked_and_built()));
}

#[test]
fn a_banned_name_and_an_old_version_are_found() {
    let lock = |name: &str, version: &str| {
        (
            "lock",
            Locked {
                name: name.into(),
                version: Version::parse(version).unwrap(),
                source: None,
            },
        )
    };
    let bans = policy().bans.deny;
    let count = |name, version| banned(&bans, &[lock(name, version)]).len();
    assert_eq!(count("openssl", "0.10.0"), 1);
    assert_eq!(count("yamux", "0.12.1"), 1);
    assert_eq!(count("yamux", "0.13.9"), 1);
    assert_eq!(count("yamux", "0.13.10"), 0);
    assert_eq!(count("libp2p-gossipsub", "0.49.5"), 1);
    assert_eq!(count("libp2p-gossipsub", "0.50.1"), 0);
    assert_eq!(count("arc-malachitebft-core-consensus", "0.8.1"), 1);
    assert_eq!(count("arc-malachitebft-core-consensus", "0.8.2"), 0);
    assert_eq!(count("arc-malachitebft-core-consensus", "0.8.3"), 1);
    assert_eq!(count("serde", "1.0.0"), 0);
    // Crates that process data of unauthenticated peers first: TLS certificates, the Noise
    // handshake, HTTP/2, QUIC.
    for (name, old, good) in [
        ("rustls-webpki", "0.103.12", "0.103.13"),
        ("snow", "0.9.4", "0.9.5"),
        ("h2", "0.4.15", "0.4.16"),
        ("quinn-proto", "0.11.14", "0.11.15"),
    ] {
        assert_eq!((count(name, old), count(name, good)), (1, 0), "{name}");
    }
}

#[test]
fn every_least_version_is_of_a_crate_in_the_lock_file_and_every_ignored_advisory_has_a_reason() {
    let policy = policy();
    let locked: BTreeSet<String> = locked().into_iter().map(|(_, package)| package.name).collect();
    let below = |ban: &&Ban| ban.spec.contains(":<");
    let unknown: Vec<String> = policy
        .bans
        .deny
        .iter()
        .filter(below)
        .filter(|ban| !locked.contains(ban.name()))
        .map(|ban| ban.spec.clone())
        .collect();
    assert_none("least versions of crates that nothing uses", &unknown);
    assert_eq!(
        (policy.advisories.version, policy.advisories.yanked.as_str()),
        (2, "deny")
    );
    for ignored in &policy.advisories.ignore {
        assert!(ignored.id.starts_with("RUSTSEC-"), "{}", ignored.id);
        assert!(ignored.reason.len() > 20, "{}: say why", ignored.id);
    }
}

#[test]
fn every_linked_crate_has_a_licence_that_we_accept() {
    let policy = policy();
    let graph = Graph::load();
    let built = locked_and_built();
    let is_built = |name: &str, version: &Version| {
        built
            .iter()
            .any(|(_, package)| package.name == name && package.version == *version)
    };
    let mut found = Vec::new();
    for package in graph.packages.values() {
        if !is_built(&package.name, &package.version) {
            continue;
        }
        let verdict = match &package.license {
            Some(expression) => licences::permits(expression, &|name| policy.licenses.allow.contains(name)),
            None => Err("no licence named".to_owned()),
        };
        if verdict != Ok(true) {
            found.push(format!(
                "{} {}: {:?}",
                package.name, package.version, package.license
            ));
        }
    }
    assert_none("licences outside deny.toml", &found);
}

#[test]
fn a_wrapped_crate_is_only_a_dev_dependency_of_its_wrappers() {
    let policy = policy();
    let graph = Graph::load();
    let linked: Vec<(&str, Tree)> = graph
        .members()
        .map(|package| (package.name.as_str(), Tree::of(&package.name)))
        .collect();
    let mut found = Vec::new();
    for ban in policy.bans.deny.iter().filter(|ban| !ban.wrappers.is_empty()) {
        for (member, tree) in &linked {
            if tree.names().any(|name| name == ban.name()) {
                found.push(format!("{member} links {}: {}", ban.name(), ban.reason));
            }
        }
        for package in graph.members() {
            for declared in package
                .dependencies
                .iter()
                .filter(|declared| declared.name == ban.name())
            {
                if !ban.wrappers.contains(&package.name) || declared.kind.as_deref() != Some("dev") {
                    found.push(format!(
                        "the manifest of {} has {}: {}",
                        package.name,
                        ban.name(),
                        ban.reason
                    ));
                }
            }
        }
    }
    assert_none("wrapped crates in the wrong place", &found);
}

#[test]
fn the_crates_that_must_be_one_are_one() {
    let policy = policy();
    let graph = Graph::load();
    let mut versions: BTreeMap<&str, BTreeSet<&Version>> = BTreeMap::new();
    for package in graph.packages.values() {
        versions
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
    }
    let mut found = Vec::new();
    for ban in policy.bans.deny.iter().filter(|ban| ban.deny_multiple_versions) {
        if let Some(several) = versions.get(ban.name()).filter(|several| several.len() > 1) {
            let several: Vec<String> = several.iter().map(ToString::to_string).collect();
            found.push(format!("{}: {}", ban.name(), several.join(", ")));
        }
    }
    assert_none("crates in several versions", &found);
}

#[test]
fn our_own_manifests_name_versions_and_one_licence() {
    let graph = Graph::load();
    let mut found = Vec::new();
    for package in graph.members() {
        if package.license.as_deref() != Some("MIT OR Apache-2.0") {
            found.push(format!("{}: licence {:?}", package.name, package.license));
        }
        for declared in &package.dependencies {
            if declared.req == "*" && declared.source.is_some() {
                found.push(format!("{}: any version of {}", package.name, declared.name));
            }
        }
    }
    assert_none("manifests", &found);
}
