//! Checking a proof against the genesis file.

use vibecoin_primitives::{
    Account, Address, CertificateError, ChainParams, CodecError, CommitCertificate, FaultModel, Hash, Header,
    Height, Receipt, TimeMs, Transaction, TransactionError, ValidatorSet, VerifiedTransaction, account_key,
    decode, slot_key,
};
use vibecoin_trie::{Proof, ProofError, TrieKind};

use crate::file::{Claim, ProofFile, ProofV1, TransactionClaim};

/// Reason why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LightError {
    /// The text is not a proof file.
    #[error("{what}")]
    Text {
        /// The violation.
        what: &'static str,
    },
    /// Bytes in it are malformed.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It is about another chain.
    #[error("the proof is about the chain with genesis {got}, expected {expected}")]
    OtherChain {
        /// The trusted genesis hash.
        expected: Hash,
        /// The hash found.
        got: Hash,
    },
    /// The block was decided by other validators than those of genesis.
    #[error(
        "the block's validators are {got}, those of genesis are {expected}: changed sets are not supported yet"
    )]
    ValidatorsChanged {
        /// Hash of the set of genesis.
        expected: Hash,
        /// Hash of the set found.
        got: Hash,
    },
    /// The block follows other rules than those of genesis.
    #[error("the block's parameters are {got}, those of genesis are {expected}")]
    ParamsChanged {
        /// Hash of the parameters of genesis.
        expected: Hash,
        /// The hash found.
        got: Hash,
    },
    /// A block that is not genesis has no certificate, or genesis has one.
    #[error("the block at height {height} {what}")]
    CertificatePresence {
        /// The block's height.
        height: Height,
        /// `has no certificate` or `cannot have a certificate`.
        what: &'static str,
    },
    /// The header of height 0 is not the trusted one.
    #[error("the header of height 0 has hash {got}, genesis is {expected}")]
    NotGenesis {
        /// The genesis hash.
        expected: Hash,
        /// The hash found.
        got: Hash,
    },
    /// The certificate proves nothing.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificate has a signature that the quorum does not need; a proof has one form only.
    #[error("the certificate has more signatures than the quorum needs")]
    SpareSignature,
    /// There is no claim to prove: [`verify_light_block`] is for blocks alone.
    #[error("the proof claims nothing")]
    NoClaim,
    /// A light block has claims: [`verify`] is for those.
    #[error("the proof claims {got} things, a light block claims none")]
    ClaimsInLightBlock {
        /// Number of claims found.
        got: usize,
    },
    /// Claims are not strictly ascending; a proof has one form only.
    #[error("claim {index} is not above the claim before it")]
    ClaimOrder {
        /// Position of the claim, from zero.
        index: usize,
    },
    /// A trie proof does not hold.
    #[error("claim {index}: {fault}")]
    Trie {
        /// Position of the claim, from zero.
        index: usize,
        /// The violation.
        fault: ProofError,
    },
    /// A claim is malformed or contradicts itself.
    #[error("claim {index}: {what}")]
    Claim {
        /// Position of the claim, from zero.
        index: usize,
        /// The violation.
        what: &'static str,
    },
    /// A transaction that cannot have been in a block.
    #[error("claim {index}: {fault}")]
    Transaction {
        /// Position of the claim, from zero.
        index: usize,
        /// The violation.
        fault: TransactionError,
    },
}

/// The facts accepted without proof: all of them are in the genesis file.
#[derive(Clone, Debug)]
pub struct Trust {
    genesis: Hash,
    params_hash: Hash,
    fault_model: FaultModel,
    validators_hash: Hash,
    validators: ValidatorSet,
}

impl Trust {
    /// Trusts a chain by its genesis hash, parameters and validators.
    #[must_use]
    pub fn new(genesis: Hash, params: &ChainParams, validators: ValidatorSet) -> Self {
        Self {
            genesis,
            params_hash: params.hash(),
            fault_model: params.fault_model,
            validators_hash: validators.hash(),
            validators,
        }
    }
}

