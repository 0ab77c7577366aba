//! The thread that answers peers' requests for stored blocks, away from the driver.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use tracing::warn;
use vibecoin_network::wire::SYNC_BYTES_MAX;
use vibecoin_primitives::Height;
use vibecoin_primitives::limits::{BODY_BYTES_MAX, CERTIFICATE_BYTES_MAX, HEADER_BYTES_MAX, MIB};
use vibecoin_replica::{CertifiedBlock, Message, PeerId, SYNC_BLOCKS_MAX};
use vibecoin_storage::{StorageError, Store};

use crate::error::NodeError;

/// Most requests that wait. More are dropped: a peer that gets no answer asks another node.
const WAITING_MAX: usize = 64;
/// Most requests of one peer that wait, so that none takes the places of the others.
const WAITING_PER_PEER_MAX: usize = 2;
/// Most bytes of bodies in one answer; a single larger block is sent alone.
const BODIES_BYTES_MAX: usize = 4 * MIB;

// The largest answer fits into a message.
const _: () = assert!(BODIES_BYTES_MAX <= BODY_BYTES_MAX);
const _: () = assert!(
    BODY_BYTES_MAX + SYNC_BLOCKS_MAX * (HEADER_BYTES_MAX + CERTIFICATE_BYTES_MAX + 64) <= SYNC_BYTES_MAX
);

/// One request.
#[derive(Clone, Copy, Debug)]
struct Request {
    peer: PeerId,
    from: Height,
    count: u32,
}

/// How many requests of each peer wait.
type Waiting = Arc<Mutex<BTreeMap<PeerId, usize>>>;

/// Answers requests for blocks from the store. Ends its thread when dropped.
pub struct Server {
    /// `None` only while it is being dropped.
    requests: Option<Sender<Request>>,
    waiting: Waiting,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the thread; `answer` sends, and must not block.
    ///
    /// # Errors
    /// [`NodeError::System`] when the system gives no thread.
    pub fn start(
        store: Arc<Store>,
        answer: impl Fn(PeerId, Message) + Send + 'static,
    ) -> Result<Self, NodeError> {
        Self::over(move |height| stored(&store, height), answer)
    }

    fn over(
        read: impl Fn(Height) -> Result<Option<CertifiedBlock>, StorageError> + Send + 'static,
        answer: impl Fn(PeerId, Message) + Send + 'static,
    ) -> Result<Self, NodeError> {
        let (requests, to_answer) = bounded(WAITING_MAX);
        let waiting = Waiting::default();
        let shared = waiting.clone();
        let thread = thread::Builder::new()
            .name("serve".to_owned())
            .spawn(move || serve(&to_answer, &shared, read, answer))
            .map_err(|error| NodeError::System {
                what: "start a thread",
                detail: error.to_string(),
            })?;
        Ok(Self {
            requests: Some(requests),
            waiting,
            thread: Some(thread),
        })
    }

    /// Takes a request in, at once. `false`: too many wait, and there will be no answer.
    pub fn ask(&self, peer: PeerId, from: Height, count: u32) -> bool {
        let Some(requests) = &self.requests else {
            return false;
        };
        // The lock is held over both steps, so that the thread cannot count a request down before it is
        // counted.
        let mut waiting = self.waiting.lock();
        let of_peer = waiting.get(&peer).copied().unwrap_or_default();
        let taken =
            of_peer < WAITING_PER_PEER_MAX && requests.try_send(Request { peer, from, count }).is_ok();
        if taken {
            waiting.insert(peer, of_peer.saturating_add(1));
        }
        taken
    }
}

impl Drop for Server {
    /// Waits for the answer that is being made, so that the store is free afterwards.
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            let _panicked = thread.join();
        }
    }
}

