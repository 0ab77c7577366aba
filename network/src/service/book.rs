//! Whom to connect to, and when.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol as Part;
use libp2p::{Multiaddr, PeerId as LibPeer};

use super::handle::peer_address;

/// Most peers whose addresses are remembered.
pub const BOOK_MAX: usize = 512;
/// Most addresses of one peer, such as one for QUIC and one for TCP, and most that others tell of it beside
/// them. Each dial takes the next one.
pub const WAYS_MAX: usize = 4;
/// Connections that a node wants to have; below it, it looks for more.
pub const OUTBOUND_WANTED: usize = 8;
/// Shortest wait before a peer is dialled again.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// Longest wait for a peer to stay connected with.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Longest wait for any other.
const BACKOFF_MAX_OTHERS: Duration = Duration::from_secs(60);

/// How long the one with the greater identity waits for the other to dial.
const COURTESY: Duration = Duration::from_millis(50);
/// Dials in vain after which a peer may be forgotten for another.
const VAIN_DIALS: u32 = 3;
/// Most peers in the book that are known from others alone: whoever tells them may make them up.
const HEARSAY_MAX: usize = BOOK_MAX / 2;

/// Half to the whole of a wait, so that nodes that lost each other do not dial in step.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().hash_one(0);
    let half = wait.checked_div(2).unwrap_or(wait);
    let extra = (random % 1_000)
        .saturating_mul(u64::try_from(half.as_micros()).unwrap_or(0))
        .checked_div(1_000)
        .unwrap_or(0);
    half.saturating_add(Duration::from_micros(extra))
}

/// Whether an address that a stranger told is one that this node could dial: IP or name, then TCP or QUIC.
fn is_usable(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let place = match parts.next() {
        Some(Part::Ip4(ip)) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        Some(Part::Ip6(ip)) => !ip.is_unspecified() && !ip.is_multicast(),
        Some(Part::Dns(_) | Part::Dns4(_) | Part::Dns6(_)) => true,
        _ => false,
    };
    let port = match (parts.next(), parts.next()) {
        (Some(Part::Tcp(port)), None) => port != 0,
        (Some(Part::Udp(port)), Some(Part::QuicV1)) => port != 0,
        _ => false,
    };
    place && port && parts.next().is_none()
}

/// The peer and the place of an address that a stranger told.
fn usable(address: &str) -> Option<(LibPeer, Multiaddr)> {
    let named = peer_address(address).ok();
    named.filter(|(_, address)| is_usable(address))
}

/// A peer that may be dialled.
struct Entry {
    /// What the operator gave, or the peer told of itself; for a peer that was never met, what was heard first.
    ways: Vec<Multiaddr>,
    /// What others told since the peer was dialled in vain. It may be lies, so it is tried beside the others.
    hearsay: Vec<Multiaddr>,
    /// To stay connected with.
    persistent: bool,
    boot: bool,
    /// Known from others alone.
    heard: bool,
    next: Instant,
    backoff: Duration,
    /// Dials since its last long connection ended: whose turn it is among its addresses.
    dials: u32,
    /// Dials since it last said hello.
    vain: u32,
}

impl Entry {
    /// Notes another way to the peer; the oldest makes room for it.
    fn also(&mut self, address: Multiaddr) {
        if self.ways.contains(&address) {
            return;
        }
        if self.ways.len() >= WAYS_MAX {
            self.ways.remove(0);
        }
        self.ways.push(address);
    }

    /// The address for the next dial.
    fn next_way(&self) -> Option<&Multiaddr> {
        let count = self.ways.len().saturating_add(self.hearsay.len());
        let turn = usize::try_from(self.dials).ok()?.checked_rem(count)?;
        self.ways.iter().chain(&self.hearsay).nth(turn)
    }
}

/// The address book.
pub struct Book {
    own: LibPeer,
    entries: HashMap<LibPeer, Entry>,
    file: Option<PathBuf>,
    changed: bool,
}