/// One proved fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The account at this address; `None` is proven absence.
    Account {
        /// The address.
        address: Address,
        /// The account.
        account: Option<Account>,
    },
    /// The value of a slot; `None` is proven absence.
    Slot {
        /// The owner of the slot.
        address: Address,
        /// The slot.
        slot: Hash,
        /// Its value.
        value: Option<Vec<u8>>,
    },
    /// A transaction is in the block.
    Transaction {
        /// The transaction, its signature checked.
        transaction: Box<VerifiedTransaction>,
        /// The tick that contains it, from zero.
        tick: u64,
        /// Position in the block, from zero.
        index: u64,
        /// Its receipt.
        receipt: Receipt,
    },
}

/// The result of a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The block's height.
    pub height: Height,
    /// The block's hash.
    pub block: Hash,
    /// Root of the state after the block.
    pub state_root: Hash,
    /// The block's time, as proposed and accepted by a quorum.
    pub time: TimeMs,
    /// One fact for each claim, in order.
    pub facts: Vec<Fact>,
}

impl Proven {
    const fn new(header: &Header, block: Hash, facts: Vec<Fact>) -> Self {
        Self {
            height: header.height,
            block,
            state_root: header.state_root,
            time: header.time,
            facts,
        }
    }
}

/// Checks a proof and returns the facts that it proves.
///
/// The block is checked first (chain, rules, validators, certificate), then every claim against its roots.
/// Costs one batch of signatures, and about four hashes per level and claim.
///
/// # Errors
/// [`LightError`] with the first rule that does not hold; then nothing is proved.
pub fn verify(trust: &Trust, file: &ProofFile) -> Result<Proven, LightError> {
    let proof = file.v1();
    if proof.claims.is_empty() {
        return Err(LightError::NoClaim);
    }
    let block = verify_block(trust, proof)?;
    let mut facts = Vec::with_capacity(proof.claims.len());
    let mut previous = None;
    for (index, claim) in proof.claims.iter().enumerate() {
        let order = claim.order();
        if previous.is_some_and(|previous| previous >= order) {
            return Err(LightError::ClaimOrder { index });
        }
        previous = Some(order);
        let claims = Claims {
            trust,
            header: &proof.header,
            index,
        };
        facts.push(claims.prove(claim)?);
    }
    Ok(Proven::new(&proof.header, block, facts))
}

/// Checks a proof without claims: only that the block is final.
///
/// # Errors
/// [`LightError`] with the first rule that does not hold.
pub fn verify_light_block(trust: &Trust, file: &ProofFile) -> Result<Proven, LightError> {
    let proof = file.v1();
    if !proof.claims.is_empty() {
        return Err(LightError::ClaimsInLightBlock {
            got: proof.claims.len(),
        });
    }
    let block = verify_block(trust, proof)?;
    Ok(Proven::new(&proof.header, block, Vec::new()))
}

/// Checks that the header belongs to the chain and is final. Returns its hash.
fn verify_block(trust: &Trust, proof: &ProofV1) -> Result<Hash, LightError> {
    let ProofV1 {
        genesis,
        header,
        certificate,
        validators,
        ..
    } = proof;
    if *genesis != trust.genesis {
        return Err(LightError::OtherChain {
            expected: trust.genesis,
            got: *genesis,
        });
    }
    for got in [validators.hash(), header.validators_hash] {
        if got != trust.validators_hash {
            return Err(LightError::ValidatorsChanged {
                expected: trust.validators_hash,
                got,
            });
        }
    }
    if header.params_hash != trust.params_hash {
        return Err(LightError::ParamsChanged {
            expected: trust.params_hash,
            got: header.params_hash,
        });
    }
    let hash = header.hash();
    match certificate {
        None if header.height == Height::ZERO => {
            if hash != trust.genesis {
                return Err(LightError::NotGenesis {
                    expected: trust.genesis,
                    got: hash,
                });
            }
        }
        Some(certificate) if header.height != Height::ZERO => {
            certificate.verify(
                &trust.genesis,
                trust.fault_model,
                &trust.validators,
                header.height,
                &hash,
            )?;
            refuse_spare_signatures(trust, certificate)?;
        }
        _ => {
            let what = if certificate.is_none() {
                "has no certificate"
            } else {
                "cannot have a certificate"
            };
            return Err(LightError::CertificatePresence {
                height: header.height,
                what,
            });
        }
    }
    Ok(hash)
}

