//! How often the calls of a store allocate.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use std::time::Duration;

use blobaccess::{BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName};
use blobaccess_local_store::{LocalStore, Options, SyncPolicy};
use blobaccess_testkit::allocations::{self, Counting};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::executor::block_on;

#[global_allocator]
static COUNTING: Counting = Counting;

/// Returns the number of allocations that `action` makes, after a first call.
fn counting<T>(mut action: impl FnMut() -> T) -> u64 {
    drop(action());
    allocations::counting(action).0.calls
}

fn digest(number: usize) -> Digest {
    let contents = number.to_le_bytes().repeat(512);
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents)
}

/// Makes a store of blobs of 4 KiB, the first of which lie in chunks that are full.
fn filled(options: Options) -> LocalStore<Cas> {
    let store = block_on(LocalStore::<Cas>::open(options)).unwrap();
    for number in 0..2_000 {
        store.put_blocking(&digest(number), Bytes::from(number.to_le_bytes().repeat(512))).unwrap();
    }
    store
}

fn asked() -> Vec<Digest> {
    (0..100).chain(10_000..10_100).map(digest).collect()
}

#[test]
fn calls_on_memory_allocate_nothing() {
    let store = filled(Options::in_memory(64 << 20));
    let (one, asked) = (digest(1), asked());
    assert_eq!(counting(|| store.get_blocking(&one).unwrap().unwrap()), 0);
    assert_eq!(counting(|| store.find_missing_blocking(&asked, |_| ()).unwrap()), 0);
    let contents = Bytes::from(1_usize.to_le_bytes().repeat(512));
    assert_eq!(counting(|| store.put_blocking(&one, contents.clone()).unwrap()), 0);
    let mut number = 20_000;
    let mut named: Vec<Digest> = (number..number + 2).map(digest).collect();
    let put = counting(|| {
        number += 1;
        store.put_blocking(&named.pop().unwrap(), contents.clone()).unwrap()
    });
    assert_eq!(put, 0);
}

#[test]
fn the_trait_allocates_its_futures_and_answers() {
    let store = filled(Options::in_memory(64 << 20));
    let ctx = Context::background();
    let one = digest(1);
    // The future of the call.
    assert_eq!(counting(|| store.get(&ctx, &one).now_or_never().unwrap().unwrap()), 1);
    let present: DigestSet = (0..100).map(digest).collect();
    assert_eq!(counting(|| store.find_missing(&ctx, &present).now_or_never().unwrap().unwrap()), 1);
}

#[test]
fn large_contents_in_memory_are_lent_by_the_trait_until_readers_keep_much() {
    let ctx = Context::background();
    let store = block_on(LocalStore::<Cas>::open(Options::in_memory(256 << 20))).unwrap();
    let contents = Bytes::from(vec![7; 2_500_000]);
    let put = |store: &LocalStore<Cas>, number: usize| {
        let (name, hash) = (InstanceName::empty(), format!("{number:064x}"));
        let digest = Digest::parse(name, DigestFunction::Sha256, &hash, 2_500_000).unwrap();
        store.put_blocking(&digest, contents.clone()).unwrap();
        digest
    };
    let read = |digest: &Digest| {
        let blob = store.get(&ctx, digest).now_or_never().unwrap().unwrap();
        let (allocated, bytes) = allocations::counting(|| blob.into_bytes(1 << 30).now_or_never().unwrap().unwrap());
        assert_eq!(bytes, contents);
        (allocated.largest_bytes > 2_000_000, bytes)
    };
    // Over three chunks of one piece of memory.
    let (is_copied, first) = read(&put(&store, 0));
    assert!(!is_copied);
    let mut held = vec![first];
    // Blocks go while readers keep their memory.
    for number in 1..100 {
        let (is_copied, bytes) = read(&put(&store, number));
        if is_copied {
            return;
        }
        held.push(bytes);
    }
    panic!("{} pieces were lent", held.len());
}

#[test]
fn a_read_from_a_file_allocates_no_buffer() {
    for is_mapped in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::in_file(directory.path().join("blocks"), 64 << 20).persistent(SyncPolicy::OnClose);
        for options in [options.clone(), options.with_remembered_verification(Duration::from_hours(1))] {
            let store = filled(options.with_mapped_reads(is_mapped));
            store.sync_blocking().unwrap();
            let one = digest(1);
            // What makes bytes of a buffer that is used again.
            assert_eq!(counting(|| store.get_blocking(&one).unwrap().unwrap()), 1);
            assert_eq!(counting(|| store.get_with(&one, <[u8]>::len).unwrap().unwrap()), 0);
        }
    }
}

#[test]
fn contents_in_memory_are_lent_without_an_allocation_also_where_others_are_put_beside_them() {
    let store = filled(Options::in_memory(64 << 20));
    let mut number = 30_000;
    let mut named: Vec<Digest> = (number..number + 4).map(digest).collect();
    let mut put = || {
        number += 1;
        let digest = named.pop().unwrap();
        store.put_blocking(&digest, Bytes::from(number.to_le_bytes().repeat(512))).unwrap();
        digest
    };
    // In the chunk that is being filled, where nobody has read before.
    for digest in [put(), put()] {
        let read = || store.get_with(&digest, <[u8]>::len).unwrap();
        let (allocated, length) = allocations::counting(read);
        assert_eq!((allocated.calls, length), (0, Some(4096)));
    }
    let one = digest(1);
    // In one that is full, but for the first read of its group of threads.
    assert_eq!(counting(|| store.get_with(&one, <[u8]>::len).unwrap().unwrap()), 0);
    // Bytes of a chunk that is being filled are counted by themselves; those of a full one are counted with it.
    let fresh = put();
    assert_eq!(counting(|| store.get_blocking(&fresh).unwrap().unwrap()), 1);
}
