//! The steps of a load: fund and sign, then send.

use vibecoin_client::Chain;

use crate::accounts::{self, Accounts, Funding};
use crate::error::LoadError;
use crate::node::Node;
use crate::plan::{Loop, Plan};
use crate::progress::Progress;
use crate::report::Report;
use crate::transfer::{Terms, transfer_fee};
use crate::{closed, open};

/// A load that is ready to be sent.
pub struct Load<'a> {
    plan: &'a Plan,
    nodes: &'a [Node],
    progress: &'a dyn Fn(Progress),
    accounts: Accounts,
    prepared: Prepared,
}

/// Boxed: both hold clients and queues.
enum Prepared {
    Closed(Box<closed::Prepared>),
    Open(Box<open::Prepared>),
}

impl<'a> Load<'a> {
    /// Funds the accounts and signs: all transfers of a closed loop, those of an open one as far as memory allows.
    ///
    /// A closed loop is sent to the first of `nodes` alone.
    ///
    /// # Errors
    /// The errors of the paying node, of the fees, and in the closed loop those of the node that is measured.
    pub async fn prepare(
        plan: &'a Plan,
        chain: &Chain,
        funding: Funding<'_>,
        nodes: &'a [Node],
        progress: &'a dyn Fn(Progress),
    ) -> Result<Self, LoadError> {
        let fee = transfer_fee(chain)?;
        progress(Progress::Funding);
        let members = accounts::members(plan.accounts);
        accounts::fund(funding, chain, plan, fee, &members).await?;
        let accounts = Accounts {
            before: accounts::read(funding.client, &members).await?,
            terms: Terms::on(chain, fee),
            members,
        };
        progress(Progress::Signing);
        let prepared = match &plan.pace {
            Loop::Closed(closed) => {
                let prepared = closed::Prepared::new(closed, &accounts, nodes, progress).await?;
                Prepared::Closed(Box::new(prepared))
            }
            Loop::Open(open) => {
                let prepared = open::Prepared::new(open, plan.batch, &accounts, nodes, progress).await;
                Prepared::Open(Box::new(prepared))
            }
        };
        Ok(Self {
            plan,
            nodes,
            progress,
            accounts,
            prepared,
        })
    }

    /// Sends the transfers, and waits until those that were accepted are final.
    ///
    /// # Errors
    /// In the closed loop the first error of the node, and [`LoadError::Silent`] when its chain stops.
    pub async fn run(self) -> Result<Report, LoadError> {
        match self.prepared {
            Prepared::Closed(prepared) => prepared.run(self.accounts, self.plan.batch).await,
            Prepared::Open(prepared) => prepared.run(self.accounts, self.nodes, self.progress).await,
        }
    }
}
