//! Whose turn it is: keys belong to shares (a stream's is its namespace), and the shares take turns.

use std::collections::HashMap;

/// What belongs to somebody.
pub trait HasShare {
    /// Whose it is. Keys of one share wait for each other, and for one of each other share at a time.
    fn share(&self) -> &str;
}

/// The turns within one priority: fair queueing by start times, where every key costs the same and every share has the same
/// weight (P. Goyal, H. Vin, H. Cheng: Start-time Fair Queuing, 1996).
#[derive(Debug, Default)]
pub struct Turns {
    /// The turn of what was handed out last.
    current: u64,
    /// The last turn that each share was given.
    last: HashMap<String, u64>,
}

impl Turns {
    /// The turn in which one more key of a share is to be handed out: the next one after the share's last, and none that
    /// has been already.
    pub fn of_one_more(&mut self, share: &str) -> u64 {
        let next = self.last.get(share).map_or(self.current, |last| self.current.max(*last)) + 1;
        match self.last.get_mut(share) {
            Some(last) => *last = next,
            None => drop(self.last.insert(share.to_owned(), next)),
        }
        next
    }

    /// A key of this turn is handed out.
    pub fn is_at(&mut self, turn: u64) {
        self.current = self.current.max(turn);
    }

    /// Nothing waits: who comes next owes nobody anything. Shares come and go for months, and leave no trace.
    pub fn begin_anew(&mut self) {
        self.last.clear();
    }
}
