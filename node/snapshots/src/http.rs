//! Reading files of a plain HTTP server: bounded, with limits of time, and going on at the byte where a connection
//! broke.
//!
//! A few requests for files do not need more than HTTP/1.1 with `Content-Length` and `Range`. Every byte is verified by
//! the caller, so the connection is not encrypted, and redirections are not followed.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::FilesError;

/// Time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time without a byte after which a connection is given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for any answer; more for long ones, at the lowest rate that is accepted.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The lowest rate, in bytes per second.
const RATE_MIN: u64 = 64 * 1024;
/// Maximum bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Number of requests for one file before it is given up.
const ATTEMPTS_MAX: u32 = 3;
/// Bytes read at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// The address of a folder on a server: `http://HOST[:PORT][/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    host: String,
    port: u16,
    /// Without a slash at its end.
    path: String,
}

impl Url {
    /// Reads an address.
    ///
    /// # Errors
    /// [`FilesError::Source`] for another scheme, and for characters that an address has not.
    pub fn parse(text: &str) -> Result<Self, FilesError> {
        let refused = |detail: &str| {
            Err(FilesError::Source {
                url: text.to_owned(),
                detail: detail.to_owned(),
            })
        };
        let Some(rest) = text.strip_prefix("http://") else {
            return refused("it is not an http:// address");
        };
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '@' | '\\');
        if rest.is_empty() || !rest.chars().all(is_plain) {
            return refused("it has characters that the address of a folder has not");
        }
        let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match place.rsplit_once(':') {
            // The address of IPv6 has colons, too, within its brackets.
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
            _ => (place, Some(80)),
        };
        let (Some(port), false) = (port, host.is_empty()) else {
            return refused("it has no host, or a port that is none");
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            path: path.trim_end_matches('/').to_owned(),
        })
    }

    /// The address of a file below, for messages.
    pub fn of(&self, name: &str) -> PathBuf {
        format!("{self}/{name}").into()
    }

    /// Reads a file of at most `max` bytes.
    ///
    /// # Errors
    /// [`FilesError::Source`] names the file, and the reason of the last attempt.
    pub fn get(&self, name: &str, max: usize) -> Result<Vec<u8>, FilesError> {
        let mut bytes = Vec::new();
        let mut attempt = 1;
        loop {
            match self.go_on(name, max, &mut bytes) {
                Ok(()) => return Ok(bytes),
                Err(fault) if fault.is_final || attempt >= ATTEMPTS_MAX => {
                    return Err(FilesError::Source {
                        url: self.of(name).display().to_string(),
                        detail: fault.detail,
                    });
                }
                Err(_) => attempt = attempt.saturating_add(1),
            }
        }
    }

    /// One request for what is missing of a file.
    fn go_on(&self, name: &str, max: usize, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        let mut stream = self.connect()?;
        let from = bytes.len();
        let range = if from == 0 {
            String::new()
        } else {
            format!("Range: bytes={from}-\r\n")
        };
        let request = format!(
            "GET {}/{name} HTTP/1.1\r\nHost: {}:{}\r\nUser-Agent: vibecoin\r\nAccept-Encoding: identity\r\n{range}\
             Connection: close\r\n\r\n",
            self.path, self.host, self.port
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = BufReader::new(stream);
        let head = Head::read(&mut answer)?;
        match head.status {
            206 if from > 0 => {}
            // A server without ranges begins again.
            200 => bytes.clear(),
            // The file may have ended exactly where the connection broke, or be another one by now.
            416 => {
                bytes.clear();
                return Err(Fault::again("the server has less than before"));
            }
            status => return Err(Fault::last(format!("the server answers {status}"))),
        }
        let have = bytes.len();
        let room = u64::try_from(max.saturating_sub(have)).unwrap_or(u64::MAX);
        if head.length.is_some_and(|length| length > room) {
            return Err(Fault::last(format!("the file has more than {max} bytes")));
        }
        let length = head.length.unwrap_or(room.saturating_add(1));
        let read = body(&mut answer, length, bytes)?;
        match head.length {
            Some(length) if read < length => Err(Fault::again("the connection ended early")),
            None if bytes.len() > max => Err(Fault::last(format!("the file has more than {max} bytes"))),
            _ => Ok(()),
        }
    }

    fn connect(&self) -> Result<TcpStream, Fault> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut refused = None;
        for address in (host, self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(STALL_TIMEOUT))?;
                    stream.set_write_timeout(Some(STALL_TIMEOUT))?;
                    return Ok(stream);
                }
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.map_or_else(|| Fault::last("the host has no address".to_owned()), Fault::from))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}{}", self.host, self.port, self.path)
    }
}

/// Reason why a request failed.
struct Fault {
    detail: String,
    /// True if another attempt would fail alike.
    is_final: bool,
}

impl Fault {
    fn again(detail: &str) -> Self {
        Self {
            detail: detail.to_owned(),
            is_final: false,
        }
    }

