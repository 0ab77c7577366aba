//! Address book and dial schedule.
//!
//! Any peer may announce addresses, its own and others', true or false. So an address counts as verified only
//! when this node has dialled it and completed a hello there; verified entries are never displaced by
//! unverified ones; the entries of one announcer, of one network of announcers and of one announced address
//! are bounded; and addresses of networks that this node is not on are not dialled at all, see `scopes`.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId as LibPeer};

use crate::admission::{ip_of, machine, provider};
use crate::counters::{Refusal, Tally};
use crate::scopes::Scopes;

/// Maximum number of peers in the book.
pub const BOOK_MAX: usize = 512;
/// Maximum number of addresses of one peer, such as one for QUIC and one for TCP, and of those that others
/// announce of it beside them. Each dial takes the next one.
pub const ADDRESSES_PER_PEER_MAX: usize = 4;
/// Target number of connections; below it, the node dials further peers.
pub const OUTBOUND_WANTED: usize = 8;
/// Minimum delay before a peer is dialled again.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// Maximum delay for a persistent peer.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Maximum delay for any other peer.
const BACKOFF_MAX_OTHERS: Duration = Duration::from_secs(60);

/// Delay of the first dial of the node with the greater identity, so that the other one dials first.
const SIMULTANEOUS_DIAL_DELAY: Duration = Duration::from_millis(50);
/// Failed dials after which a peer may be evicted in favour of another.
const FAILED_DIALS_BEFORE_EVICTION: u32 = 3;
/// Maximum number of peers known only from others, which may have invented them.
const UNVERIFIED_MAX: usize = BOOK_MAX / 2;
/// Maximum number of unverified peers announced by one peer.
const PER_ANNOUNCER_MAX: usize = 32;
/// Maximum number of unverified peers announced from one provider's network, for all identities and machines
/// there: the first 16 bits of an address for IPv4, 32 for IPv6.
const PER_ORIGIN_MAX: usize = 64;
/// Maximum number of peers at one address, verified or not, except those configured by the operator.
const PER_TARGET_MAX: usize = 8;
/// The same for loopback, where a whole test network may be.
const LOOPBACK_MAX: usize = BOOK_MAX / 4;
/// Failed dials after which an address is no longer verified.
const VERIFIED_DIALS: u32 = 12;

/// Half to the whole of a delay, so that nodes that lost each other do not dial in step.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().hash_one(0);
    let half = wait.checked_div(2).unwrap_or(wait);
    let extra = (random % 1_000)
        .saturating_mul(u64::try_from(half.as_micros()).unwrap_or(0))
        .checked_div(1_000)
        .unwrap_or(0);
    half.saturating_add(Duration::from_micros(extra))
}

/// A peer that announces addresses, and the machine it is connected from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcer {
    pub peer: LibPeer,
    pub ip: Option<IpAddr>,
}

impl Announcer {
    fn origin(&self) -> Option<IpAddr> {
        self.ip.map(provider)
    }
}

/// A peer that may be dialled.
struct Entry {
    /// Addresses configured by the operator, or announced by the peer itself; for a peer never connected, the
    /// first that others announced.
    ways: Vec<Multiaddr>,
    /// The one of `ways` at which the peer completed a hello when it was dialled.
    verified: Option<Multiaddr>,
    /// The peer that announced it; not set for configured addresses and those from the file.
    announcer: Option<Announcer>,
    /// Addresses announced by others since a dial of the peer failed. Unverified, so they are tried beside the rest.
    unverified: Vec<Multiaddr>,
    /// Configured to stay connected with.
    persistent: bool,
    boot: bool,
    /// Known only from others.
    learned: bool,
    next: Instant,
    backoff: Duration,
    /// Dials since its last long connection ended: selects the next of its addresses.
    dials: u32,
    /// Dials since its last hello.
    failed_dials: u32,
}

impl Entry {
    /// Adds another address of the peer; the oldest is removed if necessary.
    fn also(&mut self, address: Multiaddr) {
        if self.ways.contains(&address) {
            return;
        }
        if self.ways.len() >= ADDRESSES_PER_PEER_MAX {
            self.ways.remove(0);
        }
        self.ways.push(address);
    }

    const fn is_given(&self) -> bool {
        self.persistent || self.boot
    }