fn serve(
    requests: &Receiver<Request>,
    waiting: &Waiting,
    read: impl Fn(Height) -> Result<Option<CertifiedBlock>, StorageError>,
    answer: impl Fn(PeerId, Message),
) {
    while let Ok(Request { peer, from, count }) = requests.recv() {
        {
            let mut waiting = waiting.lock();
            let left = waiting.remove(&peer).unwrap_or_default().saturating_sub(1);
            if left > 0 {
                waiting.insert(peer, left);
            }
        }
        let blocks = collect(from, count, &read);
        answer(peer, Message::SyncResponse { from, blocks });
    }
}

/// The blocks of an answer: ascending, without gaps, as many as were asked for and fit; none when the first
/// is not there.
fn collect(
    from: Height,
    count: u32,
    read: impl Fn(Height) -> Result<Option<CertifiedBlock>, StorageError>,
) -> Vec<CertifiedBlock> {
    let count = usize::try_from(count).map_or(SYNC_BLOCKS_MAX, |count| count.clamp(1, SYNC_BLOCKS_MAX));
    let mut blocks: Vec<CertifiedBlock> = Vec::new();
    let mut bytes = 0_usize;
    let heights = (from.0..=u64::MAX).map(Height).take(count);
    let _full_or_done = heights.map(read).try_for_each(|read| match read {
        Ok(Some(block)) => {
            bytes = bytes.saturating_add(block.body.len());
            if !blocks.is_empty() && bytes > BODIES_BYTES_MAX {
                return ControlFlow::Break(());
            }
            blocks.push(block);
            ControlFlow::Continue(())
        }
        Ok(None) => ControlFlow::Break(()),
        Err(error) => {
            warn!(target: "node::sync", %from, %error, "a block that a peer asked for cannot be read");
            ControlFlow::Break(())
        }
    });
    blocks
}

