//! Byzantine peers of a node that catches up (B9). Valid parts of their answers come from an honest node: the
//! last of the targets.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use libp2p::core::muxing::SubstreamBox;
use vibecoin_primitives::{Height, Signature};
use vibecoin_replica::{CertifiedBlock, Message};

use crate::attack::{Attack, Stage};
use crate::hello::Hello;
use crate::session::{Event, Session};
use crate::wire::frame;

/// Time limit of the honest node's answer.
const ANSWER: Duration = Duration::from_secs(2);
/// Time after which the peer with the shrinking head retracts it.
const SHRINKS_AFTER: Duration = Duration::from_secs(2);

/// Returns true if the attack needs an honest node beside its victims.
#[must_use]
pub const fn is_liar(attack: Attack) -> bool {
    matches!(
        attack,
        Attack::LiarHead
            | Attack::LiarGaps
            | Attack::LiarCertificate
            | Attack::LiarStall
            | Attack::LiarShrinks
    )
}

/// Client of the honest node, with the requests of a peer.
struct Source {
    session: Session,
    lane: SubstreamBox,
}

impl Source {
    async fn connect(stage: &Arc<Stage>) -> io::Result<Self> {
        let node = stage.setting.targets.len() - 1;
        let hello = Hello::new(stage.setting.genesis, 0);
        let session = Session::join(stage, node, &stage.identity(0), hello).await?;
        let lane = session.direct().await?;
        Ok(Self { session, lane })
    }

    async fn blocks(&mut self, stage: &Stage, from: Height, count: u32) -> io::Result<Vec<CertifiedBlock>> {
        let request = stage.envelope.pack(&Message::SyncRequest { from, count });
        self.session.write(&mut self.lane, &frame(&request), 0).await?;
        let answer = async {
            while let Some(event) = self.session.event().await {
                if let Event::Direct(message) = event
                    && let Message::SyncResponse { from: first, blocks } = *message
                    && first == from
                {
                    return Some(blocks);
                }
            }
            None
        };
        let answered = tokio::time::timeout(ANSWER, answer).await?;
        answered.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// Answers the victim's requests, with the behaviour of the peer's kind.
pub fn answer<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let mut source = Source::connect(stage).await?;
        let mut lane = session.direct().await?;
        let real = stage.head();
        let claim = match stage.attack {
            Attack::LiarHead => 1 << 63,
            Attack::LiarShrinks => 1 << 20,
            _ => real,
        };
        let status = |height| {
            let height = Height(height);
            frame(&stage.envelope.pack(&Message::Status { height }))
        };
        session.write(&mut lane, &status(claim), 1).await?;
        if stage.attack == Attack::LiarShrinks {
            tokio::time::sleep(SHRINKS_AFTER).await;
            session.write(&mut lane, &status(2), 1).await?;
        }
        while let Some(event) = session.event().await {
            let Event::Direct(message) = event else { continue };
            let Message::SyncRequest { from, count } = *message else {
                continue;
            };
            let blocks = match stage.attack {
                Attack::LiarHead | Attack::LiarShrinks => continue,
                Attack::LiarStall if from.0 > real / 2 => continue,
                _ => source.blocks(stage, from, count).await?,
            };
            // A single block has no gap, and an empty answer has no certificate: nothing is wrong with those.
            let (is_wrong, blocks) = match stage.attack {
                Attack::LiarGaps => (blocks.len() > 1, blocks.into_iter().step_by(2).collect()),
                Attack::LiarCertificate => {
                    let blocks: Vec<_> = blocks.into_iter().map(miscertified).collect();
                    (!blocks.is_empty(), blocks)
                }
                _ => (false, blocks),
            };
            let answer = stage.envelope.pack(&Message::SyncResponse { from, blocks });
            session.write(&mut lane, &frame(&answer), 1).await?;
            if is_wrong {
                session.offend("a wrong answer in sync");
            }
        }
        Ok(())
    })
}

/// The same block with signatures that cover other bytes.
fn miscertified(mut block: CertifiedBlock) -> CertifiedBlock {
    for entry in &mut block.certificate.signatures {
        let Signature(bytes) = &mut entry.signature;
        bytes[1] ^= 1;
    }
    block
}
