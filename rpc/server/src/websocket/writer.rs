//! The writing half of a session: answers, the events of subscriptions, and control frames.

use std::io;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream, SelectAll};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use soketto::base::{Codec, Header, OpCode};
use tokio::io::{AsyncWrite, AsyncWriteExt as _, WriteHalf};
use tokio::sync::mpsc;

use crate::seats::{Queued, Seated};

/// Payloads up to this size are sent in one piece with their header.
const SMALL_BYTES: usize = 16 * 1024;

/// Output of a session.
pub(super) enum Out {
    /// An answer, and the events of the subscriptions that it acknowledges.
    Answer(Box<RawValue>, Queued, Vec<mpsc::Receiver<Box<RawValue>>>),
    Ping,
    Pong(Vec<u8>),
    Close {
        code: u16,
        /// Subscriptions are ending; their last events are sent first.
        last_events: bool,
    },
}

/// Writes answers and events as they arrive, until it receives a close.
pub(super) async fn write(
    mut writer: WriteHalf<TokioIo<Upgraded>>,
    mut outgoing: mpsc::Receiver<Out>,
    seated: &Seated,
) -> io::Result<()> {
    let mut events: SelectAll<BoxStream<'static, Box<RawValue>>> = SelectAll::new();
    loop {
        tokio::select! {
            out = outgoing.recv() => match out {
                Some(Out::Answer(text, _queued, begun)) => {
                    frame(&mut writer, OpCode::Text, text.get().as_bytes()).await?;
                    events.extend(begun.into_iter().map(all_of));
                }
                Some(Out::Ping) => frame(&mut writer, OpCode::Ping, &[]).await?,
                Some(Out::Pong(payload)) => frame(&mut writer, OpCode::Pong, &payload).await?,
                Some(Out::Close { code, last_events }) => {
                    while last_events && let Some(event) = events.next().await {
                        send_event(&mut writer, &event, seated).await?;
                    }
                    frame(&mut writer, OpCode::Close, &code.to_be_bytes()).await?;
                    return writer.shutdown().await;
                }
                None => return Ok(()),
            },
            Some(event) = events.next(), if !events.is_empty() => {
                send_event(&mut writer, &event, seated).await?;
            }
        }
    }
}

fn all_of(events: mpsc::Receiver<Box<RawValue>>) -> BoxStream<'static, Box<RawValue>> {
    stream::unfold(events, |mut events| async move {
        let event = events.recv().await?;
        Some((event, events))
    })
    .boxed()
}

async fn send_event<W: AsyncWrite + Unpin>(
    writer: &mut W,
    event: &RawValue,
    seated: &Seated,
) -> io::Result<()> {
    let sent = frame(writer, OpCode::Text, event.get().as_bytes()).await;
    seated.sent(event.get().len());
    sent
}

async fn frame<W: AsyncWrite + Unpin>(writer: &mut W, kind: OpCode, payload: &[u8]) -> io::Result<()> {
    let mut header = Header::new(kind);
    header.set_payload_len(payload.len());
    let mut codec = Codec::new();
    let header = codec.encode_header(&header);
    if payload.len() <= SMALL_BYTES {
        writer.write_all(&[header, payload].concat()).await?;
    } else {
        writer.write_all(header).await?;
        writer.write_all(payload).await?;
    }
    writer.flush().await
}