fn stored(store: &Store, height: Height) -> Result<Option<CertifiedBlock>, StorageError> {
    let blocks = store.blocks();
    let Some(header) = blocks.header(height)? else {
        return Ok(None);
    };
    // Genesis has no certificate: everybody makes that block alone.
    let Some(certificate) = blocks.certificate(height)? else {
        return Ok(None);
    };
    let body = blocks.body_bytes(height)?;
    Ok(body.map(|body| CertifiedBlock {
        header,
        body,
        certificate,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vibecoin_primitives::{CommitCertificate, Hash, Header, PublicKey, Round, TimeMs};

    /// What the disk says about blocks above 100.
    const HEAD: u64 = 100;
    const A: PeerId = PeerId(1);

    fn block(height: Height, body_bytes: usize) -> CertifiedBlock {
        let zero = Hash::ZERO;
        CertifiedBlock {
            header: Header {
                version: 1,
                height,
                round: Round(0),
                proposer: PublicKey([0; 32]),
                parent: zero,
                time: TimeMs(0),
                ticks: 0,
                poh_seq: 0,
                poh_hash: zero,
                body_hash: zero,
                tx_root: zero,
                receipt_root: zero,
                evidence_root: zero,
                state_root: zero,
                validators_hash: zero,
                next_validators_hash: zero,
                params_hash: zero,
                last_commit_hash: zero,
            },
            body: vec![7; body_bytes],
            certificate: CommitCertificate {
                height,
                round: Round(0),
                block: zero,
                signatures: Vec::new(),
            },
        }
    }

    /// Asks for blocks of this size and compares the heights that come.
    fn check(from: u64, count: u32, body_bytes: usize, expected: impl IntoIterator<Item = u64>) {
        let (answers, answered) = bounded(1);
        let read = move |height: Height| {
            let damaged = height.0 == 50;
            if damaged {
                return Err(StorageError::Missing {
                    what: "block 50".to_owned(),
                });
            }
            Ok((height.0 >= 1 && height.0 <= HEAD).then(|| block(height, body_bytes)))
        };
        let answer = move |peer, message| answers.send((peer, message)).unwrap();
        let server = Server::over(read, answer).unwrap();
        assert!(server.ask(A, Height(from), count));
        let (peer, message) = answered.recv().unwrap();
        let Message::SyncResponse { from: of, blocks } = message else {
            panic!("{message:?}");
        };
        assert_eq!((peer, of), (A, Height(from)));
        let heights: Vec<_> = blocks.iter().map(|block| block.header.height.0).collect();
        assert_eq!(heights, Vec::from_iter(expected));
    }

    #[test]
    fn blocks_come_as_asked() {
        check(3, 5, 100, 3..=7);
    }

    #[test]
    fn never_more_than_the_most_and_never_none_for_a_count_of_zero() {
        check(1, u32::MAX, 100, 1..=16);
        check(1, 0, 100, [1]);
    }

    #[test]
    fn the_answer_ends_where_the_chain_ends() {
        check(98, 16, 100, 98..=100);
        check(101, 16, 100, []);
        check(u64::MAX, 16, 100, []);
        check(0, 16, 100, []);
    }

    #[test]
    fn the_answer_ends_before_a_block_that_cannot_be_read() {
        check(47, 16, 100, 47..=49);
    }

    #[test]
    fn large_blocks_make_short_answers_of_at_least_one() {
        check(1, 16, MIB, 1..=4);
        check(1, 16, MIB + 1, 1..=3);
        check(1, 16, BODIES_BYTES_MAX, [1]);
        check(1, 16, BODY_BYTES_MAX, [1]);
    }

    /// A server whose thread reads nothing until it is let.
    fn held() -> (Server, Sender<()>, Receiver<PeerId>, Receiver<()>) {
        let (let_go, go) = bounded::<()>(WAITING_MAX + 1);
        let (reading, reads) = bounded(WAITING_MAX + 1);
        let (answers, answered) = bounded(WAITING_MAX + 1);
        let read = move |_| {
            reading.send(()).unwrap();
            go.recv().unwrap();
            Ok(None)
        };
        let answer = move |peer, _| answers.send(peer).unwrap();
        (Server::over(read, answer).unwrap(), let_go, answered, reads)
    }

    #[test]
    fn one_peer_takes_two_places_and_gets_them_back() {
        let (server, let_go, answered, reads) = held();
        assert!(server.ask(A, Height(1), 1));
        // The first is being answered and does not wait any more.
        reads.recv().unwrap();
        assert!(server.ask(A, Height(2), 1));
        assert!(server.ask(A, Height(3), 1));
        assert!(!server.ask(A, Height(4), 1), "two wait");
        assert!(
            server.ask(PeerId(2), Height(1), 1),
            "others have their own places"
        );
        let_go.send(()).unwrap();
        assert_eq!(answered.recv(), Ok(A));
        reads.recv().unwrap();
        assert!(server.ask(A, Height(4), 1));
        assert!(!server.ask(A, Height(5), 1));
        for _ in 0..4 {
            let_go.send(()).unwrap();
        }
        let rest: Vec<_> = answered.iter().take(4).collect();
        assert_eq!(rest, [A, A, PeerId(2), A]);
    }

    #[test]
    fn a_full_queue_drops_what_comes() {
        let (server, let_go, answered, reads) = held();
        assert!(server.ask(PeerId(1000), Height(1), 1));
        reads.recv().unwrap();
        let peers = || (0..).map(PeerId).take(WAITING_MAX);
        assert!(peers().all(|peer| server.ask(peer, Height(1), 1)));
        assert!(!server.ask(PeerId(2000), Height(1), 1));
        for _ in 0..=WAITING_MAX {
            let_go.send(()).unwrap();
        }
        assert_eq!(answered.iter().take(WAITING_MAX + 1).count(), WAITING_MAX + 1);
        assert!(
            server.waiting.lock().is_empty(),
            "nothing is kept of whom was answered"
        );
    }

    #[test]
    fn the_thread_ends_with_the_server() {
        let (server, let_go, answered, _reads) = held();
        server.ask(A, Height(1), 1);
        let_go.send(()).unwrap();
        drop(server);
        assert_eq!(answered.recv(), Ok(A));
        assert!(answered.recv().is_err(), "the thread still holds its end");
    }
}
