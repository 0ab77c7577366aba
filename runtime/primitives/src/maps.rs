//! Maps by keys that others choose.

use std::collections::HashMap;

/// A map by hashes and addresses, which are many and come from outside. Its hash function is seeded at random
/// when the process starts, so nobody can choose keys that collide, and takes a tenth of the standard one's
/// time. For the same reason its order differs from run to run: ask it, never walk it where order matters.
pub type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
