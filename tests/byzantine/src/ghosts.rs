//! Statements of validators that do not exist, each validly signed (41).

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use vibecoin_consensus::ConsensusMessage;
use vibecoin_network::Envelope;
use vibecoin_primitives::{
    Hash, Height, PartContent, PartStatement, Proposal, Round, SecretKey, Tick, VoteKind,
};
use vibecoin_replica::Message;
use vibecoin_tests_support::{sign_part, vote};

use crate::attack::{Setting, Stage};
use crate::material::header;
use crate::session::Session;
use crate::wire::frame;
use crate::{gossip, material};

/// Statements in one frame.
const PER_FRAME: usize = 64;
/// Prepared statements about heights that no node reaches.
const FAR: usize = 20_000;
const FAR_HEIGHT: Height = Height(1_000_000);
/// Keys that these are spread over.
const FAR_KEYS: u64 = 64;
/// Heights from the head on of statements about the present: the head is known half a second late.
const HEIGHTS: u64 = 4;

/// Each connection in turn sends statements about the present height, statements about distant heights, and
/// parts.
pub fn flood<'a>(stage: &'a Arc<Stage>, session: &'a mut Session) -> BoxFuture<'a, io::Result<()>> {
    Box::pin(async move {
        match stage.next_message(1) % 3 {
            0 => present(stage, session).await,
            1 => far_away(stage, session).await,
            _ => parts(stage, session).await,
        }
    })
}

async fn present(stage: &Stage, session: &mut Session) -> io::Result<()> {
    let mut stream = session.gossip().await?;
    loop {
        let head = stage.head();
        let from = stage.next_message(PER_FRAME) as u64;
        let key = ghost(from);
        let made = (from..from + PER_FRAME as u64).map(|number| {
            let height = Height(head + 1 + number % HEIGHTS);
            let message = statement(&stage.setting.genesis, &key, height, number);
            gossip::packed(&stage.envelope, &message, 0)
        });
        let frame = gossip::statements(stage, made);
        session.write(&mut stream, &frame, PER_FRAME as u64).await?;
        session.offend("statements of no validator");
    }
}

/// No rule is broken: a node cannot know the validators of a distant height. Each connection begins at
/// another statement, and repeats them as further copies.
async fn far_away(stage: &Stage, session: &Session) -> io::Result<()> {
    let mut stream = session.gossip().await?;
    let prepared = &stage.material.statements;
    let first = stage.next_message(FAR / 20);
    for copy in 0..u16::MAX {
        let order = prepared.iter().cycle().skip(first % prepared.len().max(1));
        let all: Vec<&Vec<u8>> = order.take(prepared.len()).collect();
        for chunk in all.chunks(PER_FRAME) {
            let copies = chunk.iter().map(|data| gossip::copied(data, copy));
            let frame = gossip::statements(stage, copies);
            session.write(&mut stream, &frame, chunk.len() as u64).await?;
        }
    }
    Ok(())
}

/// A node drops the stream unread and blames no peer: only validators have a lane for parts.
async fn parts(stage: &Stage, session: &Session) -> io::Result<()> {
    let mut lane = session.link.open(&stage.names.parts).await?;
    loop {
        let number = stage.next_message(1) as u64;
        let key = ghost(number);
        let content = PartContent::Tick(Tick {
            hash: hash_of(number),
            transactions: Vec::new(),
        });
        let statement = PartStatement {
            height: Height(stage.head() + 1),
            round: Round(0),
            proposer: key.public_key(),
            parent: hash_of(number),
            sequence: 1,
            digest: Hash::ZERO,
        };
        let part = sign_part(&stage.setting.genesis, &key, statement, content);
        let bytes = stage.envelope.pack(&Message::Part(Box::new(part)));
        session.write(&mut lane, &frame(&bytes), 1).await?;
        tokio::task::yield_now().await;
    }
}

/// Prepared statements about distant heights, as gossiped data.
#[must_use]
pub fn far(setting: &Setting) -> Vec<Vec<u8>> {
    let keys: Vec<SecretKey> = (0..FAR_KEYS).map(ghost).collect();
    let envelope = Envelope::new(&setting.genesis);
    keys.iter()
        .cycle()
        .zip(0..FAR as u64)
        .map(|(key, number)| {
            let message = statement(&setting.genesis, key, FAR_HEIGHT, number);
            gossip::packed(&envelope, &message, 0)
        })
        .collect()
}

/// A proposal or a vote that is unique to its number.
fn statement(genesis: &Hash, key: &SecretKey, height: Height, number: u64) -> Message {
    Message::Consensus(if number.is_multiple_of(2) {
        let (of, block) = ((height, Round(0)), Some(hash_of(number)));
        ConsensusMessage::Vote(vote(genesis, key, VoteKind::Prevote, of, block))
    } else {
        let proposal = Proposal {
            height,
            round: Round(0),
            header: header(height, key.public_key(), hash_of(number)),
            lock_round: None,
            proposer: key.public_key(),
        };
        ConsensusMessage::Proposal(Box::new(proposal.sign(genesis, key)))
    })
}

fn ghost(number: u64) -> SecretKey {
    SecretKey::from_seed(&material::numbered(0x77, number))
}

fn hash_of(number: u64) -> Hash {
    Hash(material::numbered(0x78, number))
}
