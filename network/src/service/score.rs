//! How much a peer is to blame, and when it is shut out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId as LibPeer;

/// What one broken rule costs.
pub const FAULT_POINTS: u32 = 10;
/// What broken framing costs: the peer does not speak our language.
pub const FRAMING_POINTS: u32 = 50;
/// Points at which a peer is banned.
pub const BAN_POINTS: u32 = 100;
/// Points that are forgiven each second.
const FORGIVEN_PER_S: u64 = 1;
/// How long a ban lasts that the node itself decides on.
pub const BAN_TIME: Duration = Duration::from_secs(600);
/// Most bans and most scores that are remembered.
const REMEMBERED_MAX: usize = 4096;

struct Points {
    points: u32,
    at: Instant,
}

/// A peer that is shut out.
#[derive(Clone, Debug)]
pub struct Ban {
    pub reason: String,
    pub until: Option<Instant>,
}

/// Points and bans of peers.
#[derive(Default)]
pub struct Scores {
    points: HashMap<LibPeer, Points>,
    bans: HashMap<LibPeer, Ban>,
}

fn remaining(points: &Points, now: Instant) -> u32 {
    let seconds = now.saturating_duration_since(points.at).as_secs();
    let forgiven = seconds.saturating_mul(FORGIVEN_PER_S);
    points
        .points
        .saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
}

impl Scores {
    /// Adds points; `true` when the peer has too many now.
    pub fn blame(&mut self, peer: LibPeer, points: u32, now: Instant) -> bool {
        if self.points.len() >= REMEMBERED_MAX {
            self.points.retain(|_, points| remaining(points, now) > 0);
        }
        if self.points.len() >= REMEMBERED_MAX && !self.points.contains_key(&peer) {
            return false;
        }
        let entry = self.points.entry(peer).or_insert(Points { points: 0, at: now });
        let sum = remaining(entry, now).saturating_add(points);
        *entry = Points { points: sum, at: now };
        sum >= BAN_POINTS
    }

    /// What is left of a peer's points.
    pub fn of(&self, peer: &LibPeer, now: Instant) -> u32 {
        self.points.get(peer).map_or(0, |points| remaining(points, now))
    }

    /// Remembers a ban; `false` when there is no room for it.
    pub fn ban(&mut self, peer: LibPeer, ban: Ban) -> bool {
        self.points.remove(&peer);
        let room = self.bans.len() < REMEMBERED_MAX || self.bans.contains_key(&peer);
        if room {
            self.bans.insert(peer, ban);
        }
        room
    }

    pub fn unban(&mut self, peer: &LibPeer) -> bool {
        self.bans.remove(peer).is_some()
    }

    pub fn is_banned(&self, peer: &LibPeer) -> bool {
        self.bans.contains_key(peer)
    }

    /// Removes the bans that are over, and names their peers.
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

    #[test]
    fn points_add_up_to_a_ban_and_are_forgiven_with_time() {
        let (mut scores, peer, start) = (Scores::default(), LibPeer::random(), Instant::now());
        for _ in 1..10 {
            assert!(!scores.blame(peer, FAULT_POINTS, start));
        }
        let later = start.checked_add(Duration::from_secs(60)).unwrap_or(start);
        assert_eq!(scores.of(&peer, later), 30);
        assert!(!scores.blame(peer, FAULT_POINTS, later));
        assert!(scores.blame(peer, 60, later));
    }

    #[test]
    fn a_ban_ends_when_its_time_is_over_and_not_before() {
        let (mut scores, peer, start) = (Scores::default(), LibPeer::random(), Instant::now());
        let until = start.checked_add(Duration::from_secs(5));
        let reason = "test".to_owned();
        assert!(scores.ban(peer, Ban { reason, until }));
        assert!(scores.expired(start).is_empty());
        assert!(scores.is_banned(&peer));
        assert_eq!(scores.expired(until.unwrap_or(start)), vec![peer]);
        assert!(!scores.is_banned(&peer));
    }
}
