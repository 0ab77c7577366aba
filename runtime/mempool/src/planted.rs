//! The deliberate bug of this crate ([`Bug`]), wrapped around the value that it spoils, so that the product reads as
//! if there were none. Without the feature `planted` the function is its argument.

use vibecoin_primitives::Nonce;
use vibecoin_primitives::planted::{Bug, active};

/// The next nonce of an account; with [`Bug::NonceOffByOne`] the one after it.
pub(crate) fn next_nonce(nonce: Nonce) -> Nonce {
    if active(Bug::NonceOffByOne) {
        return nonce.saturating_add(1);
    }
    nonce
}
