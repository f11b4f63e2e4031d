//! Tests of how often reading and storing allocate.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::decorators::{
    ActionResultExpiring, Demultiplexing, ExpiryOptions, HierarchicalInstanceNames, Mirrored, ReadCaching,
    ReadCanarying, ReadFallback, Route, Shard, Sharding,
};
use blobaccess::replication::LocalReplicator;
use blobaccess::{
    Ac, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, Error, ErrorHandler, InstanceName,
    MemoryStore, Provenance, PutOutcome, RandomAccess, Result,
};
use blobaccess_testkit::allocations::{self, Counting};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};

#[global_allocator]
static COUNTING: Counting = Counting;

/// Makes bytes that are shared already, because the first clone of others allocates.
fn shared(contents: Vec<u8>) -> Bytes {
    let bytes = Bytes::from(contents);
    drop(bytes.clone());
    bytes
}

/// Runs `action`, and returns the number of its allocations, the largest of them in bytes, and its result.
fn counting<T>(action: impl FnOnce() -> T) -> (u64, usize, T) {
    let (counted, outcome) = allocations::counting(action);
    (counted.calls, counted.largest_bytes, outcome)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing here waits for anything")
}

fn digest_of(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

/// Returns how many allocations reading all of the blob that `blob` makes takes, as bytes and as a stream.
fn reads(blob: impl Fn() -> Blob) -> (u64, u64) {
    let (one, two) = (blob(), blob());
    let (bytes, _, read) = counting(|| run(one.into_bytes(u64::MAX)));
    read.unwrap();
    let (pieces, _, ()) = counting(|| {
        let mut stream = two.into_stream(..).unwrap();
        while let Some(piece) = run(stream.next()) {
            piece.unwrap();
        }
    });
    (bytes, pieces)
}

#[test]
fn reading_what_is_at_hand_and_right_allocates_nothing() {
    let digest = digest_of(b"hello");
    assert_eq!(reads(|| Blob::from_verified_bytes(&digest, Bytes::from_static(b"hello"))), (0, 0));
    assert_eq!(reads(|| Blob::from_bytes(Bytes::from_static(b"hello"))), (0, 0));
    let (allocations, _, blob) = counting(|| Blob::from_verified_bytes(&digest, Bytes::from_static(b"hello")));
    assert_eq!((allocations, blob.size_bytes()), (0, 5));
}

#[derive(Debug)]
struct Refusing;

#[async_trait]
impl ErrorHandler for Refusing {
    async fn on_error(&mut self, error: Error) -> Result<Blob> {
        Err(error)
    }
}

#[test]
fn a_handler_of_what_cannot_fail_allocates_nothing() {
    let digest = digest_of(b"hello");
    let at_hand = || Blob::from_verified_bytes(&digest, Bytes::from_static(b"hello")).with_error_handler(Refusing);
    assert_eq!(reads(at_hand), (0, 0));
    assert_eq!(counting(at_hand).0, 0);
}

#[test]
fn reading_what_is_to_be_verified_allocates_a_fixed_number_of_times() {
    let digest = digest_of(b"hello");
    let hello = Bytes::from_static(b"hello");
    let bytes = reads(|| Blob::from_untrusted_bytes(&digest, hello.clone(), Provenance::store()));
    let source = || stream::iter([Ok(Bytes::from_static(b"he")), Ok(Bytes::from_static(b"llo"))]);
    let pieces = reads(|| Blob::from_untrusted_stream(&digest, source(), Provenance::store()));
    // The contents in one piece, and a box for the verification.
    assert_eq!((bytes, pieces), ((0, 2), (2, 1)));
}

struct Chunks(Bytes);

#[async_trait]
impl RandomAccess for Chunks {
    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        let offset = usize::try_from(offset).map_err(|_| Error::out_of_range("offset"))?;
        Ok(self.0.slice(offset..(offset + length).min(self.0.len())))
    }
}

