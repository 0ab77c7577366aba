//! Headers with one wrong field.

use vibecoin_primitives::{Hash, Header};

use crate::{Behaviour, equivocator};

/// An hour, in milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// Hashes that a header claims too many.
const HASHES: u64 = 1 << 40;

/// Alters the field of the header that the behaviour concerns; `wrong` takes the place of a hash. Returns false if it
/// concerns none.
pub const fn alter(behaviour: Behaviour, header: &mut Header, wrong: Hash) -> bool {
    match behaviour {
        Behaviour::EquivocatingProposals => equivocator::header(header),
        Behaviour::WrongStateRoot => header.state_root = wrong,
        Behaviour::WrongTxRoot => header.tx_root = wrong,
        Behaviour::WrongParent => header.parent = wrong,
        Behaviour::FutureTime => header.time.0 = header.time.0.wrapping_add(HOUR_MS),
        Behaviour::WrongTicks => {
            header.ticks = u16::MAX;
            header.poh_seq = header.poh_seq.wrapping_add(HASHES);
        }
        _ => return false,
    }
    true
}
