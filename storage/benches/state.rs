//! `state::update`: durable blocks of random account updates. Accounts and blocks may be given as
//! arguments: `cargo bench -p vibecoin-storage -- 1000000 60`.

use vibecoin_storage::StoreConfig;
use vibecoin_storage::bench::{StateBench, run};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse::<u64>().ok());
    let accounts = numbers.next().unwrap_or(100_000);
    let blocks = numbers.next().unwrap_or(40);
    let updates = numbers.next().unwrap_or(10_000);
    let all = usize::try_from(accounts)?;
    for (name, rows_cached_max) in [("cold", 1), ("warm", all.saturating_add(all / 4))] {
        let folder = std::env::temp_dir().join(format!("vibecoin-bench-state-{}-{name}", std::process::id()));
        let config = StoreConfig {
            rows_cached_max,
            trie_nodes_max: 400_000,
            ..StoreConfig::default()
        };
        let bench = StateBench {
            folder: folder.clone(),
            accounts,
            blocks,
            updates,
            proofs: 5_000,
            config,
        };
        let report = run(&bench);
        std::fs::remove_dir_all(&folder)?;
        println!(
            "state::update/accounts={accounts} block={updates} cache={name}: {}",
            report?
        );
    }
    Ok(())
}
