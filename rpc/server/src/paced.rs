//! A stream that is not read while its peer does not take what was written to it.
//!
//! The library reads WebSocket messages as fast as they come and keeps the answers until they are sent.
//! A peer that asks and never reads would fill the memory; here it fills its own side of the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    /// The last write found no room.
    stuck: bool,
    /// Who wants to read meanwhile.
    reader: Option<Waker>,
}

impl<S> Paced<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self {
            stream,
            stuck: false,
            reader: None,
        }
    }

    fn written(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.stuck = outcome.is_pending();
        if !self.stuck
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stuck {
            self.reader = Some(task.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(task, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
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

    #[tokio::test]
    async fn nothing_is_read_while_the_peer_takes_nothing() {
        let (near, mut peer) = tokio::io::duplex(16);
        let (mut reader, mut writer) = tokio::io::split(Paced::new(near));
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
