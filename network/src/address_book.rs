//! Address book and dial schedule.
//!
//! Any peer may announce addresses, its own and others', true or false. So an address counts as verified only
//! when this node has dialled it and completed a hello there; verified entries are never displaced by
//! unverified ones; the entries of one announcer, of one network of announcers and of one announced address
//! are bounded; and addresses of networks that this node is not on are not dialled at all, see `scopes`.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId as LibPeer};

use crate::address::{ip_of, machine};
use crate::counters::{Refusal, Tally};
use crate::scopes::Scopes;
use entry::{Entry, Source};

mod entry;

pub use entry::Announcer;

/// Maximum number of peers in the book.
pub const BOOK_MAX: usize = 512;
/// Maximum number of addresses of one peer, such as one for QUIC and one for TCP, and of those that others
/// announce of it beside them. Each dial takes the next one.
pub const ADDRESSES_PER_PEER_MAX: usize = 4;
/// Target number of connections; below it, the node dials further peers.
pub const OUTBOUND_WANTED: usize = 8;

/// Delay of the first dial of the node with the greater identity, so that the other one dials first.
const SIMULTANEOUS_DIAL_DELAY: Duration = Duration::from_millis(50);
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

/// The address book.
pub struct AddressBook {
    own: LibPeer,
    entries: HashMap<LibPeer, Entry>,
    file: Option<PathBuf>,
    changed: bool,
    scopes: Scopes,
    tally: Arc<Tally>,
}

impl AddressBook {
    /// The book that was saved in `file`, or an empty one: a file that cannot be read is created again, since it
    /// only saves time.
    pub fn new(own: LibPeer, file: Option<PathBuf>, scopes: Scopes, tally: Arc<Tally>) -> Self {
        let mut book = Self {
            own,
            entries: HashMap::new(),
            file,
            changed: false,
            scopes,
            tally,
        };
        let saved = book
            .file
            .as_deref()
            .and_then(|path| std::fs::read_to_string(path).ok());
        let saved: Vec<String> = saved
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let saved = saved.iter().filter_map(|address| scopes.usable(address, None));
        for (peer, address) in saved.take(BOOK_MAX.saturating_mul(ADDRESSES_PER_PEER_MAX)) {
            if let Some(entry) = book.entries.get_mut(&peer) {
                entry.add_address(address);
            } else if book.entries.len() < BOOK_MAX {
                // The file does not contain the announcers.
                book.insert(peer, address, Source::Unverified);
            }
        }
        book
    }

    fn insert(&mut self, peer: LibPeer, address: Multiaddr, source: Source) {
        if peer != self.own {
            let entry = Entry::new(address, source, self.first_dial(&peer));
            self.entries.insert(peer, entry);
        }
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
        self.entries.get(peer).is_some_and(Entry::is_persistent)
    }

    /// Adds an address of a peer to stay connected with.
    pub fn add(&mut self, peer: LibPeer, address: Multiaddr) {
        match self.entries.get_mut(&peer) {
            Some(entry) if entry.is_persistent() => entry.add_address(address),
            _ => self.insert(peer, address, Source::Configured),
        }
    }

    /// Adds an address of a bootnode.
    pub fn add_bootnode(&mut self, peer: LibPeer, address: Multiaddr) {
        match self.entries.get_mut(&peer) {
            Some(entry) if entry.source == Source::Bootstrap => entry.add_address(address),
            Some(entry) if entry.is_persistent() => {}
            // The entry from the file may be unverified.
            _ => self.insert(peer, address, Source::Bootstrap),
        }
    }

