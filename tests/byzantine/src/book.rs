//! Hellos that fill a node's address book (fault 15).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libp2p::PeerId;

use crate::attack::Stage;
use crate::session::{Event, Session};

/// Port of every invented address: a mark that identifies them in a node's address book and in its packets.
pub const MARK_PORT: u16 = 40_007;
/// Number of identities that send a hello to each node.
pub const IDENTITIES: usize = 620;
/// Addresses in one hello.
const ADDRESSES: usize = 32;
/// Time limit of the answer to a hello.
const ANSWER: Duration = Duration::from_secs(1);
/// Pause after one that was refused.
const REFUSED: Duration = Duration::from_millis(100);

/// An address without a listener: loopback, private or a name.
fn made_up(number: usize, peer: &PeerId) -> String {
    let low = number % 250 + 1;
    let at = match number % 4 {
        0 => format!("/ip4/127.0.0.{low}/tcp/{MARK_PORT}"),
        1 => format!("/ip4/192.168.{}.{low}/tcp/{MARK_PORT}", number / 250 % 250),
        2 => format!("/dns4/stranger-{number}.invalid/tcp/{MARK_PORT}"),
        _ => format!("/ip4/10.77.{}.{low}/tcp/{MARK_PORT}", number / 250 % 250),
    };
    format!("{at}/p2p/{peer}")
}

/// Sends every node a hello under one identity after the other.
pub async fn fill(stage: &Arc<Stage>) {
    let nodes = stage.setting.targets.len();
    let greeted: Arc<Vec<AtomicUsize>> = Arc::new((0..nodes).map(|_| AtomicUsize::new(0)).collect());
    let crowd = stage.crowd(nodes, |stage, node, stranger| {
        let greeted = greeted.clone();
        async move {
            loop {
                let number = greeted[node].fetch_add(1, Ordering::Relaxed);
                if number >= IDENTITIES {
                    return;
                }
                greet(&stage, node, number + stranger).await;
            }
        }
    });
    crowd.await;
}

async fn greet(stage: &Arc<Stage>, node: usize, number: usize) {
    let identity = stage.identity(number);
    let own = identity.keypair.public().to_peer_id();
    let mut hello = stage.hello();
    // Three of four claim an address for themselves that passes the first checks.
    hello.addresses = (0..4).map(|way| made_up(number + way, &own)).collect();
    hello.others = (0..ADDRESSES)
        .map(|other| made_up(number * ADDRESSES + other, &PeerId::random()))
        .collect();
    let mut session = match Session::greet(stage, node, &identity, &mut hello).await {
        Ok(session) => session,
        Err(error) => {
            stage.tally.refused(&error);
            tokio::time::sleep(REFUSED).await;
            return;
        }
    };
    stage.tally.sent(hello.bytes().len() as u64, 1);
    let answered = async {
        while let Some(event) = session.event().await {
            if matches!(event, Event::Admitted) {
                stage.tally.admitted();
                return;
            }
        }
    };
    let _no_answer = tokio::time::timeout(ANSWER, answered).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_addresses_are_addresses() {
        let peer = PeerId::random();
        for number in 0..1_000 {
            let text = made_up(number, &peer);
            assert!(text.parse::<libp2p::Multiaddr>().is_ok(), "{text}");
        }
    }
}
