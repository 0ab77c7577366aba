//! Large answers that were requested once, or never (fault 1).

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use vibecoin_consensus::ConsensusMessage;
use vibecoin_primitives::{Header, Height, PublicKey, body_hash};
use vibecoin_replica::{CertifiedBlock, Message};

use crate::attack::Stage;
use crate::gossip::opened;
use crate::material::{BODIES, certificate, header};
use crate::session::{Event, Session};
use crate::wire::frame;

/// Number of times that a body is sent under one header.
const BODY_TIMES: usize = 3;

fn answer(stage: &Stage, from: Height, count: u32) -> Vec<u8> {
    let validators = &stage.setting.validators;
    let proposer = validators.first().copied().unwrap_or(PublicKey([1; 32]));
    let bodies = stage
        .material
        .bodies
        .iter()
        .take((count as usize).clamp(1, BODIES));
    let blocks = bodies.zip(from.0..).map(|(body, height)| {
        let header = header(Height(height), proposer, body_hash(body));
        CertifiedBlock {
            certificate: certificate(Height(height), header.hash(), validators),
            header,
            body: body.clone(),
        }
    });
    let blocks = blocks.collect();
    frame(&stage.envelope.pack(&Message::SyncResponse { from, blocks }))
}

/// Waits for a request for blocks, then answers it endlessly; a newer request changes the range.
pub fn answer_again<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let mut lane = session.direct().await?;
        let mut frame = Vec::new();
        loop {
            let event = if frame.is_empty() {
                session.event().await
            } else {
                // Takes a waiting event without blocking.
                tokio::select! {
                    biased;
                    event = session.event() => event,
                    () = std::future::ready(()) => Some(Event::Admitted),
                }
            };
            match event {
                None => return Ok(()),
                Some(Event::Direct(message)) => {
                    if let Message::SyncRequest { from, count } = *message {
                        frame = answer(stage, from, count);
                    }
                    continue;
                }
                Some(_) => {}
            }
            if !frame.is_empty() {
                session.write(&mut lane, &frame, 1).await?;
                session.offend("an answer nobody asked for twice");
            }
        }
    })
}

/// Sends a body full of bad signatures under the header of each received proposal.
pub fn bodies<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        let mut lane = session.direct().await?;
        let _subscribed = session.gossip().await?;
        while let Some(event) = session.event().await {
            let Event::Gossip(_, data) = event else { continue };
            let Some(header) = proposed(stage, &data) else {
                continue;
            };
            let body = Message::Body {
                header: Box::new(header),
                body: stage.material.bodies[0].clone(),
            };
            let frame = frame(&stage.envelope.pack(&body));
            // The node may close the stream at the first bytes.
            session.offend("a body nobody asked for");
            for _ in 0..BODY_TIMES {
                session.write(&mut lane, &frame, 1).await?;
            }
        }
        Ok(())
    })
}

fn proposed(stage: &Stage, data: &[u8]) -> Option<Header> {
    match opened(stage, data)? {
        Message::Consensus(ConsensusMessage::Proposal(signed)) => Some(signed.proposal.header),
        _ => None,
    }
}
