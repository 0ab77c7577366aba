//! A stream that reports to its seat the bytes that arrive and the bytes that the peer takes.
//!
//! Nothing is read while the peer does not take what was written to it: a peer that sends requests and
//! never reads fills its side of the connection instead of this node's memory.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::seats::Seat;

#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    seat: Arc<Seat>,
    /// True if the last write was blocked.
    stuck: bool,
    /// The task that wants to read meanwhile.
    reader: Option<Waker>,
}

impl<S> Watched<S> {
    pub(crate) const fn new(stream: S, seat: Arc<Seat>) -> Self {
        Self {
            stream,
            seat,
            stuck: false,
            reader: None,
        }
    }

    fn written(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &outcome {
            Poll::Pending => self.seat.stuck(),
            Poll::Ready(Ok(bytes)) => self.seat.written(*bytes),
            Poll::Ready(Err(_)) => {}
        }
        self.stuck = outcome.is_pending();
        if !self.stuck
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stuck {
            self.reader = Some(task.waker().clone());
            return Poll::Pending;
        }
        let before = into.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(task, into);
        let arrived = into.filled().len().saturating_sub(before);
        if arrived > 0 {
            self.seat.arrived(arrived);
        }
        outcome
    }
}
impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(task, bytes);
        self.written(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(task, parts);
        self.written(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn seat() -> Arc<Seat> {
        let limits = crate::seats::Limits::of(&crate::Config::default());
        let seats = crate::seats::Seats::new(limits, Arc::default());
        let seated = seats.take(0, [127, 0, 0, 1].into(), std::time::Instant::now());
        Arc::clone(&seated.unwrap())
    }

    #[tokio::test]
    async fn nothing_is_read_while_the_peer_takes_nothing() {
        let (near, mut peer) = tokio::io::duplex(16);
        let (mut reader, mut writer) = tokio::io::split(Watched::new(near, seat()));
        peer.write_all(b"ask").await.unwrap();
        let mut asked = [0; 3];
        reader.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"ask");

        let mut answer = Box::pin(writer.write_all(&[7; 20]));
        assert!(answer.as_mut().now_or_never().is_none(), "16 bytes have room");
        peer.write_all(b"ask").await.unwrap();
        let (woken, mut next) = (tokio::spawn(async move { reader.read_u8().await }), [0; 16]);
        tokio::task::yield_now().await;
        assert!(!woken.is_finished());

        peer.read_exact(&mut next).await.unwrap();
        tokio::task::yield_now().await;
        assert!(!woken.is_finished(), "the answer is not out yet");
        answer.await.unwrap();
        assert_eq!(woken.await.unwrap().unwrap(), b'a');
    }
}
