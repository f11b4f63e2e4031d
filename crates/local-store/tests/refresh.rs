//! The refresh of blobs in use: a blob in an old block is copied once and soon, in the background and not by its user.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a step that fails is a failed test; seeds are printed")]

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Ac, Blob, BlobAccess, Cas, Clock, Context, Digest, DigestFunction, DigestSet, InstanceName, Kind, Result, Slice,
    Sliced, Slicer, SystemClock,
};
use blobaccess_local_store::{BlockGroup, LocalStore, Options, Refresh};
use blobaccess_testkit::{Numbers, seed, time_budget};
use bytes::Bytes;
use futures::executor::block_on;

fn options() -> Options {
    Options::in_memory(4 << 20).with_blocks(3, 4, 1).with_entries(20_000).with_refresh(Refresh::OnTouch)
}

fn open<K: Kind>(options: Options) -> LocalStore<K> {
    block_on(LocalStore::open(options)).unwrap()
}

fn name(number: u64) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, &number.to_le_bytes())
}

fn put<K: Kind>(store: &LocalStore<K>, numbers: &mut Numbers, size: usize) -> (Digest, Bytes) {
    let contents = Bytes::from(numbers.bytes(size));
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
    store.put_blocking(&digest, contents.clone()).unwrap();
    (digest, contents)
}

/// Returns the group of blocks that a blob lies in.
fn group<K: Kind>(store: &LocalStore<K>, digest: &Digest) -> Option<BlockGroup> {
    Some(store.snapshot().blocks.get(store.block_of(digest)?)?.group)
}

/// Puts others until `digest` lies in an old block, but in none that is to be recycled.
fn age<K: Kind>(store: &LocalStore<K>, numbers: &mut Numbers, digest: &Digest) {
    while group(store, digest) != Some(BlockGroup::Old) {
        put(store, numbers, 3_000);
    }
    store.refresh_blocking().unwrap();
}

/// Puts others until so many more blocks are recycled.
fn rotate<K: Kind>(store: &LocalStore<K>, numbers: &mut Numbers, blocks: u64) {
    let before = store.snapshot().recycled_blocks;
    while store.snapshot().recycled_blocks < before + blocks {
        put(store, numbers, 3_000);
        store.recycle_blocking().unwrap();
    }
}

fn find<K: Kind>(store: &LocalStore<K>, digest: &Digest) -> bool {
    let mut is_there = true;
    store.find_missing_blocking(std::slice::from_ref(digest), |_| is_there = false).unwrap();
    is_there
}

#[test]
fn what_is_used_in_an_old_block_is_queued_once_and_copied_once_and_not_by_who_uses_it() {
    let store = open::<Cas>(options());
    let mut numbers = Numbers::new(1);
    let (read, contents) = put(&store, &mut numbers, 1_000);
    let (found, _) = put(&store, &mut numbers, 1_000);
    let (unused, _) = put(&store, &mut numbers, 1_000);
    age(&store, &mut numbers, &unused);
    for _ in 0..3 {
        assert_eq!(store.get_blocking(&read).unwrap().as_ref(), Some(&contents));
        assert!(find(&store, &read) && find(&store, &found));
        assert_eq!(store.get_blocking(&found).unwrap().unwrap().len(), 1_000);
    }
    let snapshot = store.snapshot();
    assert_eq!((snapshot.queued_refreshes, snapshot.refreshed, snapshot.copied), (2, 0, 0));
    store.refresh_blocking().unwrap();
    let snapshot = store.snapshot();
    assert_eq!((snapshot.queued_refreshes, snapshot.refreshed, snapshot.refreshed_bytes), (0, 2, 2_000));
    assert_eq!((snapshot.copied, snapshot.unrefreshed), (2, 0));
    assert_eq!(group(&store, &read), Some(BlockGroup::New));
    assert_eq!(group(&store, &found), Some(BlockGroup::New));
    assert_eq!(group(&store, &unused), Some(BlockGroup::Old));
    // In a new block, nothing is queued; and the old one has nothing more that would be copied.
    assert!(find(&store, &read));
    assert_eq!(store.snapshot().queued_refreshes, 0);
    rotate(&store, &mut numbers, 4);
    assert_eq!((store.snapshot().copied, store.snapshot().breached_bytes), (2, 0));
    assert!(!store.is_stored(&unused));
    assert_eq!(store.get_blocking(&read).unwrap(), Some(contents));
}

