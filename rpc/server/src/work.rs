//! Calls that compute, and subscriptions that read, run on blocking threads, a bounded number at a time.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, oneshot};
use vibecoin_rpc_api::{ApiError, Code};
use vibecoin_rpc_backend::Caller;

use crate::gate;
use crate::seats::{Phase, Seat};

/// Maximum number of calls of one caller that wait for a turn; those beyond are refused. Connections without
/// a session are bounded by their seats before that.
const QUEUED_PER_CALLER_MAX: usize = 64;
/// Maximum number of calls that wait for a turn. Beyond, the newest of the caller with the most is evicted
/// for one of a caller with fewer.
const QUEUED_MAX: usize = 1024;

/// Permits for work that would hold up the threads that serve connections. A free permit goes to the waiting
/// caller that holds the fewest, in the order of turns: one caller has all while no other waits, and cannot
/// have more than its share while others do.
#[derive(Clone, Debug)]
pub(crate) struct Work(Arc<Turns>);

#[derive(Debug)]
struct Turns(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Permits in use.
    held: HashMap<Caller, usize>,
    /// Callers with calls that wait, the next turn first.
    waiting: VecDeque<(Caller, VecDeque<oneshot::Sender<Permit>>)>,
}

/// A turn to work, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    caller: Caller,
    /// `None` once the permit has been returned.
    turns: Option<Arc<Turns>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.give_back(self.caller);
        }
    }
}

/// A call that waits for its turn.
struct Queued {
    granted: oneshot::Receiver<Permit>,
    caller: Caller,
    turns: Arc<Turns>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.granted.close();
        self.turns.0.lock().forget_closed(self.caller);
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

    /// Runs `task` on a blocking thread once a permit is free. Waiting is bounded by the call's time limit, and
    /// by [`Self::acquire`].
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = self.acquire(gate::caller()).await?;
        run_with(permit, task).await
    }

    /// Waits for a turn. The connection of the call in work may be evicted for a new connection
    /// meanwhile.
    ///
    /// # Errors
    /// 1401 at once when too many calls wait: of the caller, of its address, or in total.
    pub(crate) async fn acquire(&self, caller: Caller) -> Result<Permit, ApiError> {
        let queued = match self.enqueue(caller)? {
            Place::Granted(permit) => return Ok(permit),
            Place::Queued(queued) => queued,
        };
        let _in_line = gate::line_up()?;
        queued.granted().await
    }

    /// Waits for a turn to read a message: its connection is evicted like one whose request is on its way.
    ///
    /// # Errors
    /// 1401 at once when too many calls wait: of the caller, or in total.
    pub(crate) async fn acquire_unread(&self, caller: Caller, seat: &Seat) -> Result<Permit, ApiError> {
        let queued = match self.enqueue(caller)? {
            Place::Granted(permit) => return Ok(permit),
            Place::Queued(queued) => queued,
        };
        seat.enter(Phase::Unread);
        let granted = queued.granted().await;
        seat.enter(Phase::Work);
        granted
    }

    fn enqueue(&self, caller: Caller) -> Result<Place, ApiError> {
        let turns = Arc::clone(&self.0);
        let mut state = self.0.0.lock();
        if state.take_free(caller) {
            drop(state);
            return Ok(Place::Granted(Permit {
                caller,
                turns: Some(turns),
            }));
        }
        let granted = state.enqueue(caller)?;
        drop(state);
        Ok(Place::Queued(Queued {
            granted,
            caller,
            turns,
        }))
    }
}

/// Outcome of asking for a turn.
enum Place {
    Granted(Permit),
    Queued(Queued),
}

impl Queued {
    async fn granted(mut self) -> Result<Permit, ApiError> {
        // The queue outlives its waiters, so a closed channel means that the call was evicted.
        (&mut self.granted)
            .await
            .map_err(|_| too_many_queued("", QUEUED_MAX))
    }
}

