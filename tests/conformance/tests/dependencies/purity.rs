//! The pure crates are pure: equal events give equal bytes, because there is no other input.
//!
//! Two checks. Linked code: no crate under `runtime/`, nor `genesis`, reaches the outside world by any path
//! but the consensus core (which names tokio and libp2p-identity in its manifest and does no I/O with them).
//! Source text: no clock, file, socket, thread or environment in the sources, and no iteration over a map
//! without an order.

use std::path::{Path, PathBuf};

use crate::graph::{Graph, Package, Tree, root};

/// Crates of the outside world: runtimes, sockets, databases, ambient randomness, clocks.
const OUTSIDE: &[&str] = &[
    // runtimes, sockets, files
    "async-std",
    "axum",
    "fs4",
    "hyper",
    "hyper-util",
    "mio",
    "polling",
    "reqwest",
    "rustix",
    "smol",
    "socket2",
    "tempfile",
    "tokio",
    "tokio-util",
    "tower-http",
    "quinn",
    // databases
    "librocksdb-sys",
    "redb",
    "rocksdb",
    "sled",
    // ambient randomness
    "fastrand",
    "getrandom",
    "oorandom",
    "rand",
    // clocks and threads
    "chrono",
    "coarsetime",
    "crossbeam-channel",
    "instant",
    "minstant",
    "parking_lot",
    "quanta",
    "rayon",
    "time",
    "web-time",
];

/// The same, by prefix of the name.
const OUTSIDE_FAMILIES: &[&str] = &[
    "libp2p",
    "jsonrpsee",
    "tracing",
    "vibecoin-engine",
    "vibecoin-storage",
];

/// The one exception: see `docs/adr/0001`.
const CORE: &str = "arc-malachitebft-";

fn outside(name: &str) -> bool {
    OUTSIDE.contains(&name) || OUTSIDE_FAMILIES.iter().any(|family| name.starts_with(family))
}

fn pure_crates(graph: &Graph) -> Vec<&Package> {
    let root = root();
    let pure = |package: &&Package| {
        let place = package
            .manifest_path
            .strip_prefix(&root)
            .unwrap_or(&package.manifest_path);
        place.starts_with("runtime") || place.starts_with("genesis")
    };
    graph.members().filter(pure).collect()
}

#[test]
fn no_pure_crate_reaches_the_outside_world() {
    let graph = Graph::load();
    let pure = pure_crates(&graph);
    assert!(pure.len() >= 9, "the pure rooms were not found: {}", pure.len());
    let way = |package: &&Package| Tree::of(&package.name).way(outside, |name| name.starts_with(CORE));
    let ways: Vec<String> = pure.iter().filter_map(way).collect();
    assert!(ways.is_empty(), "pure crates reach outside:\n{}", ways.join("\n"));
}

#[test]
fn the_exception_for_the_consensus_core_is_needed_and_the_search_sees_through_it() {
    let consensus = Tree::of("vibecoin-consensus");
    let way = consensus
        .way(outside, |_| false)
        .expect("the core names tokio or libp2p");
    assert!(way.contains(CORE), "{way}");
    let node = Tree::of("vibecoin-storage");
    assert!(
        node.way(outside, |_| false).is_some(),
        "the storage room links a database"
    );
}

/// Words that a pure source does not need, and the alternatives.
const MARKERS: &[(&str, &str)] = &[
    ("std::time::Instant", "time comes in with the event"),
    ("Instant::now", "time comes in with the event"),
    ("SystemTime", "time comes in with the event"),
    ("std::fs", "files are the shell's"),
    ("std::net", "sockets are the shell's"),
    (
        "std::thread",
        "the caller passes hands: see vibecoin_trie::Parallel",
    ),
    (
        "thread::spawn",
        "the caller passes hands: see vibecoin_trie::Parallel",
    ),
    ("std::env", "rules come from genesis or state"),
    ("std::process", "the core decides, the shell acts"),
    ("RandomState", "ambient randomness"),
    ("f32", "integers only"),
    ("f64", "integers only"),
    ("println!", "the core returns values, the shell speaks"),
    ("eprintln!", "the core returns values, the shell speaks"),
];

/// Permitted markers, and permitted iterations over the named map: file, marker or name, and the
/// reason.
const ALLOWED: &[(&str, &str, &str)] = &[(
    "runtime/mempool/src/selection.rs",
    "next",
    "each sender goes into a map ordered by rank, so the order in which they are put there cannot show",
)];