fn refuse_spare_signatures(trust: &Trust, certificate: &CommitCertificate) -> Result<(), LightError> {
    let powers = certificate.signatures.iter().filter_map(|entry| {
        trust
            .validators
            .find(&entry.validator)
            .map(|(_, validator)| validator.power.0)
    });
    let sum = powers.clone().fold(0u64, u64::saturating_add);
    let least = powers.min().unwrap_or(0);
    if trust
        .fault_model
        .is_quorum(sum.saturating_sub(least), trust.validators.total_power())
    {
        return Err(LightError::SpareSignature);
    }
    Ok(())
}

/// Checks the claim at one position.
struct Claims<'a> {
    trust: &'a Trust,
    header: &'a Header,
    index: usize,
}

impl Claims<'_> {
    fn prove(&self, claim: &Claim) -> Result<Fact, LightError> {
        match claim {
            Claim::Account { address, proof } => {
                let account = self.account(address, proof)?;
                Ok(Fact::Account {
                    address: *address,
                    account,
                })
            }
            Claim::Slot {
                address,
                slot,
                account,
                proof,
            } => {
                let account = self.account(address, account)?;
                let root = account.and_then(|account| account.storage_root);
                let value = match (root, proof) {
                    (None, None) => None,
                    (Some(root), Some(proof)) => {
                        self.trie(TrieKind::Storage, &root, &slot_key(slot), proof)?
                    }
                    _ => return Err(self.fault("a slot's proof is there exactly when its account has slots")),
                };
                Ok(Fact::Slot {
                    address: *address,
                    slot: *slot,
                    value,
                })
            }
            Claim::Transaction(claim) => self.transaction(claim),
        }
    }

    const fn fault(&self, what: &'static str) -> LightError {
        LightError::Claim {
            index: self.index,
            what,
        }
    }

    fn account(&self, address: &Address, proof: &[u8]) -> Result<Option<Account>, LightError> {
        let key = account_key(address);
        let value = self.trie(TrieKind::Account, &self.header.state_root, &key, proof)?;
        Ok(value.map(|bytes| decode::<Account>(&bytes)).transpose()?)
    }

    fn trie(
        &self,
        kind: TrieKind,
        root: &Hash,
        key: &Hash,
        bytes: &[u8],
    ) -> Result<Option<Vec<u8>>, LightError> {
        let fault = |fault| LightError::Trie {
            index: self.index,
            fault,
        };
        let proof = Proof::decode(bytes).map_err(fault)?;
        if proof.encode() != bytes {
            return Err(self.fault("a trie proof is not in its one form"));
        }
        let value = vibecoin_trie::verify(kind, root, key, &proof).map_err(fault)?;
        Ok(value.map(<[u8]>::to_vec))
    }

    fn transaction(&self, claim: &TransactionClaim) -> Result<Fact, LightError> {
        let TransactionClaim {
            transaction,
            in_tick,
            in_block,
            receipt,
            receipt_path,
        } = claim;
        let root = self.leads(in_tick, transaction.hash())?;
        if self.leads(in_block, root)? != self.header.tx_root {
            return Err(self.fault("the transaction's path does not lead to the block's transaction root"));
        }
        if self.leads(receipt_path, receipt.hash())? != self.header.receipt_root {
            return Err(self.fault("the receipt's path does not lead to the block's receipt root"));
        }
        let verified = Transaction::clone(transaction)
            .verify(&self.trust.genesis)
            .map_err(|fault| LightError::Transaction {
                index: self.index,
                fault,
            })?;
        if receipt.v1().transaction != *verified.id() {
            return Err(self.fault("the receipt belongs to another transaction"));
        }
        Ok(Fact::Transaction {
            transaction: Box::new(verified),
            tick: in_block.index,
            index: receipt_path.index,
            receipt: receipt.clone(),
        })
    }

    fn leads(&self, path: &vibecoin_primitives::MerklePath, leaf: Hash) -> Result<Hash, LightError> {
        path.root(leaf)
            .ok_or_else(|| self.fault("a Merkle path is malformed"))
    }
}