impl Book {
    pub fn new(own: LibPeer, file: Option<PathBuf>) -> Self {
        let mut book = Self {
            own,
            entries: HashMap::new(),
            file,
            changed: false,
        };
        // A list that cannot be read is made anew: it only saves time.
        let remembered = book
            .file
            .as_deref()
            .and_then(|path| std::fs::read_to_string(path).ok());
        let remembered: Vec<String> = remembered
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let remembered = remembered.iter().filter_map(|address| usable(address));
        for (peer, address) in remembered.take(BOOK_MAX.saturating_mul(WAYS_MAX)) {
            if let Some(entry) = book.entries.get_mut(&peer) {
                entry.also(address);
            } else if book.entries.len() < BOOK_MAX {
                // The file does not say who told of whom.
                book.put(peer, address, false, false);
                book.entries.entry(peer).and_modify(|entry| entry.heard = true);
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
            hearsay: Vec::new(),
            persistent,
            boot,
            heard: false,
            next: self.first_dial(&peer),
            backoff: BACKOFF_MIN,
            dials: 0,
            vain: 0,
        };
        self.entries.insert(peer, entry);
    }

    /// When a peer is dialled first. Of two that want each other one waits a moment, so that they do not
    /// connect twice.
    fn first_dial(&self, peer: &LibPeer) -> Instant {
        let now = Instant::now();
        let later = now.checked_add(COURTESY).unwrap_or(now);
        if self.own < *peer { now } else { later }
    }

    /// Whether the operator wants to stay connected with the peer.
    pub fn is_persistent(&self, peer: &LibPeer) -> bool {
        self.entries.get(peer).is_some_and(|entry| entry.persistent)
    }

    /// A way to a peer to stay connected with.
    pub fn add(&mut self, peer: LibPeer, address: Multiaddr) {
        match self.entries.get_mut(&peer).filter(|entry| entry.persistent) {
            Some(entry) => entry.also(address),
            None => self.put(peer, address, true, false),
        }
    }

    /// A way to a peer to ask for others.
    pub fn add_boot(&mut self, peer: LibPeer, address: Multiaddr) {
        match self.entries.get_mut(&peer) {
            Some(entry) if entry.boot => entry.also(address),
            Some(entry) if entry.persistent => {}
            // What the file remembers of it may be hearsay.
            _ => self.put(peer, address, false, true),
        }
    }

    /// Addresses that somebody told of other peers. They replace nothing but what was told in this way before,
    /// and count only once a peer was dialled in vain: whoever tells them may be lying.
    pub fn learn(&mut self, addresses: &[String]) {
        let mut told: BTreeMap<LibPeer, Vec<Multiaddr>> = BTreeMap::new();
        for (peer, address) in addresses.iter().filter_map(|address| usable(address)) {
            let ways = told.entry(peer).or_default();
            if ways.len() < WAYS_MAX {
                ways.push(address);
            }
        }
        told.remove(&self.own);
        for (peer, mut ways) in told {
            let Some(entry) = self.entries.get_mut(&peer) else {
                let heard = self.entries.values().filter(|entry| entry.heard).count();
                if heard < HEARSAY_MAX || self.forget_one(|entry| entry.heard && entry.vain >= VAIN_DIALS) {
                    self.note(peer, ways, true);
                }
                continue;
            };
            if entry.vain >= VAIN_DIALS && !entry.persistent && !entry.boot {
                ways.retain(|way| !entry.ways.contains(way));
                entry.hearsay = ways;
            }
        }
    }

    /// The addresses that a peer told of itself. Those of others among them are passed over.
    pub fn learn_from_itself(&mut self, peer: LibPeer, addresses: &[String]) {
        let own = addresses.iter().filter_map(|address| usable(address));
        let own = own.filter(|(named, _)| *named == peer);
        let ways: Vec<Multiaddr> = own.map(|(_, address)| address).take(WAYS_MAX).collect();
        if !ways.is_empty() {
            self.note(peer, ways, false);
        }
    }

    /// The peer said hello.
    pub fn met(&mut self, peer: &LibPeer) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.vain = 0;
        }
    }

    /// Puts addresses in the place of what was told before, but not of what the operator gave.
    fn note(&mut self, peer: LibPeer, ways: Vec<Multiaddr>, heard: bool) {
        if self.entries.len() >= BOOK_MAX && !self.entries.contains_key(&peer) {
            // For one that told of itself, any that is known from others alone makes room.
            self.forget_one(|entry| entry.vain >= VAIN_DIALS || (entry.heard && !heard));
        }
        let full = self.entries.len() >= BOOK_MAX;
        match self.entries.get_mut(&peer) {
            Some(entry) if entry.persistent || entry.boot => return,
            Some(entry) => {
                entry.heard = heard;
                if entry.ways == ways && entry.hearsay.is_empty() {
                    return;
                }
                (entry.ways, entry.hearsay) = (ways, Vec::new());
            }
            None if full => return,
            None => {
                let mut ways = ways.into_iter();
                if let Some(first) = ways.next() {
                    self.put(peer, first, false, false);
                }
                if let Some(entry) = self.entries.get_mut(&peer) {
                    entry.heard = heard;
                    ways.for_each(|way| entry.also(way));
                }
            }
        }
        self.changed = true;
    }

    /// Makes room by forgetting, of the peers that may be, the one that was dialled most often in vain.
    fn forget_one(&mut self, may_be: impl Fn(&Entry) -> bool) -> bool {
        let others = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.persistent && !entry.boot && may_be(entry));
        let worst = others.max_by_key(|(_, entry)| entry.vain).map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.entries.remove(&peer).is_some())
    }

    pub fn remove(&mut self, peer: &LibPeer) {
        self.changed |= self.entries.remove(peer).is_some();
    }

    /// Addresses to tell others.
    pub fn some(&self, count: usize) -> Vec<String> {
        let ways = |(peer, entry): (&LibPeer, &Entry)| {
            let ways = entry.ways.iter().map(|way| format!("{way}/p2p/{peer}"));
            ways.collect::<Vec<_>>()
        };
        self.entries.iter().flat_map(ways).take(count).collect()
    }

    /// Whom to dial now: those to stay connected with, and others while connections are wanted.
    pub fn due(
        &mut self,
        now: Instant,
        wanted: usize,
        busy: impl Fn(&LibPeer) -> bool,
    ) -> Vec<(LibPeer, Multiaddr)> {
        let mut due = Vec::new();
        let mut wanted = wanted;
        for (peer, entry) in &mut self.entries {
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
            entry.vain = entry.vain.saturating_add(1);
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

    /// A dial that was due did not begin: there is no room, or another one runs.
    pub fn not_begun(&mut self, peer: &LibPeer) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.dials = entry.dials.saturating_sub(1);
            entry.vain = entry.vain.saturating_sub(1);
        }
    }

    /// The peer is connected, or shall be dialled at once.
    pub fn reset(&mut self, peer: &LibPeer) {
        let next = self.first_dial(peer);
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.backoff = BACKOFF_MIN;
            entry.next = next;
            entry.dials = 0;
            entry.vain = 0;
        }
    }

    /// Writes the file if something changed.
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
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn address(peer: &LibPeer) -> String {
        format!("/ip4/127.0.0.1/tcp/4000/p2p/{peer}")
    }

    #[test]
    fn hearsay_is_tried_beside_what_is_known_once_that_was_dialled_in_vain() {
        let peer = LibPeer::random();
        let mut book = Book::new(LibPeer::random(), None);
        let at = |port: u16| format!("/ip4/10.0.0.9/tcp/{port}/p2p/{peer}");
        book.learn(&[at(1)]);
        book.learn(&[at(2)]);
        assert_eq!(book.some(9), vec![at(1)]);
        book.learn_from_itself(peer, &[at(3)]);
        assert_eq!(book.some(9), vec![at(3)]);
        let mut now = Instant::now();
        let mut dialled = |book: &mut Book| {
            now = now.checked_add(Duration::from_secs(3600)).unwrap();
            let due = book.due(now, 1, |_| false);
            due.first()
                .map(|(peer, way)| format!("{way}/p2p/{peer}"))
                .unwrap()
        };
        (0..VAIN_DIALS).for_each(|_| assert_eq!(dialled(&mut book), at(3)));
        book.met(&peer);
        book.learn(&[at(4)]);
        assert_eq!(dialled(&mut book), at(3), "it was met, so its address is right");
        (1..VAIN_DIALS).for_each(|_| assert_eq!(dialled(&mut book), at(3)));
        book.learn(&[at(3), at(4)]);
        book.learn(&[at(5)]);
        let next: Vec<String> = (0..4).map(|_| dialled(&mut book)).collect();
        assert_eq!(
            next,
            [at(3), at(5), at(3), at(5)],
            "the newest of hearsay, and the known one"
        );
        assert_eq!(book.some(9), vec![at(3)], "what may be lies is not passed on");
        book.learn_from_itself(peer, &[at(6)]);
        assert_eq!([dialled(&mut book), dialled(&mut book)], [at(6), at(6)]);
    }

    #[test]
    fn a_dial_that_was_not_begun_takes_no_turn() {
        let peer = LibPeer::random();
        let mut book = Book::new(LibPeer::random(), None);
        let way = |port: u16| -> Multiaddr { format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap() };
        (1..=2).for_each(|port| book.add(peer, way(port)));
        let mut now = Instant::now();
        let mut dialled = |book: &mut Book| {
            now = now.checked_add(Duration::from_secs(3600)).unwrap();
            book.due(now, 0, |_| false)
        };
        assert_eq!(dialled(&mut book), [(peer, way(1))]);
        assert_eq!(dialled(&mut book), [(peer, way(2))]);
        book.not_begun(&peer);
        assert_eq!(dialled(&mut book), [(peer, way(2))]);
        assert_eq!(dialled(&mut book), [(peer, way(1))]);
    }

    #[test]
    fn what_was_learnt_is_remembered_over_a_restart_and_what_was_given_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.json");
        let (own, given, told) = (LibPeer::random(), LibPeer::random(), LibPeer::random());
        let mut book = Book::new(own, Some(path.clone()));
        book.add(given, "/ip4/10.0.0.1/tcp/1".parse().unwrap());
        book.learn(&[
            address(&given),
            address(&told),
            address(&own),
            "nonsense".to_owned(),
        ]);
        book.save().unwrap();
        assert_eq!(book.some(9).len(), 2);
        let mut booted = Book::new(own, Some(path.clone()));
        booted.add_boot(told, "/ip4/10.0.0.7/tcp/7".parse().unwrap());
        assert!(
            booted
                .some(9)
                .contains(&format!("/ip4/10.0.0.7/tcp/7/p2p/{told}")),
            "the operator's word counts"
        );
        let again = Book::new(own, Some(path));
        let mut found = again.some(9);
        found.sort();
        let mut expected = vec![format!("/ip4/10.0.0.1/tcp/1/p2p/{given}"), address(&told)];
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_peer_to_stay_with_is_dialled_again_and_others_only_while_wanted() {
        let (own, stay, other) = (LibPeer::random(), LibPeer::random(), LibPeer::random());
        let mut book = Book::new(own, None);
        book.add(stay, "/ip4/10.0.0.1/tcp/1".parse().unwrap());
        book.learn(&[address(&other)]);
        // Whoever has the greater identity leaves the first moment to the other.
        let now = Instant::now().checked_add(COURTESY).unwrap();
        let dialled =
            |due: Vec<(LibPeer, Multiaddr)>| due.into_iter().map(|(peer, _)| peer).collect::<Vec<_>>();
        assert_eq!(dialled(book.due(now, 0, |_| false)), vec![stay]);
        assert_eq!(dialled(book.due(now, 0, |_| false)), vec![], "its backoff runs");
        assert_eq!(dialled(book.due(now, 1, |_| false)), vec![other]);
        let later = now.checked_add(Duration::from_secs(10)).unwrap();
        assert_eq!(dialled(book.due(later, 0, |_| false)), vec![stay]);
        assert_eq!(dialled(book.due(later, 0, |peer| *peer == stay)), vec![]);
    }

    #[test]
    fn all_ways_to_a_peer_are_dialled_and_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.json");
        let (own, given, told) = (LibPeer::random(), LibPeer::random(), LibPeer::random());
        let way = |port: usize| -> Multiaddr { format!("/ip4/10.0.0.1/udp/{port}/quic-v1").parse().unwrap() };
        let mut book = Book::new(own, Some(path.clone()));
        (1..=2).for_each(|port| book.add(given, way(port)));
        book.add(given, way(2));
        let of = |peer: LibPeer| move |port: usize| format!("{}/p2p/{peer}", way(port));
        let stranger = of(LibPeer::random())(9);
        let own_words: Vec<String> = (3..5).map(of(told)).chain([stranger]).collect();
        book.learn_from_itself(told, &own_words);
        let dialled = |book: &mut Book, hours: u64| {
            let later = Duration::from_secs(3600).saturating_mul(u32::try_from(hours).unwrap());
            let mut due = book.due(Instant::now().checked_add(later).unwrap(), 8, |_| false);
            due.sort_by_key(|(peer, _)| *peer != given);
            due
        };
        // Best first, then the others in turn.
        assert_eq!(dialled(&mut book, 1), [(given, way(1)), (told, way(3))]);
        assert_eq!(dialled(&mut book, 2), [(given, way(2)), (told, way(4))]);
        assert_eq!(dialled(&mut book, 3), [(given, way(1)), (told, way(3))]);
        book.reset(&given);
        book.save().unwrap();
        let mut again = Book::new(own, Some(path));
        assert_eq!(dialled(&mut again, 1), [(given, way(1)), (told, way(3))]);
        assert_eq!(dialled(&mut again, 2), [(given, way(2)), (told, way(4))]);
        // The oldest make room.
        (5..9).for_each(|port| book.add(given, way(port)));
        assert_eq!(
            book.some(WAYS_MAX.saturating_add(2)).len(),
            WAYS_MAX.saturating_add(2)
        );
        assert!(!book.some(9).contains(&of(given)(1)));
    }

    #[test]
    fn the_book_does_not_grow_beyond_its_bound() {
        let mut book = Book::new(LibPeer::random(), None);
        for _ in 0..BOOK_MAX.saturating_add(50) {
            book.learn(&[address(&LibPeer::random())]);
        }
        assert_eq!(book.some(usize::MAX).len(), HEARSAY_MAX);
        let met: Vec<LibPeer> = (0..BOOK_MAX.saturating_add(50))
            .map(|_| LibPeer::random())
            .collect();
        for peer in &met {
            book.learn_from_itself(*peer, &[address(peer)]);
        }
        // Who told of itself takes the places of all who are known from others, and then there is no room.
        let known: HashSet<String> = book.some(usize::MAX).into_iter().collect();
        assert_eq!(known, met.iter().take(BOOK_MAX).map(address).collect());
    }
}
