//! Logic of the link emulator: which packet is lost, and when each of the others is due.
//!
//! No clock and no device: the program `vibecoin-netwire` passes it packets and the time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use vibecoin_tests_behaviours::Rng;

/// Maximum number of packets in transit; more are dropped, as a full router does.
pub const PACKETS_MAX: usize = 16_384;

/// Parameters of every link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Delay of every packet, microseconds.
    pub delay_us: u64,
    /// Maximum additional delay, drawn for each packet, microseconds.
    pub jitter_us: u64,
    /// Packets of a million that are lost.
    pub loss_ppm: u32,
    /// Packets of a million that overtake the others: they skip the delay.
    pub reorder_ppm: u32,
}

impl Link {
    /// Reads `delay-ms=50 jitter-ms=10 loss=0.2 reorder=0.01`; an unnamed parameter is zero.
    ///
    /// # Errors
    /// In words, for an unknown name or a bad figure.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut link = Self::default();
        for word in text.split_whitespace() {
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| format!("{word:?} is no NAME=FIGURE"))?;
            match name {
                "delay-ms" => link.delay_us = micros(value)?,
                "jitter-ms" => link.jitter_us = micros(value)?,
                "loss" => link.loss_ppm = share(value)?,
                "reorder" => link.reorder_ppm = share(value)?,
                _ => {
                    return Err(format!(
                        "unknown name {name:?}; known are delay-ms, jitter-ms, loss, reorder"
                    ));
                }
            }
        }
        Ok(link)
    }
}

fn micros(text: &str) -> Result<u64, String> {
    let ms: u64 = text
        .parse()
        .map_err(|_| format!("{text:?} is no number of milliseconds"))?;
    ms.checked_mul(1000)
        .ok_or_else(|| format!("{text} ms is too long"))
}

/// A share from 0 to 1, with up to six digits after the point, in millionths.
fn share(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is no share from 0 to 1");
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.len() > 6 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let rest: u32 = format!("{rest:0<6}").parse().map_err(|_| wrong())?;
    whole
        .checked_mul(1_000_000)
        .and_then(|whole| whole.checked_add(rest))
        .filter(|share| *share <= 1_000_000)
        .ok_or_else(wrong)
}

/// A packet and its destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    /// The end that sends it.
    pub from: usize,
    /// The end that receives it.
    pub to: usize,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Packets in transit.
#[derive(Debug)]
pub struct Wire {
    link: Link,
    random: Rng,
    due: BinaryHeap<Reverse<(u64, u64, Packet)>>,
    /// Due time of the newest packet of each direction: jitter alone does not reorder.
    newest: BTreeMap<(usize, usize), u64>,
    pushed: u64,
    /// Packets lost by the loss of the link.
    pub lost: u64,
    /// Packets dropped because too many were in transit.
    pub overflowed: u64,
}

impl Wire {
    /// An empty wire; the seed decides losses and delays.
    #[must_use]
    pub fn new(link: Link, seed: u64) -> Self {
        Self {
            link,
            random: Rng::new(seed, 0),
            due: BinaryHeap::new(),
            newest: BTreeMap::new(),
            pushed: 0,
            lost: 0,
            overflowed: 0,
        }
    }

    /// Changes the links for packets that arrive from now on.
    pub const fn set(&mut self, link: Link) {
        self.link = link;
    }