#[test]
fn random_access_allocates_for_each_call_and_once_for_the_contents() {
    let contents = shared(vec![7; 1 << 20]);
    let digest = digest_of(&contents);
    let source: Arc<dyn RandomAccess> = Arc::new(Chunks(contents));
    // Four calls, whose futures are boxed, and the box of the stream.
    assert_eq!(reads(|| Blob::from_random_access(&digest, Arc::clone(&source))), (6, 5));
}

#[test]
fn common_sizes_take_one_allocation_for_the_contents() {
    for size in [8 << 10_usize, 64 << 10, 1 << 20] {
        let contents = vec![7; size];
        let digest = digest_of(&contents);
        let piece = shared(vec![7; size / 4]);
        let pieces = stream::iter((0..4).map(move |_| Ok(piece.clone())));
        let blob = Blob::from_verified_stream(&digest, pieces);
        let (allocations, most, read) = counting(|| run(blob.into_bytes(u64::MAX)));
        // The other one holds the stream to its size.
        assert_eq!((read.unwrap().len(), allocations, most), (size, 2, size));
    }
}

#[test]
fn an_announced_size_is_believed_for_one_mebibyte() {
    let huge = Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &[7; 32], 4 << 30).unwrap();
    let endings = [Err(Error::unavailable("gone")), Ok(Bytes::new())];
    for ending in endings {
        let pieces = stream::iter([Ok(Bytes::from_static(b"a few bytes")), ending]);
        let blob = Blob::from_untrusted_stream(&huge, pieces, Provenance::client());
        let (_, most, read) = counting(|| run(blob.into_bytes(u64::MAX)));
        assert!(read.is_err());
        assert_eq!(most, 1 << 20);
    }
}

#[test]
fn memory_grows_with_what_has_arrived() {
    let piece = shared(vec![7; 256 << 10]);
    let digest = digest_of(&vec![7; 9 << 20]);
    let pieces = stream::iter((0..36).map(move |_| Ok(piece.clone())));
    let blob = Blob::from_verified_stream(&digest, pieces);
    let (allocations, most, read) = counting(|| run(blob.into_bytes(u64::MAX)));
    // One for the stream, and 1, 2½, 5½ and 9 MiB.
    assert_eq!((read.unwrap().len(), allocations, most), (9 << 20, 5, 9 << 20));
}

#[test]
fn a_store_in_memory_allocates_for_its_futures_and_what_it_keeps() {
    let store = MemoryStore::<Cas>::new(1 << 20);
    let ctx = Context::background();
    let digest = digest_of(b"hello");
    let contents = Bytes::from(b"hello".to_vec());
    let put = |blob| counting(|| run(store.put(&ctx, &digest, blob)));
    put(Blob::from_untrusted_bytes(&digest, contents.clone(), Provenance::client())).2.unwrap();
    let (put, _, outcome) = put(Blob::from_untrusted_bytes(&digest, contents, Provenance::client()));
    assert_eq!(outcome.unwrap(), PutOutcome::AlreadyExists { stored_bytes: 5 });
    // The first get makes the bytes shared, which allocates once for as long as they are stored.
    let get = || counting(|| drop(run(store.get(&ctx, &digest)).unwrap())).0;
    assert_eq!(get(), 2);
    let get = get();
    assert_eq!((put, get), (1, 1));
}

/// The size up to which the allocator of glibc keeps what was freed for the next request of the thread, in bytes.
const KEPT_BYTES: usize = 1032;

/// Returns the number of allocations of a get through `store`, which has "hello".
fn gets<B: BlobAccess>(store: &B) -> u64 {
    let (ctx, digest) = (Context::background(), digest_of(b"hello"));
    let get = || counting(|| drop(run(store.get(&ctx, &digest)).unwrap()));
    // The first gets make the bytes shared and note the use.
    for _ in 0..4 {
        get();
    }
    let (allocations, largest_bytes, ()) = get();
    assert!(largest_bytes <= KEPT_BYTES, "{store}: a future of {largest_bytes} bytes is slow to allocate");
    allocations
}

