//! The table of queues in `ARCHITECTURE.md` against the bounds in the code.

use std::path::Path;

const MIB: u64 = 1024 * 1024;

/// The value of a product of integers, `KIB` and `MIB`.
fn product(text: &str) -> u64 {
    text.split('*')
        .map(|factor| match factor.trim() {
            "KIB" => 1024,
            "MIB" => MIB,
            number => number
                .replace('_', "")
                .parse()
                .unwrap_or_else(|_| panic!("{text:?} is not a product of integers, KIB and MIB")),
        })
        .product()
}

/// The bound that an item of a file sets, in bytes: of a constant its value, of a `Bounds` or a configuration
/// the sum of its total bounds.
fn bound(code: &str, name: &str) -> u64 {
    let constant = format!("pub const {name}: ");
    let (start, end) = match code.find(&constant) {
        Some(start) => (start, ";\n"),
        None => (
            code.find(&format!("impl Default for {name} "))
                .unwrap_or_else(|| panic!("there is no {name}")),
            "\n}\n",
        ),
    };
    let item = &code[start..];
    let item = &item[..item.find(end).unwrap()];
    let fields: Vec<u64> = item
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let value = line
                .strip_prefix("bytes_max: ")
                .or_else(|| line.strip_prefix("held_bytes_max: "))?;
            Some(product(value.trim_end_matches(',')))
        })
        .collect();
    if fields.is_empty() {
        let (_, value) = item.split_once('=').unwrap();
        return product(value);
    }
    fields.iter().sum()
}

#[test]
fn the_table_of_queues_says_what_the_code_does_and_adds_up() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let (_, section) = text.split_once("\n## Memory\n").unwrap();
    let told: u64 = section
        .split_once("together hold at most ")
        .and_then(|(_, rest)| rest.split_once(" MiB"))
        .map(|(number, _)| number.replace(',', "").parse().unwrap())
        .unwrap();
    let mut sum = 0;
    let mut rows = 0;
    for row in section.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [queue, each, total, set_by, full] = cells[..] else {
            panic!("{row}");
        };
        assert!(!each.is_empty() && !full.is_empty(), "{queue}: {row}");
        let mut names = set_by.split('`');
        let (name, file) = (names.nth(1).unwrap(), names.nth(1).unwrap());
        let code = std::fs::read_to_string(root.join(file)).unwrap();
        let total: u64 = total.replace(',', "").parse().unwrap();
        assert_eq!(bound(&code, name), total * MIB, "{queue}: {name} in {file}");
        sum += total;
        rows += 1;
    }
    assert!(rows >= 15, "{rows} rows");
    assert!(
        sum <= told,
        "the queues may hold {sum} MiB, and {told} are promised"
    );
}

#[test]
fn a_bound_is_read_from_a_constant_a_list_and_a_default() {
    let code = "pub const A: usize = 2 * MIB;\npub const B: [Bounds; 2] = [\n    Bounds {\n        peer_bytes_max: MIB,\n        \
        bytes_max: 3 * KIB,\n    },\n    Bounds {\n        bytes_max: 1_000,\n    },\n];\nimpl Default for C {\n    fn default() \
        -> Self {\n        Self {\n            held_bytes_max: 64 * 1024 * 1024,\n        }\n    }\n}\n";
    assert_eq!(bound(code, "A"), 2 * MIB);
    assert_eq!(bound(code, "B"), 3 * 1024 + 1_000);
    assert_eq!(bound(code, "C"), 64 * MIB);
}
