//! The thread that serves peers' requests for blocks, away from the driver and the network: for stored ones,
//! and, to peers that are not validators, for bodies of the height being decided. The order and the size of
//! the responses are decided in [`turns`].

mod bodies;
mod turns;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tracing::warn;
use vibecoin_host::{BODIES_BYTES_MAX, certified_block};
use vibecoin_network::wire::{Frame, SYNC_BYTES_MAX};
use vibecoin_primitives::limits::{BODY_BYTES_MAX, CERTIFICATE_BYTES_MAX, HEADER_BYTES_MAX, KIB, MIB};
use vibecoin_primitives::{Hash, Height};
use vibecoin_replica::{CertifiedBlock, Message, PeerId, SYNC_BLOCKS_MAX};
use vibecoin_storage::{StorageError, Store};

use crate::error::NodeError;
use bodies::Bodies;
pub use turns::{Class, Paces, Request};
use turns::{Next, Turn, Turns};

/// Maximum bytes that are read and encoded at once: one response and its frame.
pub const READING_BYTES_MAX: usize = 32 * MIB;
/// Charge for a response beside its bytes, for the work that does not depend on its size.
const ANSWER_BYTES: usize = 8 * KIB;
/// The same for each of its blocks, which takes three reads; its header is included.
const BLOCK_BYTES: usize = KIB;
/// Bytes of a certificate's signature with its key.
const SIGNATURE_BYTES: usize = 96;

// The largest response fits into a message.
const _: () = assert!(BODIES_BYTES_MAX <= BODY_BYTES_MAX);
const _: () = assert!(
    BODY_BYTES_MAX + SYNC_BLOCKS_MAX * (HEADER_BYTES_MAX + CERTIFICATE_BYTES_MAX + 64) <= SYNC_BYTES_MAX
);
const _: () = assert!(2 * SYNC_BYTES_MAX <= READING_BYTES_MAX);

/// State shared by the thread and its callers.
struct Desk {
    state: Mutex<State>,
    /// Signalled after a request, and at the end.
    bell: Condvar,
    /// Origin of the times.
    begun: Instant,
}

struct State {
    turns: Turns,
    bodies: Bodies,
    is_open: bool,
}

/// A response to a peer.
pub enum Answer {
    /// Decided blocks.
    Blocks(Message),
    /// The body of a block that may be decided next.
    Body(Frame),
}

/// Serves requests for blocks from the store. Ends its thread when dropped.
pub struct Server {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the thread; `answer` sends, and must not block.
    ///
    /// # Errors
    /// [`NodeError::System`] when the system cannot create a thread.
    pub fn start(
        store: Arc<Store>,
        paces: Paces,
        answer: impl Fn(PeerId, Answer) + Send + 'static,
    ) -> Result<Self, NodeError> {
        Self::over(paces, move |height| certified_block(&store, height), answer)
    }

    fn over(
        paces: Paces,
        read: impl Fn(Height) -> Result<Option<CertifiedBlock>, StorageError> + Send + 'static,
        answer: impl Fn(PeerId, Answer) + Send + 'static,
    ) -> Result<Self, NodeError> {
        let desk = Arc::new(Desk {
            state: Mutex::new(State {
                turns: Turns::new(paces),
                bodies: Bodies::default(),
                is_open: true,
            }),
            bell: Condvar::new(),
            begun: Instant::now(),
        });
        let shared = desk.clone();
        let thread = thread::Builder::new()
            .name("serve".to_owned())
            .spawn(move || shared.serve(read, answer))
            .map_err(|error| NodeError::System {
                what: "start a thread",
                detail: error.to_string(),
            })?;
        Ok(Self {
            desk,
            thread: Some(thread),
        })
    }

    /// Queues a request without blocking. Returns `false` if too many are queued: there will be no response.
    pub fn ask(&self, class: Class, peer: PeerId, request: Request) -> bool {
        let taken = self.desk.state.lock().turns.ask(class, peer, request);
        self.desk.bell.notify_one();
        taken
    }

    /// The encoded body of a block that may be decided next: the result of `pack` for the first peer that
    /// requests it, and the same value for all others. Only for the driver, which is the one that encodes.
    pub fn body(&self, block: Hash, pack: impl FnOnce() -> Option<Frame>) -> Option<Frame> {
        let kept = self.desk.state.lock().bodies.get(&block);
        // Encoded without the lock, for which the network's thread would wait.
        kept.or_else(|| {
            let frame = pack()?;
            self.desk.state.lock().bodies.keep(block, frame.clone());
            Some(frame)
        })
    }

    /// A different height is being decided: peers with pending requests for bodies receive the blocks with
    /// their certificates.
    pub fn clear_bodies(&self) {
        self.desk.state.lock().bodies.clear();
    }

    /// The peer is disconnected: its requests are dropped.
    pub fn forget(&self, peer: PeerId) {
        self.desk.state.lock().turns.forget(peer);
    }
}

impl Drop for Server {
    /// Waits for the response in progress, so that the store is free afterwards.
    fn drop(&mut self) {
        self.desk.state.lock().is_open = false;
        self.desk.bell.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            let _panicked = thread.join();
        }
    }
}

