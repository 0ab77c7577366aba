//! What this node has asked its peers for, so that nobody makes it work on what it never wanted.

use std::collections::VecDeque;

use parking_lot::Mutex;
use vibecoin_primitives::{Hash, Height};
use vibecoin_replica::{Message, PeerId};

/// Most questions that are remembered; an honest answer comes long before so many were asked after it.
const REMEMBERED_MAX: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    /// For the body of this block, whoever answers.
    Body(Hash),
    /// For blocks from this height on.
    Blocks(PeerId, Height),
}

/// The newest questions.
#[derive(Default)]
pub struct Asked {
    questions: Mutex<VecDeque<Question>>,
}

impl Asked {
    /// Notes a message that leaves, if it is a question.
    pub fn note(&self, to: PeerId, message: &Message) {
        let question = match message {
            Message::BodyRequest { block, .. } => Question::Body(*block),
            Message::SyncRequest { from, .. } => Question::Blocks(to, *from),
            _ => return,
        };
        let mut questions = self.questions.lock();
        if questions.contains(&question) {
            return;
        }
        if questions.len() >= REMEMBERED_MAX {
            questions.pop_front();
        }
        questions.push_back(question);
    }

    /// Whether the message may be worked on: it is no answer, or somebody asked for it.
    pub fn wants(&self, from: PeerId, message: &Message) -> bool {
        let question = match message {
            Message::Body { header, .. } => Question::Body(header.hash()),
            Message::SyncResponse { from: first, .. } => Question::Blocks(from, *first),
            _ => return true,
        };
        self.questions.lock().contains(&question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(from: u64) -> Message {
        Message::SyncResponse {
            from: Height(from),
            blocks: Vec::new(),
        }
    }

    fn question(from: u64) -> Message {
        Message::SyncRequest {
            from: Height(from),
            count: 4,
        }
    }

    #[test]
    fn only_answers_to_questions_are_wanted_and_old_questions_are_forgotten() {
        let asked = Asked::default();
        let (one, other) = (PeerId(1), PeerId(2));
        assert!(!asked.wants(one, &answer(7)));
        asked.note(one, &question(7));
        assert!(asked.wants(one, &answer(7)));
        assert!(!asked.wants(other, &answer(7)), "the other one was not asked");
        assert!(!asked.wants(one, &answer(8)));
        assert!(
            asked.wants(other, &Message::Status { height: Height(7) }),
            "no answer"
        );
        let many = u64::try_from(REMEMBERED_MAX).unwrap_or(u64::MAX);
        (8..8 + many).for_each(|from| asked.note(one, &question(from)));
        assert!(!asked.wants(one, &answer(7)));
        assert!(asked.wants(one, &answer(8)));
        assert_eq!(asked.questions.lock().len(), REMEMBERED_MAX);
    }
}
