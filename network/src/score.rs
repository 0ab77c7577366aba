//! Misbehaviour scores and bans of peers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::PeerId as LibPeer;
use vibecoin_messages::Severity;
use vibecoin_primitives::PublicKey;

/// Points at which a peer is banned.
pub const BAN_POINTS: u32 = 100;
/// Points for an offence of this severity.
pub const fn points_of(severity: Severity) -> u32 {
    match severity {
        Severity::Minor => BAN_POINTS / 10,
        Severity::Serious => BAN_POINTS / 2,
        Severity::Grave => BAN_POINTS,
    }
}
/// Points that are forgiven per second.
const FORGIVEN_PER_S: u64 = 1;
/// Duration of a ban that the node itself decides on.
pub const BAN_TIME: Duration = Duration::from_secs(600);
/// Maximum number of bans and of scores kept.
const REMEMBERED_MAX: usize = 4096;
/// Number of identities of one machine that must be banned, within [`BAN_TIME`], for the machine to be
/// banned. Honest nodes may share its address.
const MACHINE_BANS: u32 = 3;
/// Maximum number of machines kept.
const MACHINES_MAX: usize = 4096;

struct Points {
    points: u32,
    at: Instant,
}

/// The ban of a peer.
#[derive(Clone, Debug)]
pub struct Ban {
    pub reason: String,
    pub until: Option<Instant>,
}

/// The ban of a validator's key.
struct KeyBan {
    /// The banned node of this validator.
    node: LibPeer,
    until: Instant,
}

/// A machine with banned identities.
struct Machine {
    bans: u32,
    /// Time at which it is removed: [`BAN_TIME`] after the last ban.
    until: Instant,
}

/// Outcome of a request for a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remembered {
    Yes {
        lifted: Option<LibPeer>,
    },
    /// All bans kept are permanent.
    No,
}

/// Points and bans of peers.
#[derive(Default)]
pub struct Scores {
    points: HashMap<LibPeer, Points>,
    bans: HashMap<LibPeer, Ban>,
    /// Banned keys of validators, with their expiry. No more than there are validators.
    keys: HashMap<PublicKey, KeyBan>,
    machines: HashMap<IpAddr, Machine>,
}

fn remaining(points: &Points, now: Instant) -> u32 {
    let seconds = now.saturating_duration_since(points.at).as_secs();
    let forgiven = seconds.saturating_mul(FORGIVEN_PER_S);
    points
        .points
        .saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
}

impl Scores {
    /// Adds points; returns `true` when the peer reaches the ban threshold.
    pub fn blame(&mut self, peer: LibPeer, points: u32, now: Instant) -> bool {
        if self.points.len() >= REMEMBERED_MAX {
            self.points.retain(|_, points| remaining(points, now) > 0);
        }
        if self.points.len() >= REMEMBERED_MAX && !self.points.contains_key(&peer) {
            let least = self
                .points
                .iter()
                .min_by_key(|(_, points)| remaining(points, now));
            if let Some(least) = least.map(|(peer, _)| *peer) {
                self.points.remove(&least);
            }
        }
        let entry = self.points.entry(peer).or_insert(Points { points: 0, at: now });
        let left = remaining(entry, now);
        // Forgiven in whole seconds: the remainder of one counts for the next point.
        let forgiven = u64::from(entry.points.saturating_sub(left));
        let since = entry
            .at
            .checked_add(Duration::from_secs(forgiven / FORGIVEN_PER_S));
        let at = if left == 0 { now } else { since.unwrap_or(now) };
        let points = left.saturating_add(points);
        *entry = Points { points, at };
        points >= BAN_POINTS
    }

    /// The remaining points of a peer.
    pub fn of(&self, peer: &LibPeer, now: Instant) -> u32 {
        self.points.get(peer).map_or(0, |points| remaining(points, now))
    }