impl Desk {
    fn serve(
        &self,
        read: impl Fn(Height) -> Result<Option<CertifiedBlock>, StorageError>,
        answer: impl Fn(PeerId, Answer),
    ) {
        while let Some(turn) = self.next() {
            let (given, bytes) = match turn.request {
                Request::Blocks { from, count } => {
                    let collected = vibecoin_host::blocks(from, count, turn.bytes_enough, &read);
                    if let Some(error) = collected.error {
                        warn!(target: "node::sync", %from, %error, "a block that a peer asked for cannot be read");
                    }
                    let blocks = collected.blocks;
                    let bytes = charge(&blocks);
                    (Answer::Blocks(Message::SyncResponse { from, blocks }), bytes)
                }
                Request::Body(block) => {
                    // Its height has ended, or others displaced it.
                    let Some(frame) = self.state.lock().bodies.get(&block) else {
                        continue;
                    };
                    let bytes = ANSWER_BYTES.saturating_add(frame.byte_len());
                    (Answer::Body(frame), bytes)
                }
            };
            let now = self.begun.elapsed();
            self.state.lock().turns.spent(turn.class, bytes, now);
            answer(turn.peer, given);
        }
    }

    /// Waits for the next turn; `None` at the end.
    fn next(&self) -> Option<Turn> {
        let mut state = self.state.lock();
        while state.is_open {
            match state.turns.next(self.begun.elapsed()) {
                Next::Answer(turn) => return Some(turn),
                Next::Wait(time) => {
                    let _rung_or_due = self.bell.wait_for(&mut state, time);
                }
                Next::Idle => self.bell.wait(&mut state),
            }
        }
        None
    }
}

