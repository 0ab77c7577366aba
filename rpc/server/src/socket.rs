//! The socket of a connection: the protocol reads and writes it, and its seat checks if the peer is still
//! connected.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Time that an answered connection, which is read no further, is kept for its peer to close it.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of one read.
const CHUNK_BYTES: usize = 8 * 1024;

#[derive(Debug)]
pub(crate) struct Socket(Mutex<TcpStream>);

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Arc<Self> {
        Arc::new(Self(Mutex::new(stream)))
    }

    /// Returns true if the peer has closed its side, even if unread bytes are in front of the end.
    pub(crate) fn is_closed(&self) -> bool {
        let stream = self.0.lock();
        match stream.ready(Interest::READABLE).now_or_never() {
            Some(Ok(ready)) => ready.is_read_closed(),
            Some(Err(_)) => true,
            None => false,
        }
    }
}

/// Reads and discards up to `bytes_max` until the peer has closed its side, for a bounded time. Adds the
/// bytes read to `discarded`.
///
/// Closing a socket that holds unread bytes resets the connection, and a reset can overtake the answer: a peer that
/// is still sending would see a broken connection instead.
pub(crate) async fn linger(socket: &Arc<Socket>, bytes_max: usize, discarded: &mut usize) {
    let mut stream = Stream(Arc::clone(socket));
    let reading = async {
        let mut chunk = [0; CHUNK_BYTES];
        while *discarded < bytes_max {
            match stream.read(&mut chunk).await {
                Ok(read @ 1..) => *discarded = discarded.saturating_add(read),
                Ok(0) | Err(_) => return,
            }
        }
    };
    // A peer that does not close in time is closed.
    let _ = tokio::time::timeout(LINGER_TIMEOUT, reading).await;
}

/// The protocol's side.
#[derive(Debug)]
pub(crate) struct Stream(pub(crate) Arc<Socket>);

impl Stream {
    fn poll<T>(&self, poll: impl FnOnce(Pin<&mut TcpStream>) -> T) -> T {
        poll(Pin::new(&mut *self.0.0.lock()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_read(task, into))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(|stream| stream.poll_write(task, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(|stream| stream.poll_write_vectored(task, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_flush(task))
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_shutdown(task))
    }
}