    /// The address for the next dial.
    fn next_way(&self) -> Option<&Multiaddr> {
        let count = self.ways.len().saturating_add(self.unverified.len());
        let turn = usize::try_from(self.dials).ok()?.checked_rem(count)?;
        self.ways.iter().chain(&self.unverified).nth(turn)
    }
}

/// The address book.
pub struct Book {
    own: LibPeer,
    entries: HashMap<LibPeer, Entry>,
    file: Option<PathBuf>,
    changed: bool,
    scopes: Scopes,
    tally: Arc<Tally>,
}

impl Book {
    pub fn new(own: LibPeer, file: Option<PathBuf>, scopes: Scopes, tally: Arc<Tally>) -> Self {
        let mut book = Self {
            own,
            entries: HashMap::new(),
            file,
            changed: false,
            scopes,
            tally,
        };
        // A file that cannot be read is created again: it only saves time.
        let remembered = book
            .file
            .as_deref()
            .and_then(|path| std::fs::read_to_string(path).ok());
        let remembered: Vec<String> = remembered
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let remembered = remembered
            .iter()
            .filter_map(|address| scopes.usable(address, None));
        for (peer, address) in remembered.take(BOOK_MAX.saturating_mul(ADDRESSES_PER_PEER_MAX)) {
            if let Some(entry) = book.entries.get_mut(&peer) {
                entry.also(address);
            } else if book.entries.len() < BOOK_MAX {
                // The file does not contain the announcers.
                book.put(peer, address, false, false);
                book.entries.entry(peer).and_modify(|entry| entry.learned = true);
            }
        }
        book.changed = false;
        book
    }

    fn put(&mut self, peer: LibPeer, address: Multiaddr, persistent: bool, boot: bool) {
        if peer == self.own {
            return;
        }
        let entry = Entry {
            ways: vec![address],
            verified: None,
            announcer: None,
            unverified: Vec::new(),
            persistent,
            boot,
            learned: false,
            next: self.first_dial(&peer),
            backoff: BACKOFF_MIN,
            dials: 0,
            failed_dials: 0,
        };
        self.entries.insert(peer, entry);
    }

    /// Time of the first dial of a peer. Of two nodes that dial each other one is delayed, so that they do
    /// not connect twice.
    fn first_dial(&self, peer: &LibPeer) -> Instant {
        let now = Instant::now();
        let later = now.checked_add(SIMULTANEOUS_DIAL_DELAY).unwrap_or(now);
        if self.own < *peer { now } else { later }
    }

    /// Returns true if the operator configured the peer to stay connected with.
    pub fn is_persistent(&self, peer: &LibPeer) -> bool {
        self.entries.get(peer).is_some_and(|entry| entry.persistent)
    }

    /// Adds an address of a persistent peer.
    pub fn add(&mut self, peer: LibPeer, address: Multiaddr) {
        match self.entries.get_mut(&peer).filter(|entry| entry.persistent) {
            Some(entry) => entry.also(address),
            None => self.put(peer, address, true, false),
        }
    }

    /// Adds an address of a bootnode.
    pub fn add_boot(&mut self, peer: LibPeer, address: Multiaddr) {
        match self.entries.get_mut(&peer) {
            Some(entry) if entry.boot => entry.also(address),
            Some(entry) if entry.persistent => {}
            // The entry from the file may be unverified.
            _ => self.put(peer, address, false, true),
        }
    }

    /// Adds addresses that a peer announced of others. They replace only earlier announcements of this kind,
    /// and are used only after a failed dial: they are unverified.
    pub fn learn(&mut self, from: Announcer, addresses: &[String]) {
        let mut told: BTreeMap<LibPeer, Vec<Multiaddr>> = BTreeMap::new();
        for address in addresses {
            let Some((peer, address)) = self.scopes.usable(address, None) else {
                self.tally.refuse(Refusal::Address);
                continue;
            };
            let ways = told.entry(peer).or_default();
            if ways.len() < ADDRESSES_PER_PEER_MAX {
                ways.push(address);
            }
        }
        told.remove(&self.own);
        for (peer, mut ways) in told {
            let Some(entry) = self.entries.get_mut(&peer) else {
                let learned = self.entries.values().filter(|entry| entry.learned).count();
                if learned < UNVERIFIED_MAX
                    || self.forget_one(|entry| {
                        entry.learned && entry.failed_dials >= FAILED_DIALS_BEFORE_EVICTION
                    })
                {
                    self.note(peer, ways, from, true);
                }
                continue;
            };
            if entry.failed_dials >= FAILED_DIALS_BEFORE_EVICTION && !entry.is_given() {
                ways.retain(|way| !entry.ways.contains(way));
                entry.unverified = ways;
            }
        }
    }

