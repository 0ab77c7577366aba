//! Bytes that a peer of the network writes and reads: protocol negotiation, frames of a lane, gossip in
//! protobuf.
//!
//! Encoded by hand, so that each of them can be malformed on purpose.

use std::io;

use futures_util::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Opening token of every negotiation.
const MULTISTREAM: &str = "/multistream/1.0.0";
/// Maximum bytes of a negotiation token that are read.
const TOKEN_BYTES_MAX: usize = 1024;
/// Proposals after which an inbound negotiation fails.
const PROPOSALS_MAX: usize = 16;

/// An unsigned LEB128 integer.
#[must_use]
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A negotiation token: length, text, newline.
#[must_use]
pub fn token(text: &str) -> Vec<u8> {
    let mut bytes = varint(text.len() as u64 + 1);
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(b'\n');
    bytes
}

/// Reads an unsigned LEB128 integer.
///
/// # Errors
/// When the stream ends, or the integer has more than nine bytes.
pub async fn read_varint(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        value |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            return Ok(value);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

async fn read_token(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let len = read_varint(stream).await? as usize;
    if len == 0 || len > TOKEN_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; len];
    stream.read_exact(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

/// Negotiates one protocol as the side that opened the stream.
///
/// # Errors
/// When the other side does not agree.
pub async fn propose(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), protocol: &str) -> io::Result<()> {
    stream
        .write_all(&[token(MULTISTREAM), token(protocol)].concat())
        .await?;
    stream.flush().await?;
    for expected in [MULTISTREAM, protocol] {
        let got = read_token(stream).await?;
        if got != expected {
            return Err(io::Error::other(format!("{protocol} refused with {got:?}")));
        }
    }
    Ok(())
}

/// Negotiates as the side that the stream was opened to; returns the negotiated protocol.
///
/// # Errors
/// When nothing known is proposed.
pub async fn accept(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    is_known: impl Fn(&str) -> bool,
) -> io::Result<String> {
    let first = read_token(stream).await?;
    if first != MULTISTREAM {
        return Err(io::ErrorKind::InvalidData.into());
    }
    stream.write_all(&token(MULTISTREAM)).await?;
    for _ in 0..PROPOSALS_MAX {
        let proposed = read_token(stream).await?;
        let known = is_known(&proposed);
        let answer = if known { proposed.as_str() } else { "na" };
        stream.write_all(&token(answer)).await?;
        stream.flush().await?;
        if known {
            return Ok(proposed);
        }
    }
    Err(io::ErrorKind::Unsupported.into())
}

/// A frame of a lane: length in four bytes, little-endian, then the bytes.
#[must_use]
pub fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut framed = (bytes.len() as u32).to_le_bytes().to_vec();
    framed.extend_from_slice(bytes);
    framed
}

/// Reads a frame of a lane.
///
/// # Errors
/// When the stream ends or the frame is longer than `bytes_max`.
pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin), bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let len = u32::from_le_bytes(head) as usize;
    if len > bytes_max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// A protobuf field of bytes.
#[must_use]
pub fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut field = varint(number << 3 | 2);
    field.extend(varint(bytes.len() as u64));
    field.extend_from_slice(bytes);
    field
}

