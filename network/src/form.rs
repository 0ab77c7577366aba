//! Checks of configured addresses and identities.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol as Part;

use crate::address::{multiaddr, peer_address, peer_id};
use crate::error::NetworkError;
use crate::scopes::dialable;

/// The kind of a configured address; it decides which parts are required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A listening address: an IP address, then TCP or QUIC. Port 0 selects a free one.
    Listen,
    /// An address announced to peers; the peer id is appended.
    Announce,
    /// An address with the identity of the peer there.
    Peer,
    /// An identity without an address.
    Id,
}

impl Form {
    /// Checks an entry.
    ///
    /// # Errors
    /// [`NetworkError`] for one that can never be used.
    pub fn check(self, entry: &str) -> Result<(), NetworkError> {
        let fault = |detail: &str| NetworkError::Address {
            address: entry.to_owned(),
            detail: detail.to_owned(),
        };
        match self {
            Self::Listen => {
                let address = multiaddr(entry)?;
                let mut parts = address.iter();
                let is_ip = matches!(parts.next(), Some(Part::Ip4(_) | Part::Ip6(_)));
                let rest = (parts.next(), parts.next(), parts.next());
                if is_ip
                    && matches!(
                        rest,
                        (Some(Part::Tcp(_)), None, None) | (Some(Part::Udp(_)), Some(Part::QuicV1), None)
                    )
                {
                    return Ok(());
                }
                Err(fault(
                    "a place to listen at is /ip4/ADDRESS or /ip6/ADDRESS, then /tcp/PORT or /udp/PORT/quic-v1",
                ))
            }
            Self::Announce => check_reachable(&multiaddr(entry)?).map_err(fault),
            Self::Peer => {
                let (_, address) = peer_address(entry)?;
                // The DNS name resolves to the peers' addresses and identities.
                if matches!(address.iter().next(), Some(Part::Dnsaddr(_))) {
                    return Ok(());
                }
                check_reachable(&address).map_err(fault)
            }
            Self::Id => peer_id(entry).map(|_| ()),
        }
    }
}

/// Checks that a peer can be dialled at the address.
fn check_reachable(address: &Multiaddr) -> Result<(), &'static str> {
    let (_, ip) = dialable(address).ok_or(
        "a place to connect to is /ip4/ADDRESS, /ip6/ADDRESS or /dns/NAME, then /tcp/PORT or /udp/PORT/quic-v1, with a port that is not 0",
    )?;
    if ip.is_some_and(|ip| ip.is_unspecified() || ip.is_multicast()) {
        return Err("nobody can connect to this IP address");
    }
    Ok(())
}