    /// Adds addresses that a peer announced of others. They replace only earlier announcements of this kind,
    /// and are used only after a failed dial: they are unverified.
    pub fn learn(&mut self, from: Announcer, addresses: &[String]) {
        let mut announced: BTreeMap<LibPeer, Vec<Multiaddr>> = BTreeMap::new();
        for address in addresses {
            let Some((peer, address)) = self.scopes.usable(address, None) else {
                self.tally.refuse(Refusal::Address);
                continue;
            };
            let addresses = announced.entry(peer).or_default();
            if addresses.len() < ADDRESSES_PER_PEER_MAX {
                addresses.push(address);
            }
        }
        announced.remove(&self.own);
        for (peer, mut addresses) in announced {
            let is_unverified = |entry: &Entry| entry.source == Source::Unverified;
            let Some(entry) = self.entries.get_mut(&peer) else {
                let unverified = self.entries.values().filter(|entry| is_unverified(entry)).count();
                if unverified < UNVERIFIED_MAX
                    || self.evict_one(|entry| is_unverified(entry) && entry.has_failed())
                {
                    self.record(peer, addresses, from, Source::Unverified);
                }
                continue;
            };
            if entry.has_failed() && !entry.is_from_operator() {
                addresses.retain(|address| !entry.addresses.contains(address));
                entry.unverified = addresses;
            }
        }
    }

    /// Adds addresses that a peer announced of itself. Those of others among them are ignored. The address
    /// that it is connected from is on a reachable network, of any kind.
    pub fn learn_from_itself(&mut self, from: Announcer, addresses: &[String]) {
        let mut own = Vec::new();
        for address in addresses {
            match self.scopes.usable(address, from.ip) {
                Some((named, address)) if named == from.peer => own.push(address),
                Some(_) => {}
                None => self.tally.refuse(Refusal::Address),
            }
        }
        own.truncate(ADDRESSES_PER_PEER_MAX);
        if !own.is_empty() {
            self.record(from.peer, own, from, Source::Own);
        }
    }

