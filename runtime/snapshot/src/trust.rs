//! The trust that a snapshot is checked against: the genesis file, and what was reached from it.

use vibecoin_light::{LightError, ProofFile, verify_light_block};
use vibecoin_primitives::{
    BLOCK_VERSION, ChainParams, CommitCertificate, Hash, Header, Height, TimeMs, ValidatorSet,
};

use crate::SnapshotManifest;

/// Milliseconds in a second.
const MS: u64 = 1_000;

/// A block that an operator trusts, from a source other than the snapshot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedBlock {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: Hash,
}

/// The validators by whose certificates headers are accepted.
///
/// Today that is the set of the genesis file, which does not change. Once sets change by transaction, a chain of
/// certified changes leads from it to a later set ([`TrustedSet::reached`]), and the verifier stays as it is.
#[derive(Clone, Debug)]
pub struct TrustedSet {
    genesis: Hash,
    params: ChainParams,
    validators: ValidatorSet,
    pinned: Option<TrustedBlock>,
}

/// Reason why a header does not follow from the trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The header is of another chain, set or rules, or its certificate proves nothing.
    #[error(transparent)]
    Header(#[from] LightError),
    /// The certificate has signatures that the quorum does not need, or of strangers: a manifest has one form only.
    #[error("the certificate is not cut to the signatures that the quorum needs")]
    CertificateForm,
    /// The block is of another version of the protocol.
    #[error("the block has version {got}, expected {BLOCK_VERSION}")]
    Version {
        /// The version found.
        got: u16,
    },
    /// The next block is decided by other validators.
    #[error("the block's next validators are {got}, those of the trusted set are {expected}")]
    NextValidators {
        /// Hash of the trusted set.
        expected: Hash,
        /// Hash of the set found.
        got: Hash,
    },
    /// The block that led to the set is too old: keys that left the set since may sign another history.
    #[error(
        "the trusted block is {age_s} s old, trusted are {trust_period_s} s; name a newer height and hash"
    )]
    Expired {
        /// Age of the trusted block, in seconds.
        age_s: u64,
        /// The chain's parameter, in seconds.
        trust_period_s: u64,
    },
    /// The snapshot is of a block before the one that the operator trusts.
    #[error("the snapshot is of height {got}, below the trusted height {trusted}")]
    BelowTrusted {
        /// The operator's height.
        trusted: Height,
        /// The snapshot's height.
        got: Height,
    },
    /// The snapshot is of another block than the one that the operator trusts.
    #[error("the block at height {height} has hash {got}, trusted is {trusted}")]
    OtherBlock {
        /// The height of both.
        height: Height,
        /// The operator's hash.
        trusted: Hash,
        /// The hash of the snapshot's header.
        got: Hash,
    },
}

impl TrustedSet {
    /// The trust of a genesis file: its hash, parameters and validators. It does not expire, because the set that it
    /// names never changed: a header that names another set is refused.
    #[must_use]
    pub fn genesis(genesis: Hash, params: ChainParams, validators: ValidatorSet) -> Self {
        Self {
            genesis,
            params,
            validators,
            pinned: None,
        }
    }

    /// The set that a chain of certified changes led to, or that an operator's trusted block names. `time` is the
    /// time of the last block of that chain, `now` the caller's clock.
    ///
    /// # Errors
    /// [`TrustError::Expired`] when that block is older than the chain's `trust_period_s`.
    pub fn reached(
        genesis: Hash,
        params: ChainParams,
        validators: ValidatorSet,
        time: TimeMs,
        now: TimeMs,
    ) -> Result<Self, TrustError> {
        let age_ms = now.saturating_sub(time.0).0;
        if age_ms > params.trust_period_s.saturating_mul(MS) {
            return Err(TrustError::Expired {
                age_s: age_ms.checked_div(MS).unwrap_or(0),
                trust_period_s: params.trust_period_s,
            });
        }
        Ok(Self::genesis(genesis, params, validators))
    }

    /// Accepts in addition only snapshots at or above this block, and at its height only this block.
    #[must_use]
    pub fn pinned(self, block: TrustedBlock) -> Self {
        Self {
            pinned: Some(block),
            ..self
        }
    }

    /// The genesis hash.
    #[must_use]
    pub const fn genesis_hash(&self) -> &Hash {
        &self.genesis
    }

    /// Checks that the block of a manifest is final on this chain. Returns its hash. One batch of signatures.
    ///
    /// # Errors
    /// [`TrustError`] with the first rule that does not hold.
    pub fn check(&self, snapshot: &SnapshotManifest) -> Result<Hash, TrustError> {
        let manifest = &snapshot.manifest;
        self.check_block(&manifest.genesis, &manifest.header, snapshot.certificate.as_ref())
    }

    /// Checks that a block is final on this chain. Returns its hash.
    pub(crate) fn check_block(
        &self,
        genesis: &Hash,
        header: &Header,
        certificate: Option<&CommitCertificate>,
    ) -> Result<Hash, TrustError> {
        // The light client's check of a block, with nothing claimed about it.
        let block = ProofFile::new(
            *genesis,
            self.params.fault_model,
            header.clone(),
            certificate.cloned(),
            self.validators.clone(),
            Vec::new(),
        );
        if block.v1().certificate.as_ref() != certificate {
            return Err(TrustError::CertificateForm);
        }
        let trust = vibecoin_light::Trust::new(self.genesis, &self.params, self.validators.clone());
        let hash = verify_light_block(&trust, &block)?.block;
        self.check_header(header)?;
        self.check_pinned(header, hash)?;
        Ok(hash)
    }

    /// Checks what the light client does not need, and a store that begins with the block refuses.
    fn check_header(&self, header: &Header) -> Result<(), TrustError> {
        if header.version != BLOCK_VERSION {
            return Err(TrustError::Version { got: header.version });
        }
        let expected = self.validators.hash();
        if header.next_validators_hash != expected {
            return Err(TrustError::NextValidators {
                expected,
                got: header.next_validators_hash,
            });
        }
        Ok(())
    }

    fn check_pinned(&self, header: &Header, hash: Hash) -> Result<(), TrustError> {
        let Some(pinned) = self.pinned else {
            return Ok(());
        };
        if header.height < pinned.height {
            return Err(TrustError::BelowTrusted {
                trusted: pinned.height,
                got: header.height,
            });
        }
        if header.height == pinned.height && hash != pinned.hash {
            return Err(TrustError::OtherBlock {
                height: header.height,
                trusted: pinned.hash,
                got: hash,
            });
        }
        Ok(())
    }
}
