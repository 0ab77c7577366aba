//! Rows beside the chain: every key must be one that a chain of this height has.
//!
//! Runs after every block has been found intact, so only superfluous rows remain to be found.

use super::{Fault, Record, Stop};
use crate::kv::{Direction, Family, KvRead};
use crate::reader::Reader;
use crate::schema::{self, Head, HeightRecord, MATERIALISED};
use vibecoin_primitives::{Header, Height};

/// Keys that family `meta` may have.
const META_KEYS: [&[u8]; 5] = [
    schema::SCHEMA,
    schema::GENESIS,
    schema::HEAD,
    schema::BASE,
    schema::REWIND,
];

/// Checks all families for keys that a chain from genesis, or from `base`, to `head` does not have. The rows of a
/// known prefix of family `state` are counted where they are checked.
pub(super) fn check(kv: &dyn KvRead, base: Option<Head>, head: Height) -> Result<(), Stop> {
    let lowest = base.map_or(0, |base| base.height.0);
    // Genesis has a body and receipts, a base has not; neither has a diff.
    let lowest_body = base.map_or(0, |base| base.height.0.saturating_add(1));
    let lowest_diff = lowest.saturating_add(1);
    let is_block_row = |key: &[u8]| match key.split_last() {
        Some((2, height)) => is_height(height, lowest_diff, head),
        Some((0 | 1, height)) => is_height(height, lowest_body, head),
        _ => false,
    };
    let is_header_row = |key: &[u8]| match key.split_first() {
        Some((&schema::HEADERS, height)) => is_height(height, lowest, head),
        Some((&schema::CERTIFICATES, height)) => is_height(height, lowest.max(1), head),
        Some((&schema::HASHES, hash)) => hash.len() == 32,
        _ => false,
    };
    only(kv, Family::Meta, head, |key| META_KEYS.contains(&key))?;
    only(kv, Family::Headers, head, is_header_row)?;
    only(kv, Family::Blocks, head, is_block_row)?;
    state(kv, head)?;
    hashes(kv, lowest, head)
}

fn is_height(bytes: &[u8], lowest: u64, head: Height) -> bool {
    <[u8; 8]>::try_from(bytes).is_ok_and(|bytes| (lowest..=head.0).contains(&u64::from_be_bytes(bytes)))
}

const fn record_of(family: Family) -> Record {
    match family {
        Family::Meta => Record::Meta,
        Family::Headers => Record::Header,
        Family::Blocks => Record::Body,
        Family::State => Record::Row,
    }
}

fn stray(family: Family, head: Height, key: &[u8]) -> Stop {
    let name = family.name();
    let detail = format!("family `{name}` has the key {key:02x?}, which is none of this chain");
    Stop::Fault(Fault::new(record_of(family), head, detail))
}

fn only(kv: &dyn KvRead, family: Family, head: Height, known: impl Fn(&[u8]) -> bool) -> Result<(), Stop> {
    for row in kv.range(family, &[], None, Direction::Forward) {
        let (key, _) = row.map_err(Stop::at(record_of(family), head))?;
        if !known(&key) {
            return Err(stray(family, head, &key));
        }
    }
    Ok(())
}

/// The first prefix of family `state` has only its one key, and there is none above the last prefix.
fn state(kv: &dyn KvRead, head: Height) -> Result<(), Stop> {
    let below = kv.range(Family::State, &[], Some(&[schema::ACCOUNTS]), Direction::Forward);
    let last = [schema::TRANSACTIONS.saturating_add(1)];
    let above = kv.range(Family::State, &last, None, Direction::Forward);
    for row in below.chain(above) {
        let (key, _) = row.map_err(Stop::at(Record::Row, head))?;
        if key != MATERIALISED {
            return Err(stray(Family::State, head, &key));
        }
    }
    Ok(())
}

/// As many hashes as blocks, and so, as every block exists, no other hash.
fn hashes(kv: &dyn KvRead, lowest: u64, head: Height) -> Result<(), Stop> {
    let wrong = Stop::at(Record::BlockHash, head);
    let (mut found, expected) = (0u64, head.0.saturating_sub(lowest).saturating_add(1));
    for row in kv.prefix(Family::Headers, &[schema::HASHES]) {
        row.map_err(&wrong)?;
        found = found.saturating_add(1);
    }
    if found == expected {
        return Ok(());
    }
    let reader = Reader::new(kv);
    for row in kv.prefix(Family::Headers, &[schema::HASHES]) {
        let (key, _) = row.map_err(&wrong)?;
        let height = reader.record::<HeightRecord>(Family::Headers, &key, "height by hash");
        let header = height.map_err(&wrong)?.map(|HeightRecord(height)| {
            reader.record::<Header>(Family::Headers, &schema::header_key(height), "header")
        });
        let header = header.transpose().map_err(&wrong)?.flatten();
        if header.is_none_or(|header| schema::hash_key(&header.hash()) != key) {
            return Err(Stop::Fault(Fault::new(
                Record::BlockHash,
                head,
                format!("{found} hashes for {expected} blocks; {key:02x?} is of none"),
            )));
        }
    }
    let detail = format!("{found} hashes for {expected} blocks");
    Err(Stop::Fault(Fault::new(Record::BlockHash, head, detail)))
}
