//! A queue of keys to work on, like client-go's workqueue, with levels of priority; within a level namespaces take turns.
//!
//! A key is handed out to one worker at a time. Added again while it is worked
//! on, it is handed out once more after [`WorkQueue::done`], however often it
//! was added meanwhile: the worker reads the newest state anyway.
//!
//! What happens when is decided by [`QueueState`], which is plain data and gets
//! the time as an argument. [`WorkQueue`] adds the waiting.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::turns::HasShare;
use self::turns::Turns;

mod turns;

/// How urgent a key is. The order of the variants is the order of handing out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A person waits for it: suspend, resume, delete.
    High,
    /// What has begun, and goes on.
    Normal,
    /// What is new. What has begun comes first: else a thousand streams would all be half way for as long as the last of
    /// them takes. But now and then it is the turn of something new, so that nobody's new stream waits for all others'.
    Low,
}

impl Priority {
    const ALL: usize = 3;
}

/// After so many keys of higher priority it is a new one's turn. A stream takes about as many steps from its beginning to where it
/// runs, so that more are not begun than are brought to their end.
const IN_A_ROW: u32 = 8;

/// The delay after the first failure of a key.
const FIRST_RETRY: Duration = Duration::from_millis(200);

/// The delay that no number of failures exceeds.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The part of a retry's delay that is left to chance, so that keys which
/// failed together don't come back together.
const JITTER: f64 = 0.2;

/// What a worker that asks for a key does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<K> {
    /// Work on this key. Nobody else gets it until it is done.
    Take(K),
    /// Ask again then, or when something was added.
    WaitUntil(Instant),
    /// Ask again when something was added.
    Wait,
    /// Stop working.
    Closed,
}

/// Which keys wait, for what, and which are worked on.
///
/// Every method takes the time, and first lets the keys become ready whose time has come.
#[derive(Debug)]
pub struct QueueState<K> {
    entries: HashMap<K, Entry>,
    /// Keys to be handed out, in this order.
    ready: BTreeMap<Place, K>,
    /// Whose turn it is, for each priority.
    turns: [Turns; Priority::ALL],
    /// How many have been handed out since a new one was.
    in_a_row: u32,
    /// Keys that become ready at a later time.
    delayed: BTreeMap<(Instant, Ticket), K>,
    next_ticket: Ticket,
    closed: bool,
}

/// Numbers what was added, so that equals keep their order.
type Ticket = u64;

/// Where a key stands among those that are ready: its priority, its share's turn, and who came first.
type Place = (Priority, u64, Ticket);

/// All that is known of one key. A key of which nothing is known has no entry.
#[derive(Debug, Default)]
struct Entry {
    ready: Option<Place>,
    delayed: Option<(Instant, Ticket)>,
    worked_on: bool,
    /// Added while it is worked on. Never set together with `ready`.
    again: Option<Priority>,
    failures: u32,
}

impl Entry {
    fn says_nothing(&self) -> bool {
        self.ready.is_none() && self.delayed.is_none() && !self.worked_on && self.failures == 0
    }
}

impl<K> Default for QueueState<K> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            ready: BTreeMap::new(),
            turns: Default::default(),
            in_a_row: 0,
            delayed: BTreeMap::new(),
            next_ticket: 0,
            closed: false,
        }
    }
}

impl<K: Eq + Hash + Clone + HasShare> QueueState<K> {
    /// Makes the key ready, or if it waits at a lower priority moves it up to
    /// the end of this one. If it is worked on, it becomes ready once that is done.
    pub fn add(&mut self, key: K, priority: Priority, now: Instant) {
        self.promote(now);
        self.make_ready(key, priority);
    }

    /// Makes the key ready at a later time. Of several times the earliest
    /// counts. A key that is handed out before keeps its time: whoever set it
    /// relies on it.
    pub fn add_after(&mut self, key: K, delay: Duration, now: Instant) {
        self.promote(now);
        // A delay beyond the clock's range is one that nobody will see the end of.
        let Some(due) = now.checked_add(delay) else { return };
        if due <= now {
            return self.make_ready(key, Priority::Normal);
        }
        let ticket = self.take_ticket();
        let entry = self.entries.entry(key.clone()).or_default();
        match entry.delayed {
            Some((earlier, _)) if earlier <= due => return,
            Some(later) => {
                self.delayed.remove(&later);
            }
            None => {}
        }
        entry.delayed = Some((due, ticket));
        self.delayed.insert((due, ticket), key);
    }

