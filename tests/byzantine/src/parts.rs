//! A validator that floods the others with parts of blocks outside of its turn (fault 2).

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use vibecoin_primitives::{BlockPart, Hash, Height, PartContent, PartStatement, Round, Tick, encode};
use vibecoin_replica::Message;

use crate::attack::Stage;
use crate::session::Session;
use crate::wire::frame;

/// Sends parts of 4 MB, each validly signed, for heights and rounds in which it is not the sender's turn.
pub fn out_of_turn<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let mut lane = session.link.open(&stage.names.parts).await?;
        for number in 0u32.. {
            let head = stage.head();
            let (height, round) = match number % 4 {
                0 => (head + 1, 0),
                1 => (head + 2, 0),
                2 => (head + 1, 9),
                _ => (head + 500, 0),
            };
            let Some(bytes) = part(stage, Height(height), Round(round), number) else {
                return Ok(());
            };
            session.write(&mut lane, &bytes, 1).await?;
            // One may be of its turn, or late; so many are not.
            if number >= 3 {
                session.offend("parts out of turn");
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    })
}

fn part(stage: &Stage, height: Height, round: Round, number: u32) -> Option<Vec<u8>> {
    let key = stage.setting.key.as_ref()?;
    let (content, digest) = stage.material.content.as_ref()?;
    let statement = PartStatement {
        height,
        round,
        proposer: key.public_key(),
        parent: Hash([height.0 as u8; 32]),
        sequence: 1 + number % 20,
        digest: *digest,
    };
    // The content is last in the encoding: an empty one is replaced by the prepared one.
    let empty = PartContent::Tick(Tick {
        hash: Hash([0; 32]),
        transactions: Vec::new(),
    });
    let behind = encode(&empty).len();
    let message = Message::Part(Box::new(BlockPart {
        signed: statement.sign(&stage.setting.genesis, key),
        content: empty,
    }));
    let mut bytes = stage.envelope.pack(&message);
    bytes.truncate(bytes.len() - behind);
    bytes.extend_from_slice(content);
    Some(frame(&bytes))
}
