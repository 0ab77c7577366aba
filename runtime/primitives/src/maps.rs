//! Maps with keys chosen by other parties.

/// A map by hashes and addresses, of which there are many. Its hash function takes a tenth of the standard
/// one's time. It is seeded in every process, so that keys chosen beforehand do not collide, but it is not a
/// keyed hash of proven strength: use it where a collision costs time only. Its order differs from run to
/// run: never iterate over it where order matters.
pub type FastMap<K, V> = foldhash::HashMap<K, V>;
