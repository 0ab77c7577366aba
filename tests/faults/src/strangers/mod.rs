//! Hostile peers and clients against whole networks of processes: one row per attack, with its targets.
//!
//! Four validators and a follower run in separate namespaces; the attacker (`vibecoin-stranger`) runs in
//! another one, with sixteen source addresses in eight subnets, at a lower priority than the nodes, since it
//! shares their processors and a remote attacker would not. Rates are those of the slowest node. The clean
//! rate is taken on the same network just before the attack.
//!
//! - [`cases`]: the attacks with their parameters and targets, and their measurement;
//! - [`arena`]: the network and the attacker's process;
//! - [`sync`]: a node that joins beside Byzantine peers;
//! - [`limits`]: ordinary transactions of the most expensive kind, a full pool;
//! - [`machine`]: few file descriptors, one key on two nodes, wrong clocks.

use crate::table::Table;

pub mod arena;
pub mod cases;
pub mod limits;
pub mod machine;
pub mod sync;

/// A number from an environment variable, with a default.
fn setting(name: &str, otherwise: u64) -> u64 {
    let named = std::env::var(name).ok();
    named.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Names of everything that can be run.
#[must_use]
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = cases::CASES.iter().map(|case| case.name.to_owned()).collect();
    names.extend(
        [
            sync::NAME,
            limits::CLEARS,
            limits::POOL,
            limits::POOL_QUEUED,
            limits::POOL_MANY,
            machine::DESCRIPTORS,
            machine::TWINS,
            machine::CLOCK,
        ]
        .map(str::to_owned),
    );
    names
}

/// Runs attacks by name, all of them when none is named; returns the number of missed targets.
///
/// # Errors
/// In words, for a name that does not exist.
pub fn run(chosen: &[&str]) -> Result<usize, String> {
    let known = names();
    if let Some(unknown) = chosen
        .iter()
        .find(|name| !known.iter().any(|known| known == *name))
    {
        return Err(format!(
            "there is no attack {unknown:?}; known are {}",
            known.join(", ")
        ));
    }
    let mut table = Table::default();
    let wanted = |name: &str| chosen.is_empty() || chosen.contains(&name);
    for name in known.iter().filter(|name| wanted(name)) {
        println!("-- {name}");
        match name.as_str() {
            sync::NAME => sync::run(&mut table),
            limits::CLEARS => limits::clears(&mut table),
            limits::POOL => limits::pool(&mut table),
            limits::POOL_QUEUED => limits::pool_queued(&mut table),
            limits::POOL_MANY => limits::pool_many(&mut table),
            machine::DESCRIPTORS => machine::descriptors(&mut table),
            machine::TWINS => machine::twins(&mut table),
            machine::CLOCK => machine::clock(&mut table),
            _ => cases::run(name, &mut table),
        }
    }
    println!("\n{table}");
    Ok(table.missed())
}
