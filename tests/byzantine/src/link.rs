//! A connection to a node: TCP, Noise and Yamux, with an identity and a source address of the caller's choice.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;
use std::time::{Duration, Instant};

use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt as _, SubstreamBox};
use libp2p::core::upgrade::OutboundConnectionUpgrade as _;
use libp2p::identity::Keypair;
use libp2p::{noise, tcp, yamux};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use crate::wire::propose;

/// Time limit of a dial with its handshakes.
const DIAL: Duration = Duration::from_secs(4);
/// Time limit of a stream's negotiation.
const OPEN: Duration = Duration::from_secs(4);
/// Stream requests that wait for the muxer.
const WANTED_MAX: usize = 64;
/// Inbound streams that wait to be accepted.
const ARRIVALS_MAX: usize = 64;

/// A connection after Noise: nothing has been multiplexed yet.
pub type Secured = noise::Output<tcp::tokio::TcpStream>;

type Want = oneshot::Sender<io::Result<SubstreamBox>>;

/// Connects from `source` and proves an identity.
///
/// # Errors
/// When the node does not accept the connection in time.
pub async fn secure(target: SocketAddr, source: Option<IpAddr>, identity: &Keypair) -> io::Result<Secured> {
    let connected = async {
        let stream = connect(target, source).await?;
        let mut stream = tcp::tokio::TcpStream(stream);
        propose(&mut stream, "/noise").await?;
        let config = noise::Config::new(identity).map_err(io::Error::other)?;
        let upgraded = config.upgrade_outbound(stream, "/noise").await;
        let (_, mut secured) = upgraded.map_err(io::Error::other)?;
        propose(&mut secured, "/yamux/1.0.0").await?;
        Ok(secured)
    };
    tokio::time::timeout(DIAL, connected).await?
}

/// A TCP connection from `source`.
///
/// # Errors
/// As the system reports.
pub async fn connect(target: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = match target {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(source) = source {
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads until the server closes.
///
/// # Errors
/// The connection failed.
pub async fn until_closed(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// A multiplexed connection. It ends when it is dropped.
pub struct Link {
    wanted: mpsc::Sender<Want>,
    closed: watch::Receiver<Option<Instant>>,
    driver: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    /// Connects; the second value yields the streams that the node opens.
    ///
    /// # Errors
    /// When the node does not accept the connection in time.
    pub async fn dial(
        target: SocketAddr,
        source: Option<IpAddr>,
        identity: &Keypair,
    ) -> io::Result<(Self, mpsc::Receiver<SubstreamBox>)> {
        let secured = secure(target, source, identity).await?;
        let muxer = yamux::Config::default()
            .upgrade_outbound(secured, "/yamux/1.0.0")
            .await?;
        let (wanted, requests) = mpsc::channel(WANTED_MAX);
        let (arrived, arrivals) = mpsc::channel(ARRIVALS_MAX);
        let (ended, closed) = watch::channel(None);
        let muxer = StreamMuxerBox::new(muxer);
        let driver = tokio::spawn(async move {
            drive(muxer, requests, arrived).await;
            ended.send_replace(Some(Instant::now()));
        });
        let link = Self {
            wanted,
            closed,
            driver: driver.abort_handle(),
        };
        Ok((link, arrivals))
    }

    /// Opens a stream and agrees on its protocol.
    ///
    /// # Errors
    /// When the connection has ended, or the node does not agree in time.
    pub async fn open(&self, protocol: &str) -> io::Result<SubstreamBox> {
        let opened = async {
            let mut stream = self.open_raw().await?;
            propose(&mut stream, protocol).await?;
            Ok(stream)
        };
        tokio::time::timeout(OPEN, opened).await?
    }

    /// Opens a stream without negotiation.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn open_raw(&self) -> io::Result<SubstreamBox> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let (want, got) = oneshot::channel();
        self.wanted.send(want).await.map_err(|_| gone())?;
        got.await.map_err(|_| gone())?
    }

    /// Time at which the connection ended.
    #[must_use]
    pub fn closed_at(&self) -> Option<Instant> {
        *self.closed.borrow()
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) {
        let mut closed = self.closed.clone();
        let _driver_ended = closed.wait_for(Option::is_some).await;
    }
}

/// Moves the connection's bytes until it ends.
async fn drive(
    mut muxer: StreamMuxerBox,
    mut requests: mpsc::Receiver<Want>,
    arrived: mpsc::Sender<SubstreamBox>,
) {
    let mut waiting: VecDeque<Want> = VecDeque::new();
    poll_fn(|cx| {
        loop {
            let mut moved = false;
            while let Poll::Ready(Some(want)) = requests.poll_recv(cx) {
                waiting.push_back(want);
            }
            match muxer.poll_inbound_unpin(cx) {
                Poll::Ready(Ok(stream)) => {
                    // Without capacity it is dropped, which resets it.
                    let _full = arrived.try_send(stream);
                    moved = true;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if !waiting.is_empty() {
                match muxer.poll_outbound_unpin(cx) {
                    Poll::Ready(opened) => {
                        let failed = opened.is_err();
                        if let Some(want) = waiting.pop_front() {
                            let _given_up = want.send(opened);
                        }
                        if failed {
                            return Poll::Ready(());
                        }
                        moved = true;
                    }
                    Poll::Pending => {}
                }
            }
            match muxer.poll_unpin(cx) {
                Poll::Ready(Ok(_)) => moved = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if !moved {
                return Poll::Pending;
            }
        }
    })
    .await;
}
