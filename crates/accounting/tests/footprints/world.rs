//! A source of rows, a table and two accumulators, whose steps are taken one by one.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::Result;
use blobaccess_accounting::{
    AccumulatorRun, FootprintAccumulator, FootprintMark, FootprintOptions, FootprintRow, FootprintShard,
    FootprintTable, IngestionTime, MemoryFootprints, RowSource, RowSum,
};
use blobaccess_testkit::ManualClock;

/// The seconds after which a row is visible at the latest.
pub(crate) const LAG: u64 = 10;
/// The seconds before a cursor for which rows are counted again.
pub(crate) const RECOUNT: u64 = 20;
/// The seconds that pass at once.
pub(crate) const PASSING: u64 = 16;
/// The second at which the world begins.
const BEGIN: u64 = 10_000;

pub(crate) const NAMES: [&str; 2] = ["acme", "other"];

/// A mistake on purpose, which has to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    /// The table adds without comparing.
    NoCompare,
    /// The source does not know repeated rows.
    NoKeys,
    /// The source takes the latest time of a repeated row.
    LatestTime,
    /// Rows are counted as soon as they have come.
    NoLag,
    /// Nothing is counted again.
    NoRecount,
    /// The accumulators believe whatever the source says of the time.
    SourceClockOnly,
}

/// The events that may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bounds {
    pub(crate) rows: u8,
    pub(crate) repeats: u8,
    pub(crate) late: u8,
    pub(crate) steps: u8,
    pub(crate) passings: u8,
    pub(crate) crashes: u8,
    pub(crate) runs: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A row comes, and is visible at once, or after the lag.
    Row {
        is_late: bool,
    },
    /// The latest row comes again.
    Repeat {
        is_late: bool,
    },
    /// The clock of the source is off by so many seconds from now on.
    StepTo(i64),
    Pass,
    /// An accumulator begins a run.
    Begin(usize),
    /// An accumulator takes a step.
    Step(usize),
    Crash(usize),
}

#[derive(Clone, Copy, Debug, Hash)]
struct Row {
    key: u32,
    name: usize,
    ingested_at: u64,
    visible_at: u64,
}

#[derive(Debug)]
struct State {
    now: u64,
    off: i64,
    rows: Vec<Row>,
    keys: u32,
    mistake: Mistake,
    /// The results that each accumulator has seen in its run: its state follows from them.
    seen: [u64; 2],
}

/// The view that one accumulator has of the world.
#[derive(Clone, Debug)]
struct View {
    state: Arc<Mutex<State>>,
    table: Arc<MemoryFootprints>,
    number: usize,
}

type Run = Pin<Box<dyn Future<Output = AccumulatorRun>>>;

pub(crate) struct World {
    state: Arc<Mutex<State>>,
    table: Arc<MemoryFootprints>,
    clock: ManualClock,
    accumulators: [Arc<FootprintAccumulator>; 2],
    runs: [Option<Run>; 2],
    bounds: Bounds,
}

/// Returns the bytes of a row: sums of any rows differ.
const fn bytes_of(key: u32) -> i128 {
    1 << key
}

impl State {
    fn source_now(&self) -> u64 {
        self.now.checked_add_signed(self.off).unwrap()
    }

    fn insert(&mut self, key: u32, is_late: bool) {
        let delay = if is_late { LAG } else { 0 };
        let name = usize::try_from(key).unwrap() % NAMES.len();
        self.rows.push(Row { key, name, ingested_at: self.source_now(), visible_at: self.now + delay });
    }

    fn truth(&self, name: usize) -> i128 {
        (0..self.keys).filter(|key| usize::try_from(*key).unwrap() % NAMES.len() == name).map(bytes_of).sum()
    }
}

fn seconds(seconds: u64) -> IngestionTime {
    IngestionTime::from_micros(seconds * 1_000_000)
}

/// Ends at the second poll: the world goes on between the steps of an accumulator.
async fn step() {
    tokio::task::yield_now().await;
}

impl View {
    fn see(&self, result: &impl Debug) {
        let mut state = self.state.lock().unwrap();
        let mut hasher = DefaultHasher::new();
        let seen = &mut state.seen[self.number];
        (*seen, format!("{result:?}")).hash(&mut hasher);
        *seen = hasher.finish();
    }

