//! Ports of nodes: which are free, and which are in use.

use vibecoin_process::ports::{Listening as Sockets, owner};

use crate::error::{Class, Error};
use crate::plan::{PORT_STEP, Ports, ports};
use crate::wait::Reporter;

/// Start and end of the search for free ports.
pub const FIRST: u16 = 27_100;
const LAST: u16 = 31_000;
/// Maximum first port of a node, which has four.
const FIRST_PORT_MAX: u16 = u16::MAX - 3;

/// Remedy for a port in use while the devnet is created or moved.
pub const OTHER_BASE: &str = "choose another --base-port, or leave it out";
/// The same while the devnet runs.
pub const MOVE_ALL: &str = "end that process, or move the devnet to other ports: `vibecoin devnet down`, then \
    `vibecoin devnet up --base-port PORT`";

/// The listening sockets of this machine.
pub struct Listening(Sockets);

impl Listening {
    /// The present state.
    #[must_use]
    pub fn now() -> Self {
        Self(Sockets::now())
    }

    fn taken(&self, ports: Ports) -> Option<(u16, u64)> {
        let taken = |port: u16| self.0.inode(port).map(|inode| (port, inode));
        ports.all().into_iter().find_map(taken)
    }

    /// Returns an error if one of the ports is in use, with its owner.
    ///
    /// # Errors
    /// The fault `port_taken`, with the given remedy.
    pub fn check(&self, ports: Ports, hint: &str) -> Result<(), Error> {
        match self.user_of(ports) {
            None => Ok(()),
            Some(taken) => Err(Error::new(Class::Failure, taken).reason("port_taken").hint(hint)),
        }
    }

    /// The use of one of a node's ports, with its owner; `None` if all are free.
    #[must_use]
    pub fn user_of(&self, ports: Ports) -> Option<String> {
        self.taken(ports)
            .map(|(port, inode)| format!("port {port} is taken by {}", owner(inode)))
    }

    /// Returns true if none of a node's ports is in use.
    #[must_use]
    pub fn has_free(&self, ports: Ports) -> bool {
        self.taken(ports).is_none()
    }

    /// The first ports from `planned` on, or else from the start of every search, that are free and not among
    /// `others`, which are those of the devnet's nodes, running or not.
    #[must_use]
    pub fn next_free(&self, planned: Ports, others: &[Ports]) -> Option<Ports> {
        let step = usize::from(PORT_STEP);
        (planned.first..=FIRST_PORT_MAX)
            .step_by(step)
            .chain((FIRST..LAST).step_by(step))
            .map(|first| Ports { first })
            .find(|ports| {
                let is_other = |port| others.iter().any(|other| other.all().contains(&port));
                self.has_free(*ports) && !ports.all().into_iter().any(is_other)
            })
    }

    /// Reports that nodes have other ports than the first choice, which `planned` are.
    pub fn report_moved(&self, planned: impl IntoIterator<Item = Ports>, base: u16, reporter: Reporter) {
        if let Some(taken) = planned.into_iter().find_map(|ports| self.user_of(ports)) {
            reporter.note(&format!(
                "{taken}: the devnet has the ports from {base} on; --base-port PORT names others"
            ));
        }
    }

    /// The first base from which `nodes` nodes have free ports; `preferred` is tried before all others.
    ///
    /// # Errors
    /// None of them has.
    pub fn free_base(&self, nodes: u16, preferred: Option<u16>) -> Result<u16, Error> {
        let fits = |base: &u16| {
            (0..nodes).all(|index| ports(*base, index).is_ok_and(|ports| self.taken(ports).is_none()))
        };
        preferred
            .into_iter()
            .chain((FIRST..LAST).step_by(usize::from(PORT_STEP)))
            .find(fits)
            .ok_or_else(|| {
                Error::new(
                    Class::Failure,
                    format!("no free ports for {nodes} nodes between {FIRST} and {LAST}"),
                )
                .hint("name free ones with --base-port PORT")
            })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_taken_port_names_its_owner_and_is_passed_over() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let now = Listening::now();
        // Each of the four ports of a node counts.
        let ports = Ports {
            first: port.saturating_sub(2),
        };
        let error = now.check(ports, OTHER_BASE).unwrap_err();
        assert!(error.is("port_taken"));
        let pid = format!("(pid {})", std::process::id());
        assert!(error.to_string().contains(&pid), "{error}");
        assert_ne!(now.free_base(1, Some(ports.first)).unwrap(), ports.first);
    }

    #[test]
    fn a_node_gets_the_next_ports_that_are_free_and_of_no_other_node() {
        let now = Listening([(40_012, 1), (40_020, 2)].into_iter().collect());
        let next = |first: u16, others: &[u16]| {
            let others: Vec<_> = others.iter().map(|first| Ports { first: *first }).collect();
            now.next_free(Ports { first }, &others).map(|ports| ports.first)
        };
        assert_eq!(
            next(40_000, &[]),
            Some(40_000),
            "the planned ones, if they can be had"
        );
        assert_eq!(next(40_010, &[]), Some(40_030));
        assert_eq!(
            next(40_010, &[40_030, 40_043]),
            Some(40_050),
            "a part in common is too much"
        );
        assert_eq!(next(65_530, &[65_530]), Some(FIRST), "at the end it begins anew");
        let all = Listening((0..=u16::MAX).map(|port| (port, 1)).collect());
        assert_eq!(all.next_free(Ports { first: 40_000 }, &[]), None);
    }
}