/// Calls that expose the order of an unordered map. Look-ups in such a map are fine; iteration is
/// not.
const WALKS: &[&str] = &[
    ".iter()",
    ".iter_mut()",
    ".keys()",
    ".values()",
    ".values_mut()",
    ".into_iter()",
    ".into_keys()",
    ".into_values()",
    ".drain()",
    ".retain(",
    ".extract_if(",
];

/// The production part of a source: without comments, and without the items and statements that only tests have.
fn product(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = source.lines().enumerate();
    let lines = lines.map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()));
    let mut tests = Tests::default();
    lines.filter(move |(_, line)| !tests.cover(line))
}

/// The parts of a source behind `#[cfg(test)]`, each to the end of its item or statement. The source is formatted:
/// a bracket that is open at the end of a line is closed at the beginning of a line with the same indentation.
#[derive(Default)]
struct Tests {
    /// Indentation of the part that is being read, and true while a bracket is open.
    part: Option<(usize, bool)>,
}

impl Tests {
    /// Returns true if the next line is in such a part.
    fn cover(&mut self, line: &str) -> bool {
        let text = line.trim();
        let indentation = line.len() - line.trim_start().len();
        let Some((own, is_open)) = &mut self.part else {
            let begins = text == "#[cfg(test)]";
            self.part = begins.then_some((indentation, false));
            return begins;
        };
        if text.is_empty() {
            return true;
        }
        let ends = if indentation <= *own {
            *is_open = text.ends_with(['{', '(', '[']);
            text.ends_with(['}', ';', ','])
        } else {
            !*is_open && text.ends_with(';')
        };
        if ends {
            self.part = None;
        }
        true
    }
}

/// Returns true if `word` is a whole word in `line`, not part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(part_of_name);
        let after = line[at + word.len()..].chars().next().is_some_and(part_of_name);
        !(before || after && word.ends_with(part_of_name))
    })
}

fn is_allowed(file: &str, what: &str) -> bool {
    ALLOWED
        .iter()
        .any(|(place, word, _)| *place == file && *word == what)
}

fn impurities(file: &str, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in product(source) {
        for (marker, instead) in MARKERS {
            if has_word(line, marker) && !is_allowed(file, marker) {
                found.push(format!("{file}:{number}: {marker}: {instead}"));
            }
        }
    }
    found
}

/// The names of the unordered maps and sets that `source` declares: fields, arguments and variables.
fn unordered_names(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (_, line) in product(source) {
        for kind in ["HashMap", "HashSet", "FastMap"] {
            for (at, _) in line.match_indices(kind) {
                let before = line[..at].trim_end();
                let before = before
                    .strip_suffix("&mut")
                    .or(before.strip_suffix('&'))
                    .unwrap_or(before)
                    .trim_end();
                let Some(declared) = before.strip_suffix(':').or(before.strip_suffix('=')) else {
                    continue;
                };
                let name: String = declared
                    .trim_end()
                    .chars()
                    .rev()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                names.push(name.chars().rev().collect());
            }
        }
    }
    names.retain(|name: &String| !name.is_empty());
    names
}

/// The lines of the production part with chains of calls joined on one line.
fn statements(source: &str) -> Vec<(usize, String)> {
    let mut statements: Vec<(usize, String)> = Vec::new();
    for (number, line) in product(source) {
        match statements.last_mut() {
            Some((_, last)) if line.trim_start().starts_with('.') => last.push_str(line.trim()),
            _ => statements.push((number, line.trim_end().to_owned())),
        }
    }
    statements
}

/// Places that iterate over one of `names`.
fn walks(file: &str, source: &str, names: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in statements(source) {
        for name in names.iter().filter(|name| !is_allowed(file, name)) {
            let called = |walk: &&str| has_word(&line, &format!("{name}{walk}"));
            let leads = [
                "in &",
                "in &mut ",
                "in ",
                "in &self.",
                "in &mut self.",
                "in self.",
            ];
            let looped = line.trim_start().starts_with("for ")
                && leads
                    .iter()
                    .any(|lead| line.contains(&format!(" {lead}{name} {{")));
            if looped || WALKS.iter().any(called) {
                found.push(format!(
                    "{file}:{number}: {name} has no order and is walked: use an ordered map"
                ));
            }
        }
    }
    found
}