    /// Hands out the key that is to be worked on next.
    pub fn next(&mut self, now: Instant) -> Next<K> {
        if self.closed {
            return Next::Closed;
        }
        self.promote(now);
        if let Some(((priority, turn, _), key)) = self.pop() {
            self.turns[priority as usize].is_at(turn);
            let entry = self.entries.entry(key.clone()).or_default();
            entry.ready = None;
            entry.worked_on = true;
            return Next::Take(key);
        }
        self.turns.iter_mut().for_each(Turns::begin_anew);
        match self.delayed.first_key_value() {
            Some(((due, _), _)) => Next::WaitUntil(*due),
            None => Next::Wait,
        }
    }

    fn pop(&mut self) -> Option<(Place, K)> {
        let new = (self.in_a_row >= IN_A_ROW).then(|| self.ready.range((Priority::Low, 0, 0)..).next()).flatten();
        let place = *new.or_else(|| self.ready.first_key_value())?.0;
        self.in_a_row = if place.0 == Priority::Low { 0 } else { self.in_a_row.saturating_add(1) };
        self.ready.remove_entry(&place)
    }

    /// The worker is done with the key, well or not.
    pub fn done(&mut self, key: &K, now: Instant) {
        self.promote(now);
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.worked_on = false;
        if let Some(priority) = entry.again.take() {
            self.make_ready(key.clone(), priority);
        }
        self.drop_if_nothing_is_known(key);
    }

    /// Counts a failure of the key and makes it ready again after the delay
    /// that is returned: the longer, the more failures since [`Self::forget`].
    /// `chance` is from 0 to 1.
    pub fn failed(&mut self, key: &K, chance: f64, now: Instant) -> Duration {
        let entry = self.entries.entry(key.clone()).or_default();
        entry.failures = entry.failures.saturating_add(1);
        let delay = retry_delay(entry.failures, chance);
        self.add_after(key.clone(), delay, now);
        delay
    }

    /// Forgets the key's failures: its next retry is a quick one.
    pub fn forget(&mut self, key: &K) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.failures = 0;
        }
        self.drop_if_nothing_is_known(key);
    }

    /// How many keys could be handed out now.
    pub fn len(&mut self, now: Instant) -> usize {
        self.promote(now);
        self.ready.len()
    }

    /// Hands out nothing from now on.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Whether some key waits, ready or not.
    fn has_waiting(&self) -> bool {
        !self.ready.is_empty() || !self.delayed.is_empty()
    }

    fn promote(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry() {
            if first.key().0 > now {
                return;
            }
            let key = first.remove();
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.delayed = None;
            }
            self.make_ready(key, Priority::Normal);
        }
    }

    fn make_ready(&mut self, key: K, priority: Priority) {
        let ticket = self.take_ticket();
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.worked_on {
            entry.again = Some(entry.again.map_or(priority, |before| before.min(priority)));
            return;
        }
        match entry.ready {
            Some((before, ..)) if before <= priority => return,
            Some(lower) => {
                self.ready.remove(&lower);
            }
            None => {}
        }
        let place = (priority, self.turns[priority as usize].of_one_more(key.share()), ticket);
        entry.ready = Some(place);
        self.ready.insert(place, key);
    }

    fn take_ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Keys come and go for months: what is no more must leave no trace.
    fn drop_if_nothing_is_known(&mut self, key: &K) {
        if self.entries.get(key).is_some_and(Entry::says_nothing) {
            self.entries.remove(key);
        }
    }
}

/// The delay after this many failures. `chance` is from 0 to 1.
fn retry_delay(failures: u32, chance: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let step = FIRST_RETRY.saturating_mul(1 << doublings).min(LONGEST_RETRY);
    step.mul_f64(1.0 - JITTER * chance.clamp(0.0, 1.0))
}

