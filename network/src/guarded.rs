//! The steps of a TCP connection before it carries streams, bounded in bytes.
//!
//! ```text
//! negotiation of Noise ─▶ two Noise messages ─▶ negotiation of Yamux ─▶ Yamux
//! ```
//!
//! Until Noise has identified the peer, its bytes count on no budget, and each proposal in a negotiation costs
//! this node an answer. A connection that exceeds a bound ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use futures_util::{AsyncRead, AsyncWrite, FutureExt as _, TryFutureExt as _};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p::{PeerId as LibPeer, noise};
use vibecoin_primitives::limits::KIB;

use crate::negotiation::Negotiation;

/// Maximum number of bytes of the peer's two messages of a Noise handshake. Those of an honest peer have 300.
pub const HANDSHAKE_BYTES_MAX: usize = 4 * KIB;
/// Number of messages of the side that dialled, in the handshake `XX`.
const HANDSHAKE_MESSAGES: u8 = 2;

/// Step of a connection.
#[derive(Debug)]
enum Step {
    /// The peer proposes the next protocol, which is followed by a Noise handshake or by nothing bounded.
    Negotiation {
        negotiation: Box<Negotiation>,
        is_secured: bool,
    },
    Handshake(Handshake),
    Open,
}

/// Reads messages with a length of two bytes, big-endian, in front.
#[derive(Debug)]
struct Handshake {
    messages_left: u8,
    bytes: usize,
    len: Vec<u8>,
    left: usize,
}

impl Handshake {
    const fn new() -> Self {
        Self {
            messages_left: HANDSHAKE_MESSAGES,
            bytes: 0,
            len: Vec::new(),
            left: 0,
        }
    }

    /// Returns true when the peer's messages are complete.
    fn on_read(&mut self, bytes: &[u8]) -> io::Result<bool> {
        for byte in bytes {
            self.bytes = self.bytes.saturating_add(1);
            if self.bytes > HANDSHAKE_BYTES_MAX {
                let error = "a handshake without end";
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            if self.left > 0 {
                self.left = self.left.saturating_sub(1);
            } else {
                self.len.push(*byte);
                let Ok(len) = <[u8; 2]>::try_from(self.len.as_slice()) else {
                    continue;
                };
                self.len.clear();
                self.left = usize::from(u16::from_be_bytes(len));
            }
            if self.left == 0 {
                self.messages_left = self.messages_left.saturating_sub(1);
                if self.messages_left == 0 {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// A connection whose next steps are bounded.
#[derive(Debug)]
pub struct Guarded<S> {
    inner: S,
    step: Step,
}

impl<S> Guarded<S> {
    /// A connection as it arrives, or one that this node dialled: such a peer proposes nothing, and its
    /// answers are as many as this node's proposals.
    pub fn arrived(inner: S, is_inbound: bool) -> Self {
        Self::at(inner, is_inbound, false)
    }

    /// A connection after its Noise handshake.
    pub fn secured(inner: S, is_inbound: bool) -> Self {
        Self::at(inner, is_inbound, true)
    }

    fn at(inner: S, is_inbound: bool, is_secured: bool) -> Self {
        let step = if is_inbound {
            Step::Negotiation {
                negotiation: Box::default(),
                is_secured,
            }
        } else {
            Step::Open
        };
        Self { inner, step }
    }

    fn on_read(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.step {
            Step::Negotiation { negotiation, .. } => negotiation.on_read(bytes)?,
            Step::Handshake(handshake) => {
                if handshake.on_read(bytes)? {
                    self.step = Step::Open;
                }
            }
            Step::Open => {}
        }
        Ok(())
    }

    fn on_write(&mut self, bytes: &[u8]) {
        if let Step::Negotiation {
            negotiation,
            is_secured,
        } = &mut self.step
        {
            negotiation.on_write(bytes);
            if negotiation.protocol().is_some() {
                self.step = if *is_secured {
                    Step::Open
                } else {
                    Step::Handshake(Handshake::new())
                };
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.on_read(buf.get(..count).unwrap_or_default())?;
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    // Writes of several buffers become writes of one, so each is seen here.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.on_write(buf.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// Noise, with a connection behind it whose next negotiation is bounded.
#[derive(Clone)]
pub struct Secure(pub noise::Config);

type Secured<C> = (LibPeer, Guarded<noise::Output<C>>);

impl UpgradeInfo for Secure {
    type Info = &'static str;
    type InfoIter = std::iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.protocol_info()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Secure {
    type Output = Secured<C>;
    type Error = noise::Error;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, socket: C, info: Self::Info) -> Self::Future {
        let secured = self.0.upgrade_inbound(socket, info);
        secured
            .map_ok(|(peer, inner)| (peer, Guarded::secured(inner, true)))
            .boxed()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Secure {
    type Output = Secured<C>;
    type Error = noise::Error;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, socket: C, info: Self::Info) -> Self::Future {
        let secured = self.0.upgrade_outbound(socket, info);
        secured
            .map_ok(|(peer, inner)| (peer, Guarded::secured(inner, false)))
            .boxed()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::negotiation::tests::line;
    use crate::negotiation::{NEGOTIATION_BYTES_MAX, NEGOTIATION_LINES_MAX};

    const HEADER: &str = "/multistream/1.0.0";

    /// A connection on which these protocols were agreed on.
    fn agreed(mut guarded: Guarded<()>, protocol: &str) -> Guarded<()> {
        for text in [HEADER, protocol] {
            guarded.on_read(&line(text)).unwrap();
            guarded.on_write(&line(text));
        }
        guarded
    }

    /// Number of bytes that are read of an endless repetition of these.
    fn read(guarded: &mut Guarded<()>, bytes: &[u8]) -> usize {
        let endless = bytes.iter().cycle().take(1_000_000);
        endless
            .take_while(|byte| guarded.on_read(&[**byte]).is_ok())
            .count()
    }

    #[test]
    fn proposals_before_and_after_noise_are_bounded() {
        for make in [Guarded::arrived, Guarded::secured] {
            let mut guarded = make((), true);
            let count = read(&mut guarded, &line("/a"));
            assert_eq!(count / line("/a").len(), NEGOTIATION_LINES_MAX);
            let mut guarded = make((), true);
            assert_eq!(
                read(&mut guarded, &line(&"/".repeat(4_000))),
                NEGOTIATION_BYTES_MAX
            );
        }
    }

    #[test]
    fn a_handshake_is_bounded_and_what_follows_its_two_messages_is_not() {
        let message = |len: u16| [&len.to_be_bytes()[..], &vec![7; usize::from(len)]].concat();
        let mut guarded = agreed(Guarded::arrived((), true), "/noise");
        assert_eq!(read(&mut guarded, &message(0xffff)), HANDSHAKE_BYTES_MAX);
        let mut guarded = agreed(Guarded::arrived((), true), "/noise");
        guarded.on_read(&[message(32), message(200)].concat()).unwrap();
        assert_eq!(read(&mut guarded, &[7]), 1_000_000);
        let mut guarded = agreed(Guarded::secured((), true), "/yamux/1.0.0");
        assert_eq!(read(&mut guarded, &[7]), 1_000_000);
        assert_eq!(read(&mut Guarded::arrived((), false), &[7]), 1_000_000, "dialled");
    }
}