    /// Records that the peer completed a hello.
    pub fn on_hello(&mut self, peer: &LibPeer) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.on_hello();
        }
    }

    /// Records that the peer completed a hello at an address that was dialled.
    pub fn verified(&mut self, peer: &LibPeer, address: &Multiaddr) {
        // Dialled addresses end in the identity, those of the book do not.
        let is_place = |part: &Protocol<'_>| !matches!(part, Protocol::P2p(_));
        let address: &Multiaddr = &address.iter().filter(is_place).collect();
        if let Some(entry) = self.entries.get_mut(peer) {
            let is_known = entry.addresses.contains(address) || entry.unverified.contains(address);
            if is_known && entry.verified.as_ref() != Some(address) {
                entry.verified = Some(address.clone());
                if entry.source == Source::Unverified {
                    entry.source = Source::Own;
                }
                self.changed = true;
            }
        }
    }

    /// Replaces earlier announced addresses, but not configured ones, nor an address at which the peer was
    /// reached.
    fn record(&mut self, peer: LibPeer, mut addresses: Vec<Multiaddr>, from: Announcer, source: Source) {
        if let Some(entry) = self.entries.get_mut(&peer) {
            if entry.is_from_operator() {
                return;
            }
            entry.source = source;
            if let Some(verified) = &entry.verified {
                addresses.retain(|address| address != verified);
                addresses.insert(0, verified.clone());
                addresses.truncate(ADDRESSES_PER_PEER_MAX);
                entry.source = Source::Own;
            }
            if entry.addresses == addresses && entry.unverified.is_empty() {
                return;
            }
            (entry.addresses, entry.unverified) = (addresses, Vec::new());
            self.changed = true;
            return;
        }
        if !self.has_place(&addresses, from) {
            return self.tally.refuse(Refusal::Source);
        }
        if self.entries.len() >= BOOK_MAX {
            // A peer that announced itself replaces any that was announced only by others.
            let is_lower = |entry: &Entry| entry.source == Source::Unverified && source != Source::Unverified;
            self.evict_one(|entry| entry.has_failed() || is_lower(entry));
        }
        if self.entries.len() >= BOOK_MAX {
            return self.tally.refuse(Refusal::Source);
        }
        let mut addresses = addresses.into_iter();
        if let Some(first) = addresses.next() {
            self.insert(peer, first, source);
        }
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.announcer = Some(from);
            addresses.for_each(|address| entry.add_address(address));
        }
        self.changed = true;
    }

    /// Returns true if a new peer with these addresses is within the bounds of its announcer, of the
    /// announcer's machine and of the addresses. Entries of the same announcements with failed dials are
    /// evicted if necessary.
    fn has_place(&mut self, addresses: &[Multiaddr], from: Announcer) -> bool {
        let by_peer =
            |entry: &Entry| !entry.is_reliable() && entry.announcer.is_some_and(|by| by.peer == from.peer);
        let by_origin = |entry: &Entry| {
            !entry.is_reliable() && entry.announcer.is_some_and(|by| by.origin() == from.origin())
        };
        let targets: Vec<IpAddr> = addresses.iter().filter_map(ip_of).map(machine).collect();
        self.has_capacity(PER_ANNOUNCER_MAX, by_peer)
            && self.has_capacity(PER_ORIGIN_MAX, by_origin)
            && targets.iter().all(|target| {
                let max = if target.is_loopback() {
                    LOOPBACK_MAX
                } else {
                    PER_TARGET_MAX
                };
                let is_there = |address: &Multiaddr| ip_of(address).map(machine) == Some(*target);
                self.has_capacity(max, |entry| {
                    !entry.is_from_operator() && entry.addresses.iter().any(is_there)
                })
            })
    }

    /// Returns true if fewer than `max` entries match `of`, or one of them made way.
    fn has_capacity(&mut self, max: usize, of: impl Fn(&Entry) -> bool) -> bool {
        self.entries.values().filter(|entry| of(entry)).count() < max
            || self.evict_one(|entry| of(entry) && entry.has_failed())
    }

    /// Evicts, of the unverified peers that match `may_be`, the one with the most failed dials.
    fn evict_one(&mut self, may_be: impl Fn(&Entry) -> bool) -> bool {
        let others = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.is_reliable() && may_be(entry));
        let worst = others
            .max_by_key(|(_, entry)| entry.failed_dials())
            .map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.entries.remove(&peer).is_some())
    }

    /// Removes a peer.
    pub fn remove(&mut self, peer: &LibPeer) {
        self.changed |= self.entries.remove(peer).is_some();
    }

    /// Addresses to announce to other peers, verified ones first.
    pub fn addresses(&self, count: usize) -> Vec<String> {
        let texts = |(peer, entry): (&LibPeer, &Entry)| {
            let texts = entry
                .addresses
                .iter()
                .map(|address| format!("{address}/p2p/{peer}"));
            texts.collect::<Vec<_>>()
        };
        let reliable = self.entries.iter().filter(|(_, entry)| entry.is_reliable());
        let others = self.entries.iter().filter(|(_, entry)| !entry.is_reliable());
        reliable.chain(others).flat_map(texts).take(count).collect()
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
        let entries = self.entries.iter_mut();
        let (reliable, others): (Vec<_>, Vec<_>) = entries.partition(|(_, entry)| entry.is_reliable());
        for (peer, entry) in reliable.into_iter().chain(others) {
            let is_persistent = entry.is_persistent();
            if !entry.is_due(now) || busy(peer) || (!is_persistent && wanted == 0) {
                continue;
            }
            if !is_persistent {
                wanted = wanted.saturating_sub(1);
            }
            if let Some(address) = entry.start_dial(now) {
                due.push((*peer, address));
            }
        }
        due
    }

    /// A due dial did not start: there is no free slot, or another dial is running.
    pub fn dial_not_started(&mut self, peer: &LibPeer) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.cancel_dial();
        }
    }

    /// The peer is connected, or is to be dialled at once.
    pub fn reset(&mut self, peer: &LibPeer) {
        let next = self.first_dial(peer);
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.reset(next);
        }
    }

    /// Writes the file if the book changed.
    pub fn save(&mut self) -> io::Result<()> {
        let Some(path) = self.file.clone().filter(|_| self.changed) else {
            return Ok(());
        };
        self.changed = false;
        let text = serde_json::to_string_pretty(&self.addresses(usize::MAX)).map_err(io::Error::other)?;
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