impl Turns {
    /// Passes the permit of `caller` to the next call that still waits.
    fn give_back(self: &Arc<Self>, mut caller: Caller) {
        loop {
            let next = {
                let mut state = self.0.lock();
                state.release(caller);
                state.grant()
            };
            let Some((of, sender)) = next else { return };
            let permit = Permit {
                caller: of,
                turns: Some(Arc::clone(self)),
            };
            match sender.send(permit) {
                Ok(()) => return,
                // The caller has just disconnected.
                Err(mut permit) => permit.turns = None,
            }
            caller = of;
        }
    }
}

impl State {
    fn held(&self, caller: Caller) -> usize {
        self.held.get(&caller).copied().unwrap_or_default()
    }

    /// Takes a permit that is free; calls wait only while none is.
    fn take_free(&mut self, caller: Caller) -> bool {
        let Some(left) = self.free.checked_sub(1) else {
            return false;
        };
        self.free = left;
        let held = self.held.entry(caller).or_default();
        *held = held.saturating_add(1);
        true
    }

    fn release(&mut self, caller: Caller) {
        self.free = self.free.saturating_add(1);
        match self.held(caller).saturating_sub(1) {
            0 => self.held.remove(&caller),
            left => self.held.insert(caller, left),
        };
    }

    fn enqueue(&mut self, caller: Caller) -> Result<oneshot::Receiver<Permit>, ApiError> {
        let own = self.waiting.iter().find(|(of, _)| *of == caller);
        let own = own.map_or(0, |(_, calls)| calls.len());
        if own >= QUEUED_PER_CALLER_MAX {
            return Err(too_many_queued("of this caller ", QUEUED_PER_CALLER_MAX));
        }
        let all = self.waiting.iter().map(|(_, calls)| calls.len());
        if all.fold(0, usize::saturating_add) >= QUEUED_MAX {
            let most = self.waiting.iter_mut().max_by_key(|(_, calls)| calls.len());
            let more = most.filter(|(_, calls)| calls.len() > own.saturating_add(1));
            let Some((_, calls)) = more else {
                return Err(too_many_queued("", QUEUED_MAX));
            };
            calls.pop_back();
        }
        let (sender, granted) = oneshot::channel();
        match self.waiting.iter_mut().find(|(of, _)| *of == caller) {
            Some((_, calls)) => calls.push_back(sender),
            None => self.waiting.push_back((caller, VecDeque::from([sender]))),
        }
        Ok(granted)
    }

    /// Takes a free permit for the next call.
    fn grant(&mut self) -> Option<(Caller, oneshot::Sender<Permit>)> {
        let turns = self.waiting.iter().enumerate();
        let (at, _) = turns.min_by_key(|(_, (caller, _))| self.held(*caller))?;
        let (caller, mut calls) = self.waiting.remove(at)?;
        let next = calls.pop_front()?;
        if !calls.is_empty() {
            self.waiting.push_back((caller, calls));
        }
        self.take_free(caller).then_some((caller, next))
    }

    fn forget_closed(&mut self, caller: Caller) {
        if let Some((_, calls)) = self.waiting.iter_mut().find(|(of, _)| *of == caller) {
            calls.retain(|call| !call.is_closed());
        }
        self.waiting.retain(|(_, calls)| !calls.is_empty());
    }
}

/// Runs `task` on a blocking thread, which keeps the permit: a caller that disconnects does not free it
/// early.
async fn run_with<T: Send + 'static>(
    permit: impl Send + 'static,
    task: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    on_a_thread(move || {
        let _permit = permit;
        task()
    })
    .await?
}

/// Runs `task` on a blocking thread.
pub(crate) async fn on_a_thread<T: Send + 'static>(
    task: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let running = tokio::task::spawn_blocking(task);
    match running.await {
        Ok(done) => Ok(done),
        Err(error) if error.is_cancelled() => Err(stopping()),
        Err(error) => {
            tracing::error!(target: "rpc", %error, "a call panicked");
            Err(ApiError::internal("the node failed to answer; its log says why"))
        }
    }
}

