//! Costs that a peer causes a node without a hello, or behind a protocol name of its own.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use futures_util::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::core::upgrade::OutboundConnectionUpgrade as _;
use libp2p::identity::Keypair;
use libp2p::{noise, tcp};
use vibecoin_byzantine::link::{connect, secure};
use vibecoin_byzantine::session::{GOSSIP_PROTOCOL, Session};
use vibecoin_byzantine::wire::{propose, token};
use vibecoin_network::{NetworkEvent, NetworkGuard};

use support::{Events, node, stage};

const MULTISTREAM: &str = "/multistream/1.0.0";
/// Bounds of the node: `NEGOTIATION_LINES_MAX` with the header, and `STREAMS_BEFORE_HELLO_MAX`.
const LINES_MAX: usize = 16;
const STREAMS_MAX: usize = 8;

fn victim() -> (SocketAddr, NetworkGuard, Receiver<NetworkEvent>) {
    let (sender, events) = channel();
    let (target, guard) = node(Arc::new(Events(sender)));
    (target, guard, events)
}

/// Number of refusals among the answers to a thousand proposals, until the node closes the connection.
async fn refusals(stream: impl AsyncRead + AsyncWrite + Unpin) -> usize {
    let (mut reader, mut writer) = stream.split();
    let proposals = [token(MULTISTREAM), token("/a").repeat(1_000)].concat();
    let write = async {
        // It fails where the connection is closed before all of them are sent.
        let _closed = writer.write_all(&proposals).await;
        let _closed = writer.flush().await;
    };
    let mut answers = Vec::new();
    let read = async {
        let mut some = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut some).await {
            answers.extend_from_slice(some.get(..count).unwrap());
        }
    };
    futures_util::join!(write, read);
    let refusal = token("na");
    answers
        .windows(refusal.len())
        .filter(|part| *part == refusal)
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_before_noise_and_before_yamux_are_answered_a_few_times() {
    let (target, guard, _events) = victim();
    let stream = tcp::tokio::TcpStream(connect(target, None).await.unwrap());
    let before_noise = refusals(stream).await;
    assert!(before_noise < LINES_MAX, "{before_noise} answers");
    let mut stream = tcp::tokio::TcpStream(connect(target, None).await.unwrap());
    propose(&mut stream, "/noise").await.unwrap();
    let noise = noise::Config::new(&Keypair::generate_ed25519()).unwrap();
    let (_, secured) = noise.upgrade_outbound(stream, "/noise").await.unwrap();
    let before_yamux = refusals(secured).await;
    assert!(before_yamux < LINES_MAX, "{before_yamux} answers");
    guard.stop();
}

/// A Yamux frame of data with the flag SYN.
fn opening(stream: u32, content: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 1];
    frame.extend(stream.to_be_bytes());
    frame.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(content);
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_eight_are_reset_before_the_hello() {
    const OPENED: usize = 20;
    let (target, guard, _events) = victim();
    let secured = secure(target, None, &Keypair::generate_ed25519()).await.unwrap();
    let (mut reader, mut writer) = secured.split();
    // Each negotiation is stalled after the length of its first line.
    let streams = (0..u32::try_from(OPENED).unwrap()).map(|number| 2 * number + 1);
    let bytes: Vec<u8> = streams.flat_map(|stream| opening(stream, &[19])).collect();
    writer.write_all(&bytes).await.unwrap();
    writer.flush().await.unwrap();
    let mut resets = 0;
    let mut header = [0; 12];
    while resets < OPENED - STREAMS_MAX {
        let read = reader.read_exact(&mut header).await;
        assert!(read.is_ok(), "the connection ended after {resets} resets");
        let [_, kind, _, flags, a, b, c, d, e, f, g, h] = header;
        let is_ours = u32::from_be_bytes([a, b, c, d]) % 2 == 1;
        resets += usize::from(is_ours && flags & 8 != 0);
        if kind == 0 {
            let len = usize::try_from(u32::from_be_bytes([e, f, g, h])).unwrap();
            reader.read_exact(&mut vec![0; len]).await.unwrap();
        }
    }
    guard.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_that_does_not_decode_is_a_fault_behind_any_refused_name() {
    let (target, guard, events) = victim();
    let stage = stage(target, None);
    let identity = stage.identity(0);
    let session = Session::join(&stage, 0, &identity, stage.hello()).await.unwrap();
    let mut stream = session.link.open_raw().await.unwrap();
    let junk = format!("/{}", "x".repeat(319));
    let proposals = [token(MULTISTREAM), token(&junk), token(GOSSIP_PROTOCOL)].concat();
    stream.write_all(&proposals).await.unwrap();
    stream.flush().await.unwrap();
    let expected = [token(MULTISTREAM), token("na"), token(GOSSIP_PROTOCOL)].concat();
    let mut answers = vec![0; expected.len()];
    stream.read_exact(&mut answers).await.unwrap();
    assert_eq!(answers, expected);
    stream.write_all(&[4, 0xff, 0xff, 0xff, 0xff]).await.unwrap();
    stream.flush().await.unwrap();
    loop {
        match events.recv_timeout(Duration::from_secs(20)).unwrap() {
            NetworkEvent::Disconnected { .. } => break,
            NetworkEvent::Connected { .. } | NetworkEvent::Message { .. } => {}
        }
    }
    guard.stop();
}
