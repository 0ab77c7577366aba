//! Sockets on the network listener that send nothing or too slowly, and an honest peer that connects
//! meanwhile (fault 4).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::AsyncWriteExt as _;
use tokio::io::AsyncWriteExt as _;

use crate::attack::Stage;
use crate::hello::HELLO_PROTOCOL;
use crate::link::{Link, connect, until_closed};
use crate::session::{DROPPED_WITHIN, Session};
use crate::wire::{frame, token};

/// Interval of two bytes, and pause of a socket that was refused.
const REST: Duration = Duration::from_secs(1);
/// Pause of an honest peer between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(100);

/// So many sockets on every node: each second one is silent, a quarter sends a byte a second before the
/// handshake, a quarter does the handshake and then sends the hello at that rate. Beside them one honest peer
/// connects, stays for a second and leaves, repeatedly.
pub async fn run(stage: &Arc<Stage>) {
    let mut tasks = tokio::task::JoinSet::new();
    for (node, target) in stage.setting.targets.iter().enumerate() {
        for number in 0..stage.setting.strangers {
            let (stage, target) = (stage.clone(), *target);
            tasks.spawn(async move {
                loop {
                    let begun = Instant::now();
                    let _turned_away = socket(&stage, target, number).await;
                    tokio::time::sleep(REST.saturating_sub(begun.elapsed())).await;
                }
            });
        }
        let stage = stage.clone();
        tasks.spawn(async move {
            loop {
                honest(&stage, node).await;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// Measures the time for which the node keeps a useless connection.
struct Life<'a> {
    stage: &'a Stage,
    begun: Instant,
    ended: Option<Instant>,
    rule: &'static str,
}

impl<'a> Life<'a> {
    fn new(stage: &'a Stage, rule: &'static str) -> Self {
        stage.tally.connected();
        let begun = Instant::now();
        Self {
            stage,
            begun,
            ended: None,
            rule,
        }
    }
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        self.stage.tally.offended(self.begun, self.ended, Some(self.rule));
    }
}

async fn socket(stage: &Stage, target: SocketAddr, number: usize) -> io::Result<()> {
    let identity = stage.identity(number / 4);
    match number % 4 {
        0 | 2 => silent(stage, target, identity.source).await,
        1 => slow(stage, target, identity.source).await,
        _ => {
            let (link, _arrivals) = Link::dial(target, identity.source, &identity.keypair).await?;
            slow_hello(stage, &link).await
        }
    }
}

async fn silent(stage: &Stage, target: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
    let mut stream = connect(target, source).await?;
    let mut life = Life::new(stage, "silence");
    let _closed = until_closed(&mut stream).await;
    life.ended = Some(Instant::now());
    Ok(())
}

async fn slow(stage: &Stage, target: SocketAddr, source: Option<IpAddr>) -> io::Result<()> {
    let mut stream = connect(target, source).await?;
    let mut life = Life::new(stage, "a byte a second");
    for byte in token("/multistream/1.0.0").into_iter().cycle() {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        stage.tally.sent(1, 0);
        if tokio::time::timeout(REST, until_closed(&mut stream))
            .await
            .is_ok()
        {
            break;
        }
    }
    life.ended = Some(Instant::now());
    Ok(())
}

async fn slow_hello(stage: &Stage, link: &Link) -> io::Result<()> {
    let mut life = Life::new(stage, "a hello at a byte a second");
    let mut stream = link.open(HELLO_PROTOCOL).await?;
    for byte in frame(&stage.hello().bytes()) {
        let sent = async {
            stream.write_all(&[byte]).await?;
            stream.flush().await
        };
        if sent.await.is_err() {
            break;
        }
        stage.tally.sent(1, 0);
        if tokio::time::timeout(REST, link.closed()).await.is_ok() {
            break;
        }
    }
    link.closed().await;
    life.ended = link.closed_at();
    Ok(())
}

/// An honest peer, from a separate address: it must be admitted within [`DROPPED_WITHIN`], however often it
/// dials.
async fn honest(stage: &Arc<Stage>, node: usize) {
    let mut identity = stage.identity(0);
    identity.source = None;
    let begun = Instant::now();
    loop {
        match Session::join(stage, node, &identity, stage.hello()).await {
            Ok(session) => {
                tokio::time::sleep(REST).await;
                drop(session);
                return;
            }
            Err(error) if begun.elapsed() >= DROPPED_WITHIN => {
                stage.tally.refused(&error);
                return;
            }
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}
