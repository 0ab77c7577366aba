//! Calls that compute, and subscriptions that read, run on blocking threads, a bounded number at a time.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use vibecoin_rpc_api::{ApiError, Code};

use crate::gate;

/// Permits for work that would hold up the threads that serve connections. A free permit goes to the waiting
/// address that holds fewest, in the order of turns: one address has all while no other waits, and cannot
/// have more than its share while others do.
#[derive(Clone, Debug)]
pub(crate) struct Work(Arc<Turns>);

/// The address that a call is for; `None` for the node's own.
type Subject = Option<IpAddr>;

#[derive(Debug)]
struct Turns(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Permits in use.
    held: HashMap<Subject, usize>,
    /// Addresses with calls that wait, the next turn first.
    waiting: VecDeque<(Subject, VecDeque<oneshot::Sender<Permit>>)>,
}

/// A turn to work, until it is dropped.
#[derive(Debug)]
struct Permit {
    subject: Subject,
    /// `None` once the permit has been given back.
    turns: Option<Arc<Turns>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.give_back(self.subject);
        }
    }
}

/// A call that waits for its turn.
struct Queued {
    granted: oneshot::Receiver<Permit>,
    subject: Subject,
    turns: Arc<Turns>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.granted.close();
        self.turns.0.lock().forget_closed(self.subject);
    }
}

impl Work {
    pub(crate) fn new(calls_max: usize) -> Self {
        Self(Arc::new(Turns(Mutex::new(State {
            free: calls_max.max(1),
            held: HashMap::new(),
            waiting: VecDeque::new(),
        }))))
    }

    /// Runs `task` on a blocking thread once a permit is free. Waiting is bounded by the call's time limit.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = self.acquire(gate::caller()).await?;
        run_with(permit, task).await
    }

    async fn acquire(&self, subject: Subject) -> Result<Permit, ApiError> {
        let mut queued = {
            let mut state = self.0.0.lock();
            if state.take_free(subject) {
                return Ok(Permit {
                    subject,
                    turns: Some(Arc::clone(&self.0)),
                });
            }
            Queued {
                granted: state.enqueue(subject),
                subject,
                turns: Arc::clone(&self.0),
            }
        };
        (&mut queued.granted).await.map_err(|_| stopping())
    }
}

impl Turns {
    /// Passes the permit of `subject` to the next call that still waits.
    fn give_back(self: &Arc<Self>, mut subject: Subject) {
        loop {
            let next = {
                let mut state = self.0.lock();
                state.release(subject);
                state.grant()
            };
            let Some((of, sender)) = next else { return };
            let permit = Permit {
                subject: of,
                turns: Some(Arc::clone(self)),
            };
            match sender.send(permit) {
                Ok(()) => return,
                // The call has just gone away.
                Err(mut permit) => permit.turns = None,
            }
            subject = of;
        }
    }
}

impl State {
    fn held(&self, subject: Subject) -> usize {
        self.held.get(&subject).copied().unwrap_or_default()
    }

    /// Takes a permit that is free; calls wait only while none is.
    fn take_free(&mut self, subject: Subject) -> bool {
        let Some(left) = self.free.checked_sub(1) else {
            return false;
        };
        self.free = left;
        let held = self.held.entry(subject).or_default();
        *held = held.saturating_add(1);
        true
    }

    fn release(&mut self, subject: Subject) {
        self.free = self.free.saturating_add(1);
        match self.held(subject).saturating_sub(1) {
            0 => self.held.remove(&subject),
            left => self.held.insert(subject, left),
        };
    }

    fn enqueue(&mut self, subject: Subject) -> oneshot::Receiver<Permit> {
        let (sender, granted) = oneshot::channel();
        match self.waiting.iter_mut().find(|(of, _)| *of == subject) {
            Some((_, calls)) => calls.push_back(sender),
            None => self.waiting.push_back((subject, VecDeque::from([sender]))),
        }
        granted
    }

