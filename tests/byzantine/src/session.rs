//! A client that a node has admitted: it sends a valid hello, answers pings, and passes on the node's
//! messages.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::core::muxing::SubstreamBox;
use tokio::sync::mpsc;
use vibecoin_network::ValidatorProof;
use vibecoin_network::wire::{ENVELOPE_BYTES, SYNC_BYTES_MAX};
use vibecoin_primitives::decode;
use vibecoin_replica::Message;

use crate::attack::{Identity, Stage};
use crate::hello::{HELLO_PROTOCOL, Hello};
use crate::link::Link;
use crate::wire::{Rpc, accept, frame, read_frame, read_varint};

/// Version of gossipsub that the client supports.
pub const GOSSIP_PROTOCOL: &str = "/meshsub/1.1.0";
/// Time limit of a node to open its lane after the hello.
const ADMISSION: Duration = Duration::from_secs(4);
/// Events that wait for the attack; more are dropped.
const EVENTS_MAX: usize = 256;
/// Maximum bytes of a gossip frame that is read.
const GOSSIP_BYTES_MAX: u64 = 1 << 20;
/// Time in which a node must disconnect a peer that broke a rule.
pub const DROPPED_WITHIN: Duration = Duration::from_secs(5);

/// An event of the node.
#[derive(Debug)]
pub enum Event {
    /// Its hello.
    Hello(Box<Hello>),
    /// It opened its lane: the peer is admitted.
    Admitted,
    /// A message on the direct lane.
    Direct(Box<Message>),
    /// A gossiped message: topic and data.
    Gossip(String, Vec<u8>),
}