#[test]
fn a_read_in_a_block_that_is_not_old_keeps_nothing() {
    let store = open::<Cas>(options());
    let mut numbers = Numbers::new(2);
    let (digest, _) = put(&store, &mut numbers, 1_000);
    while group(&store, &digest) != Some(BlockGroup::Current) {
        put(&store, &mut numbers, 3_000);
    }
    assert!(store.get_blocking(&digest).unwrap().is_some());
    assert_eq!(store.snapshot().queued_refreshes, 0);
    rotate(&store, &mut numbers, 8);
    assert!(!store.is_stored(&digest));
    assert_eq!(store.snapshot().copied, 0);
}

#[test]
fn where_nobody_runs_it_who_recycles_refreshes() {
    let store = open::<Cas>(options());
    let mut numbers = Numbers::new(3);
    // It lies in a block that does not go next.
    rotate(&store, &mut numbers, 1);
    let (digest, _) = put(&store, &mut numbers, 1_000);
    age(&store, &mut numbers, &digest);
    assert!(store.get_blocking(&digest).unwrap().is_some());
    rotate(&store, &mut numbers, 1);
    assert_eq!((store.snapshot().refreshed, store.snapshot().queued_refreshes), (1, 0));
    assert_ne!(group(&store, &digest), Some(BlockGroup::Old));
}

#[test]
fn a_full_queue_fails_nobody_and_breaks_no_promise() {
    const OBJECTS: usize = 9_000;
    let store = open::<Cas>(
        Options::in_memory(16 << 20).with_blocks(3, 4, 1).with_entries(40_000).with_refresh(Refresh::OnTouch),
    );
    let mut numbers = Numbers::new(4);
    let all: Vec<Digest> = (0..OBJECTS).map(|_| put(&store, &mut numbers, 40).0).collect();
    age(&store, &mut numbers, all.last().unwrap());
    let mut missing = 0;
    store.find_missing_blocking(&all, |_| missing += 1).unwrap();
    assert_eq!(missing, 0);
    let snapshot = store.snapshot();
    assert_eq!((snapshot.queued_refreshes, snapshot.unrefreshed), (8_192, 808));
    // One that found no room may be queued as soon as there is some.
    store.refresh_blocking().unwrap();
    assert_eq!(store.snapshot().refreshed, 8_192);
    let last = all.last().unwrap();
    assert_eq!(group(&store, last), Some(BlockGroup::Old));
    assert!(store.get_blocking(last).unwrap().is_some());
    assert_eq!(store.snapshot().queued_refreshes, 1);
    // The others are copied when their block goes.
    rotate(&store, &mut numbers, 3);
    assert!(all.iter().all(|digest| store.is_stored(digest)));
    assert_eq!((store.snapshot().breached_bytes, store.snapshot().copied), (0, 9_000));
}

#[test]
fn what_there_is_no_share_for_stays_where_it_is() {
    let store = open::<Cas>(options().with_copied_percent(0));
    let mut numbers = Numbers::new(5);
    let (digest, contents) = put(&store, &mut numbers, 1_000);
    age(&store, &mut numbers, &digest);
    assert_eq!(store.get_blocking(&digest).unwrap().as_ref(), Some(&contents));
    assert!(find(&store, &digest));
    store.refresh_blocking().unwrap();
    let snapshot = store.snapshot();
    assert_eq!((snapshot.queued_refreshes, snapshot.refreshed, snapshot.unrefreshed), (0, 0, 1));
    assert_eq!(store.get_blocking(&digest).unwrap(), Some(contents));
    assert_eq!(group(&store, &digest), Some(BlockGroup::Old));
}

#[test]
fn a_refresh_takes_nothing_of_what_is_saved_up_for_promises() {
    let store = open::<Cas>(options());
    let mut numbers = Numbers::new(6);
    let sizes = *store.sizes();
    let kept: Vec<Digest> = (0..60).map(|_| put(&store, &mut numbers, 6_000).0).collect();
    age(&store, &mut numbers, kept.last().unwrap());
    for digest in &kept {
        store.get_blocking(digest).unwrap();
    }
    let before = store.snapshot().queued_refreshes;
    assert!(before >= 50);
    store.refresh_blocking().unwrap();
    let snapshot = store.snapshot();
    // Half of a block is the share of one.
    let of_block = sizes.data_bytes() / 10 / 2;
    assert!(snapshot.refreshed > 10 && snapshot.refreshed_bytes <= of_block, "{} bytes", snapshot.refreshed_bytes);
    assert!(snapshot.unrefreshed > 0);
}