    fn sum_now(&self, namespaces: &[String], after: IngestionTime, until: IngestionTime) -> BTreeMap<String, RowSum> {
        let state = self.state.lock().unwrap();
        let mut times: BTreeMap<(u32, usize), u64> = BTreeMap::new();
        for (index, row) in state.rows.iter().enumerate().filter(|(_, row)| row.visible_at <= state.now) {
            let copy = if state.mistake == Mistake::NoKeys { index } else { 0 };
            let time = times.entry((row.key, copy)).or_insert(row.ingested_at);
            let latest = state.mistake == Mistake::LatestTime;
            *time = if latest { row.ingested_at.max(*time) } else { row.ingested_at.min(*time) };
        }
        let mut sums: BTreeMap<String, RowSum> = BTreeMap::new();
        for ((key, _), time) in times {
            let name = NAMES[usize::try_from(key).unwrap() % NAMES.len()];
            if namespaces.iter().any(|namespace| namespace == name) && after < seconds(time) && seconds(time) <= until {
                let sum = sums.entry(name.to_owned()).or_default();
                *sum = RowSum::new(sum.rows + 1, sum.bytes + bytes_of(key));
            }
        }
        sums
    }
}

#[async_trait]
impl RowSource for View {
    async fn watermark(&self, lag: Duration) -> Result<IngestionTime> {
        let watermark = seconds(self.state.lock().unwrap().source_now()).settled(lag);
        self.see(&watermark);
        step().await;
        Ok(watermark)
    }

    async fn sum(
        &self,
        namespaces: &[String],
        after: IngestionTime,
        until: IngestionTime,
    ) -> Result<BTreeMap<String, RowSum>> {
        let sums = self.sum_now(namespaces, after, until);
        self.see(&(after, until, &sums));
        step().await;
        Ok(sums)
    }
}

#[async_trait]
impl FootprintTable for View {
    async fn active(&self, shard: FootprintShard, after: Option<&str>, limit: usize) -> Result<Vec<FootprintRow>> {
        let rows = self.table.active(shard, after, limit).await?;
        self.see(&rows);
        step().await;
        Ok(rows)
    }

    async fn add(
        &self,
        name: &str,
        expected: Option<&FootprintMark>,
        delta_bytes: i64,
        next: &FootprintMark,
    ) -> Result<bool> {
        let mark = self.table.get(name).unwrap().mark;
        let is_wrong = self.state.lock().unwrap().mistake == Mistake::NoCompare;
        let expected = if is_wrong { mark.as_ref() } else { expected };
        let added = self.table.add(name, expected, delta_bytes, next).await?;
        let after = self.table.get(name).unwrap().mark.map(|mark| mark.cursor);
        assert!(is_wrong || mark.map(|mark| mark.cursor) <= after, "a cursor went back");
        self.see(&added);
        step().await;
        Ok(added)
    }

    async fn import(&self, name: &str, footprint_bytes: Option<i64>, mark: &FootprintMark) -> Result<bool> {
        self.table.import(name, footprint_bytes, mark).await
    }
}