    const fn last(detail: String) -> Self {
        Self {
            detail,
            is_final: true,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        let detail = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("no byte for {} s", STALL_TIMEOUT.as_secs())
            }
            _ => error.to_string(),
        };
        Self {
            detail,
            is_final: false,
        }
    }
}

/// The head of an answer.
struct Head {
    status: u16,
    length: Option<u64>,
}

impl Head {
    fn read(answer: &mut BufReader<TcpStream>) -> Result<Self, Fault> {
        let deadline = Deadline::of(0);
        let mut left = HEAD_BYTES_MAX;
        let mut lines = Vec::new();
        loop {
            let line = read_line(answer, &mut left, &deadline)?;
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if !line.ends_with(b"\n") {
                return Err(Fault::last("the server does not answer with HTTP".to_owned()));
            }
            if text.is_empty() {
                break;
            }
            lines.push(text);
        }
        let status = lines.first().and_then(|line| {
            let mut words = line.split(' ');
            let version = words.next().filter(|version| version.starts_with("HTTP/1."));
            version.and_then(|_| words.next()?.parse().ok())
        });
        let status = status.ok_or_else(|| Fault::last("the server does not answer with HTTP".to_owned()))?;
        let field = |name: &str| {
            let fields = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
            let mut named = fields.filter(|(field, _)| field.trim().eq_ignore_ascii_case(name));
            named.next().map(|(_, value)| value.trim().to_owned())
        };
        if field("transfer-encoding").is_some() || field("content-encoding").is_some() {
            return Err(Fault::last("the server encodes the file".to_owned()));
        }
        let length = match field("content-length") {
            Some(text) => {
                let length = text.parse().ok();
                Some(length.ok_or_else(|| Fault::last(format!("the length of the answer is {text}")))?)
            }
            None => None,
        };
        Ok(Self { status, length })
    }
}

/// Reads a line with its line feed, of at most `left` bytes, which it reduces; without one at the end of the answer or
/// of `left`. The time is checked after every read, because a server may send a line byte by byte.
fn read_line(
    answer: &mut BufReader<TcpStream>,
    left: &mut usize,
    deadline: &Deadline,
) -> Result<Vec<u8>, Fault> {
    let mut line = Vec::new();
    while *left > 0 && !line.ends_with(b"\n") {
        let got = match answer.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            got => got?,
        };
        if got.is_empty() {
            break;
        }
        let end = got
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(got.len(), |at| at.saturating_add(1));
        let taken = end.min(*left);
        line.extend_from_slice(got.get(..taken).unwrap_or_default());
        answer.consume(taken);
        *left = left.saturating_sub(taken);
        deadline.check()?;
    }
    Ok(line)
}

/// Reads up to `length` bytes behind `bytes`, and returns their number.
fn body(answer: &mut BufReader<TcpStream>, length: u64, bytes: &mut Vec<u8>) -> Result<u64, Fault> {
    let deadline = Deadline::of(length);
    let mut limited = answer.take(length);
    let mut piece = vec![0; PIECE_BYTES];
    let mut read = 0u64;
    loop {
        let got = match limited.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            got => got?,
        };
        if got == 0 {
            return Ok(read);
        }
        bytes.extend_from_slice(piece.get(..got).unwrap_or_default());
        read = read.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
        deadline.check()?;
    }
}

/// The time by which an answer has to be complete.
struct Deadline {
    begun: Instant,
    most: Duration,
}

impl Deadline {
    fn of(length: u64) -> Self {
        let seconds = length.checked_div(RATE_MIN).unwrap_or(0);
        Self {
            begun: Instant::now(),
            most: ANSWER_TIMEOUT.saturating_add(Duration::from_secs(seconds)),
        }
    }

    fn check(&self) -> Result<(), Fault> {
        if self.begun.elapsed() <= self.most {
            return Ok(());
        }
        Err(Fault::last(format!(
            "the answer was not complete within {} s",
            self.most.as_secs()
        )))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn url(host: &str, port: u16, path: &str) -> Option<Url> {
        Some(Url {
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }

    #[test]
    fn addresses_are_read_and_others_refused() {
        for (text, expected) in [
            ("http://h", url("h", 80, "")),
            ("http://h/", url("h", 80, "")),
            ("http://h:81/a/b/", url("h", 81, "/a/b")),
            ("http://[::1]:81/a", url("[::1]", 81, "/a")),
            ("http://[::1]", url("[::1]", 80, "")),
            ("https://h", None),
            ("http://", None),
            ("http://:80", None),
            ("http://h:port", None),
            ("http://h:70000", None),
            ("http://user@h", None),
            ("http://h/a b", None),
            ("http://h/a\r\nX: y", None),
            ("http://h/?q", None),
        ] {
            assert_eq!(Url::parse(text).ok(), expected, "{text}");
        }
        let shown = url("h", 81, "/a").unwrap().of("manifest");
        assert_eq!(shown.to_str().unwrap(), "http://h:81/a/manifest");
    }
}