    /// Takes a packet at this time.
    pub fn push(&mut self, now_us: u64, packet: Packet) {
        if self.random.in_million(self.link.loss_ppm) {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        if self.due.len() >= PACKETS_MAX {
            self.overflowed = self.overflowed.saturating_add(1);
            return;
        }
        let jitter = self.random.below(self.link.jitter_us.saturating_add(1));
        let newest = self.newest.entry((packet.from, packet.to)).or_default();
        let at = if self.random.in_million(self.link.reorder_ppm) {
            now_us
        } else {
            let at = now_us
                .saturating_add(self.link.delay_us)
                .saturating_add(jitter)
                .max(*newest);
            *newest = at;
            at
        };
        self.pushed = self.pushed.saturating_add(1);
        self.due.push(Reverse((at, self.pushed, packet)));
    }

    /// Due time of the next packet.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next packet that is due by now.
    pub fn pop(&mut self, now_us: u64) -> Option<Packet> {
        if self.next_due()? > now_us {
            return None;
        }
        self.due.pop().map(|Reverse((.., packet))| packet)
    }
}

/// The last byte of an IPv4 packet's destination; `None` for anything else.
#[must_use]
pub fn ipv4_destination(bytes: &[u8]) -> Option<u8> {
    let version = bytes.first()? >> 4;
    (version == 4).then(|| bytes.get(19).copied()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(number: u64) -> Packet {
        Packet {
            from: 0,
            to: 1,
            bytes: number.to_le_bytes().to_vec(),
        }
    }

    /// Sends a packet each millisecond; returns number and travel time of those that arrive, in order.
    fn travel(link: Link, seed: u64, packets: u64) -> Vec<(u64, u64)> {
        let mut wire = Wire::new(link, seed);
        let mut arrived = Vec::new();
        for ms in 0..packets + 10_000 {
            let now = ms * 1000;
            if ms < packets {
                wire.push(now, packet(ms));
            }
            while let Some(packet) = wire.pop(now) {
                let number = u64::from_le_bytes(packet.bytes.try_into().unwrap());
                arrived.push((number, now - number * 1000));
            }
        }
        arrived
    }

    #[test]
    fn every_packet_takes_the_delay_and_some_jitter_in_order() {
        let link = Link::parse("delay-ms=50 jitter-ms=10").unwrap();
        let arrived = travel(link, 1, 1000);
        assert_eq!(arrived.len(), 1000);
        assert!(arrived.is_sorted_by_key(|(number, _)| *number));
        assert!(arrived.iter().all(|(_, took)| (50_000..=61_000).contains(took)));
        assert!(arrived.iter().any(|(_, took)| *took > 55_000), "there is jitter");
    }

    #[test]
    fn about_the_share_that_was_asked_for_is_lost_and_the_seed_decides_which() {
        let link = Link::parse("loss=0.2").unwrap();
        let arrived = travel(link, 1, 5000);
        assert!((3_800..4_200).contains(&arrived.len()), "{}", arrived.len());
        assert_eq!(arrived, travel(link, 1, 5000));
        assert_ne!(arrived, travel(link, 2, 5000));
    }

    #[test]
    fn a_reordered_packet_overtakes_those_before_it() {
        let arrived = travel(Link::parse("delay-ms=20 reorder=0.1").unwrap(), 1, 1000);
        assert_eq!(arrived.len(), 1000);
        let early = arrived.iter().filter(|(_, took)| *took == 0).count();
        assert!((60..150).contains(&early), "{early}");
        assert!(!arrived.is_sorted_by_key(|(number, _)| *number));
    }

    #[test]
    fn a_full_wire_drops_and_counts() {
        let mut wire = Wire::new(Link::parse("delay-ms=1000").unwrap(), 1);
        for number in 0..PACKETS_MAX as u64 + 5 {
            wire.push(0, packet(number));
        }
        assert_eq!(wire.overflowed, 5);
        assert_eq!(wire.pop(999_999), None);
        assert!(wire.pop(1_000_000).is_some());
    }

    #[test]
    fn figures_are_read_exactly_and_nonsense_is_refused() {
        let link = Link::parse("loss=0.05 reorder=1 delay-ms=3").unwrap();
        assert_eq!(
            (link.loss_ppm, link.reorder_ppm, link.delay_us),
            (50_000, 1_000_000, 3000)
        );
        for text in [
            "loss=1.1",
            "loss=-1",
            "loss=0.1234567",
            "loss",
            "delay-ms=x",
            "speed=3",
            "loss=.2",
        ] {
            assert!(Link::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_ipv4_has_a_destination() {
        let mut bytes = vec![0x45; 20];
        bytes[19] = 12;
        assert_eq!(ipv4_destination(&bytes), Some(12));
        assert_eq!(ipv4_destination(&bytes[..19]), None);
        bytes[0] = 0x60;
        assert_eq!(ipv4_destination(&bytes), None);
        assert_eq!(ipv4_destination(&[]), None);
    }
}