#[test]
fn a_value_that_is_overwritten_while_it_is_queued_does_not_come_back() {
    let store = open::<Ac>(options());
    let mut numbers = Numbers::new(7);
    let (digest, other) = (name(1), name(2));
    store.put_blocking(&digest, Bytes::from_static(b"first")).unwrap();
    store.put_blocking(&other, Bytes::from_static(b"other")).unwrap();
    age(&store, &mut numbers, &other);
    assert_eq!(store.get_blocking(&digest).unwrap().unwrap(), "first");
    assert_eq!(store.get_blocking(&other).unwrap().unwrap(), "other");
    assert_eq!(store.snapshot().queued_refreshes, 2);
    store.put_blocking(&digest, Bytes::from_static(b"second")).unwrap();
    store.refresh_blocking().unwrap();
    assert_eq!(store.snapshot().refreshed, 1);
    assert_eq!(store.get_blocking(&digest).unwrap().unwrap(), "second");
    assert_eq!(group(&store, &other), Some(BlockGroup::New));
}

/// Cuts a composite into two halves.
#[derive(Debug)]
struct Halves;

#[async_trait]
impl Slicer for Halves {
    async fn slice(&self, parent: Blob, child: &Digest) -> Result<Sliced> {
        let whole = parent.into_bytes(1 << 30).await?;
        let half = whole.len() / 2;
        let slices: Vec<Slice> = [whole.slice(..half), whole.slice(half..)]
            .iter()
            .zip([0, half])
            .map(|(part, offset)| Slice {
                digest: Digest::of(InstanceName::empty(), DigestFunction::Sha256, part),
                offset: u64::try_from(offset).unwrap(),
                size_bytes: u64::try_from(part.len()).unwrap(),
            })
            .collect();
        let of_child = if slices.first().unwrap().digest == *child { whole.slice(..half) } else { whole.slice(half..) };
        Ok(Sliced::new(Blob::from_bytes(of_child)).with_slices(slices))
    }
}

#[test]
fn a_part_takes_its_object_and_the_other_parts_along_in_one_copy() {
    let store = open::<Cas>(options());
    let mut numbers = Numbers::new(8);
    let (parent, contents) = put(&store, &mut numbers, 4_000);
    let part = |contents: Bytes| Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
    let parts = [part(contents.slice(..2_000)), part(contents.slice(2_000..))];
    let first = parts.first().unwrap();
    block_on(store.get_from_composite(&Context::background(), &parent, first, Arc::new(Halves))).unwrap();
    age(&store, &mut numbers, &parent);
    for _ in 0..2 {
        assert_eq!(store.get_blocking(first).unwrap().unwrap(), contents.slice(..2_000));
        assert!(store.get_blocking(&parent).unwrap().is_some());
    }
    assert_eq!(store.snapshot().queued_refreshes, 2);
    store.refresh_blocking().unwrap();
    let snapshot = store.snapshot();
    assert_eq!((snapshot.refreshed, snapshot.copied, snapshot.copied_bytes), (1, 1, 4_000));
    for digest in parts.iter().chain([&parent]) {
        assert_eq!(group(&store, digest), Some(BlockGroup::New));
    }
    rotate(&store, &mut numbers, 4);
    assert_eq!(store.snapshot().copied, 1);
    assert_eq!(store.get_blocking(&parent).unwrap().unwrap(), contents);
    assert_eq!(store.get_blocking(first).unwrap().unwrap(), contents.slice(..2_000));
}

