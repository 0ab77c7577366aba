//! Reads messages from a stream of WebSocket frames (RFC 6455), bounded in bytes and time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use soketto::Parsing;
use soketto::base::{self, Codec, Header, OpCode};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::Instant;

use crate::gate::{Paid, Refused, Rules};
use crate::request::{DRAIN_FACTOR, is_shredded};
use crate::seats::{Held, Seated};

/// Bytes of one read.
const CHUNK_BYTES: usize = 8 * 1024;
/// Pings, pongs and closes that a peer may send in a second.
const CONTROLS_PER_S_MAX: u32 = 64;

/// A message or frame from the peer.
pub(crate) enum Event {
    /// A whole text or binary message.
    Message(Vec<u8>),
    /// A message above the limit, which has been discarded.
    TooLarge,
    /// A message that its sender cannot pay for. It is discarded if it is small; else [`Fault::Debt`]
    /// follows.
    Unpaid(Refused),
    /// To be answered with the same bytes.
    Ping(Vec<u8>),
    Pong,
    Close,
}

/// Reasons why the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The peer has disconnected.
    Gone,
    /// The peer broke the protocol.
    Protocol,
    /// A message took too long.
    Late,
    /// A message is so far above the limit, or its sender so deep in debt, that it is not even read to
    /// its end.
    TooBig,
    /// A message that its sender cannot pay for is too large to be discarded.
    Debt,
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Reads messages. Cancelling [`Messages::next`] loses nothing.
pub(crate) struct Messages<R> {
    rules: Arc<Rules>,
    seated: Arc<Seated>,
    stream: R,
    codec: Codec,
    message_bytes_max: usize,
    message_time_max: Duration,
    buffer: Vec<u8>,
    /// The fragments of the message that is arriving.
    message: Option<Vec<u8>>,
    /// Time at which the oldest incomplete message or frame began to arrive.
    begun: Option<Instant>,
    /// Payment for the bytes of the message that is arriving: each frame is paid for when its header
    /// is there.
    paid: Paid,
    refused: Option<Discarded>,
    held: Option<Held>,
    /// Frames of the message that is arriving.
    frames: usize,
    /// Control frames since then.
    controls: (Instant, u32),
}

/// A message that is discarded as it arrives.
#[derive(Clone, Copy)]
struct Discarded {
    /// True if its sender could not pay for it; otherwise it is above the limit.
    unpaid: bool,
    /// Bytes of the message that have arrived.
    read: usize,
    /// Bytes that are left of the current frame.
    left: usize,
    /// True if the current frame is the last one.
    last: bool,
    /// Bytes that may still be discarded.
    budget: usize,
}

impl Discarded {
    /// A message of which no byte has arrived and up to `budget` are discarded.
    const fn unpaid(budget: usize) -> Self {
        Self {
            unpaid: true,
            read: 0,
            left: 0,
            last: false,
            budget,
        }
    }
}

impl<R: AsyncRead + Unpin> Messages<R> {
    pub(crate) fn new(
        rules: Arc<Rules>,
        seated: Arc<Seated>,
        stream: R,
        message_bytes_max: usize,
        message_time_max: Duration,
    ) -> Self {
        let mut codec = Codec::new();
        codec.set_max_data_size(message_bytes_max.saturating_mul(DRAIN_FACTOR));
        Self {
            rules,
            seated,
            stream,
            codec,
            message_bytes_max,
            message_time_max,
            buffer: Vec::new(),
            message: None,
            begun: None,
            paid: Paid::default(),
            refused: None,
            held: None,
            frames: 0,
            controls: (Instant::now(), 0),
        }
    }

    /// The account of the message that has just been returned.
    pub(crate) fn take_held(&mut self) -> Held {
        self.held.take().unwrap_or_else(|| self.seated.hold(0))
    }