    /// Takes a free permit for the next call.
    fn grant(&mut self) -> Option<(Subject, oneshot::Sender<Permit>)> {
        let turns = self.waiting.iter().enumerate();
        let (at, _) = turns.min_by_key(|(_, (subject, _))| self.held(*subject))?;
        let (subject, mut calls) = self.waiting.remove(at)?;
        let next = calls.pop_front()?;
        if !calls.is_empty() {
            self.waiting.push_back((subject, calls));
        }
        self.take_free(subject).then_some((subject, next))
    }

    fn forget_closed(&mut self, subject: Subject) {
        if let Some((_, calls)) = self.waiting.iter_mut().find(|(of, _)| *of == subject) {
            calls.retain(|call| !call.is_closed());
        }
        self.waiting.retain(|(_, calls)| !calls.is_empty());
    }
}

/// Runs `task` on a blocking thread, which keeps the permit: a caller that goes away does not free it early.
async fn run_with<T: Send + 'static>(
    permit: impl Send + 'static,
    task: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let running = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        task()
    });
    match running.await {
        Ok(done) => done,
        Err(error) if error.is_cancelled() => Err(stopping()),
        Err(error) => {
            tracing::error!(target: "rpc", %error, "a call panicked");
            Err(ApiError::internal("the node failed to answer; its log says why"))
        }
    }
}

fn stopping() -> ApiError {
    ApiError::new(Code::ShuttingDown, "the node is shutting down")
}

/// Readers of the newest blocks at the same time, however many subscriptions there are.
const LIVE_READERS_MAX: usize = 2;

/// Turns to read blocks for subscriptions. A turn is short and turns go round in the order of asking, so
/// that subscriptions over the whole history delay each other, and neither calls nor live events.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    history: Arc<Semaphore>,
    live: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(history_readers_max: usize) -> Self {
        Self {
            history: Arc::new(Semaphore::new(history_readers_max.max(1))),
            live: Arc::new(Semaphore::new(LIVE_READERS_MAX)),
        }
    }

    /// Runs one turn on a blocking thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        is_history: bool,
        task: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let turns = if is_history { &self.history } else { &self.live };
        let permit = Arc::clone(turns).acquire_owned().await.map_err(|_| stopping())?;
        run_with(permit, task).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const fn address(last: u8) -> Subject {
        Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, last)))
    }

    #[test]
    fn permits_go_round_by_address() {
        let work = Work::new(4);
        let now = |subject| work.acquire(subject).now_or_never();
        let mut held: Vec<_> = (0..4).map(|_| now(address(1)).unwrap().unwrap()).collect();
        let mut waits = [1, 1, 1, 2, 2, 3].map(|last| Box::pin(work.acquire(address(last))));
        for wait in &mut waits {
            assert!(wait.now_or_never().is_none());
        }
        let mut order = Vec::new();
        while let Some(permit) = held.pop() {
            drop(permit);
            for (call, wait) in waits.iter_mut().enumerate() {
                if !order.iter().any(|(of, _)| *of == call)
                    && let Some(permit) = wait.now_or_never()
                {
                    order.push((call, permit.unwrap()));
                }
            }
        }
        let order: Vec<usize> = order.iter().map(|(call, _)| *call).collect();
        assert_eq!(order, [3, 5, 0, 4], "fewest first, then in turn");
    }

    #[test]
    fn a_call_that_goes_away_passes_its_turn() {
        let work = Work::new(1);
        let held = work.acquire(address(1)).now_or_never().unwrap().unwrap();
        let mut waits = [2, 3, 4].map(|last| Box::pin(work.acquire(address(last))));
        for wait in &mut waits {
            assert!(wait.now_or_never().is_none());
        }
        let [left, granted, mut last] = waits;
        drop(left);
        drop(held);
        assert!(last.as_mut().now_or_never().is_none());
        // It goes away with the permit in hand.
        drop(granted);
        drop(last.now_or_never().unwrap().unwrap());
        let state = work.0.0.lock();
        assert_eq!((state.free, state.held.len(), state.waiting.len()), (1, 0, 0));
    }
}
