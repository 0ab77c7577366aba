//! A node that joins from genesis beside Byzantine peers (B9).

use std::path::Path;
use std::time::{Duration, Instant};

use vibecoin_byzantine::{Attack, Report};
use vibecoin_tests_nodes::copy;

use super::arena::{Arena, FOLLOWER, How, peers};
use super::setting;
use crate::scenarios::HEALS_WITHIN;
use crate::table::Table;

/// Name on the command line.
pub const NAME: &str = "liars";
/// Blocks that the joining node has to fetch, unless `STRANGERS_BLOCKS` names another number; M3 has 10,000.
const BLOCKS: u64 = 800;
/// Milliseconds between blocks: the chain must become long soon.
const PACE_MS: u64 = 60;
/// Duration of the Byzantine behaviour for each joining node.
const TIME: Duration = Duration::from_secs(12);
/// The nodes that stay, from which it can fetch the blocks.
const SERVING: [usize; 2] = [0, 1];
/// Number of Byzantine peers of one kind.
const LIARS: usize = 2;
/// MiB of a node that joins: those of an idle one, and 200.
const JOIN_MIB_MAX: u64 = 222;
/// Maximum time of a join per block, beyond [`HEALS_WITHIN`].
const BLOCK_WITHIN: Duration = Duration::from_millis(50);
/// Milliseconds in which a joining node must have left a peer with invalid answers. One that is silent
/// instead cannot detect that it was left: this is the delay that each may cause.
const LEFT_MS_MAX: u64 = 1_000;
/// Joins without Byzantine peers, of which the slower counts.
const CLEAN_JOINS: usize = 2;

/// The kinds, and true if the behaviour must cost the connection.
const KINDS: [(Attack, bool); 5] = [
    (Attack::LiarHead, false),
    (Attack::LiarGaps, true),
    (Attack::LiarCertificate, true),
    (Attack::LiarStall, false),
    (Attack::LiarShrinks, false),
];

/// Runs every kind against a node that starts from genesis.
pub fn run(table: &mut Table) {
    let arena = Arena::paced(&[], PACE_MS);
    let wanted = setting("STRANGERS_BLOCKS", BLOCKS);
    // The chain must reach that length first.
    let grown = HEALS_WITHIN
        .saturating_mul(3)
        .saturating_add(Duration::from_millis(wanted * PACE_MS * 4));
    let within = BLOCK_WITHIN
        .saturating_mul(u32::try_from(wanted).unwrap_or(u32::MAX))
        .saturating_add(HEALS_WITHIN);
    let home = &arena.cluster.homes.paths[FOLLOWER];
    let pristine = home.with_extension("pristine");
    copy(home, &pristine);
    arena.start(&[0, 1, 2, 3]);
    arena.cluster.wait_all_reach(&[0, 1, 2, 3], wanted, grown);
    // Two of four decide nothing: the chain stalls, and every join has the same length.
    arena.cluster.kill(2);
    arena.cluster.kill(3);
    let mut clean = Duration::ZERO;
    let mut peak = 0;
    for _ in 0..CLEAN_JOINS {
        clean = clean.max(join(&arena, within));
        peak = peak.max(arena.cluster.peak_kib(FOLLOWER).unwrap_or(0));
        arena.cluster.kill(FOLLOWER);
        restore(home, &pristine);
    }
    let blocks = arena.cluster.top(&[0]);
    let text = format!(
        "{} ms for {blocks} blocks, {} MiB at most",
        clean.as_millis(),
        peak / 1024
    );
    table.row(
        "M3",
        "join without liars",
        "≤ 222 MiB",
        text,
        peak <= JOIN_MIB_MAX * 1024,
    );
    for (attack, is_offence) in KINDS {
        let mut targets = peers(&[FOLLOWER]);
        // The Byzantine peers fetch the true chain from here.
        targets.extend(peers(&[0]));
        let how = How {
            targets: &targets,
            strangers: LIARS,
            spread: true,
            key: None,
            time: TIME,
        };
        let mut attacker = arena.attacker(attack, &how);
        attacker.go();
        let took = join(&arena, within);
        let report: Report = attacker.report();
        arena.cluster.assert_alive();
        let banned =
            report.offences > 0 && report.dropped == report.offences && report.longest_ms <= LEFT_MS_MAX;
        let delayed_max = clean.saturating_add(Duration::from_millis(LEFT_MS_MAX * LIARS as u64));
        let in_time = took <= clean.saturating_mul(2);
        let text = format!(
            "{} ms; dropped {} of {} (longest stay {} ms), {} admitted, {} refused",
            took.as_millis(),
            report.dropped,
            report.offences,
            report.longest_ms,
            report.admitted,
            report.refused
        );
        let mut target = format!("≤ {} ms", clean.saturating_mul(2).as_millis());
        if is_offence {
            target += &format!(", dropped in {LEFT_MS_MAX} ms");
        } else {
            target += &format!(" and ≤ {} ms", delayed_max.as_millis());
        }
        let left = if is_offence { banned } else { took <= delayed_max };
        // One admission is the honest source's.
        let met = in_time && report.admitted > 1 && left;
        table.row("B9", attack.name(), &target, text, met);
        arena.cluster.kill(FOLLOWER);
        restore(home, &pristine);
    }
}

/// Starts the follower; returns the time until it is at the head, which must be at most `within`.
fn join(arena: &Arena, within: Duration) -> Duration {
    let begun = Instant::now();
    arena.cluster.start(&[FOLLOWER]);
    arena.cluster.wait_at_head(FOLLOWER, &SERVING, within);
    begun.elapsed()
}

fn restore(home: &Path, pristine: &Path) {
    std::fs::remove_dir_all(home).expect("remove the home");
    copy(pristine, home);
}
