//! Light client: proofs that can be checked with the genesis file alone.
//!
//! A [`ProofFile`] holds a block header, the certificate that makes the block final, and claims that lead to
//! the header's roots: accounts and slots that exist or do not, a transaction with its receipt. [`verify`]
//! checks all of it and returns only the facts that it has proved.
//!
//! ```
//! use vibecoin_light::{Fact, LightError, ProofFile, Trust, verify};
//! use vibecoin_primitives::{ChainParams, Hash, ValidatorSet};
//!
//! /// Genesis hash, parameters and validators come from the genesis file, the text from anywhere.
//! fn check(genesis: Hash, params: &ChainParams, set: ValidatorSet, text: &str) -> Result<(), LightError> {
//!     let proven = verify(&Trust::new(genesis, params, set), &ProofFile::from_text(text)?)?;
//!     for fact in proven.facts {
//!         match fact {
//!             Fact::Account { address, account: Some(account) } => println!("{address:?} owns {}", account.balance),
//!             Fact::Account { address, account: None } => println!("{address:?} does not exist"),
//!             other => println!("{other:?}"),
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # One file for one set of facts
//!
//! A proof has exactly one form, so that a changed byte is always detected: claims ascend, the certificate
//! holds no more signatures than the quorum needs, every list has one encoding, and the text of a file must
//! equal the output of [`ProofFile::to_text`].
//!
//! # Trust
//!
//! Trusted are the genesis hash, the validators and the parameters of genesis. The validator set does not
//! change yet: a header that names another set is refused with [`LightError::ValidatorsChanged`]. A quorum of
//! the set is trusted about the state, as in every light client; a quorum can prove anything.

mod file;
mod verify;

pub use file::{
    Claim, FILE_FORMAT, PROOF_FILE_BYTES_MAX, ProofFile, ProofV1, TransactionClaim, minimal_certificate,
};
pub use verify::{Fact, LightError, Proven, Trust, verify, verify_light_block};
