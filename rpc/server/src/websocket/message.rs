//! Messages out of a stream of WebSocket frames (RFC 6455), bounded in bytes and time.

use std::io;
use std::time::Duration;

use soketto::Parsing;
use soketto::base::{self, Codec, Header, OpCode};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::Instant;

use crate::request::DRAIN_FACTOR;
use crate::seats::{Held, Seated};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 8 * 1024;

/// What the peer sent.
pub(crate) enum Event {
    /// A whole text or binary message.
    Message(Vec<u8>),
    /// A message above the limit, which has been thrown away.
    TooLarge,
    /// To be answered with the same bytes.
    Ping(Vec<u8>),
    Pong,
    Close,
}

/// Why the session cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The peer is gone.
    Gone,
    /// The peer broke the protocol.
    Protocol,
    /// A message took too long.
    Late,
    /// A message is so far above the limit that it is not even read to its end.
    TooBig,
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Reads messages. Cancelling [`Messages::next`] loses nothing.
pub(crate) struct Messages<R> {
    stream: R,
    codec: Codec,
    message_bytes_max: usize,
    message_time_max: Duration,
    buffer: Vec<u8>,
    /// The fragments of the message that is arriving.
    message: Option<Vec<u8>>,
    /// When the oldest incomplete message or frame began to arrive.
    begun: Option<Instant>,
    oversized: Option<Oversized>,
    held: Option<Held>,
}

/// A message that is thrown away as it arrives.
#[derive(Clone, Copy)]
struct Oversized {
    /// Bytes that are left of the present frame.
    left: usize,
    /// The present frame is the last one.
    last: bool,
    /// Bytes that may still be thrown away.
    budget: usize,
}

impl<R: AsyncRead + Unpin> Messages<R> {
    pub(crate) fn new(stream: R, message_bytes_max: usize, message_time_max: Duration) -> Self {
        let mut codec = Codec::new();
        codec.set_max_data_size(message_bytes_max.saturating_mul(DRAIN_FACTOR));
        Self {
            stream,
            codec,
            message_bytes_max,
            message_time_max,
            buffer: Vec::new(),
            message: None,
            begun: None,
            oversized: None,
            held: None,
        }
    }

    /// The account of the message that has just been returned.
    pub(crate) fn take_held(&mut self, seated: &Seated) -> Held {
        self.held.take().unwrap_or_else(|| seated.hold(0))
    }

    /// The next message or control frame.
    pub(crate) async fn next(&mut self, seated: &Seated) -> Result<Event, Fault> {
        let mut chunk = [0; CHUNK_BYTES];
        loop {
            if let Some(event) = self.step()? {
                return Ok(event);
            }
            let reading = self.stream.read(&mut chunk);
            let read = match self.begun {
                None => reading.await?,
                Some(begun) => {
                    let deadline = begun.checked_add(self.message_time_max).unwrap_or(begun);
                    tokio::time::timeout_at(deadline, reading)
                        .await
                        .map_err(|_| Fault::Late)??
                }
            };
            let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
                return Err(Fault::Gone);
            };
            self.begun.get_or_insert_with(Instant::now);
            let held = self.held.get_or_insert_with(|| seated.hold(0));
            seated.grow(held, read);
            self.buffer.extend_from_slice(bytes);
        }
    }

    fn step(&mut self) -> Result<Option<Event>, Fault> {
        let event = self.parse()?;
        if event.is_some() && self.message.is_none() && self.oversized.is_none() {
            self.begun = (!self.buffer.is_empty()).then(Instant::now);
            if self.buffer.is_empty() {
                // A large message must not leave its buffer behind.
                self.buffer = Vec::new();
                if !matches!(event, Some(Event::Message(_))) {
                    self.held = None;
                }
            }
        }
        Ok(event)
    }

    fn parse(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            if self.throw_away()? {
                return Ok(Some(Event::TooLarge));
            }
            if self.oversized.is_some_and(|oversized| oversized.left > 0) {
                return Ok(None);
            }
            let parsed = self
                .codec
                .decode_header(&self.buffer)
                .map_err(|error| match error {
                    base::Error::PayloadTooLarge { .. } => Fault::TooBig,
                    _ => Fault::Protocol,
                })?;
            let Parsing::Done {
                value: header,
                offset,
            } = parsed
            else {
                return Ok(None);
            };
            if !header.is_masked() {
                return Err(Fault::Protocol);
            }
            if header.opcode().is_control() {
                return Ok(self.take(&header, offset).map(|payload| match header.opcode() {
                    OpCode::Ping => Event::Ping(payload),
                    OpCode::Pong => Event::Pong,
                    _ => Event::Close,
                }));
            }
            let begins = header.opcode() != OpCode::Continue;
            if begins == (self.message.is_some() || self.oversized.is_some()) {
                return Err(Fault::Protocol);
            }
            if self.refuse(&header, offset) {
                continue;
            }
            let Some(payload) = self.take(&header, offset) else {
                return Ok(None);
            };
            let mut message = self.message.take().unwrap_or_default();
            message.extend_from_slice(&payload);
            if header.is_fin() {
                return Ok(Some(Event::Message(message)));
            }
            self.message = Some(message);
        }
    }

    /// Throws away what is there of a frame of an oversized message; true after its last byte.
    fn throw_away(&mut self) -> Result<bool, Fault> {
        let Some(oversized) = &mut self.oversized else {
            return Ok(false);
        };
        let there = oversized.left.min(self.buffer.len());
        self.buffer.drain(..there);
        oversized.left = oversized.left.saturating_sub(there);
        oversized.budget = oversized.budget.checked_sub(there).ok_or(Fault::TooBig)?;
        let ended = oversized.left == 0 && oversized.last;
        if ended {
            self.oversized = None;
        }
        Ok(ended)
    }

    /// Whether this frame belongs to a message that is too large. If so, its header is consumed.
    fn refuse(&mut self, header: &Header, offset: usize) -> bool {
        let there = self.message.as_ref().map_or(0, Vec::len);
        let fits = there.saturating_add(header.payload_len()) <= self.message_bytes_max;
        let budget = match self.oversized {
            None if fits => return false,
            None => self.message_bytes_max.saturating_mul(DRAIN_FACTOR),
            Some(oversized) => oversized.budget,
        };
        self.message = None;
        // What is thrown away is not in memory.
        self.held = None;
        self.buffer.drain(..offset.min(self.buffer.len()));
        self.oversized = Some(Oversized {
            left: header.payload_len(),
            last: header.is_fin(),
            budget,
        });
        true
    }

    /// Takes a whole frame out of the buffer and returns its payload.
    fn take(&mut self, header: &Header, offset: usize) -> Option<Vec<u8>> {
        let end = offset.checked_add(header.payload_len())?;
        let mut payload = self.buffer.get(offset..end)?.to_vec();
        Codec::apply_mask(header, &mut payload);
        self.buffer.drain(..end);
        Some(payload)
    }
}
