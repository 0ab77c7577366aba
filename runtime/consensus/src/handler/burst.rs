//! Outputs of one call, in the order that durability requires.

use std::collections::VecDeque;
use std::mem;

use crate::{GuardEntry, LogRecord, Output, planted};

/// Outputs of one call, before they are ordered.
#[derive(Default)]
pub(crate) struct Burst {
    appends: Vec<LogRecord>,
    rest: Vec<Output>,
    /// Records were appended, but a sync was not requested yet.
    unsynced: bool,
}

impl Burst {
    pub fn append(&mut self, record: LogRecord) {
        self.appends.push(record);
    }

    pub fn push(&mut self, output: Output) {
        self.rest.push(output);
    }

    pub fn extend(&mut self, outputs: impl IntoIterator<Item = Output>) {
        self.rest.extend(outputs);
    }

    /// Records that the log holds records that may not be durable.
    pub const fn mark_unsynced(&mut self) {
        self.unsynced = true;
    }

    pub fn discard(&mut self) {
        self.appends.clear();
        self.rest.clear();
    }

    /// Orders the outputs: appends, then one sync of them, then the guard, then the messages that these allow.
    pub fn close(&mut self, guard: Option<GuardEntry>, out: &mut VecDeque<Output>) {
        let appends = mem::take(&mut self.appends);
        let mut rest = mem::take(&mut self.rest);
        // The core applies our own precommit before it outputs it, so it can decide first.
        rest.sort_by_key(|output| matches!(output, Output::Decided { .. }));
        self.unsynced |= !appends.is_empty();
        out.extend(appends.into_iter().map(Output::Append));
        let leaves = rest.iter().any(|output| {
            matches!(
                output,
                Output::Send(_) | Output::Decided { .. } | Output::Build { .. }
            )
        });
        let sync = self.unsynced && (guard.is_some() || leaves);
        self.unsynced &= !sync;
        let sync = sync.then_some(Output::SyncLog);
        let guard = guard.map(Output::Guard);
        planted::append(out, sync, guard, rest);
    }
}