    /// Adds a ban. If there is no space, the one that expires first is lifted; an operator's, which may be
    /// permanent, stays.
    pub fn ban(&mut self, peer: LibPeer, ban: Ban) -> Remembered {
        self.points.remove(&peer);
        let mut lifted = None;
        if self.bans.len() >= REMEMBERED_MAX && !self.bans.contains_key(&peer) {
            let ends = self
                .bans
                .iter()
                .filter_map(|(peer, ban)| Some((ban.until?, *peer)));
            let Some((_, first)) = ends.min() else {
                return Remembered::No;
            };
            self.bans.remove(&first);
            lifted = Some(first);
        }
        self.bans.insert(peer, ban);
        Remembered::Yes { lifted }
    }

    /// Bans the key of a validator whose node was banned: under a different identity it is the same
    /// validator.
    pub fn ban_key(&mut self, key: PublicKey, node: LibPeer, now: Instant) {
        if let Some(until) = now.checked_add(BAN_TIME) {
            self.keys.insert(key, KeyBan { node, until });
        }
    }

    /// Returns true if the key of this validator is banned.
    pub fn is_key_banned(&self, key: &PublicKey, now: Instant) -> bool {
        self.keys.get(key).is_some_and(|ban| ban.until > now)
    }

    /// Counts a banned identity of a machine; returns `true` when the machine is banned now. Identities are
    /// free, so bans of identities alone are not effective.
    pub fn ban_machine(&mut self, machine: IpAddr, now: Instant) -> bool {
        let Some(until) = now.checked_add(BAN_TIME) else {
            return false;
        };
        if self.machines.len() >= MACHINES_MAX && !self.machines.contains_key(&machine) {
            self.machines.retain(|_, record| record.until > now);
        }
        if self.machines.len() >= MACHINES_MAX && !self.machines.contains_key(&machine) {
            let first = self
                .machines
                .iter()
                .min_by_key(|(_, record)| (record.bans, record.until));
            if let Some(first) = first.map(|(machine, _)| *machine) {
                self.machines.remove(&first);
            }
        }
        let record = self.machines.entry(machine).or_insert(Machine { bans: 0, until });
        if record.until <= now {
            record.bans = 0;
        }
        *record = Machine {
            bans: record.bans.saturating_add(1),
            until,
        };
        record.bans >= MACHINE_BANS
    }

    /// Returns true if unknown peers of a machine are banned.
    pub fn is_machine_banned(&self, machine: &IpAddr, now: Instant) -> bool {
        let record = self.machines.get(machine);
        record.is_some_and(|record| record.bans >= MACHINE_BANS && record.until > now)
    }

    pub fn unban(&mut self, peer: &LibPeer) -> bool {
        self.keys.retain(|_, ban| ban.node != *peer);
        self.bans.remove(peer).is_some()
    }

    pub fn is_banned(&self, peer: &LibPeer) -> bool {
        self.bans.contains_key(peer)
    }

    /// Removes the expired bans, and returns their peers.
    pub fn expired(&mut self, now: Instant) -> Vec<LibPeer> {
        let over = |ban: &Ban| ban.until.is_some_and(|until| until <= now);
        let peers: Vec<LibPeer> = self
            .bans
            .iter()
            .filter(|(_, ban)| over(ban))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in &peers {
            self.bans.remove(peer);
        }
        peers
    }

