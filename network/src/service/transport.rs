//! What is under the messages: QUIC, and TCP with Noise and Yamux, with ends that nobody can delay.

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

/// How long a QUIC handshake may take. Where UDP does not get through, TCP gets its turn after it.
const QUIC_HANDSHAKE: Duration = Duration::from_secs(2);
/// After how much silence a QUIC connection is over. Without it the end of a process is not seen, and after
/// a cut the wait for the next try doubles with each.
const QUIC_SILENCE_MS: u32 = 4_000;
/// Most streams that a peer may have open. A dozen are in use; each may hold a window of unread bytes.
const STREAMS_MAX: u32 = 64;
/// How often an idle QUIC connection says that it lives.
const QUIC_ALIVE: Duration = Duration::from_secs(1);

/// QUIC's own settings.
pub fn quic(mut config: quic::Config) -> quic::Config {
    config.handshake_timeout = QUIC_HANDSHAKE;
    config.max_idle_timeout = QUIC_SILENCE_MS;
    config.keep_alive_interval = QUIC_ALIVE;
    config.max_concurrent_stream_limit = STREAMS_MAX;
    config
}

/// The transport over TCP.
pub fn tcp(key: &Keypair) -> Result<Boxed<(LibPeer, StreamMuxerBox)>, Box<dyn Error + Send + Sync>> {
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(usize::try_from(STREAMS_MAX)?);
    Ok(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(muxer)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(Brisk(muxer))))
        .boxed())
}

/// A muxer that closes at once. The one inside waits until its last bytes have been taken, and over a cut
/// cable that is a quarter of an hour, for which the peer would count as connected.
struct Brisk<M>(M);

impl<M: StreamMuxer + Unpin> StreamMuxer for Brisk<M> {
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