    /// Adds addresses that a peer announced of itself. Those of others among them are ignored. The address
    /// that it is connected from is on a reachable network, of any kind.
    pub fn learn_from_itself(&mut self, from: Announcer, addresses: &[String]) {
        let mut ways = Vec::new();
        for address in addresses {
            match self.scopes.usable(address, from.ip) {
                Some((named, way)) if named == from.peer => ways.push(way),
                Some(_) => {}
                None => self.tally.refuse(Refusal::Address),
            }
        }
        ways.truncate(ADDRESSES_PER_PEER_MAX);
        if !ways.is_empty() {
            self.note(from.peer, ways, from, false);
        }
    }

    /// Records that the peer completed a hello.
    pub fn met(&mut self, peer: &LibPeer) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.failed_dials = 0;
        }
    }

    /// Records that the peer completed a hello at an address that was dialled.
    pub fn verified(&mut self, peer: &LibPeer, address: &Multiaddr) {
        // Dialled addresses end in the identity, those of the book do not.
        let is_place = |part: &Protocol<'_>| !matches!(part, Protocol::P2p(_));
        let address: &Multiaddr = &address.iter().filter(is_place).collect();
        if let Some(entry) = self.entries.get_mut(peer) {
            let is_known = entry.ways.contains(address) || entry.unverified.contains(address);
            if is_known && entry.verified.as_ref() != Some(address) {
                entry.verified = Some(address.clone());
                entry.learned = false;
                self.changed = true;
            }
        }
    }

    /// Replaces earlier announced addresses, but not configured ones, nor an address at which the peer was
    /// reached.
    fn note(&mut self, peer: LibPeer, mut ways: Vec<Multiaddr>, from: Announcer, learned: bool) {
        if let Some(entry) = self.entries.get_mut(&peer) {
            if entry.is_given() {
                return;
            }
            if let Some(verified) = &entry.verified {
                ways.retain(|way| way != verified);
                ways.insert(0, verified.clone());
                ways.truncate(ADDRESSES_PER_PEER_MAX);
            }
            entry.learned = learned && entry.verified.is_none();
            if entry.ways == ways && entry.unverified.is_empty() {
                return;
            }
            (entry.ways, entry.unverified) = (ways, Vec::new());
            self.changed = true;
            return;
        }
        if !self.has_place(&ways, from) {
            return self.tally.refuse(Refusal::Source);
        }
        if self.entries.len() >= BOOK_MAX {
            // A peer that announced itself replaces any that was announced only by others.
            self.forget_one(|entry| {
                entry.failed_dials >= FAILED_DIALS_BEFORE_EVICTION || (entry.learned && !learned)
            });
        }
        if self.entries.len() >= BOOK_MAX {
            return self.tally.refuse(Refusal::Source);
        }
        let mut ways = ways.into_iter();
        if let Some(first) = ways.next() {
            self.put(peer, first, false, false);
        }
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.learned = learned;
            entry.announcer = Some(from);
            ways.for_each(|way| entry.also(way));
        }
        self.changed = true;
    }

    /// Returns true if a new peer with these addresses is within the bounds of its announcer, of the
    /// announcer's machine and of the addresses. Entries of the same announcements with failed dials are
    /// evicted if necessary.
    fn has_place(&mut self, ways: &[Multiaddr], from: Announcer) -> bool {
        let announced = |entry: &Entry| entry.verified.is_none() && !entry.is_given();
        let by_peer =
            |entry: &Entry| announced(entry) && entry.announcer.is_some_and(|by| by.peer == from.peer);
        let by_origin = |entry: &Entry| {
            announced(entry) && entry.announcer.is_some_and(|by| by.origin() == from.origin())
        };
        let targets: Vec<IpAddr> = ways.iter().filter_map(ip_of).map(machine).collect();
        self.has_room(PER_ANNOUNCER_MAX, by_peer)
            && self.has_room(PER_ORIGIN_MAX, by_origin)
            && targets.iter().all(|target| {
                let most = if target.is_loopback() {
                    LOOPBACK_MAX
                } else {
                    PER_TARGET_MAX
                };
                let at = |way: &Multiaddr| ip_of(way).map(machine) == Some(*target);
                self.has_room(most, |entry| !entry.is_given() && entry.ways.iter().any(at))
            })
    }

    fn has_room(&mut self, most: usize, of: impl Fn(&Entry) -> bool) -> bool {
        self.entries.values().filter(|entry| of(entry)).count() < most
            || self.forget_one(|entry| of(entry) && entry.failed_dials >= FAILED_DIALS_BEFORE_EVICTION)
    }

    /// Evicts, of the unverified peers that match `may_be`, the one with the most failed dials.
    fn forget_one(&mut self, may_be: impl Fn(&Entry) -> bool) -> bool {
        let others = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.is_given() && entry.verified.is_none() && may_be(entry));
        let worst = others
            .max_by_key(|(_, entry)| entry.failed_dials)
            .map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.entries.remove(&peer).is_some())
    }

    pub fn remove(&mut self, peer: &LibPeer) {
        self.changed |= self.entries.remove(peer).is_some();
    }

    /// Addresses to announce to other peers, verified ones first.
    pub fn some(&self, count: usize) -> Vec<String> {
        let ways = |(peer, entry): (&LibPeer, &Entry)| {
            let ways = entry.ways.iter().map(|way| format!("{way}/p2p/{peer}"));
            ways.collect::<Vec<_>>()
        };
        let is_good = |(_, entry): &(&LibPeer, &Entry)| entry.is_given() || entry.verified.is_some();
        let good = self.entries.iter().filter(is_good);
        let others = self.entries.iter().filter(|entry| !is_good(entry));
        good.chain(others).flat_map(ways).take(count).collect()
    }

    /// Peers to dial now: persistent ones, and others while connections are below the target.
    pub fn due(
        &mut self,
        now: Instant,
        wanted: usize,
        busy: impl Fn(&LibPeer) -> bool,
    ) -> Vec<(LibPeer, Multiaddr)> {
        let mut due = Vec::new();
        let mut wanted = wanted;
        // An announcement does not delay a peer that is known to be reachable.
        let is_good = |entry: &Entry| entry.is_given() || entry.verified.is_some();
        let (good, others): (Vec<_>, Vec<_>) = self.entries.iter_mut().partition(|(_, entry)| is_good(entry));
        for (peer, entry) in good.into_iter().chain(others) {
            if entry.next > now || busy(peer) || (!entry.persistent && wanted == 0) {
                continue;
            }
            if !entry.persistent {
                wanted = wanted.saturating_sub(1);
            }
            let Some(way) = entry.next_way().cloned() else {
                continue;
            };
            entry.next = now.checked_add(jittered(entry.backoff)).unwrap_or(now);
            entry.dials = entry.dials.saturating_add(1);
            entry.failed_dials = entry.failed_dials.saturating_add(1);
            if entry.failed_dials >= VERIFIED_DIALS {
                entry.verified = None;
            }
            let most = if entry.persistent {
                BACKOFF_MAX
            } else {
                BACKOFF_MAX_OTHERS
            };
            entry.backoff = entry.backoff.saturating_mul(2).min(most);
            due.push((*peer, way));
        }
        due
    }

    /// A due dial did not start: there is no free slot, or another dial is running.
    pub fn not_begun(&mut self, peer: &LibPeer) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.dials = entry.dials.saturating_sub(1);
            entry.failed_dials = entry.failed_dials.saturating_sub(1);
        }
    }

    /// The peer is connected, or is to be dialled at once.
    pub fn reset(&mut self, peer: &LibPeer) {
        let next = self.first_dial(peer);
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.backoff = BACKOFF_MIN;
            entry.next = next;
            entry.dials = 0;
            entry.failed_dials = 0;
        }
    }

    /// Writes the file if the book changed.
    pub fn save(&mut self) -> io::Result<()> {
        let Some(path) = self.file.clone().filter(|_| self.changed) else {
            return Ok(());
        };
        self.changed = false;
        let text = serde_json::to_string_pretty(&self.some(usize::MAX)).map_err(io::Error::other)?;
        write_atomically(&path, text.as_bytes())
    }
}

fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]
mod tests;
