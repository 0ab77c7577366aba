//! Maps by keys that others choose.

/// A map by hashes and addresses, which are many. Its hash function takes a tenth of the standard one's time. It
/// is seeded anew in every process, which keeps keys that were chosen beforehand from colliding, but it is no
/// keyed hash of proven strength: keep it where a collision costs time only. Its order differs from run to run:
/// ask it, never walk it where order matters.
pub type FastMap<K, V> = foldhash::HashMap<K, V>;
