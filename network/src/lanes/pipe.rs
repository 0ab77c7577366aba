//! A stream between two tasks of a test, with a bounded buffer.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::{AsyncRead, AsyncWrite};
use parking_lot::Mutex;

#[derive(Default)]
struct Shared {
    bytes: VecDeque<u8>,
    room: usize,
    is_closed: bool,
    wakers: Vec<Waker>,
}

impl Shared {
    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// The writing end.
pub struct Far(Arc<Mutex<Shared>>);

/// The reading end.
pub struct Near(Arc<Mutex<Shared>>);

/// A pipe that buffers `room` bytes.
pub fn pipe(room: usize) -> (Far, Near) {
    let shared = Shared {
        room,
        ..Shared::default()
    };
    let shared = Arc::new(Mutex::new(shared));
    (Far(shared.clone()), Near(shared))
}

impl Drop for Far {
    fn drop(&mut self) {
        let mut shared = self.0.lock();
        shared.is_closed = true;
        shared.wake();
    }
}

impl AsyncRead for Near {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut shared = self.0.lock();
        if shared.bytes.is_empty() && !shared.is_closed {
            shared.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        let mut count = 0usize;
        for (slot, byte) in buf
            .iter_mut()
            .zip(std::iter::from_fn(|| shared.bytes.pop_front()))
        {
            *slot = byte;
            count = count.saturating_add(1);
        }
        shared.wake();
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Far {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut shared = self.0.lock();
        let free = shared.room.saturating_sub(shared.bytes.len()).min(buf.len());
        if free == 0 && !buf.is_empty() {
            shared.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        shared.bytes.extend(buf.iter().take(free));
        shared.wake();
        Poll::Ready(Ok(free))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
