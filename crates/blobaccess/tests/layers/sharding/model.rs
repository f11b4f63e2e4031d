//! Random outages, drains, additions and losses, against a model of the blobs that must be readable.
#![expect(clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{Shard, Sharding, ShardingOptions};
use blobaccess::{Blob, BlobAccess, BlobAccessExt, Cas, Clock, Context, DigestSet, Error, ErrorKind};
use blobaccess_testkit::{ManualClock, digest_of};
use proptest::prelude::*;

use crate::{Inner, inner, memory};

/// The machines that there are. The first `FIRST` are shards from the beginning.
const MACHINES: usize = 6;
const FIRST: usize = 3;

/// The number of different blobs.
const BLOBS: usize = 12;

/// The time for which reads fall back from an added shard. All that happens between two times of settling takes less.
const PERIOD: Duration = Duration::from_hours(24);

#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    Get(usize),
    Find(BTreeSet<usize>),
    Break(usize),
    Mend(usize),
    /// Drains a shard.
    Drain(usize),
    /// Adds a machine, or takes a drained one back.
    Add(usize),
    /// Switches a drained shard off, with all that it has.
    Remove(usize),
    /// Replaces the disk of a machine.
    Lose(usize),
    /// Reads all blobs, so that they move, and lets the period end.
    Settle,
}

/// The part of a machine in the topology.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Off,
    Settled,
    Added(std::time::SystemTime),
    Drained,
}

struct World {
    clock: ManualClock,
    options: ShardingOptions,
    machines: Vec<Inner<Cas>>,
    parts: Vec<Part>,
    down: BTreeSet<usize>,
    store: Sharding<Inner<Cas>>,
    /// The blobs that were acknowledged and whose copies live.
    readable: BTreeSet<usize>,
    /// The blobs of which a copy may turn up: a put that failed may have left one, or the last copy within reach is
    /// lost, and a change of the shards may bring another one within reach.
    unsure: BTreeSet<usize>,
}

static CTX: Context = Context::background();

fn contents(blob: usize) -> String {
    format!("blob {blob}")
}

fn key(machine: usize) -> String {
    format!("machine {machine}")
}

impl World {
    fn new(options: ShardingOptions) -> Self {
        let clock = ManualClock::new();
        let machines: Vec<_> = (0..MACHINES).map(|_| inner()).collect();
        let parts = (0..MACHINES).map(|machine| if machine < FIRST { Part::Settled } else { Part::Off }).collect();
        let store = Self::store(&clock, &options, &machines, &parts);
        let (down, readable, unsure) = Default::default();
        Self { clock, options, machines, parts, down, store, readable, unsure }
    }

    /// Makes the layer for the topology as it is now, as a server that is started again does.
    fn store(
        clock: &ManualClock,
        options: &ShardingOptions,
        machines: &[Inner<Cas>],
        parts: &Vec<Part>,
    ) -> Sharding<Inner<Cas>> {
        let mut shards = Vec::new();
        for (machine, (store, part)) in machines.iter().zip(parts).enumerate() {
            let shard =
                Shard::new(key(machine), Arc::clone(store)).with_weight(u32::try_from(machine % 3 + 1).unwrap());
            shards.extend(match *part {
                Part::Off => None,
                Part::Settled => Some(shard),
                Part::Added(since) => Some(shard.added(since, PERIOD)),
                Part::Drained => Some(shard.drained()),
            });
        }
        Sharding::new(shards).unwrap().with_options(options.clone()).with_clock(Arc::new(clock.clone()))
    }

    fn change(&mut self, machine: usize, part: Part) {
        self.parts[machine] = part;
        self.store = Self::store(&self.clock, &self.options, &self.machines, &self.parts);
    }

    /// Returns whether some shard that the layer may read from has the blob.
    async fn lives(&self, blob: usize) -> bool {
        let digest = digest_of(contents(blob));
        let mut lives = false;
        for key in self.store.shards_of(&digest) {
            lives |= memory(self.store.shard(key).unwrap()).contains(&CTX, &digest).await.unwrap();
        }
        lives
    }

    /// Forgets the blobs whose last copy is gone.
    async fn forget_lost(&mut self) {
        for blob in self.readable.clone() {
            if !self.lives(blob).await {
                self.readable.remove(&blob);
                self.unsure.insert(blob);
            }
        }
    }

    fn takes_blobs(&self, machine: usize) -> bool {
        matches!(self.parts[machine], Part::Settled | Part::Added(_))
    }

    fn is_any_down(&self) -> bool {
        self.down.iter().any(|machine| self.parts[*machine] != Part::Off)
    }

