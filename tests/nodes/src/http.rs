//! HTTP by hand: the bytes on the wire are exactly those of the test, and every answer has a deadline.

use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Maximum time of an exchange without a limit of its own.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Posts a body and reads the answer. The server may answer and close before it has read all.
///
/// # Errors
/// When there is no answer.
pub fn post(address: &str, body: &[u8]) -> io::Result<Answer> {
    post_to(&TcpStream::connect(address)?, address, body, TIMEOUT)
}

/// The same over a connection, within a time limit.
///
/// # Errors
/// As [`post`].
pub fn post_to(stream: &TcpStream, host: &str, body: &[u8], limit: Duration) -> io::Result<Answer> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    exchange(stream, &[head.as_bytes(), body].concat(), limit)
}

/// Gets a page and reads it.
///
/// # Errors
/// When there is no answer.
pub fn get(address: &str, path: &str) -> io::Result<Answer> {
    get_as(address, address, path)
}

/// The same with another `Host` name for the server.
///
/// # Errors
/// As [`get`].
pub fn get_as(address: &str, host: &str, path: &str) -> io::Result<Answer> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    exchange(&TcpStream::connect(address)?, head.as_bytes(), TIMEOUT)
}

/// Opens a WebSocket session, sends one message in one frame, and reads the text of the first frame of the
/// answer.
///
/// # Errors
/// When there is no session or no answer.
pub fn message(address: &str, message: &[u8]) -> io::Result<String> {
    let stream = TcpStream::connect(address)?;
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    (&stream).write_all(head.as_bytes())?;
    let mut reader = Until::new(&stream, TIMEOUT);
    match status(&mut reader)? {
        101 => {}
        status => return Err(io::Error::other(format!("no session but status {status}"))),
    }
    body_length(&mut reader)?;
    // Text and the last frame; masked, with 8 bytes of length; the mask of zeros changes nothing.
    let mut frame = vec![0x81, 0xff];
    frame.extend(u64::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(message);
    (&stream).write_all(&frame)?;
    let mut head = [0; 2];
    reader.read_exact(&mut head)?;
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            reader.read_exact(&mut length)?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            reader.read_exact(&mut length)?;
            u64::from_be_bytes(length)
        }
        length => length.into(),
    };
    let mut text = String::new();
    reader.take(length).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads the headers of a request or an answer; returns the length of its body, if they have it.
///
/// # Errors
/// The end of the connection, or a length that is no number.
pub fn body_length(reader: &mut impl BufRead) -> io::Result<Option<u64>> {
    let mut length = None;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if header == "\r\n" {
            return Ok(length);
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = Some(value.trim().parse().map_err(io::Error::other)?);
        }
    }
}

/// A stream until a deadline: a server that sends a byte now and then must not hold the client for ever.
struct Until<'a> {
    stream: &'a TcpStream,
    at: Instant,
}

impl<'a> Until<'a> {
    fn new(stream: &'a TcpStream, limit: Duration) -> BufReader<Self> {
        let at = Instant::now() + limit;
        BufReader::new(Self { stream, at })
    }
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

/// Sends a request and reads the answer, within a time limit.
fn exchange(stream: &TcpStream, request: &[u8], limit: Duration) -> io::Result<Answer> {
    let mut reader = Until::new(stream, limit);
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(limit))?;
    let mut writer = stream;
    let sent = writer.write_all(request);
    // An early refusal closes the pipe during the write; the answer is what counts.
    let answer = read(&mut reader);
    if answer.is_err() { sent.and(answer) } else { answer }
}

fn read(reader: &mut impl BufRead) -> io::Result<Answer> {
    let status = status(reader)?;
    let stated = body_length(reader)?;
    let length = stated.unwrap_or(ANSWER_BYTES_MAX);
    if length > ANSWER_BYTES_MAX {
        return Err(io::Error::other(format!(
            "an answer of {length} bytes, status {status}"
        )));
    }
    let mut body = Vec::new();
    let read = reader.take(length).read_to_end(&mut body)?;
    if stated.is_some() && read as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status, body })
}

fn status(reader: &mut impl BufRead) -> io::Result<u16> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.ok_or_else(|| io::Error::other(format!("no status line but {line:?}")))
}