#[test]
fn a_layer_over_two_stores_adds_up_to_two_allocations_to_a_get_that_the_first_answers() {
    let filled = || {
        let store = Arc::new(MemoryStore::<Cas>::new(1 << 20));
        run(store.put(&Context::background(), &digest_of(b"hello"), Blob::from_bytes(b"hello".to_vec()))).unwrap();
        store
    };
    let copies = || LocalReplicator::new(filled(), filled());
    let minute = Duration::from_mins(1);
    assert_eq!(gets(&filled()), 1, "a pointer to a store costs nothing");
    assert_eq!(gets(&ReadFallback::new(filled(), filled(), copies())), 2);
    assert_eq!(gets(&ReadCaching::new(filled(), filled(), copies())), 2);
    assert_eq!(gets(&ReadCanarying::new(filled(), filled(), 256, minute)), 2);
    // Its halves are behind pointers of its own.
    assert_eq!(gets(&Mirrored::new(filled(), filled(), Arc::new(copies()), Arc::new(copies()))), 2);
}

#[test]
fn find_missing_allocates_for_its_future_and_its_answer() {
    let store = MemoryStore::<Cas>::new(1 << 20);
    let ctx = Context::background();
    let digests: DigestSet = (0..100_u8).map(|number| digest_of(&[number])).collect();
    let (absent, _, missing) = counting(|| run(store.find_missing(&ctx, &digests)));
    assert_eq!(missing.unwrap().len(), 100);
    for number in 0..100_u8 {
        run(store.put(&ctx, &digest_of(&[number]), Blob::from_bytes(vec![number]))).unwrap();
    }
    let (present, _, missing) = counting(|| run(store.find_missing(&ctx, &digests)));
    assert!(missing.unwrap().is_empty());
    // The list of what is missing doubles until it is long enough. If it is all of them, the answer is the set asked for.
    assert_eq!((absent, present), (7, 1));
}

#[test]
fn sharding_adds_one_allocation_to_a_get() {
    let ctx = Context::background();
    let digest = digest_of(b"hello");
    for shards in [1, 64] {
        let store = |key: u8| Shard::new(key.to_string(), MemoryStore::<Cas>::new(1 << 20));
        let store = Sharding::new((0..shards).map(store)).unwrap();
        run(store.put(&ctx, &digest, Blob::from_bytes("hello"))).unwrap();
        let count = |store: &dyn BlobAccess<Kind = Cas>| {
            drop(run(store.get(&ctx, &digest)).unwrap());
            counting(|| drop(run(store.get(&ctx, &digest)).unwrap())).0
        };
        let home = store.shard(store.shards_of(&digest).first().unwrap()).unwrap();
        assert_eq!(count(&store), count(&**home) + 1, "{shards} shards");
    }
}

#[test]
fn layers_by_instance_name_and_age_add_at_most_two_allocations_to_a_get() {
    let ctx = Context::background();
    let name = |name| InstanceName::new(name).unwrap();
    let digest = digest_of(b"hello").with_instance_name(name("ci/tests"));
    // An action result without a time.
    let value = shared(vec![0x20, 3]);
    let gets = |store: &dyn BlobAccess<Kind = Ac>| {
        run(store.put(&ctx, &digest, Blob::from_bytes(value.clone()))).unwrap();
        counting(|| drop(run(store.get(&ctx, &digest)).unwrap())).0
    };
    let memory = || MemoryStore::<Ac>::new(1 << 20);
    let plain = gets(&memory());
    let route = || Route::new(name("ci"), Arc::new(memory()));
    let by = |route| Demultiplexing::new([route]).unwrap();
    assert_eq!(gets(&by(route())) - plain, 2);
    assert_eq!(gets(&by(route().with_added_prefix(name("ci")))) - plain, 1);
    assert_eq!(gets(&by(route().with_added_prefix(name("builds")))) - plain, 2);
    assert_eq!(gets(&HierarchicalInstanceNames::new(memory())) - plain, 1);
    let options = ExpiryOptions::new(Duration::from_hours(1));
    assert_eq!(gets(&ActionResultExpiring::new(memory(), options)) - plain, 1);
}
