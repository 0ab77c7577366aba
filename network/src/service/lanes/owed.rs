//! Answers that a peer owes: the only large frames that it may send on the direct lane.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use vibecoin_replica::Message;

use crate::wire::kind;

/// Most questions to one peer that are remembered. A silent one is asked every two seconds.
const QUESTIONS_MAX: usize = 128;
/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(120);

/// Most questions to a peer that is gone that are remembered: those that it may still be answering. The newest.
const QUESTIONS_GONE_MAX: usize = 16;

/// Questions that a peer has not answered, on whatever connection it was asked.
#[derive(Default)]
pub struct Owed {
    /// The kind of the answer, and when it was asked for.
    questions: Mutex<VecDeque<(u8, Instant)>>,
}

impl Owed {
    /// Notes a message that leaves for the peer, if it is a question.
    pub fn asked(&self, message: &Message) {
        let answer = match message {
            Message::BodyRequest { .. } => kind::BODY,
            Message::SyncRequest { .. } => kind::SYNC_RESPONSE,
            _ => return,
        };
        let mut questions = self.questions.lock();
        if questions.len() >= QUESTIONS_MAX {
            questions.pop_front();
        }
        questions.push_back((answer, Instant::now()));
    }

    /// The peer is gone: few questions are remembered until it is back.
    pub fn shorten(&self) {
        let mut questions = self.questions.lock();
        let older = questions.len().saturating_sub(QUESTIONS_GONE_MAX);
        questions.drain(..older);
        questions.shrink_to_fit();
    }

    /// Takes the oldest question that an answer of this kind is for.
    pub fn take(&self, answer: u8) -> bool {
        self.take_at(answer, Instant::now())
    }

    fn take_at(&self, answer: u8, now: Instant) -> bool {
        let mut questions = self.questions.lock();
        questions.retain(|(_, at)| now.saturating_duration_since(*at) <= ANSWER_TIME);
        let found = questions.iter().position(|(kind, _)| *kind == answer);
        found.is_some_and(|at| questions.remove(at).is_some())
    }
}

/// So many at once, and so many in a time.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// When what has been taken would have been due.
    at: Instant,
    each: Duration,
    burst: Duration,
}

impl Bucket {
    /// One for each `each`, and `burst` of them at once.
    pub fn new(each: Duration, burst: u32, now: Instant) -> Self {
        Self {
            at: now,
            each,
            burst: each.saturating_mul(burst),
        }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let begun = self.at.max(now);
        let next = begun.checked_add(self.each).unwrap_or(begun);
        if next.saturating_duration_since(now) > self.burst {
            return false;
        }
        self.at = next;
        true
    }

    /// Whether nothing has been taken that is not made up for.
    pub fn is_full(&self, now: Instant) -> bool {
        self.at <= now
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use vibecoin_primitives::{Hash, Height};

    #[test]
    fn each_question_permits_one_answer_of_its_kind_for_a_time() {
        let owed = Owed::default();
        assert!(!owed.take(kind::BODY));
        let (blocks, body) = (
            Message::SyncRequest {
                from: Height(1),
                count: 1,
            },
            Message::BodyRequest {
                height: Height(1),
                block: Hash::ZERO,
            },
        );
        owed.asked(&blocks);
        owed.asked(&body);
        owed.asked(&Message::Status { height: Height(1) });
        assert!(owed.take(kind::BODY));
        assert!(!owed.take(kind::BODY), "the second answer to one question");
        assert!(owed.take(kind::SYNC_RESPONSE));
        owed.asked(&body);
        let late = Instant::now()
            .checked_add(ANSWER_TIME + Duration::from_secs(1))
            .unwrap();
        assert!(!owed.take_at(kind::BODY, late), "much too late");
        (0..1_000).for_each(|_| owed.asked(&body));
        assert_eq!(
            (0..1_000).filter(|_| owed.take(kind::BODY)).count(),
            QUESTIONS_MAX
        );
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_pace() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Duration::from_millis(250), 8, start);
        let mut taken = |second: u64| {
            let now = start.checked_add(Duration::from_secs(second)).unwrap();
            (0..100).filter(|_| bucket.take(now)).count()
        };
        assert_eq!([taken(0), taken(1), taken(3600)], [8, 4, 8]);
    }
}
