//! Endless requests for old blocks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use vibecoin_primitives::Height;
use vibecoin_replica::{Message, SYNC_BLOCKS_MAX};

use crate::attack::Stage;
use crate::session::{Event, Session};
use crate::wire::frame;

/// Maximum number of outstanding requests, as a node permits one peer.
const REQUESTS: usize = 2;
/// Time after which a request counts as dropped, and another one is sent.
const PATIENCE: Duration = Duration::from_millis(500);

/// Requests the whole chain from the start, repeatedly, as fast as answers arrive.
pub fn at_full_speed<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let mut lane = session.direct().await?;
        let count = u32::try_from(SYNC_BLOCKS_MAX).map_err(io::Error::other)?;
        let mut next = 1;
        let mut wanted = REQUESTS;
        loop {
            for _ in 0..wanted {
                let from = Height(next);
                let request = stage.envelope.pack(&Message::SyncRequest { from, count });
                session.write(&mut lane, &frame(&request), 1).await?;
                next += u64::from(count);
                if next > stage.head() {
                    next = 1;
                }
            }
            wanted = match tokio::time::timeout(PATIENCE, session.event()).await {
                Ok(None) => return Ok(()),
                Ok(Some(Event::Direct(message))) => match *message {
                    Message::SyncResponse { blocks, .. } => {
                        let bytes = blocks.iter().map(|block| block.body.len() as u64).sum();
                        stage.tally.fetched(bytes, blocks.len() as u64);
                        1
                    }
                    _ => 0,
                },
                Ok(Some(_)) => 0,
                Err(_) => REQUESTS,
            };
        }
    })
}