/// The queue that workers share. Cheap to clone: all clones are the same queue.
#[derive(Debug)]
pub struct WorkQueue<K> {
    shared: Arc<Shared<K>>,
}

#[derive(Debug)]
struct Shared<K> {
    state: Mutex<QueueState<K>>,
    /// Wakes one worker that waits. It wakes the next, if there is more to do.
    changed: Notify,
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Eq + Hash + Clone + HasShare> Default for WorkQueue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Eq + Hash + Clone + HasShare> WorkQueue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::new(QueueState::default()), changed: Notify::new() }) }
    }

    /// Asks for work on the key, at normal priority.
    pub fn add(&self, key: K) {
        self.add_with(key, Priority::Normal);
    }

    /// Asks for work on the key. If it waits at a lower priority, it moves up.
    pub fn add_with(&self, key: K, priority: Priority) {
        self.state().add(key, priority, Instant::now());
        self.shared.changed.notify_one();
    }

    /// Asks for work on the key after a while, at normal priority. Of several
    /// such times the earliest counts; work that is done before doesn't cancel it.
    pub fn add_after(&self, key: K, delay: Duration) {
        self.state().add_after(key, delay, Instant::now());
        self.shared.changed.notify_one();
    }

    /// Waits for a key to work on. `None` once the queue is closed.
    ///
    /// Every key got must be given back by [`Self::done`]. Dropping the future
    /// loses nothing.
    pub async fn next(&self) -> Option<K> {
        loop {
            // Before the look at the state, so that no change slips in between.
            let changed = self.shared.changed.notified();
            let next = {
                let mut state = self.state();
                let next = state.next(Instant::now());
                // One notification may stand for several changes, and the
                // others may sleep until a time that is no longer the earliest.
                if matches!(next, Next::Take(_)) && state.has_waiting() {
                    self.shared.changed.notify_one();
                }
                next
            };
            match next {
                Next::Take(key) => return Some(key),
                Next::Closed => return None,
                Next::Wait => changed.await,
                Next::WaitUntil(due) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(due) => {}
                },
            }
        }
    }

    /// Gives the key back. If it was added meanwhile, somebody gets it again.
    pub fn done(&self, key: &K) {
        self.state().done(key, Instant::now());
        self.shared.changed.notify_one();
    }

    /// Counts a failure of the key and asks for work on it after the delay
    /// that is returned: 200 ms at first, doubling up to a minute, less a fifth
    /// at most by chance. The key is still to be given back by [`Self::done`].
    pub fn failed(&self, key: &K) -> Duration {
        let delay = self.state().failed(key, fastrand::f64(), Instant::now());
        self.shared.changed.notify_one();
        delay
    }

    /// Forgets the key's failures: it was worked on well, or is no more.
    pub fn forget(&self, key: &K) {
        self.state().forget(key);
    }

    /// How many keys wait for a worker now. Neither those worked on nor those
    /// whose time is yet to come.
    pub fn len(&self) -> usize {
        self.state().len(Instant::now())
    }

    /// Whether no key waits for a worker now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the work: from now on [`Self::next`] gives `None`, to waiting workers too.
    pub fn close(&self) {
        self.state().close();
        self.shared.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, QueueState<K>> {
        // Nothing in the state's methods stops half-way, so that a panic
        // elsewhere in the thread leaves it whole.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::task::{Context, Waker};

    use proptest::prelude::*;

    use super::*;

    /// `a/1` is key 1 of share a.
    impl HasShare for &'static str {
        fn share(&self) -> &str {
            self.split_once('/').map_or("", |(share, _)| share)
        }
    }

    macro_rules! in_one_share {
        ($($key:ty)*) => {
            $(impl HasShare for $key {
                fn share(&self) -> &str {
                    ""
                }
            })*
        };
    }
    in_one_share!(u8 u32 i32);

    fn take_all(state: &mut QueueState<&'static str>, now: Instant) -> Vec<&'static str> {
        let mut taken = Vec::new();
        while let Next::Take(key) = state.next(now) {
            state.done(&key, now);
            taken.push(key);
        }
        taken
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn keys_of_one_priority_come_in_the_order_they_were_added() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        for key in ["b", "a", "c", "a"] {
            state.add(key, Priority::Normal, now);
        }
        assert_eq!(take_all(&mut state, now), ["b", "a", "c"]);
    }

    #[test]
    fn shares_take_turns_however_much_each_of_them_wants() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        for key in ["a/1", "a/2", "a/3", "a/4", "a/5"] {
            state.add(key, Priority::Normal, now);
        }
        assert_eq!(state.next(now), Next::Take("a/1"));
        assert_eq!(state.next(now), Next::Take("a/2"));
        state.add("b/1", Priority::Normal, now);
        state.add("b/2", Priority::Normal, now);
        state.add("c/1", Priority::Normal, now);
        state.add("c/2", Priority::High, now);
        assert_eq!(take_all(&mut state, now), ["c/2", "a/3", "b/1", "c/1", "a/4", "b/2", "a/5"]);
    }

    #[test]
    fn now_and_then_it_is_the_turn_of_something_new() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        state.add("many/new", Priority::Low, now);
        state.add("few/new", Priority::Low, now);
        let mut taken = Vec::new();
        for _ in 0..3 * (IN_A_ROW + 1) {
            // There is always something that has begun.
            state.add("many/begun", Priority::Normal, now);
            let Next::Take(key) = state.next(now) else { panic!("nothing") };
            state.done(&key, now);
            taken.push(key);
        }
        let new: Vec<usize> = (0..taken.len()).filter(|at| taken[*at].ends_with("/new")).collect();
        assert_eq!(new, [IN_A_ROW as usize, 2 * IN_A_ROW as usize + 1], "{taken:?}");
    }

    #[test]
    fn a_share_that_wanted_much_before_owes_nothing_when_nobody_waits() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        for key in ["a/1", "a/2", "a/3"] {
            state.add(key, Priority::Normal, now);
        }
        assert_eq!(take_all(&mut state, now).len(), 3);
        state.add("a/1", Priority::Normal, now);
        state.add("b/1", Priority::Normal, now);
        assert_eq!(take_all(&mut state, now), ["a/1", "b/1"]);
    }

    #[test]
    fn a_waiting_key_moves_up_but_never_down() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        state.add("low", Priority::Low, now);
        state.add("rises", Priority::Low, now);
        state.add("normal", Priority::Normal, now);
        state.add("stays", Priority::High, now);
        state.add("rises", Priority::High, now);
        state.add("stays", Priority::Low, now);
        assert_eq!(take_all(&mut state, now), ["stays", "rises", "normal", "low"]);
    }

    #[test]
    fn a_key_added_while_worked_on_comes_again_once_and_only_after_done() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        state.add("a", Priority::Normal, now);
        assert_eq!(state.next(now), Next::Take("a"));
        state.add("a", Priority::Low, now);
        state.add("a", Priority::High, now);
        state.add("b", Priority::Normal, now);
        assert_eq!(state.next(now), Next::Take("b"));
        assert_eq!(state.next(now), Next::Wait);
        state.done(&"a", now);
        assert_eq!(state.next(now), Next::Take("a"));
        state.done(&"a", now);
        assert_eq!(state.next(now), Next::Wait);
    }

    #[test]
    fn the_earliest_of_several_times_counts() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        state.add_after("a", ms(50), now);
        state.add_after("a", ms(20), now);
        state.add_after("a", ms(80), now);
        assert_eq!(state.next(now), Next::WaitUntil(now + ms(20)));
        assert_eq!(take_all(&mut state, now + ms(20)), ["a"]);
        assert_eq!(state.next(now + ms(100)), Next::Wait);
    }

    #[test]
    fn work_done_before_does_not_cancel_a_later_time() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        state.add_after("a", ms(50), now);
        state.add("a", Priority::Normal, now);
        assert_eq!(take_all(&mut state, now), ["a"]);
        assert_eq!(take_all(&mut state, now + ms(50)), ["a"]);
    }

    #[test]
    fn a_time_that_comes_while_the_key_is_worked_on_is_not_lost() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        state.add("a", Priority::Normal, now);
        state.next(now);
        state.add_after("a", ms(10), now);
        assert_eq!(state.next(now + ms(10)), Next::Wait);
        state.done(&"a", now + ms(20));
        assert_eq!(state.next(now + ms(20)), Next::Take("a"));
    }

    #[test]
    fn retries_double_from_200_ms_to_a_minute() {
        let delays: Vec<u128> = (1..=11).map(|n| retry_delay(n, 0.0).as_millis()).collect();
        assert_eq!(delays, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
        assert_eq!(retry_delay(u32::MAX, 0.0), LONGEST_RETRY);
        assert_eq!(retry_delay(1, 1.0), ms(160));
    }

    #[test]
    fn a_forgotten_key_fails_quickly_again() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        assert_eq!(state.failed(&"a", 0.0, now), ms(200));
        assert_eq!(state.failed(&"a", 0.0, now), ms(400));
        // The earlier of the two retries counts.
        assert_eq!(state.next(now), Next::WaitUntil(now + ms(200)));
        state.forget(&"a");
        assert_eq!(state.failed(&"a", 0.0, now), ms(200));
    }

    #[test]
    fn what_is_finished_and_forgotten_leaves_no_trace() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        state.add("a", Priority::Normal, now);
        state.next(now);
        state.failed(&"a", 0.0, now);
        state.done(&"a", now);
        state.next(now + LONGEST_RETRY);
        state.forget(&"a");
        state.done(&"a", now + LONGEST_RETRY);
        state.done(&"never seen", now);
        state.forget(&"never seen");
        assert!(state.entries.is_empty() && state.ready.is_empty() && state.delayed.is_empty());
    }

    #[test]
    fn a_delay_without_end_is_none() {
        let (mut state, now) = (QueueState::default(), Instant::now());
        state.add_after("a", Duration::MAX, now);
        assert_eq!(state.next(now), Next::Wait);
    }

    // ---- any sequence of operations, against a model that is slow and obvious ----

    #[derive(Clone, Debug)]
    enum Operation {
        Add(u8, Priority),
        AddAfter(u8, u64),
        Next,
        Done(u8),
        Failed(u8),
        Forget(u8),
        Sleep(u64),
    }

    fn operations() -> impl Strategy<Value = Vec<Operation>> {
        let key = 0..5_u8;
        let priority = prop_oneof![Just(Priority::High), Just(Priority::Normal), Just(Priority::Low)];
        let operation = prop_oneof![
            4 => (key.clone(), priority).prop_map(|(key, priority)| Operation::Add(key, priority)),
            3 => (key.clone(), 0..500_u64).prop_map(|(key, ms)| Operation::AddAfter(key, ms)),
            5 => Just(Operation::Next),
            4 => key.clone().prop_map(Operation::Done),
            1 => key.clone().prop_map(Operation::Failed),
            1 => key.prop_map(Operation::Forget),
            3 => (0..400_u64).prop_map(Operation::Sleep),
        ];
        prop::collection::vec(operation, 0..120)
    }

    /// Lists in the order of events, searched from the front.
    #[derive(Default)]
    struct Model {
        ready: Vec<(u8, Priority)>,
        delayed: Vec<(u8, Instant)>,
        worked_on: HashSet<u8>,
        again: BTreeMap<u8, Priority>,
        failures: BTreeMap<u8, u32>,
        since_new: u32,
    }

    impl Model {
        fn tick(&mut self, now: Instant) {
            let (mut due, rest): (Vec<_>, Vec<_>) = self.delayed.drain(..).partition(|(_, at)| *at <= now);
            self.delayed = rest;
            due.sort_by_key(|(_, at)| *at);
            for (key, _) in due {
                self.add(key, Priority::Normal);
            }
        }

        fn add(&mut self, key: u8, priority: Priority) {
            if self.worked_on.contains(&key) {
                let priority = self.again.get(&key).map_or(priority, |before| priority.min(*before));
                self.again.insert(key, priority);
            } else if let Some(at) = self.ready.iter().position(|(other, _)| *other == key) {
                if priority < self.ready[at].1 {
                    self.ready.remove(at);
                    self.ready.push((key, priority));
                }
            } else {
                self.ready.push((key, priority));
            }
        }

        fn add_after(&mut self, key: u8, delay: Duration, now: Instant) {
            if delay.is_zero() {
                return self.add(key, Priority::Normal);
            }
            if let Some(at) = self.delayed.iter().position(|(other, _)| *other == key) {
                if self.delayed[at].1 <= now + delay {
                    return;
                }
                self.delayed.remove(at);
            }
            self.delayed.push((key, now + delay));
        }

        fn next(&mut self) -> Option<u8> {
            let mut best = self.ready.iter().map(|(_, priority)| *priority).min()?;
            if self.since_new >= IN_A_ROW && self.ready.iter().any(|(_, priority)| *priority == Priority::Low) {
                best = Priority::Low;
            }
            self.since_new = if best == Priority::Low { 0 } else { self.since_new + 1 };
            let at = self.ready.iter().position(|(_, priority)| *priority == best)?;
            let (key, _) = self.ready.remove(at);
            self.worked_on.insert(key);
            Some(key)
        }

        fn done(&mut self, key: u8) {
            self.worked_on.remove(&key);
            if let Some(priority) = self.again.remove(&key) {
                self.add(key, priority);
            }
        }
    }

    proptest! {
        #[test]
        fn it_does_what_the_model_does(operations in operations()) {
            let mut now = Instant::now();
            let (mut state, mut model) = (QueueState::default(), Model::default());
            // Keys asked for since they were last handed out.
            let mut wanted = HashSet::new();
            for operation in operations {
                model.tick(now);
                match operation {
                    Operation::Add(key, priority) => {
                        state.add(key, priority, now);
                        model.add(key, priority);
                        wanted.insert(key);
                    }
                    Operation::AddAfter(key, delay) => {
                        state.add_after(key, ms(delay), now);
                        model.add_after(key, ms(delay), now);
                        wanted.insert(key);
                    }
                    Operation::Next => {
                        let busy = model.worked_on.clone();
                        match state.next(now) {
                            Next::Take(key) => {
                                prop_assert!(!busy.contains(&key), "two workers on {key}");
                                prop_assert_eq!(model.next(), Some(key));
                                wanted.remove(&key);
                            }
                            Next::WaitUntil(due) => {
                                prop_assert_eq!(model.next(), None);
                                prop_assert_eq!(model.delayed.iter().map(|(_, at)| *at).min(), Some(due));
                            }
                            Next::Wait => {
                                prop_assert_eq!(model.next(), None);
                                prop_assert!(model.delayed.is_empty());
                            }
                            Next::Closed => prop_assert!(false, "nobody closed it"),
                        }
                    }
                    // Only what is worked on can be done.
                    Operation::Done(key) => {
                        if model.worked_on.contains(&key) {
                            state.done(&key, now);
                            model.done(key);
                        }
                    }
                    Operation::Failed(key) => {
                        let failures = model.failures.entry(key).or_default();
                        *failures += 1;
                        let delay = retry_delay(*failures, 0.5);
                        prop_assert_eq!(state.failed(&key, 0.5, now), delay);
                        model.add_after(key, delay, now);
                        wanted.insert(key);
                    }
                    Operation::Forget(key) => {
                        state.forget(&key);
                        model.failures.remove(&key);
                    }
                    Operation::Sleep(delay) => now += ms(delay),
                }
                model.tick(now);
                prop_assert_eq!(state.len(now), model.ready.len());
            }

            // In the end all that was asked for is handed out, and nothing is left behind.
            now += LONGEST_RETRY;
            for key in model.worked_on.clone() {
                state.done(&key, now);
            }
            while let Next::Take(key) = state.next(now) {
                state.done(&key, now);
                wanted.remove(&key);
            }
            prop_assert!(wanted.is_empty(), "lost: {wanted:?}");
            for key in 0..5 {
                state.forget(&key);
            }
            prop_assert!(state.entries.is_empty() && !state.has_waiting());
        }
    }

    // ---- the waiting ----

    #[tokio::test(start_paused = true)]
    async fn a_worker_waits_until_something_is_added() {
        let queue = WorkQueue::new();
        let worker = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await }
        });
        tokio::time::sleep(ms(10)).await;
        queue.add("a");
        assert_eq!(worker.await.unwrap(), Some("a"));
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_sleeps_until_a_key_is_due() {
        let queue = WorkQueue::new();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(5));
        assert_eq!((queue.next().await, start.elapsed()), (Some("a"), Duration::from_secs(5)));
        let delay = queue.failed(&"a");
        queue.done(&"a");
        assert_eq!(queue.next().await, Some("a"));
        // The timer counts whole milliseconds.
        let waited = start.elapsed() - Duration::from_secs(5);
        assert!(waited >= delay && waited <= delay + ms(2), "{waited:?} for {delay:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_time_wakes_a_sleeping_worker_though_another_took_the_first() {
        let queue = WorkQueue::new();
        let start = Instant::now();
        queue.add_after("late", Duration::from_secs(60));
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { (queue.next().await, start.elapsed()) })
            })
            .collect();
        tokio::time::sleep(ms(1)).await;
        queue.add_after("second", ms(29));
        queue.add_after("first", ms(19));
        let mut taken = Vec::new();
        for worker in workers {
            taken.push(worker.await.unwrap());
        }
        taken.sort_by_key(|(_, at)| *at);
        assert_eq!(taken, [(Some("first"), ms(20)), (Some("second"), ms(30)), (Some("late"), Duration::from_secs(60))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_gives_up_waiting_takes_no_wakeup_along() {
        let queue = WorkQueue::new();
        for round in 0..100_u32 {
            let patient = queue.next();
            tokio::pin!(patient);
            let impatient = queue.next();
            tokio::pin!(impatient);
            // Both wait now; the impatient one came first.
            let mut context = Context::from_waker(Waker::noop());
            assert!(impatient.as_mut().poll(&mut context).is_pending());
            assert!(patient.as_mut().poll(&mut context).is_pending());
            queue.add(round);
            impatient.set(queue.next());
            assert_eq!(tokio::time::timeout(ms(1), patient).await.unwrap(), Some(round));
            queue.done(&round);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_every_worker() {
        let queue = WorkQueue::<u8>::new();
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.next().await })
            })
            .collect();
        tokio::time::sleep(ms(1)).await;
        queue.close();
        for worker in workers {
            assert_eq!(worker.await.unwrap(), None);
        }
        queue.add(1);
        assert_eq!(queue.next().await, None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_workers_never_share_a_key_and_lose_none() {
        let queue = WorkQueue::new();
        let busy = Arc::new(Mutex::new(HashSet::new()));
        let seen = Arc::new(Mutex::new(BTreeMap::<u32, u32>::new()));
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let (queue, busy, seen) = (queue.clone(), Arc::clone(&busy), Arc::clone(&seen));
                tokio::spawn(async move {
                    while let Some(key) = queue.next().await {
                        assert!(busy.lock().unwrap().insert(key), "two workers on {key}");
                        tokio::task::yield_now().await;
                        *seen.lock().unwrap().entry(key).or_default() += 1;
                        assert!(busy.lock().unwrap().remove(&key));
                        queue.done(&key);
                    }
                })
            })
            .collect();
        for round in 0..200_u32 {
            for key in 0..20 {
                match (round + key) % 3 {
                    0 => queue.add(key),
                    1 => queue.add_with(key, Priority::High),
                    _ => queue.add_after(key, ms(1)),
                }
            }
            tokio::task::yield_now().await;
        }
        // Once more from rest, so that a lost wake-up would show.
        tokio::time::sleep(ms(50)).await;
        seen.lock().unwrap().clear();
        for key in 0..20 {
            queue.add(key);
        }
        let all = async {
            while seen.lock().unwrap().len() < 20 {
                tokio::time::sleep(ms(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), all).await.expect("a key was lost");
        queue.close();
        for worker in workers {
            worker.await.unwrap();
        }
    }
}