    async fn get(&mut self, blob: usize) {
        let result = self.store.get_bytes(&CTX, &digest_of(contents(blob)), 99).await;
        match result {
            Ok(bytes) => {
                assert_eq!(bytes, contents(blob));
                assert!(self.readable.contains(&blob) || self.unsure.contains(&blob), "{blob} was never put");
            }
            Err(error) if error.is_not_found() => {
                assert!(!self.readable.contains(&blob), "{blob} is lost: {error}");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(self.is_any_down(), "{blob}: {error}");
                // No shard that is up has it.
                for key in self.store.shards_of(&digest_of(contents(blob))) {
                    let up = !self.down.iter().any(|machine| self::key(*machine) == key);
                    let shard = memory(self.store.shard(key).unwrap());
                    let has = shard.contains(&CTX, &digest_of(contents(blob))).await.unwrap();
                    assert!(!(up && has), "{blob} is in {key}: {error}");
                }
            }
        }
    }

    async fn find(&self, blobs: &BTreeSet<usize>) {
        let digests: DigestSet = blobs.iter().map(|blob| digest_of(contents(*blob))).collect();
        match self.store.find_missing(&CTX, &digests).await {
            Ok(missing) => {
                for blob in blobs {
                    let is_missing = missing.contains(&digest_of(contents(*blob)));
                    let is_readable = self.readable.contains(blob);
                    if is_readable || !self.unsure.contains(blob) {
                        assert_eq!(is_missing, !is_readable, "{blob}");
                    }
                    if !is_missing {
                        // Whatever is said to be present can be read, as far as its shard is up.
                        let read = self.store.get_bytes(&CTX, &digest_of(contents(*blob)), 99).await;
                        assert!(read.is_ok() || !read.unwrap_err().is_not_found());
                    }
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(self.is_any_down(), "{error}");
            }
        }
    }

    async fn put(&mut self, blob: usize) {
        let digest = digest_of(contents(blob));
        match self.store.put(&CTX, &digest, Blob::from_bytes(contents(blob))).await {
            Ok(_) => {
                self.readable.insert(blob);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(self.is_any_down(), "{error}");
                self.unsure.insert(blob);
            }
        }
    }

    fn mend(&mut self, machine: usize) {
        self.machines[machine].inner().outage().end();
        self.down.remove(&machine);
        // The rest of a shard that was down ends.
        self.clock.advance(Duration::from_secs(10));
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Put(blob) => self.put(blob).await,
            Step::Get(blob) => self.get(blob).await,
            Step::Find(blobs) => self.find(&blobs).await,
            Step::Break(machine) => {
                self.machines[machine].inner().outage().begin(Error::unavailable("down"));
                self.down.insert(machine);
            }
            Step::Mend(machine) => self.mend(machine),
            Step::Drain(machine) => {
                let others = (0..MACHINES).any(|other| other != machine && self.takes_blobs(other));
                if others && self.takes_blobs(machine) {
                    self.change(machine, Part::Drained);
                }
            }
            Step::Add(machine) => {
                if matches!(self.parts[machine], Part::Off | Part::Drained) {
                    if self.parts[machine] == Part::Off {
                        self.machines[machine] = inner();
                        self.down.remove(&machine);
                    }
                    self.change(machine, Part::Added(self.clock.now()));
                }
            }
            Step::Remove(machine) => {
                if self.parts[machine] == Part::Drained {
                    self.change(machine, Part::Off);
                    self.forget_lost().await;
                }
            }
            Step::Lose(machine) => {
                self.machines[machine] = inner();
                self.down.remove(&machine);
                self.change(machine, self.parts[machine]);
                self.forget_lost().await;
            }
            Step::Settle => {
                for machine in 0..MACHINES {
                    self.mend(machine);
                }
                for blob in 0..BLOBS {
                    self.get(blob).await;
                }
                self.clock.advance(PERIOD);
                for machine in 0..MACHINES {
                    if matches!(self.parts[machine], Part::Added(_)) {
                        self.change(machine, Part::Settled);
                    }
                }
            }
        }
        if self.down.is_empty() {
            for blob in self.readable.clone() {
                assert!(self.lives(blob).await, "{blob} is out of reach");
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..BLOBS).prop_map(Step::Put),
        6 => (0..BLOBS).prop_map(Step::Get),
        3 => prop::collection::btree_set(0..BLOBS, 0..BLOBS).prop_map(Step::Find),
        2 => (0..MACHINES).prop_map(Step::Break),
        3 => (0..MACHINES).prop_map(Step::Mend),
        2 => (0..MACHINES).prop_map(Step::Drain),
        2 => (0..MACHINES).prop_map(Step::Add),
        1 => (0..MACHINES).prop_map(Step::Remove),
        1 => (0..MACHINES).prop_map(Step::Lose),
        1 => Just(Step::Settle),
    ]
}

proptest! {
    #[test]
    fn what_was_acknowledged_is_readable_while_its_copy_lives(
        steps in prop::collection::vec(step(), 1..60),
        copies_on_find: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut world = World::new(ShardingOptions::new().with_copies_on_find(copies_on_find));
        runtime.block_on(async {
            for step in steps {
                world.take(step).await;
            }
            world.take(Step::Settle).await;
            for blob in world.readable.clone() {
                world.get(blob).await;
            }
            world.find(&(0..BLOBS).collect()).await;
        });
    }
}