    pub fn bans(&self) -> impl Iterator<Item = (&LibPeer, &Ban)> {
        self.bans.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINOR: u32 = points_of(Severity::Minor);

    #[test]
    fn points_add_up_to_a_ban_and_are_forgiven_with_time() {
        let (mut scores, peer, start) = (Scores::default(), LibPeer::random(), Instant::now());
        for _ in 1..10 {
            assert!(!scores.blame(peer, MINOR, start));
        }
        let later = start.checked_add(Duration::from_secs(60)).unwrap_or(start);
        assert_eq!(scores.of(&peer, later), 30);
        assert!(!scores.blame(peer, MINOR, later));
        assert!(scores.blame(peer, 60, later));
    }

    #[test]
    fn blame_that_comes_more_often_than_each_second_is_forgiven_as_well() {
        let (mut scores, peer, start) = (Scores::default(), LibPeer::random(), Instant::now());
        let after = |ms: u64| start.checked_add(Duration::from_millis(ms)).unwrap_or(start);
        // Of a hundred points in 99 seconds, 99 are forgiven.
        for turn in 0..2_000_u64 {
            assert!(
                !scores.blame(peer, 1, after(turn.saturating_mul(990))),
                "turn {turn}"
            );
        }
        assert_eq!(scores.of(&peer, after(1_980_000)), 20);
    }

    #[test]
    fn a_full_memory_lifts_the_ban_that_ends_first_and_never_one_without_end() {
        let (mut scores, start) = (Scores::default(), Instant::now());
        let ban = |seconds: Option<u64>| Ban {
            reason: String::new(),
            until: seconds.and_then(|seconds| start.checked_add(Duration::from_secs(seconds))),
        };
        let [soon, later] = [(); 2].map(|()| LibPeer::random());
        scores.ban(later, ban(Some(9)));
        scores.ban(soon, ban(Some(5)));
        for _ in 2..REMEMBERED_MAX {
            assert_eq!(
                scores.ban(LibPeer::random(), ban(None)),
                Remembered::Yes { lifted: None }
            );
        }
        for first in [soon, later] {
            let lifted = Some(first);
            assert_eq!(
                scores.ban(LibPeer::random(), ban(None)),
                Remembered::Yes { lifted }
            );
            assert!(!scores.is_banned(&first));
        }
        assert_eq!(scores.ban(soon, ban(Some(99))), Remembered::No);
    }

    #[test]
    fn a_full_memory_forgets_the_least_blame_for_new_blame() {
        let (mut scores, least, now) = (Scores::default(), LibPeer::random(), Instant::now());
        scores.blame(least, 1, now);
        for _ in 0..REMEMBERED_MAX {
            scores.blame(LibPeer::random(), MINOR, now);
        }
        assert_eq!(scores.of(&least, now), 0);
        assert!(scores.blame(LibPeer::random(), BAN_POINTS, now));
    }

    #[test]
    fn a_ban_ends_when_its_time_is_over_and_not_before() {
        let (mut scores, peer, start) = (Scores::default(), LibPeer::random(), Instant::now());
        let until = start.checked_add(Duration::from_secs(5));
        let reason = "test".to_owned();
        assert_eq!(
            scores.ban(peer, Ban { reason, until }),
            Remembered::Yes { lifted: None }
        );
        assert!(scores.expired(start).is_empty());
        assert!(scores.is_banned(&peer));
        assert_eq!(scores.expired(until.unwrap_or(start)), vec![peer]);
        assert!(!scores.is_banned(&peer));
    }

    #[test]
    fn the_key_of_a_banned_validator_is_banned_for_as_long() {
        let (mut scores, start) = (Scores::default(), Instant::now());
        let [bad, good] = [PublicKey([1; 32]), PublicKey([2; 32])];
        let node = LibPeer::random();
        scores.ban_key(bad, node, start);
        let end = start.checked_add(BAN_TIME).unwrap_or(start);
        assert!(scores.is_key_banned(&bad, start));
        assert!(!scores.is_key_banned(&good, start));
        assert!(!scores.is_key_banned(&bad, end));
        scores.unban(&node);
        assert!(!scores.is_key_banned(&bad, start), "with its node");
    }

    #[test]
    fn a_machine_whose_identities_are_banned_again_and_again_is_banned_for_a_time() {
        let (mut scores, start) = (Scores::default(), Instant::now());
        let [liar, other] = [[8, 8, 8, 8], [9, 9, 9, 9]].map(IpAddr::from);
        let after = |seconds: u64| start.checked_add(Duration::from_secs(seconds)).unwrap_or(start);
        assert!(!scores.ban_machine(liar, start));
        assert!(!scores.ban_machine(liar, after(1)));
        assert!(!scores.is_machine_banned(&liar, after(1)));
        assert!(scores.ban_machine(liar, after(2)));
        assert!(scores.is_machine_banned(&liar, after(601)));
        assert!(!scores.is_machine_banned(&liar, after(602)), "it is over");
        assert!(!scores.ban_machine(liar, after(700)), "and begins anew");
        assert!(!scores.is_machine_banned(&other, after(2)));
        // When full, the machines with the fewest bans are removed.
        for number in 0..10_000_u32 {
            scores.ban_machine(IpAddr::from(number.to_be_bytes()), after(3));
        }
        assert!(scores.machines.len() <= MACHINES_MAX);
    }
}