#[test]
fn an_unordered_map_may_be_asked_and_not_walked() {
    let declared = "struct S {\n    index: HashMap<u8, u8>,\n}\nlet seen = HashSet::new();\nfn f(by_id: &mut HashMap<u8, u8>, rows: &FastMap<u8, u8>) {}\n";
    let names = unordered_names(declared);
    assert_eq!(names, ["index", "seen", "by_id", "rows"]);
    for fine in [
        "self.index.get(&1)",
        "seen.insert(2)",
        "reindex.iter()",
        "for x in &ordered {",
        "by_id.len()",
    ] {
        assert!(walks("x.rs", fine, &names).is_empty(), "{fine}");
    }
    for walk in [
        "self.index.iter()",
        "seen.into_iter()",
        "for x in &self.index {",
        "by_id.retain(|_| true)",
        "for x in seen {",
        "self.index\n    .keys()",
    ] {
        assert_eq!(walks("x.rs", walk, &names).len(), 1, "{walk}");
    }
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// A file of tests only, beside the module that it tests.
fn is_test_file(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem == "tests" || stem.ends_with("_tests") || path.components().any(|part| part.as_os_str() == "tests")
}

#[test]
fn no_pure_source_touches_the_outside_world() {
    let graph = Graph::load();
    let root = root();
    let mut count = 0;
    let mut found = Vec::new();
    for package in pure_crates(&graph) {
        let mut files = Vec::new();
        sources(&package.manifest_path.parent().unwrap().join("src"), &mut files);
        let read = |path: &PathBuf| {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        };
        let files: Vec<_> = files
            .iter()
            .filter(|path| !is_test_file(path))
            .map(read)
            .collect();
        let names: Vec<String> = files
            .iter()
            .flat_map(|(_, source)| unordered_names(source))
            .collect();
        for (name, source) in &files {
            found.extend(impurities(name, source));
            found.extend(walks(name, source, &names));
        }
        count += files.len();
    }
    assert!(count > 20, "the sources were not found: {count}");
    assert!(
        found.is_empty(),
        "pure sources touch the outside:\n{}",
        found.join("\n")
    );
}

#[test]
fn every_marker_is_found_in_a_source_and_not_in_a_comment_or_a_test() {
    for (marker, _) in MARKERS {
        let source = format!("fn f() {{\n    let x = {marker};\n}}\n");
        assert_eq!(impurities("x.rs", &source).len().min(1), 1, "{marker}");
        assert!(
            impurities("x.rs", &format!("// {marker}\n")).is_empty(),
            "{marker}"
        );
        assert!(
            impurities("x.rs", &format!("#[cfg(test)]\nmod tests {{ {marker} }}\n")).is_empty(),
            "{marker}"
        );
    }
    assert!(impurities("x.rs", "struct MySystemTimeLike; let half64 = xf64;").is_empty());
}

#[test]
fn what_only_tests_have_hides_nothing_behind_it() {
    for part in [
        "mod tests;",
        "#[path = \"x_tests.rs\"]\nmod tests;",
        "#[allow(\n    clippy::panic,\n)]\nmod tests {\n    fn f() {\n        let x = f64;\n    }\n\n    struct S;\n}",
        "use std::time::Instant;",
        "tally\n    ::add(f64);",
        "tally::add(f64(\n    1,\n));",
        "fn f(\n    x: f64,\n) -> u8\nwhere\n    f64: Copy,\n{\n    1;\n    2\n}",
        "field: f64,",
        "fn f() {}",
        "// f64\n\nif f64 {\n    f();\n} else {\n    f();\n}",
    ] {
        for indentation in ["", "        "] {
            let indent = |line: &str| format!("{indentation}{line}\n");
            let indented: String = part.lines().map(indent).collect();
            let source = format!("{indentation}#[cfg(test)]\n{indented}\n{indentation}let y = f32;\n");
            let last = source.lines().count();
            let found = impurities("x.rs", &source);
            assert_eq!(found.len(), 1, "{source}\n{found:?}");
            assert!(found[0].starts_with(&format!("x.rs:{last}: f32")), "{found:?}");
        }
    }
}

#[test]
fn every_exception_has_a_reason_and_is_still_needed() {
    for (file, marker, reason) in ALLOWED {
        assert!(reason.len() > 20, "{file}: {marker}: say why");
        let source = std::fs::read_to_string(root().join(file)).unwrap();
        assert!(
            product(&source).any(|(_, line)| has_word(line, marker)),
            "{file} no longer needs {marker}"
        );
    }
}
