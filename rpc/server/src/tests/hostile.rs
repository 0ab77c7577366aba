//! A hostile caller: every way to hold a connection without a useful request.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request whose answer is large enough that a few fill the buffers of the kernel.
pub(crate) const LARGE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}"#;

/// The start of an HTTP/2 connection with prior knowledge: preface, SETTINGS, and a request's HEADERS.
pub(crate) const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \x00\x00\x00\x04\x00\x00\x00\x00\x00\
    \x00\x00\x01\x01\x05\x00\x00\x00\x01\x82";

/// A connection that has sent `bytes`, and sends nothing more.
pub(crate) async fn sent(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    if !bytes.is_empty() {
        stream.write_all(bytes).await.unwrap();
    }
    stream
}

/// Waits until the server has closed, and returns what it sent until then.
pub(crate) async fn closed(mut stream: TcpStream) -> Vec<u8> {
    let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
    // A reset is a close, too.
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        all.extend_from_slice(&chunk[..read]);
    }
    all
}

/// Sends a byte whenever the server allows it, until the server closes.
pub(crate) async fn drip(mut stream: TcpStream, byte: u8) {
    let mut chunk = [0; 64];
    loop {
        if stream.write_all(&[byte]).await.is_err() {
            return;
        }
        tokio::select! {
            read = stream.read(&mut chunk) => if !matches!(read, Ok(1..)) {
                return;
            },
            () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {}
        }
    }
}

/// A WebSocket frame as clients send it; the mask is zeros.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0xff];
    frame.extend((payload.len() as u64).to_be_bytes());
    if payload.len() < 126 {
        frame = vec![first, 0x80 | payload.len() as u8];
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