/// Polls a future whose steps can take long: the thread hands its other tasks to another one meanwhile.
pub(crate) async fn in_long_steps<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    // Other runtimes have one thread, which serves no other task meanwhile.
    let hands_over = matches!(Handle::current().runtime_flavor(), RuntimeFlavor::MultiThread);
    poll_fn(|task| {
        let mut step = || future.as_mut().poll(task);
        if hands_over {
            tokio::task::block_in_place(step)
        } else {
            step()
        }
    })
    .await
}

fn too_many_queued(of: &str, limit: usize) -> ApiError {
    let message = format!("{limit} calls {of}wait for their turn already");
    ApiError::new(Code::RateLimited, message)
        .with("queue", "turns")
        .with("limit", limit.to_string())
}

fn stopping() -> ApiError {
    ApiError::new(Code::ShuttingDown, "the node is shutting down")
}

/// Number of concurrent readers of the newest blocks, however many subscriptions there are.
const LIVE_READERS_MAX: usize = 2;

/// Turns to read blocks for subscriptions. A turn is short and turns are granted in the order of
/// requests, so that subscriptions over the whole history delay each other, and neither calls nor live
/// events.
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
    use std::net::{IpAddr, Ipv4Addr};

    use futures_util::FutureExt as _;

    use super::*;

    const fn address(last: u8) -> Caller {
        Caller {
            address: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))),
            connection: 0,
        }
    }

    #[test]
    fn permits_go_round_by_address() {
        let work = Work::new(4);
        let now = |caller| work.acquire(caller).now_or_never();
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
    fn a_call_too_many_is_refused_at_once_and_those_of_others_are_not() {
        let work = Work::new(2);
        let mut held = [(); 2].map(|()| work.acquire(address(1)).now_or_never().unwrap().ok());
        let mut waits: Vec<_> = (0..QUEUED_PER_CALLER_MAX)
            .map(|_| Box::pin(work.acquire(address(1))))
            .collect();
        assert!(waits.iter_mut().all(|wait| wait.now_or_never().is_none()));
        let refused = work.acquire(address(1)).now_or_never().unwrap().unwrap_err();
        assert_eq!(refused.code, Code::RateLimited.number());
        assert_eq!(refused.data.facts.get("queue").unwrap(), "turns");
        let mut other = Box::pin(work.acquire(address(2)));
        assert!((&mut other).now_or_never().is_none());
        drop(held[0].take());
        assert!(
            other.now_or_never().unwrap().is_ok(),
            "it holds none, and is next"
        );
    }

    #[test]
    fn in_a_full_line_the_newest_call_of_the_caller_with_most_makes_way() {
        let work = Work::new(1);
        let _held = work.acquire(address(1)).now_or_never().unwrap().unwrap();
        let per_caller = QUEUED_PER_CALLER_MAX;
        let callers = u8::try_from(QUEUED_MAX / per_caller).unwrap();
        let mut waits: Vec<_> = (0..callers)
            .flat_map(|last| std::iter::repeat_n(last + 2, per_caller))
            .map(|last| Box::pin(work.acquire(address(last))))
            .collect();
        assert!(waits.iter_mut().all(|wait| wait.now_or_never().is_none()));
        let mut other = Box::pin(work.acquire(address(200)));
        assert!((&mut other).now_or_never().is_none(), "it waits");
        let ended: Vec<_> = waits
            .iter_mut()
            .enumerate()
            .filter_map(|(at, wait)| Some((at, wait.now_or_never()?)))
            .collect();
        let [(at, Err(refused))] = &ended[..] else {
            panic!("{} calls ended", ended.len());
        };
        assert_eq!(refused.code, Code::RateLimited.number());
        assert_eq!(at % per_caller, per_caller - 1, "the newest of one of them");
        let one_more = work.acquire(address(2)).now_or_never().unwrap();
        assert!(one_more.is_err(), "who has most displaces nobody");
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
        // It is dropped while it holds the permit.
        drop(granted);
        drop(last.now_or_never().unwrap().unwrap());
        let state = work.0.0.lock();
        assert_eq!((state.free, state.held.len(), state.waiting.len()), (1, 0, 0));
    }
}