/// Bytes that a response takes from the budget of its class.
fn charge(blocks: &[CertifiedBlock]) -> usize {
    blocks.iter().fold(ANSWER_BYTES, |sum, block| {
        let signatures = block.certificate.signatures.len();
        sum.saturating_add(block.body.len())
            .saturating_add(BLOCK_BYTES)
            .saturating_add(signatures.saturating_mul(SIGNATURE_BYTES))
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use vibecoin_network::Envelope;
    use vibecoin_primitives::{CommitCertificate, Header, PublicKey, Round, TimeMs};

    use crossbeam_channel::{Receiver, Sender, bounded};

    /// The mock store has no blocks above 100.
    const HEAD: u64 = 100;
    const A: PeerId = PeerId(1);
    /// So fast that no request waits for its budget.
    const PACES: Paces = Paces {
        known: 1 << 40,
        strangers: 1 << 40,
    };
    /// Maximum number of requests queued in a test.
    const MANY: usize = 1_024;

    fn header(height: Height) -> Header {
        let zero = Hash::ZERO;
        Header {
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
        }
    }

    fn block(height: Height, body_bytes: usize) -> CertifiedBlock {
        CertifiedBlock {
            header: header(height),
            body: vec![7; body_bytes],
            certificate: CommitCertificate {
                height,
                round: Round(0),
                block: Hash::ZERO,
                signatures: Vec::new(),
            },
        }
    }

    /// The encoded body of a block, of approximately `body_bytes` bytes.
    pub fn frame(body_bytes: usize) -> Frame {
        Envelope::new(&Hash::ZERO).frame(&Message::Body {
            header: Box::new(header(Height(1))),
            body: vec![7; body_bytes],
        })
    }

    const fn blocks(from: u64, count: u32) -> Request {
        Request::Blocks {
            from: Height(from),
            count,
        }
    }

    /// Requests blocks of this size and compares the returned heights.
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
        let server = Server::over(PACES, read, answer).unwrap();
        assert!(server.ask(Class::Stranger, A, blocks(from, count)));
        let (peer, message) = answered.recv().unwrap();
        let Answer::Blocks(Message::SyncResponse { from: of, blocks }) = message else {
            panic!("no blocks");
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

    #[test]
    fn an_answer_ends_with_the_block_that_is_enough_and_has_one_at_least() {
        let heights = |bytes_enough| -> Vec<u64> {
            let read = |height| Ok(Some(block(height, 100)));
            let blocks = vibecoin_host::blocks(Height(5), 16, bytes_enough, read).blocks;
            blocks.iter().map(|block| block.header.height.0).collect()
        };
        assert_eq!(heights(250), [5, 6, 7]);
        assert_eq!(heights(200), [5, 6]);
        assert_eq!(heights(0), [5]);
    }

    #[test]
    fn an_answer_without_blocks_is_not_free_and_a_full_one_costs_its_bytes() {
        assert!(charge(&[]) >= 4 * KIB);
        let one = charge(&[block(Height(1), MIB)]);
        assert!(one > MIB, "{one}");
        assert_eq!(
            charge(&[block(Height(1), MIB), block(Height(2), MIB)]) - one,
            one - charge(&[])
        );
    }

    /// A server whose thread reads nothing until it is released.
    fn held(paces: Paces, body: usize) -> (Server, Sender<()>, Receiver<PeerId>, Receiver<()>) {
        let (let_go, go) = bounded::<()>(MANY);
        let (reading, reads) = bounded(MANY);
        let (answers, answered) = bounded(MANY);
        let read = move |height| {
            reading.send(()).unwrap();
            go.recv().unwrap();
            Ok((body > 0).then(|| block(height, body)))
        };
        let answer = move |peer, _| answers.send(peer).unwrap();
        (
            Server::over(paces, read, answer).unwrap(),
            let_go,
            answered,
            reads,
        )
    }

    #[test]
    fn the_validator_that_asks_last_is_answered_before_the_strangers_that_wait() {
        let (server, let_go, answered, reads) = held(PACES, 0);
        let ask = |class, peer| server.ask(class, PeerId(peer), blocks(1, 1));
        assert!(ask(Class::Stranger, 1));
        // The first is being served and is not queued any more.
        reads.recv().unwrap();
        assert!((1..=3).all(|peer| ask(Class::Stranger, peer)));
        assert!(ask(Class::Stranger, 1));
        assert!(ask(Class::Known, 9));
        for _ in 0..6 {
            let_go.send(()).unwrap();
        }
        let order: Vec<u64> = answered.iter().take(6).map(|peer| peer.0).collect();
        assert_eq!(order, [1, 9, 1, 2, 3, 1]);
        assert!(
            server.desk.state.lock().turns.is_empty(),
            "nothing is kept of a peer"
        );
    }

    #[test]
    fn what_a_peer_that_left_asked_for_is_not_read() {
        let (server, let_go, answered, reads) = held(PACES, 0);
        server.ask(Class::Stranger, A, blocks(1, 1));
        reads.recv().unwrap();
        server.ask(Class::Stranger, PeerId(2), blocks(1, 1));
        server.ask(Class::Stranger, PeerId(3), blocks(1, 1));
        server.forget(PeerId(2));
        (0..2).for_each(|_| let_go.send(()).unwrap());
        let order: Vec<u64> = answered.iter().take(2).map(|peer| peer.0).collect();
        assert_eq!(order, [1, 3]);
    }

    #[test]
    fn a_stranger_whose_budget_is_spent_waits_and_a_validator_does_not() {
        // A byte per second: the first response takes all of it for years.
        let paces = Paces {
            strangers: 1,
            ..PACES
        };
        let (server, let_go, answered, _reads) = held(paces, MIB);
        (0..MANY / 2).for_each(|_| let_go.send(()).unwrap());
        assert!(server.ask(Class::Stranger, A, blocks(1, 1)));
        assert_eq!(answered.recv(), Ok(A));
        assert!(server.ask(Class::Stranger, A, blocks(2, 1)));
        for _ in 0..10 {
            assert!(server.ask(Class::Known, PeerId(2), blocks(1, 1)));
            assert_eq!(answered.recv(), Ok(PeerId(2)));
        }
        drop(server);
        assert!(answered.recv().is_err(), "the stranger's second was answered");
    }

    #[test]
    fn a_body_is_packed_once_and_given_to_strangers_at_their_pace_until_its_height_is_over() {
        let (answers, answered) = bounded(MANY);
        let answer = move |peer, given| match given {
            Answer::Body(frame) => answers.send((peer, frame)).unwrap(),
            Answer::Blocks(_) => panic!("nobody asked for blocks"),
        };
        // A byte per second: the first body takes all of it for years.
        let paces = Paces {
            strangers: 1,
            ..PACES
        };
        let server = Server::over(paces, |_| Ok(None), answer).unwrap();
        let [first, later] = [Hash([1; 32]), Hash([2; 32])];
        let packed = server.body(first, || Some(frame(MIB))).unwrap();
        let again = server.body(first, || panic!("packed a second time"));
        assert_eq!(again.as_ref(), Some(&packed));
        let ask = |class, peer, block| server.ask(class, PeerId(peer), Request::Body(block));
        assert!(ask(Class::Stranger, 1, first));
        assert_eq!(answered.recv(), Ok((A, packed.clone())));
        assert!(ask(Class::Stranger, 1, first) && ask(Class::Stranger, 2, first));
        // Peers that the operator configured have a separate budget.
        for peer in 3..10 {
            assert!(ask(Class::Known, peer, first));
            assert_eq!(answered.recv(), Ok((PeerId(peer), packed.clone())));
        }
        server.clear_bodies();
        assert!(ask(Class::Known, 3, first));
        assert_eq!(server.body(later, || None), None, "the replica has none");
        let packed = server.body(later, || Some(frame(MIB + 1))).unwrap();
        assert!(ask(Class::Known, 4, later));
        assert_eq!(
            answered.recv(),
            Ok((PeerId(4), packed)),
            "the first is not given any more"
        );
        drop(server);
        assert!(answered.recv().is_err(), "a stranger got more than its pace");
    }

    #[test]
    fn the_thread_ends_with_the_server() {
        let (server, let_go, answered, reads) = held(PACES, 0);
        server.ask(Class::Stranger, A, blocks(1, 1));
        reads.recv().unwrap();
        let_go.send(()).unwrap();
        drop(server);
        assert_eq!(answered.recv(), Ok(A));
        assert!(answered.recv().is_err(), "the thread still holds its end");
    }
}