    /// The next message or control frame.
    pub(crate) async fn next(&mut self) -> Result<Event, Fault> {
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
            let held = self.held.get_or_insert_with(|| self.seated.hold(0));
            self.seated.grow(held, read);
            self.buffer.extend_from_slice(bytes);
            self.seated.all_have_room().await;
        }
    }

    fn step(&mut self) -> Result<Option<Event>, Fault> {
        let event = self.parse()?;
        if event.is_some() && self.message.is_none() && self.refused.is_none() {
            self.end_message(matches!(event, Some(Event::Message(_))));
        }
        Ok(event)
    }

    /// Resets the message; only buffered bytes remain.
    fn end_message(&mut self, keeps_held: bool) {
        self.begun = (!self.buffer.is_empty()).then(Instant::now);
        if self.buffer.is_empty() {
            // A large message must not leave its buffer behind.
            self.buffer = Vec::new();
            if !keeps_held {
                self.held = None;
            }
        }
    }

    fn parse(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            if self.throw_away()? {
                return Ok(Some(Event::TooLarge));
            }
            if self.refused.is_some_and(|refused| refused.left > 0) {
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
                let Some(payload) = self.take(&header, offset) else {
                    return Ok(None);
                };
                self.count_control()?;
                return Ok(Some(match header.opcode() {
                    OpCode::Ping => Event::Ping(payload),
                    OpCode::Pong => Event::Pong,
                    _ => Event::Close,
                }));
            }
            let begins = header.opcode() != OpCode::Continue;
            if begins == (self.message.is_some() || self.refused.is_some()) {
                return Err(Fault::Protocol);
            }
            if self
                .message
                .as_ref()
                .is_some_and(|message| is_shredded(self.frames, message.len()))
            {
                return Err(Fault::Protocol);
            }
            if self.refuse(&header, offset) {
                continue;
            }
            if let Err(refused) = self.pay(&header) {
                let budget = self.rules.discards_max(self.seated.peer);
                self.discard(&header, offset, Discarded::unpaid(budget));
                return Ok(Some(Event::Unpaid(refused)));
            }
            let Some(payload) = self.take(&header, offset) else {
                return Ok(None);
            };
            let mut message = self.message.take().unwrap_or_default();
            message.extend_from_slice(&payload);
            self.frames = if begins { 1 } else { self.frames.saturating_add(1) };
            if header.is_fin() {
                self.paid = Paid::default();
                return Ok(Some(Event::Message(message)));
            }
            self.message = Some(message);
        }
    }

    fn count_control(&mut self) -> Result<(), Fault> {
        let (since, count) = &mut self.controls;
        if since.elapsed() >= Duration::from_secs(1) {
            (*since, *count) = (Instant::now(), 0);
        }
        *count = count.saturating_add(1);
        if *count > CONTROLS_PER_S_MAX {
            return Err(Fault::Protocol);
        }
        Ok(())
    }

    /// Discards the available bytes of a frame of a refused message; true after the last byte of one above
    /// the limit.
    fn throw_away(&mut self) -> Result<bool, Fault> {
        let Some(refused) = &mut self.refused else {
            return Ok(false);
        };
        let fault = if refused.unpaid {
            Fault::Debt
        } else {
            Fault::TooBig
        };
        // Known before it is read: a message that is not discarded is not read to its bound, either.
        if refused.unpaid && refused.left > refused.budget {
            self.rules.charge_discarded(self.seated.caller(), refused.read);
            return Err(fault);
        }
        let there = refused.left.min(self.buffer.len());
        self.buffer.drain(..there);
        refused.left = refused.left.saturating_sub(there);
        refused.budget = refused.budget.checked_sub(there).ok_or(fault)?;
        refused.read = refused.read.saturating_add(there);
        let (unpaid, read) = (refused.unpaid, refused.read);
        let ended = refused.left == 0 && refused.last;
        let caller = self.seated.caller();
        if !unpaid {
            let paid = self.rules.pay_message(caller, &mut self.paid, read);
            paid.map_err(|_| Fault::TooBig)?;
        }
        if ended {
            self.refused = None;
            self.paid = Paid::default();
        }
        if ended && unpaid {
            self.rules.charge_discarded(caller, read);
            self.end_message(false);
        }
        Ok(ended && !unpaid)
    }

    /// Returns true if this frame belongs to a message that is too large, or is already refused. If so, its
    /// header is consumed.
    fn refuse(&mut self, header: &Header, offset: usize) -> bool {
        let there = self.message.as_ref().map_or(0, Vec::len);
        let fits = there.saturating_add(header.payload_len()) <= self.message_bytes_max;
        let refused = match self.refused {
            None if fits => return false,
            None => Discarded {
                unpaid: false,
                read: there,
                budget: self.message_bytes_max.saturating_mul(DRAIN_FACTOR),
                left: 0,
                last: false,
            },
            Some(refused) => refused,
        };
        self.discard(header, offset, refused);
        true
    }

    /// Pays for a frame, with those of its message before it.
    fn pay(&mut self, header: &Header) -> Result<(), Refused> {
        let there = self.message.as_ref().map_or(0, Vec::len);
        let bytes = there.saturating_add(header.payload_len());
        self.rules
            .pay_message(self.seated.caller(), &mut self.paid, bytes)
    }

    /// Begins to discard a frame, and the received part of its message.
    fn discard(&mut self, header: &Header, offset: usize, message: Discarded) {
        self.message = None;
        // Discarded bytes are not in memory.
        self.held = None;
        self.buffer.drain(..offset.min(self.buffer.len()));
        self.refused = Some(Discarded {
            left: header.payload_len(),
            last: header.is_fin(),
            ..message
        });
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
