//! Extension of the wait for a proposal by parts of its block, and its limits.

use super::*;

/// The propose timeout of round 0.
const LENGTH: u64 = 300_000;
/// Parts of a block on a devnet: its opening and 20 ticks.
const PARTS: u32 = 21;
/// Length of a tick on a devnet.
const TICK: u64 = 5_000;

fn progress(parts: u32) -> Progress {
    Progress { parts, of: PARTS }
}

/// Delivers parts at these times, counted from the beginning of the wait in round 0, and returns the time of
/// the nil prevote.
fn waits(arrivals: impl IntoIterator<Item = (u64, Progress)>) -> u64 {
    let mut bench = Bench::started(4, 3);
    bench.orderer.start_propose_timer(T0);
    let mut ended = None;
    for (at, progress) in arrivals {
        ended = ended.or_else(|| run_until(&mut bench, at));
        bench
            .orderer
            .on_proposal_progress(Round::ZERO, progress, T0.after(at));
    }
    ended
        .or_else(|| run_until(&mut bench, 10 * LENGTH))
        .expect("the wait ends")
}

/// Lets every deadline before `until` pass. Returns the time of the first nil prevote.
fn run_until(bench: &mut Bench, until: u64) -> Option<u64> {
    let until = T0.after(until);
    let mut ended = None;
    while let Some(due) = bench.orderer.next_deadline().filter(|due| *due < until) {
        bench.orderer.on_time(due);
        if own_votes(&bench.drain()).contains(&(VoteKind::Prevote, None)) && ended.is_none() {
            ended = Some(due.0 - T0.0);
        }
        if ended.is_some() {
            break;
        }
    }
    ended
}

#[test]
fn a_part_moves_the_wait_of_its_round_by_its_share_and_no_other() {
    let mut bench = Bench::started(4, 3);
    let rebroadcast = Some(T0.after(500_000));
    bench.orderer.on_proposal_progress(Round(0), progress(1), T0);
    assert_eq!(
        bench.orderer.next_deadline(),
        rebroadcast,
        "no wait, none to move"
    );
    bench.orderer.start_propose_timer(T0);
    let later = T0.after(50_000);
    bench
        .orderer
        .on_proposal_progress(Round(1), progress(PARTS), later);
    assert_eq!(
        bench.orderer.next_deadline(),
        Some(T0.after(LENGTH)),
        "another round's"
    );
    bench.orderer.on_proposal_progress(Round(0), progress(7), later);
    let third = Some(T0.after(LENGTH + LENGTH / 6));
    assert_eq!(bench.orderer.next_deadline(), third, "a third of the parts");
    bench.orderer.on_proposal_progress(Round(0), progress(3), later);
    assert_eq!(bench.orderer.next_deadline(), third, "never sooner for a part");
}

#[test]
fn a_silent_proposer_is_waited_for_one_propose_timeout() {
    assert_eq!(waits([]), LENGTH);
}

#[test]
fn parts_that_come_just_in_time_do_not_begin_the_wait_again() {
    // This took four propose timeouts once: each part restarted the wait.
    let just_in_time = (1..=4).map(|part| (u64::from(part) * (LENGTH - 1), progress(part)));
    let share = LENGTH / 2 / u64::from(PARTS);
    assert_eq!(waits(just_in_time), LENGTH + share);
}

#[test]
fn all_parts_at_the_last_moment_add_half_a_timeout_and_no_more() {
    let last = LENGTH - 1;
    let all = (1..=PARTS).map(|parts| (last, progress(parts)));
    let again = (1..100).map(|time| (last + time * 5_000, progress(PARTS)));
    assert_eq!(waits(all.chain(again)), LENGTH + LENGTH / 2);
}

#[test]
fn a_proposer_that_begins_late_but_keeps_the_pace_is_waited_for() {
    let begins = LENGTH - 2 * TICK;
    let parts = (1..=PARTS).map(|part| (begins + u64::from(part - 1) * TICK, progress(part)));
    let last = begins + u64::from(PARTS - 1) * TICK;
    let ended = waits(parts);
    assert!(
        ended >= last + TICK,
        "{ended} µs, the last part came at {last} µs"
    );
}

#[test]
fn a_large_block_on_a_slow_link_gets_through_at_a_steady_rate() {
    // The whole block takes nearly one and a half propose timeouts: 4.4 times the time of its ticks.
    let takes = LENGTH + LENGTH / 2 - 10_000;
    let parts = (1..=PARTS).map(|part| (takes * u64::from(part) / u64::from(PARTS), progress(part)));
    let ended = waits(parts);
    assert!(ended > takes, "{ended} µs of {takes} µs");
}

#[test]
fn a_proposer_that_falls_behind_the_pace_of_its_shares_is_given_up_before_its_block_is_here() {
    // Twice the time that the whole block may take.
    let takes = 3 * LENGTH;
    let parts = (1..=PARTS).map(|part| (takes * u64::from(part) / u64::from(PARTS), progress(part)));
    let ended = waits(parts);
    assert!(ended < LENGTH + LENGTH / 4, "{ended} µs");
}

#[test]
fn whatever_comes_and_when_no_round_waits_longer_than_one_and_a_half_propose_timeouts() {
    let mut longest = [0; 3];
    for seed in 0..3_000 {
        let mut rng = Rng::new(seed + 1);
        let round = rng.below(3) as u32;
        let length = LENGTH + u64::from(round) * 100_000;
        let mut bench = Bench::started(4, 3);
        if round == 0 {
            bench.orderer.start_propose_timer(T0);
        } else {
            let others = bench.others();
            for other in &others[..2] {
                bench.vote(other, VoteKind::Prevote, round, None);
            }
        }
        assert_eq!(bench.orderer.status().round, Round(round), "seed {seed}");
        let proposer = bench.proposer(round).public_key();
        let of = rng.below(25) as u32;
        let (mut at, mut left, mut parts) = (0, false, 0);
        let ended = loop {
            // Repeatedly just in time, as a Byzantine proposer does.
            let due = bench.orderer.next_deadline().unwrap_or(T0).0 - T0.0;
            at = if rng.below(2) == 0 && due > at {
                due - 1
            } else {
                at + rng.below(length / 4)
            };
            if let Some(ended) = run_until(&mut bench, at) {
                break ended;
            }
            assert!(at <= 2 * length, "seed {seed}: still waiting after {at} µs");
            let now = T0.after(at);
            match rng.below(10) {
                0 => {
                    left = true;
                    bench.orderer.on_peer_disconnected(proposer, now);
                }
                1 => bench.orderer.on_peer_connected(proposer, now),
                2 => {
                    let parts = rng.next() as u32;
                    let of = rng.next() as u32;
                    let progress = Progress { parts, of };
                    bench
                        .orderer
                        .on_proposal_progress(Round(rng.below(4) as u32), progress, now);
                }
                _ => {
                    parts += rng.below(1 + u64::from(of)) as u32;
                    let progress = Progress { parts, of };
                    bench.orderer.on_proposal_progress(Round(round), progress, now);
                }
            }
            bench.drain();
        };
        let longest = &mut longest[round as usize];
        *longest = ended.max(*longest);
        assert!(
            ended <= length + length / 2,
            "seed {seed}: {ended} µs of {length} µs in round {round}"
        );
        assert!(left || ended >= length, "seed {seed}: only {ended} µs");
    }
    // The bound is reached, so that the test is not void.
    assert_eq!(longest, [450_000, 600_000, 750_000]);
}
