//! The transports: QUIC, and TCP with Noise and Yamux, whose closing no peer can delay.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Transport as _;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent};
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId as LibPeer, noise, quic, tcp, yamux};

use crate::guarded::{Guarded, Secure};
use crate::meter::Meters;

/// Deadline of a QUIC handshake. Where UDP is blocked, TCP is tried after it.
const QUIC_HANDSHAKE: Duration = Duration::from_secs(2);
/// Idle timeout of a QUIC connection. Without it the end of a process is not detected, and after a cut the
/// delay until the next attempt doubles with each.
const QUIC_SILENCE_MS: u32 = 4_000;
/// Maximum number of open streams of a peer. A dozen are in use; each may hold a window of unread bytes.
const STREAMS_MAX: u32 = 32;
/// Maximum number of streams of a connection whose protocol is being negotiated.
pub const NEGOTIATED_STREAMS_MAX: usize = 16;
/// Maximum number of unread bytes of one QUIC stream, and of all of a connection. A peer that exceeds its
/// rate fills them, so they bound the memory that each peer can occupy.
const QUIC_STREAM_BYTES_MAX: u32 = 1024 * 1024;
const QUIC_CONNECTION_BYTES_MAX: u32 = 2 * QUIC_STREAM_BYTES_MAX;
/// Keep-alive interval of an idle QUIC connection.
const QUIC_ALIVE: Duration = Duration::from_secs(1);

type Failed = Box<dyn Error + Send + Sync>;
type Connections = Boxed<(LibPeer, StreamMuxerBox)>;

/// The transport over QUIC.
pub fn quic(key: &Keypair, meters: &Meters) -> Result<Connections, Failed> {
    let mut config = quic::Config::new(key);
    config.handshake_timeout = QUIC_HANDSHAKE;
    config.max_idle_timeout = QUIC_SILENCE_MS;
    config.keep_alive_interval = QUIC_ALIVE;
    config.max_concurrent_stream_limit = STREAMS_MAX;
    config.max_stream_data = QUIC_STREAM_BYTES_MAX;
    config.max_connection_data = QUIC_CONNECTION_BYTES_MAX;
    let meters = meters.clone();
    Ok(quic::tokio::Transport::new(config)
        .map(move |(peer, muxer), _| (peer, metered(&meters, peer, muxer)))
        .boxed())
}

/// The transport over TCP.
pub fn tcp(key: &Keypair, meters: &Meters) -> Result<Connections, Failed> {
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(usize::try_from(STREAMS_MAX)?);
    let meters = meters.clone();
    Ok(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .map(|stream, endpoint| Guarded::arrived(stream, endpoint.is_listener()))
        .upgrade(Version::V1Lazy)
        .authenticate(Secure(noise::Config::new(key)?))
        .multiplex(muxer)
        .map(move |(peer, muxer), _| (peer, metered(&meters, peer, ImmediateClose(muxer))))
        .boxed())
}

fn metered<M>(meters: &Meters, peer: LibPeer, inner: M) -> StreamMuxerBox
where
    M: StreamMuxer + Unpin + Send + 'static,
    M::Substream: Unpin + Send + 'static,
    M::Error: Send + Sync + 'static,
{
    StreamMuxerBox::new(meters.connection(peer, inner))
}

/// A muxer that closes at once. The inner one waits until its last bytes have been acknowledged, and over a
/// cut cable that is a quarter of an hour, for which the peer would count as connected.
struct ImmediateClose<M>(M);

impl<M: StreamMuxer + Unpin> StreamMuxer for ImmediateClose<M> {
    type Substream = M::Substream;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.0).poll_inbound(cx)
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.0).poll_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match Pin::new(&mut self.0).poll_close(cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}
