//! A crash anywhere in a history of puts under several instance names: what a synced name saw it sees after it, as long
//! as nothing was given up since, and no name sees what was put under others alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use blobaccess::{Blob, BlobAccess, Cas, Clock, Context, Digest, DigestFunction, DigestSet, InstanceName, SystemClock};
use blobaccess_local_store::{Environment, LocalStore, MemoryDevice, Options, SyncPolicy};
use blobaccess_testkit::{Numbers, seed, time_budget};
use futures::executor::block_on;

use crate::image::{Crashes, Loss};
use crate::recorder::Recorder;
use crate::setup::CAPACITY;

/// Names that contents are put under, some of which see what others do.
const NAMES: [&str; 5] = ["", "a", "a/b", "b", "b/c/d"];

fn options(policy: SyncPolicy) -> Options {
    let options = Options::on_device(CAPACITY).with_blocks(1, 4, 1).with_spare_blocks(2).with_entries(900);
    options.with_account_names(8).with_hierarchical_instance_names().persistent(policy)
}

/// The state after an operation.
struct Moment {
    position: usize,
    seen: BTreeSet<Digest>,
    is_sync: bool,
    /// The blob that the operation put: if a block was recycled for it, it may have gone before it came.
    put: Option<Digest>,
}

#[derive(Default)]
struct History {
    contents: Vec<Vec<u8>>,
    /// The blob that was put, under its name.
    put: BTreeSet<Digest>,
    moments: Vec<Moment>,
}

fn name(number: usize) -> InstanceName {
    InstanceName::new(NAMES[number]).unwrap()
}

/// Returns everything that any name may ask for.
fn questions(history: &History) -> impl Iterator<Item = (Digest, &Vec<u8>)> {
    history.contents.iter().flat_map(|contents| {
        (0..NAMES.len()).map(move |number| (Digest::of(name(number), DigestFunction::Sha256, contents), contents))
    })
}

impl History {
    fn put(&mut self, store: &LocalStore<Cas>, numbers: &mut Numbers) -> Digest {
        let is_known = numbers.below(3) == 0 && !self.contents.is_empty();
        let contents = if is_known {
            self.contents[numbers.below(self.contents.len())].clone()
        } else {
            let size = if numbers.below(8) == 0 { numbers.below(40_000) } else { numbers.below(1_500) };
            let contents = numbers.bytes(size + 8);
            self.contents.push(contents.clone());
            contents
        };
        let digest = Digest::of(name(numbers.below(NAMES.len())), DigestFunction::Sha256, &contents);
        self.put.insert(digest.clone());
        block_on(store.put(&Context::background(), &digest, Blob::from_bytes(contents))).unwrap();
        digest
    }

    fn operate(&mut self, store: &LocalStore<Cas>, device: &Recorder, numbers: &mut Numbers, is_on_put: bool) {
        let mut is_sync = false;
        let mut put = None;
        match numbers.below(16) {
            0..=10 => {
                put = Some(self.put(store, numbers));
                is_sync = is_on_put;
            }
            11..=13 => {
                let asked: Vec<Digest> = self.put.iter().cloned().collect();
                let asked: DigestSet = (0..8).filter_map(|_| asked.get(numbers.below(asked.len())).cloned()).collect();
                block_on(store.find_missing(&Context::background(), &asked)).unwrap();
            }
            _ => {
                block_on(store.sync()).unwrap();
                is_sync = true;
            }
        }
        let seen = questions(self).map(|(digest, _)| digest).filter(|digest| store.is_stored(digest)).collect();
        self.moments.push(Moment { position: device.position(), seen, is_sync, put });
    }

    fn may_see(&self, digest: &Digest) -> bool {
        digest.instance_name().parents().any(|parent| self.put.contains(&digest.with_instance_name(parent)))
    }

    fn check(&self, store: &LocalStore<Cas>, position: usize) {
        let last = self.moments.iter().rposition(|moment| moment.position <= position);
        let synced = last.and_then(|last| self.moments[..=last].iter().rposition(|moment| moment.is_sync));
        let mut needed = BTreeSet::new();
        if let (Some(last), Some(synced)) = (last, synced) {
            needed.clone_from(&self.moments[synced].seen);
            for moment in &self.moments[synced + 1..self.moments.len().min(last + 2)] {
                needed.retain(|digest| {
                    moment.seen.contains(digest)
                        && moment.put.as_ref().is_none_or(|put| put.hash_bytes() != digest.hash_bytes())
                });
            }
        }
        for (digest, contents) in questions(self) {
            match block_on(store.get(&Context::background(), &digest)) {
                Ok(blob) => {
                    assert!(self.may_see(&digest), "{digest} was put under other names only");
                    assert_eq!(block_on(blob.into_bytes(1 << 20)).unwrap(), contents);
                }
                Err(error) => {
                    assert!(error.is_not_found(), "{error:?}");
                    assert!(!needed.contains(&digest), "{digest} was durable, and is not seen");
                }
            }
        }
        assert_eq!(store.snapshot().corrupted, 0);
    }
}

fn try_history(policy: SyncPolicy, seed: u64) -> usize {
    let mut numbers = Numbers::new(seed);
    let device = Arc::new(Recorder::new(CAPACITY));
    let opened = LocalStore::open_on(options(policy), Arc::<Recorder>::clone(&device), Environment::default());
    let store: LocalStore<Cas> = block_on(opened).unwrap();
    let mut history = History::default();
    for _ in 0..50 + numbers.below(300) {
        history.operate(&store, &device, &mut numbers, policy == SyncPolicy::OnPut);
    }
    let steps = device.steps();
    let mut crashes = Crashes::new(vec![0; usize::try_from(CAPACITY).unwrap()], steps.clone());
    let (mut position, mut images) = (0, 0);
    while position <= steps.len() {
        for loss in Loss::ALL {
            let device = Arc::new(MemoryDevice::from_image(crashes.image(position, loss, &mut numbers)));
            let store = block_on(LocalStore::open_on(options(policy), device, Environment::default())).unwrap();
            history.check(&store, position);
            images += 1;
        }
        position += 1 + numbers.below(steps.len() / 12 + 1);
    }
    images
}

#[test]
fn names_see_after_a_crash_what_they_saw_when_it_was_synced() {
    let budget = time_budget() / 6;
    let first = seed("BLOBACCESS_CRASH_SEED");
    let begun = SystemClock.monotonic();
    let (mut images, mut histories) = (0, 0);
    while SystemClock.monotonic() - begun < budget {
        let policy = if histories % 2 == 0 { SyncPolicy::OnClose } else { SyncPolicy::OnPut };
        images += try_history(policy, first.wrapping_add(histories));
        histories += 1;
    }
    println!("{images} images of {histories} histories of names");
}