/// Checks random puts, finds, gets and refreshes against a plain map: nothing wrong is read, and what was promised is
/// there.
fn random<K: Kind>(seed: u64) -> u64 {
    let mut numbers = Numbers::new(seed);
    let shape = |numbers: &mut Numbers| u32::try_from(numbers.below(4)).unwrap();
    let (old, current, spare) = (1 + shape(&mut numbers), 2 + shape(&mut numbers), 2 + shape(&mut numbers) % 2);
    println!("BLOBACCESS_REFRESH_SEED={seed}: {old} old, {current} current, {spare} spare blocks");
    let store = open::<K>(options().with_blocks(old, current, 1).with_spare_blocks(spare));
    let promise = store.sizes().promised_bytes();
    let mut known: BTreeMap<Digest, (Bytes, u64)> = BTreeMap::new();
    let mut put_bytes = 0;
    for _ in 0..6_000 {
        let position = numbers.below(known.len());
        let some = known.keys().nth(position).cloned();
        match (numbers.below(10), some) {
            (0..=5, _) | (_, None) => {
                let size = if numbers.below(20) == 0 { numbers.below(30_000) } else { numbers.below(2_000) };
                let contents = Bytes::from(numbers.bytes(size));
                let digest = if K::STORAGE_TYPE.is_mutable() {
                    name(numbers.draw() % 900)
                } else {
                    Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents)
                };
                put_bytes += store.sizes().counted_bytes(u64::try_from(size).unwrap() + 512);
                store.put_blocking(&digest, contents.clone()).unwrap();
                known.insert(digest, (contents, put_bytes));
            }
            (6 | 7, Some(digest)) => {
                let read = store.get_blocking(&digest).unwrap();
                assert!(read.is_none_or(|read| read == known.get(&digest).unwrap().0), "{digest}");
            }
            (8, Some(digest)) => {
                let (_, at) = known.get_mut(&digest).unwrap();
                let is_there = find(&store, &digest);
                let is_promised = put_bytes - *at <= promise;
                assert!(is_there || !is_promised || store.snapshot().breached_bytes > 0, "{digest} went early");
                if is_there {
                    *at = put_bytes;
                } else {
                    known.remove(&digest);
                }
            }
            (_, Some(_)) => {
                if numbers.below(3) == 0 {
                    store.refresh_blocking().unwrap();
                    assert_eq!(store.snapshot().queued_refreshes, 0);
                }
            }
        }
    }
    let snapshot = store.snapshot();
    assert_eq!((snapshot.corrupted, snapshot.dropped_records), (0, 0));
    let copied = u128::from(snapshot.copied_bytes);
    assert!(copied <= u128::from(put_bytes + store.sizes().data_bytes()), "copies took more than their half");
    let digests: DigestSet = known.keys().cloned().collect();
    for digest in &digests {
        if let Some(read) = store.get_blocking(digest).unwrap() {
            assert_eq!(read, known.get(digest).unwrap().0);
        }
    }
    snapshot.refreshed
}

fn randomly<K: Kind>() {
    let first = seed("BLOBACCESS_REFRESH_SEED");
    let begun = SystemClock.monotonic();
    let (mut stores, mut refreshed) = (0, 0);
    while stores == 0 || SystemClock.monotonic() - begun < time_budget() / 3 {
        refreshed += random::<K>(first.wrapping_add(stores));
        stores += 1;
    }
    println!("{refreshed} refreshes in {stores} stores");
    assert!(refreshed > 0);
}

#[test]
fn contents_stay_what_they_are_and_as_long_as_promised() {
    randomly::<Cas>();
}

#[test]
fn messages_stay_what_they_are_and_as_long_as_promised() {
    randomly::<Ac>();
}

#[test]
fn a_name_goes_where_its_contents_go() {
    let options = options().with_hierarchical_instance_names();
    let store = open::<Cas>(options);
    let mut numbers = Numbers::new(9);
    let contents = Bytes::from(numbers.bytes(1_000));
    let under = |name: &str| {
        let name = InstanceName::new(name).unwrap();
        Digest::of(name, DigestFunction::Sha256, &contents)
    };
    let digests = [under("acme/main"), under("umbrella")];
    for digest in &digests {
        store.put_blocking(digest, contents.clone()).unwrap();
    }
    let [first, second] = &digests;
    age(&store, &mut numbers, first);
    assert!(find(&store, first));
    store.refresh_blocking().unwrap();
    assert_eq!((store.snapshot().refreshed, store.snapshot().copied), (1, 1));
    assert_eq!(group(&store, first), Some(BlockGroup::New));
    rotate(&store, &mut numbers, 4);
    assert_eq!((store.snapshot().copied, store.snapshot().breached_bytes), (1, 0));
    assert_eq!(store.get_blocking(first).unwrap().as_ref(), Some(&contents));
    assert_eq!(store.get_blocking(second).unwrap().as_ref(), Some(&contents));
    assert_eq!(store.get_blocking(&under("somebody/else")).unwrap(), None);
}
