//! The decision on a height, from the certificate to the durable block.

use vibecoin_execution::DecidedBlock;
use vibecoin_primitives::{
    Account, Address, Body, CommitCertificate, Evidence, Hash, Header, Height, PublicKey, Round,
};

use crate::validation::Executed;

/// A decision whose body is not here: the body is fetched again.
pub(crate) struct Deciding {
    pub certificate: CommitCertificate,
    pub header: Header,
    /// Double signatures that the votes contain.
    pub evidence: Vec<Evidence>,
}

/// Data of a block needed after its commit has been handed over to the host.
pub(crate) struct Committing {
    pub header: Header,
    pub hash: Hash,
    pub certificate: CommitCertificate,
    /// Identifiers of its transactions.
    pub ids: Vec<Hash>,
    /// Number of operations in its transactions.
    pub operations: usize,
    /// The accounts that it changed, as they are after it.
    pub accounts: Vec<(Address, Option<Account>)>,
    /// Validators whose double signatures it records.
    offenders: Vec<PublicKey>,
}

impl Committing {
    /// Divides a decided block into what the host stores and what is needed here once that is durable.
    pub fn new<S>(
        header: Header,
        hash: Hash,
        certificate: CommitCertificate,
        body: Body,
        executed: Executed<S>,
    ) -> (Self, Box<DecidedBlock<S>>) {
        let Executed {
            outcome,
            diff,
            state,
            ids,
        } = executed;
        let offenders = body.v1().evidence.iter().map(|piece| piece.offender().0);
        let changed = outcome.changes.accounts.into_iter();
        let committing = Self {
            header: header.clone(),
            hash,
            certificate: certificate.clone(),
            ids: ids.clone(),
            operations: body.transactions().fold(0, |sum, transaction| {
                sum.saturating_add(transaction.body().operations.len())
            }),
            accounts: changed
                .map(|(address, account)| (address, Some(account)))
                .collect(),
            offenders: offenders.collect(),
        };
        let commit = Box::new(DecidedBlock {
            header,
            hash,
            body,
            certificate,
            receipts: outcome.receipts,
            diff,
            ids,
            state,
        });
        (committing, commit)
    }
}

/// State of the decision on the next height.
#[derive(Default)]
pub(crate) enum Decision {
    /// There is none.
    #[default]
    Open,
    /// It waits for its body.
    Deciding(Deciding),
    /// The host is storing the block.
    Committing(Committing),
}

impl Decision {
    /// Returns true while the host is storing the block.
    pub const fn is_committing(&self) -> bool {
        matches!(self, Self::Committing(_))
    }

    /// The round and the recorded offenders of the block that the host is storing.
    pub fn decided(&self) -> Option<(Round, &[PublicKey])> {
        match self {
            Self::Committing(commit) => Some((commit.header.round, &commit.offenders)),
            Self::Open | Self::Deciding(_) => None,
        }
    }

    /// Takes the decision that waits for the body of this block.
    pub fn take_deciding(&mut self, block: &Hash) -> Option<Deciding> {
        match std::mem::take(self) {
            Self::Deciding(deciding) if deciding.certificate.block == *block => Some(deciding),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Takes the block at this height that the host has stored.
    pub fn take_committed(&mut self, height: Height) -> Option<Committing> {
        match std::mem::take(self) {
            Self::Committing(commit) if commit.header.height == height => Some(commit),
            other => {
                *self = other;
                None
            }
        }
    }
}