impl World {
    pub(crate) fn new(bounds: Bounds, mistake: Mistake) -> Self {
        let state = State { now: BEGIN, off: 0, rows: Vec::new(), keys: 0, mistake, seen: [0; 2] };
        let state = Arc::new(Mutex::new(state));
        let table = Arc::new(MemoryFootprints::new());
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(if mistake == Mistake::SourceClockOnly { 1 << 40 } else { BEGIN }));
        let accumulators = [0, 1].map(|number| {
            let view = Arc::new(View { state: Arc::clone(&state), table: Arc::clone(&table), number });
            let lag = if mistake == Mistake::NoLag { 0 } else { LAG };
            let recount = if [Mistake::NoRecount, Mistake::NoLag].contains(&mistake) { 0 } else { RECOUNT };
            let options = FootprintOptions::new()
                .with_lag(Duration::from_secs(lag))
                .with_recount(Duration::from_secs(recount))
                .with_call_timeout(Duration::MAX);
            let source: Arc<dyn RowSource> = Arc::<View>::clone(&view);
            Arc::new(FootprintAccumulator::new(source, view, options).with_clock(Arc::new(clock.clone())))
        });
        let world = Self { state, table, clock, accumulators, runs: [None, None], bounds };
        for name in NAMES {
            world.table.insert(name);
        }
        world
    }

    /// Returns a number that two worlds share only if they are alike.
    pub(crate) fn fingerprint(&self) -> u128 {
        let state = self.state.lock().unwrap();
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, state.now, state.off, &state.rows, state.keys, self.bounds).hash(&mut hasher);
            for name in NAMES {
                self.table.get(name).hash(&mut hasher);
            }
            // The two accumulators are alike.
            let mut seen = [0, 1].map(|number| (self.runs[number].is_some(), state.seen[number]));
            seen.sort_unstable();
            seen.hash(&mut hasher);
            u128::from(hasher.finish())
        };
        half(0) << 64 | half(1)
    }

    pub(crate) fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        let bounds = self.bounds;
        let (off, keys) = {
            let state = self.state.lock().unwrap();
            (state.off, state.keys)
        };
        let lateness = if bounds.late > 0 { [false, true].as_slice() } else { &[false] };
        for is_late in lateness.iter().copied() {
            if bounds.rows > 0 {
                actions.push(Action::Row { is_late });
            }
            if bounds.repeats > 0 && keys > 0 {
                actions.push(Action::Repeat { is_late });
            }
        }
        if bounds.steps > 0 {
            // Behind by less than the recount, ahead by anything.
            actions.extend([-15, 0, 50].into_iter().filter(|to| *to != off).map(Action::StepTo));
        }
        if bounds.passings > 0 {
            actions.push(Action::Pass);
        }
        for (number, run) in self.runs.iter().enumerate() {
            match run {
                Some(_) => {
                    actions.push(Action::Step(number));
                    if bounds.crashes > 0 {
                        actions.push(Action::Crash(number));
                    }
                }
                None if bounds.runs > 0 => actions.push(Action::Begin(number)),
                None => {}
            }
        }
        actions
    }

    pub(crate) fn act(&mut self, action: Action) {
        let mut state = self.state.lock().unwrap();
        let late = |bounds: &mut Bounds, is_late: bool| bounds.late -= u8::from(is_late);
        match action {
            Action::Row { is_late } => {
                self.bounds.rows -= 1;
                late(&mut self.bounds, is_late);
                let key = state.keys;
                state.keys += 1;
                state.insert(key, is_late);
            }
            Action::Repeat { is_late } => {
                self.bounds.repeats -= 1;
                late(&mut self.bounds, is_late);
                let key = state.keys - 1;
                state.insert(key, is_late);
            }
            Action::StepTo(off) => {
                self.bounds.steps -= 1;
                state.off = off;
            }
            Action::Pass => {
                self.bounds.passings -= 1;
                drop(state);
                self.pass(PASSING);
            }
            Action::Begin(number) => {
                self.bounds.runs -= 1;
                state.seen[number] = 0;
                drop(state);
                let accumulator = Arc::clone(&self.accumulators[number]);
                self.runs[number] = Some(Box::pin(async move { accumulator.run_once().await }));
                self.poll(number);
            }
            Action::Step(number) => {
                drop(state);
                self.poll(number);
            }
            Action::Crash(number) => {
                self.bounds.crashes -= 1;
                state.seen[number] = 0;
                drop(state);
                self.runs[number] = None;
            }
        }
    }

    fn pass(&self, passing: u64) {
        self.state.lock().unwrap().now += passing;
        self.clock.advance(Duration::from_secs(passing));
    }

    /// Takes a step of an accumulator, and returns whether its run has ended.
    fn poll(&mut self, number: usize) -> bool {
        let Some(run) = &mut self.runs[number] else { return true };
        let Poll::Ready(run) = run.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { return false };
        assert!(run.is_complete(), "{run}");
        self.runs[number] = None;
        self.state.lock().unwrap().seen[number] = 0;
        true
    }

    /// Checks that no footprint is more than what was stored.
    pub(crate) fn check(&self) {
        for (number, name) in NAMES.into_iter().enumerate() {
            let row = self.table.get(name).unwrap();
            let truth = self.state.lock().unwrap().truth(number);
            assert!(i128::from(row.footprint_bytes) <= truth, "{row:?} of {truth}");
        }
    }

    /// Lets everything end and all rows be seen, and checks that each footprint is what was stored.
    pub(crate) fn check_rested(mut self) {
        for number in 0..2 {
            while !self.poll(number) {}
        }
        self.state.lock().unwrap().off = 0;
        for passing in [LAG, 60, 60, 2 * RECOUNT, 2 * RECOUNT] {
            self.pass(passing);
            self.bounds.runs = 1;
            self.act(Action::Begin(0));
            while !self.poll(0) {}
            self.check();
        }
        let state = self.state.lock().unwrap();
        for (number, name) in NAMES.into_iter().enumerate() {
            let row = self.table.get(name).unwrap();
            assert_eq!(i128::from(row.footprint_bytes), state.truth(number), "{row:?}, {state:?}");
        }
    }
}
