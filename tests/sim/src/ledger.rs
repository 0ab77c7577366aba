//! The stored chain of the Byzantine node, as its behaviour reads it.

use vibecoin_primitives::{CommitCertificate, Header, Height};
use vibecoin_storage::{StateView, Store};
use vibecoin_tests_behaviours::Ledger;

/// The chain in a store; what cannot be read is absent.
pub struct Stored<'a>(pub &'a Store);

impl Ledger for Stored<'_> {
    type State = StateView;

    fn header(&self, height: Height) -> Option<Header> {
        self.0.reader().header(height).ok().flatten()
    }

    fn certificate(&self, height: Height) -> Option<CommitCertificate> {
        self.0.reader().certificate(height).ok().flatten()
    }

    fn state(&self) -> StateView {
        self.0.view()
    }
}