/// A connection to one node, admitted.
pub struct Session {
    /// The connection.
    pub link: Link,
    /// Index of the node among the targets.
    pub node: usize,
    events: mpsc::Receiver<Event>,
    stage: Arc<Stage>,
    offended: Option<(Instant, &'static str)>,
}

impl Session {
    /// Connects, sends the hello and waits until the node has opened its lane.
    ///
    /// # Errors
    /// When the node does not admit the peer.
    pub async fn join(
        stage: &Arc<Stage>,
        node: usize,
        identity: &Identity,
        mut hello: Hello,
    ) -> io::Result<Self> {
        let mut session = Self::greet(stage, node, identity, &mut hello).await?;
        let admitted = async {
            while let Some(event) = session.events.recv().await {
                if matches!(event, Event::Admitted) {
                    return true;
                }
            }
            false
        };
        match tokio::time::timeout(ADMISSION, admitted).await {
            Ok(true) => {
                stage.tally.admitted();
                Ok(session)
            }
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Connects and sends the hello.
    ///
    /// # Errors
    /// When the node does not accept the connection.
    pub async fn greet(
        stage: &Arc<Stage>,
        node: usize,
        identity: &Identity,
        hello: &mut Hello,
    ) -> io::Result<Self> {
        let target = stage.setting.targets[node];
        let (link, mut arrivals) = Link::dial(target, identity.source, &identity.keypair).await?;
        stage.tally.connected();
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let shared = stage.clone();
        tokio::spawn(async move {
            while let Some(stream) = arrivals.recv().await {
                let (stage, sender) = (shared.clone(), sender.clone());
                tokio::spawn(async move {
                    let _stream_ended = serve(&stage, node, stream, sender).await;
                });
            }
        });
        if let Some(key) = stage.proven_key() {
            hello.proof = Some(ValidatorProof::make(&stage.setting.genesis, &identity.seed, key));
        }
        let mut stream = link.open(HELLO_PROTOCOL).await?;
        stream.write_all(&frame(&hello.bytes())).await?;
        stream.close().await?;
        Ok(Self {
            link,
            node,
            events,
            stage: stage.clone(),
            offended: None,
        })
    }

    /// The next event; `None` when the connection has ended.
    pub async fn event(&mut self) -> Option<Event> {
        tokio::select! {
            event = self.events.recv() => event,
            () = self.link.closed() => None,
        }
    }

    /// Opens the lane for requests and answers.
    ///
    /// # Errors
    /// When the node does not accept it.
    pub async fn direct(&self) -> io::Result<SubstreamBox> {
        self.link.open(&self.stage.names.direct).await
    }

    /// Opens the gossip stream and subscribes to both topics.
    ///
    /// # Errors
    /// When the node does not accept it.
    pub async fn gossip(&self) -> io::Result<SubstreamBox> {
        let names = &self.stage.names;
        let mut stream = self.link.open(GOSSIP_PROTOCOL).await?;
        let topics = [names.consensus.as_str(), names.transactions.as_str()];
        let rpc = Rpc::default()
            .subscribe(topics[0], true)
            .subscribe(topics[1], true)
            .graft(topics);
        stream.write_all(&rpc.frame()).await?;
        stream.flush().await?;
        Ok(stream)
    }

    /// Writes bytes and counts them as messages.
    ///
    /// # Errors
    /// When the node has closed the stream.
    pub async fn write(&self, stream: &mut SubstreamBox, bytes: &[u8], messages: u64) -> io::Result<()> {
        stream.write_all(bytes).await?;
        stream.flush().await?;
        self.stage.tally.sent(bytes.len() as u64, messages);
        Ok(())
    }

    /// Records a broken rule: from here on the node has [`DROPPED_WITHIN`].
    pub fn offend(&mut self, rule: &'static str) {
        if self.offended.is_none() {
            self.offended = Some((Instant::now(), rule));
        }
    }

    /// Waits, at the end of an attack on this connection, for a disconnect by the node within the
    /// time limit.
    pub async fn linger(&self) {
        if let Some((offended, _)) = self.offended {
            let left = DROPPED_WITHIN.saturating_sub(offended.elapsed());
            let _kept = tokio::time::timeout(left, self.link.closed()).await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some((offended, rule)) = self.offended {
            self.stage
                .tally
                .offended(offended, self.link.closed_at(), Some(rule));
        }
    }
}

/// Serves a stream that the node opened.
async fn serve(
    stage: &Stage,
    node: usize,
    mut stream: SubstreamBox,
    events: mpsc::Sender<Event>,
) -> io::Result<()> {
    const PING: &str = "/ipfs/ping/1.0.0";
    let names = &stage.names;
    let known = |name: &str| {
        [HELLO_PROTOCOL, PING, &names.direct, &names.parts].contains(&name) || name.starts_with("/meshsub/1.")
    };
    let protocol = accept(&mut stream, known).await?;
    // A full channel loses events: the node must never wait for the client.
    let emit = |event| {
        let _full = events.try_send(event);
    };
    if protocol == PING {
        let mut bytes = [0; 32];
        loop {
            stream.read_exact(&mut bytes).await?;
            stream.write_all(&bytes).await?;
            stream.flush().await?;
        }
    }
    if protocol == HELLO_PROTOCOL {
        let bytes = read_frame(&mut stream, 64 * 1024).await?;
        let hello: Hello = decode(&bytes).map_err(io::Error::other)?;
        stage.saw_head(node, hello.head.0);
        emit(Event::Hello(Box::new(hello)));
        return Ok(());
    }
    if protocol == names.direct || protocol == names.parts {
        if protocol == names.direct {
            emit(Event::Admitted);
        }
        loop {
            let bytes = read_frame(&mut stream, SYNC_BYTES_MAX + ENVELOPE_BYTES).await?;
            match stage.envelope.open(&bytes) {
                Ok(Message::Status { height }) => stage.saw_head(node, height.0),
                Ok(Message::Part(_)) | Err(_) => {}
                Ok(message) => emit(Event::Direct(Box::new(message))),
            }
        }
    }
    loop {
        let len = read_varint(&mut stream).await?;
        if len > GOSSIP_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut content = vec![0; len as usize];
        stream.read_exact(&mut content).await?;
        for (topic, data) in Rpc::published(&content) {
            emit(Event::Gossip(topic, data));
        }
    }
}