/// A protobuf field that holds an integer.
#[must_use]
pub fn integer(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

/// Splits a protobuf message into its fields of bytes; integers are skipped.
#[must_use]
pub fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    fn take(bytes: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
    let mut found = Vec::new();
    while let Some(key) = take(&mut bytes) {
        let Some(value) = take(&mut bytes) else { break };
        match key & 7 {
            0 => {}
            2 => {
                let Some((content, rest)) = bytes.split_at_checked(value as usize) else {
                    break;
                };
                bytes = rest;
                found.push((key >> 3, content));
            }
            _ => break,
        }
    }
    found
}

/// Gossip in the form of gossipsub's protobuf messages; one `Rpc` is one frame on the wire.
#[derive(Clone, Debug, Default)]
pub struct Rpc(Vec<u8>);

impl Rpc {
    /// Adds a subscription, or its end.
    #[must_use]
    pub fn subscribe(mut self, topic: &str, wanted: bool) -> Self {
        let option = [integer(1, u64::from(wanted)), field(2, topic.as_bytes())].concat();
        self.0.extend(field(1, &option));
        self
    }

    /// Adds a published message.
    #[must_use]
    pub fn publish(mut self, topic: &str, data: &[u8]) -> Self {
        let message = [field(2, data), field(4, topic.as_bytes())].concat();
        self.0.extend(field(2, &message));
        self
    }

    /// Adds a GRAFT of these topics.
    #[must_use]
    pub fn graft<T: AsRef<str>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        let grafts = topics
            .into_iter()
            .flat_map(|topic| field(3, &field(1, topic.as_ref().as_bytes())));
        let control: Vec<u8> = grafts.collect();
        self.0.extend(field(3, &control));
        self
    }

    /// Adds a PRUNE of a topic with a backoff of so many seconds.
    #[must_use]
    pub fn prune(mut self, topic: &str, backoff_s: u64) -> Self {
        let prune = [field(1, topic.as_bytes()), integer(3, backoff_s)].concat();
        self.0.extend(field(3, &field(4, &prune)));
        self
    }

    /// Adds an IHAVE of messages, by their ids.
    #[must_use]
    pub fn have(mut self, topic: &str, ids: &[Vec<u8>]) -> Self {
        let mut have = field(1, topic.as_bytes());
        have.extend(ids.iter().flat_map(|id| field(2, id)));
        self.0.extend(field(3, &field(1, &have)));
        self
    }

    /// Adds an IWANT of messages, by their ids.
    #[must_use]
    pub fn want(mut self, ids: &[Vec<u8>]) -> Self {
        let want: Vec<u8> = ids.iter().flat_map(|id| field(1, id)).collect();
        self.0.extend(field(3, &field(2, &want)));
        self
    }

    /// Adds an IDONTWANT of messages, by their ids.
    #[must_use]
    pub fn unwanted(mut self, ids: impl IntoIterator<Item = [u8; 2]>) -> Self {
        let ids: Vec<u8> = ids.into_iter().flat_map(|id| field(1, &id)).collect();
        self.0.extend(field(3, &field(5, &ids)));
        self
    }

    /// Adds a message that names its author, which the nodes refuse.
    #[must_use]
    pub fn signed(mut self, topic: &str) -> Self {
        let message = [field(1, b"author"), field(4, topic.as_bytes())].concat();
        self.0.extend(field(2, &message));
        self
    }

    /// The frame: length, then the fields.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        [varint(self.0.len() as u64), self.0.clone()].concat()
    }

    /// The topics and data of the messages in a frame's content.
    #[must_use]
    pub fn published(content: &[u8]) -> Vec<(String, Vec<u8>)> {
        let messages = fields(content).into_iter().filter(|(number, _)| *number == 2);
        messages
            .map(|(_, message)| {
                let (mut topic, mut data) = (String::new(), Vec::new());
                for (number, bytes) in fields(message) {
                    match number {
                        2 => data = bytes.to_vec(),
                        4 => topic = String::from_utf8_lossy(bytes).into_owned(),
                        _ => {}
                    }
                }
                (topic, data)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_message_is_found_in_its_frame() {
        let rpc = Rpc::default().subscribe("a", true).publish("topic", &[7; 300]);
        let frame = rpc.frame();
        let content = &frame[2..];
        assert_eq!(frame[..2], varint(content.len() as u64)[..]);
        assert_eq!(Rpc::published(content), [("topic".to_owned(), vec![7; 300])]);
    }

    #[tokio::test]
    async fn two_sides_agree_on_a_protocol_that_both_know() {
        let (mut near, mut far) = tokio::io::duplex(256);
        let (mut near, mut far) = (Compat(&mut near), Compat(&mut far));
        let (proposed, accepted) = futures_util::join!(
            propose(&mut near, "/known/1"),
            accept(&mut far, |name| name == "/known/1")
        );
        assert!(proposed.is_ok());
        assert_eq!(accepted.unwrap(), "/known/1");
    }

    /// Adapts the I/O traits of one library to those of the other.
    struct Compat<'a>(&'a mut tokio::io::DuplexStream);

    impl AsyncRead for Compat<'_> {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buffer: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            let mut into = tokio::io::ReadBuf::new(buffer);
            let read = tokio::io::AsyncRead::poll_read(std::pin::Pin::new(&mut *self.0), cx, &mut into);
            read.map_ok(|()| into.filled().len())
        }
    }

    impl AsyncWrite for Compat<'_> {
        fn poll_write(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            bytes: &[u8],
        ) -> std::task::Poll<io::Result<usize>> {
            tokio::io::AsyncWrite::poll_write(std::pin::Pin::new(&mut *self.0), cx, bytes)
        }

        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn poll_close(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
    }
}
