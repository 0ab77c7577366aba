//! Responses that a peer owes: the only large frames that it may send on the direct lane.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use vibecoin_messages::Message;

use crate::wire::kind;

/// Maximum number of pending requests to one peer. One that is silent receives one every two seconds.
const REQUESTS_MAX: usize = 128;
/// Deadline of a response.
const RESPONSE_TIME: Duration = Duration::from_secs(120);

/// Maximum number of pending requests kept for a disconnected peer: those that it may still be serving. The
/// newest.
const REQUESTS_DISCONNECTED_MAX: usize = 16;

/// Requests that a peer has not answered, on any of its connections.
#[derive(Default)]
pub struct Owed {
    /// The kind of the response, and the time of the request.
    requests: Mutex<VecDeque<(u8, Instant)>>,
}

impl Owed {
    /// Records a message sent to the peer, if it is a request.
    pub fn asked(&self, message: &Message) {
        let response = match message {
            Message::BodyRequest { .. } => kind::BODY,
            Message::SyncRequest { .. } => kind::SYNC_RESPONSE,
            _ => return,
        };
        let mut requests = self.requests.lock();
        if requests.len() >= REQUESTS_MAX {
            requests.pop_front();
        }
        requests.push_back((response, Instant::now()));
    }

    /// The peer is disconnected: few requests are kept until it reconnects.
    pub fn shorten(&self) {
        let mut requests = self.requests.lock();
        let older = requests.len().saturating_sub(REQUESTS_DISCONNECTED_MAX);
        requests.drain(..older);
        requests.shrink_to_fit();
    }

    /// Removes the oldest request that a response of this kind answers; returns false if there is none.
    pub fn take(&self, response: u8) -> bool {
        self.take_at(response, Instant::now())
    }

    fn take_at(&self, response: u8, now: Instant) -> bool {
        let mut requests = self.requests.lock();
        requests.retain(|(_, at)| now.saturating_duration_since(*at) <= RESPONSE_TIME);
        let found = requests.iter().position(|(kind, _)| *kind == response);
        found.is_some_and(|at| requests.remove(at).is_some())
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
            .checked_add(RESPONSE_TIME + Duration::from_secs(1))
            .unwrap();
        assert!(!owed.take_at(kind::BODY, late), "much too late");
        (0..1_000).for_each(|_| owed.asked(&body));
        assert_eq!((0..1_000).filter(|_| owed.take(kind::BODY)).count(), REQUESTS_MAX);
    }
}
