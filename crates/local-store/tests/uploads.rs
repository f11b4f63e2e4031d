//! Large uploads at once: none waits for another, equal ones take the space of one, and those given up leave no trace.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{
    Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, Error, ErrorKind, InstanceName, Provenance,
    PutOutcome, Result,
};
use blobaccess_local_store::{Environment, LocalStore, MemoryDevice, Options};
use blobaccess_testkit::{ManualClock, Numbers};
use bytes::Bytes;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::executor::block_on;

const SIZE: usize = 700_000;

struct Upload<'a> {
    sender: UnboundedSender<Result<Bytes>>,
    put: Pin<Box<dyn Future<Output = Result<PutOutcome>> + Send + 'a>>,
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, bytes)
}

fn contents() -> (Digest, Bytes) {
    let bytes: Bytes = (0..SIZE).map(|at| u8::try_from(at % 251).unwrap()).collect();
    (digest(&bytes), bytes)
}

/// Returns the digest of contents of this size that nobody has.
fn announced(size: u64, numbers: &mut Numbers) -> Digest {
    Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &numbers.bytes(32), size).unwrap()
}

fn upload<'a>(store: &'a LocalStore<Cas>, ctx: &'a Context, digest: &'a Digest) -> Upload<'a> {
    let (sender, stream) = unbounded();
    let blob = Blob::from_untrusted_stream(digest, stream, Provenance::client());
    Upload { sender, put: Box::pin(async move { store.put(ctx, digest, blob).await }) }
}

impl Upload<'_> {
    /// Sends a piece, and lets the put take it. It is not complete then.
    fn send(&mut self, piece: Bytes) {
        self.sender.unbounded_send(Ok(piece)).unwrap();
        assert!(self.is_pending());
    }

    fn is_pending(&mut self) -> bool {
        (0..8).fold(true, |is_pending, _| is_pending && futures::FutureExt::now_or_never(self.put.as_mut()).is_none())
    }

    async fn end(self) -> Result<PutOutcome> {
        drop(self.sender);
        self.put.await
    }
}

fn on_device(capacity: u64) -> LocalStore<Cas> {
    let options = Options::on_device(capacity).with_blocks(2, 4, 2);
    block_on(LocalStore::open_on(options, Arc::new(MemoryDevice::new(capacity)), Environment::default())).unwrap()
}

/// Returns a store in memory and one on a device.
fn stores() -> [LocalStore<Cas>; 2] {
    [block_on(LocalStore::open(Options::in_memory(128 << 20))).unwrap(), on_device(128 << 20)]
}

fn used(store: &LocalStore<Cas>) -> u64 {
    store.snapshot().blocks.iter().map(|block| block.used_bytes).sum()
}

async fn read(store: &LocalStore<Cas>, digest: &Digest) -> Bytes {
    store.get(&Context::background(), digest).await.unwrap().into_bytes(1 << 30).await.unwrap()
}

const CREATED: PutOutcome = PutOutcome::Created { stored_bytes: 700_000 };
const EXISTS: PutOutcome = PutOutcome::AlreadyExists { stored_bytes: 700_000 };

#[test]
fn of_many_equal_uploads_the_first_complete_one_stores_and_one_takes_space() {
    for store in stores() {
        let (ctx, (digest, bytes)) = (Context::background(), contents());
        block_on(async {
            let mut uploads: Vec<_> = (0..6).map(|_| upload(&store, &ctx, &digest)).collect();
            for (number, upload) in uploads.iter_mut().enumerate() {
                upload.send(bytes.slice(..=100_000 * number));
            }
            assert!(used(&store) <= 704_512, "{} bytes are used", used(&store));
            // The third one is complete, and all others are stalled.
            let third = uploads.remove(2);
            third.sender.unbounded_send(Ok(bytes.slice(200_001..))).unwrap();
            assert_eq!(third.end().await.unwrap(), CREATED);
            assert_eq!(read(&store, &digest).await, bytes);
            for (upload, number) in uploads.into_iter().zip([0, 1, 3, 4, 5]) {
                upload.sender.unbounded_send(Ok(bytes.slice(1 + 100_000 * number..))).unwrap();
                assert_eq!(upload.end().await.unwrap(), EXISTS);
            }
        });
    }
}

#[test]
fn another_takes_over_if_all_others_are_aborted() {
    for store in stores() {
        let (ctx, (digest, bytes)) = (Context::background(), contents());
        block_on(async {
            let mut uploads: Vec<_> = (0..4).map(|_| upload(&store, &ctx, &digest)).collect();
            for (number, upload) in uploads.iter_mut().enumerate() {
                upload.send(bytes.slice(..400_000 - 100_000 * number));
            }
            let last = uploads.pop().unwrap();
            let first = uploads.remove(0);
            first.sender.unbounded_send(Err(Error::unavailable("the client is gone"))).unwrap();
            assert_eq!(first.end().await.unwrap_err().kind(), ErrorKind::Unavailable);
            drop(uploads);
            last.sender.unbounded_send(Ok(bytes.slice(100_000..))).unwrap();
            assert_eq!(last.end().await.unwrap(), CREATED);
            assert_eq!(read(&store, &digest).await, bytes);
        });
    }
}

#[test]
fn wrong_bytes_of_an_equal_upload_harm_nobody_wherever_they_are_found() {
    for (store, apart_at) in stores().into_iter().zip([300_001, 1]).chain(stores().into_iter().zip([1, 300_001])) {
        let (ctx, (digest, bytes)) = (Context::background(), contents());
        block_on(async {
            let mut wrong = bytes.to_vec();
            *wrong.get_mut(apart_at).unwrap() ^= 1;
            let wrong = Bytes::from(wrong);
            let mut liar = upload(&store, &ctx, &digest);
            liar.send(wrong.slice(..650_000));
            let mut honest: Vec<_> = (0..3).map(|_| upload(&store, &ctx, &digest)).collect();
            for upload in &mut honest {
                upload.send(bytes.slice(..299_000));
                upload.send(bytes.slice(299_000..500_000));
            }
            let late = upload(&store, &ctx, &digest);
            late.sender.unbounded_send(Ok(bytes.clone())).unwrap();
            assert_eq!(late.end().await.unwrap(), CREATED);
            assert_eq!(read(&store, &digest).await, bytes);
            liar.sender.unbounded_send(Ok(wrong.slice(650_000..))).unwrap();
            assert_eq!(liar.end().await.unwrap_err().kind(), ErrorKind::InvalidArgument);
            for upload in honest {
                upload.sender.unbounded_send(Ok(bytes.slice(500_000..))).unwrap();
                assert_eq!(upload.end().await.unwrap(), EXISTS);
            }
            assert_eq!(read(&store, &digest).await, bytes);
        });
    }
}

#[test]
fn who_sends_wrong_bytes_is_refused_though_the_right_ones_are_stored() {
    let ([store, _], ctx, (digest, bytes)) = (stores(), Context::background(), contents());
    block_on(async {
        let mut uploads: Vec<_> = (0..3).map(|_| upload(&store, &ctx, &digest)).collect();
        for upload in &mut uploads {
            upload.send(bytes.slice(..300_000));
        }
        let wrong = uploads.pop().unwrap();
        wrong.sender.unbounded_send(Ok(Bytes::from(vec![1; 400_000]))).unwrap();
        assert_eq!(wrong.end().await.unwrap_err().kind(), ErrorKind::InvalidArgument);
        let first = uploads.swap_remove(0);
        first.sender.unbounded_send(Ok(bytes.slice(300_000..))).unwrap();
        assert_eq!(first.end().await.unwrap(), CREATED);
        assert_eq!(read(&store, &digest).await, bytes);
    });
}

#[test]
fn an_upload_that_is_given_up_takes_no_memory_for_what_never_came_and_gives_all_space_back() {
    for store in stores() {
        let (ctx, mut numbers) = (Context::background(), Numbers::new(3));
        let size = store.sizes().max_blob_size_bytes();
        block_on(async {
            assert_eq!(used(&store), 0);
            for round in 0..50 {
                let digest = announced(size, &mut numbers);
                let mut given_up = upload(&store, &ctx, &digest);
                given_up.send(numbers.bytes(100_000 + 1_000 * round).into());
                drop(given_up);
                assert!(store.snapshot().chunk_memory_bytes <= 2 << 20, "{:?}", store.snapshot());
            }
            assert_eq!(used(&store), 0);
            assert!(store.snapshot().blocks.len() <= 2, "{:?}", store.snapshot());
        });
    }
}

#[test]
fn refused_uploads_evict_nothing() {
    for store in stores() {
        let (ctx, mut numbers) = (Context::background(), Numbers::new(4));
        block_on(async {
            let mut stored = Vec::new();
            for _ in 0..20 {
                let bytes = numbers.bytes(50_000);
                let digest = digest(&bytes);
                store.put(&ctx, &digest, Blob::from_bytes(bytes)).await.unwrap();
                stored.push(digest);
            }
            // Each is read to its end, several at once, with small puts between them.
            for _ in 0..60 {
                let digests: Vec<_> = (0..3).map(|_| announced(1_500_000, &mut numbers)).collect();
                let mut wrong: Vec<_> = digests.iter().map(|digest| upload(&store, &ctx, digest)).collect();
                for upload in &mut wrong {
                    upload.send(Bytes::from(vec![0; 1_000_000]));
                }
                for upload in wrong {
                    upload.sender.unbounded_send(Ok(Bytes::from(vec![0; 500_000]))).unwrap();
                    assert_eq!(upload.end().await.unwrap_err().kind(), ErrorKind::InvalidArgument);
                }
                let bytes = numbers.bytes(1_000);
                store.put(&ctx, &digest(&bytes), Blob::from_bytes(bytes)).await.unwrap();
            }
            assert!(used(&store) < 24 << 20, "{} bytes are used", used(&store));
            let snapshot = store.snapshot();
            assert_eq!((snapshot.evicted, snapshot.recycled_blocks), (0, 0));
            let stored: DigestSet = stored.into_iter().collect();
            assert!(store.find_missing(&ctx, &stored).await.unwrap().is_empty());
        });
    }
}

#[test]
fn what_is_put_where_an_upload_was_given_up_is_read_as_it_was_put() {
    for store in stores() {
        let (ctx, mut numbers) = (Context::background(), Numbers::new(5));
        block_on(async {
            let mut stored = Vec::new();
            for round in 0..40 {
                let announced: Vec<_> = (0..2).map(|_| announced(900_000, &mut numbers)).collect();
                let mut given_up = Vec::new();
                for digest in &announced {
                    let mut upload = upload(&store, &ctx, digest);
                    let sent = 1 + numbers.below(800_000);
                    upload.send(numbers.bytes(sent).into());
                    given_up.push(upload);
                }
                let bytes = numbers.bytes(300_000 + round * 10_000);
                let digest = digest(&bytes);
                if round % 2 == 0 {
                    given_up.truncate(1);
                }
                store.put(&ctx, &digest, Blob::from_bytes(bytes.clone())).await.unwrap();
                stored.push((digest, bytes));
            }
            for (digest, bytes) in stored {
                assert!(read(&store, &digest).await == bytes);
            }
        });
    }
}

#[test]
fn beside_two_hundred_stalled_uploads_a_small_put_and_a_large_one_end() {
    for store in stores() {
        let (ctx, mut numbers) = (Context::background(), Numbers::new(6));
        block_on(async {
            let digests: Vec<_> = (0..200_u64)
                .map(|number| announced(if number % 2 == 0 { 300_000 } else { 100_000 }, &mut numbers))
                .collect();
            let mut stalled: Vec<_> = digests.iter().map(|digest| upload(&store, &ctx, digest)).collect();
            for upload in &mut stalled {
                upload.send(numbers.bytes(1_000).into());
            }
            for size in [100, 200_000, 400_000] {
                let bytes = numbers.bytes(size);
                store.put(&ctx, &digest(&bytes), Blob::from_bytes(bytes.clone())).await.unwrap();
                assert_eq!(read(&store, &digest(&bytes)).await, bytes);
            }
        });
    }
}

#[tokio::test]
async fn once_too_many_are_under_way_the_one_that_is_silent_for_longest_gives_way() {
    let clock = Arc::new(ManualClock::new());
    let environment = Environment::default().with_clock(Arc::<ManualClock>::clone(&clock));
    let store = LocalStore::<Cas>::open_in(Options::in_memory(64 << 20), environment).await.unwrap();
    let (ctx, mut numbers) = (Context::background(), Numbers::new(7));
    let size = store.sizes().max_blob_size_bytes();
    let count = usize::try_from(store.sizes().data_bytes() / 4 / size).unwrap();
    let digests: Vec<_> = (0..=count).map(|_| announced(size, &mut numbers)).collect();
    let mut uploads: Vec<_> = digests.iter().map(|digest| upload(&store, &ctx, digest)).collect();
    let mut newest = uploads.pop().unwrap();
    for upload in &mut uploads {
        upload.send(numbers.bytes(1_000).into());
        clock.advance(Duration::from_millis(1));
    }
    // It sends on, so the second one is silent for longest.
    clock.advance(Duration::from_secs(1));
    uploads[0].send(numbers.bytes(1_000).into());
    newest.send(numbers.bytes(1_000).into());
    clock.advance(Duration::from_secs(2));
    assert!(newest.is_pending());
    let second = uploads.remove(1);
    let error = second.put.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("gave way"), "{error}");
    for upload in &mut uploads {
        assert!(upload.is_pending());
    }
}

/// Returns a store with a clock, the digests of as many uploads as have room on their way, and the size of each.
async fn full(clock: &Arc<ManualClock>) -> (LocalStore<Cas>, Vec<Digest>, u64) {
    let environment = Environment::default().with_clock(Arc::<ManualClock>::clone(clock));
    let store = LocalStore::<Cas>::open_in(Options::in_memory(64 << 20), environment).await.unwrap();
    let size = store.sizes().max_blob_size_bytes();
    let count = usize::try_from(store.sizes().data_bytes() / 4 / size).unwrap();
    let mut numbers = Numbers::new(10);
    let digests = (0..count).map(|_| announced(size, &mut numbers)).collect();
    (store, digests, size)
}

#[tokio::test]
async fn a_stored_upload_keeps_no_room_though_equal_ones_read_on() {
    let clock = Arc::new(ManualClock::new());
    let (store, digests, size) = full(&clock).await;
    let (ctx, mut numbers) = (Context::background(), Numbers::new(11));
    let mut others: Vec<_> = digests.iter().map(|digest| upload(&store, &ctx, digest)).collect();
    let mut newest = others.pop().unwrap();
    for upload in &mut others {
        upload.send(numbers.bytes(1_000).into());
    }
    let bytes = Bytes::from(numbers.bytes(usize::try_from(size).unwrap()));
    let digest = digest(&bytes);
    let mut equal: Vec<_> = (0..2).map(|_| upload(&store, &ctx, &digest)).collect();
    for upload in &mut equal {
        upload.send(bytes.slice(..1_000));
    }
    let first = equal.remove(0);
    first.sender.unbounded_send(Ok(bytes.slice(1_000..))).unwrap();
    first.end().await.unwrap();
    let before = clock.sleepers();
    newest.send(numbers.bytes(1_000).into());
    assert_eq!(clock.sleepers(), before, "it waits for room");
    let second = equal.remove(0);
    second.sender.unbounded_send(Ok(bytes.slice(1_000..))).unwrap();
    assert_eq!(second.end().await.unwrap(), PutOutcome::AlreadyExists { stored_bytes: size });
}

#[tokio::test]
async fn equal_uploads_that_wait_for_room_need_it_once() {
    let (store, digests, size) = full(&Arc::new(ManualClock::new())).await;
    let (ctx, mut numbers) = (Context::background(), Numbers::new(12));
    let mut others: Vec<_> = digests.iter().map(|digest| upload(&store, &ctx, digest)).collect();
    for upload in &mut others {
        upload.send(numbers.bytes(1_000).into());
    }
    let bytes = Bytes::from(numbers.bytes(usize::try_from(size).unwrap()));
    let digest = digest(&bytes);
    let mut equal: Vec<_> = (0..3).map(|_| upload(&store, &ctx, &digest)).collect();
    for upload in &mut equal {
        upload.send(bytes.slice(..1_000));
    }
    others.pop();
    for upload in &mut equal {
        assert!(upload.is_pending());
    }
    // The first of them has the room. The last one is complete before it.
    let last = equal.pop().unwrap();
    last.sender.unbounded_send(Ok(bytes.slice(1_000..))).unwrap();
    let mut end = std::pin::pin!(last.end());
    let outcome = (0..10_000).find_map(|_| futures::FutureExt::now_or_never(end.as_mut()));
    assert_eq!(outcome.unwrap().unwrap(), PutOutcome::Created { stored_bytes: size });
}

#[tokio::test]
async fn an_upload_whose_bytes_are_others_does_not_let_its_own_first_bytes_give_way() {
    let clock = Arc::new(ManualClock::new());
    let (store, digests, size) = full(&clock).await;
    let (ctx, mut numbers) = (Context::background(), Numbers::new(13));
    let bytes = Bytes::from(numbers.bytes(usize::try_from(size).unwrap()));
    let digest = digest(&bytes);
    let mut liar = upload(&store, &ctx, &digest);
    let mut wrong = bytes.slice(..2_000).to_vec();
    *wrong.last_mut().unwrap() ^= 1;
    liar.send(wrong.into());
    let mut honest = upload(&store, &ctx, &digest);
    honest.send(bytes.slice(..1_000));
    clock.advance(Duration::from_millis(1));
    let mut others: Vec<_> = digests.iter().skip(1).map(|digest| upload(&store, &ctx, digest)).collect();
    for upload in &mut others {
        upload.send(numbers.bytes(1_000).into());
    }
    clock.advance(Duration::from_secs(2));
    honest.sender.unbounded_send(Ok(bytes.slice(1_000..))).unwrap();
    let outcome = honest.end().await.unwrap();
    assert_eq!(outcome, PutOutcome::Created { stored_bytes: size });
    assert_eq!(others.iter_mut().map(|upload| usize::from(!upload.is_pending())).sum::<usize>(), 1);
}

/// Polls a store in another task while something large is put, and returns how often it was polled.
async fn turns_during(work: impl Future<Output = ()>) -> usize {
    let mut turns = 0;
    let mut work = std::pin::pin!(work);
    while futures::FutureExt::now_or_never(work.as_mut()).is_none() {
        turns += 1;
        tokio::task::yield_now().await;
    }
    turns
}

#[tokio::test]
async fn contents_at_hand_are_put_piece_by_piece_so_that_others_get_a_turn() {
    let store = on_device(256 << 20);
    let bytes = Bytes::from(Numbers::new(8).bytes(8 << 20));
    let digest = digest(&bytes);
    let ctx = Context::background();
    let put = async {
        store.put(&ctx, &digest, Blob::from_bytes(bytes.clone())).await.unwrap();
    };
    assert!(turns_during(put).await >= 32);
    assert_eq!(read(&store, &digest).await, bytes);
}

/// A device whose syncs wait until they are let go.
#[derive(Debug)]
struct SlowSyncs {
    inner: MemoryDevice,
    gate: std::sync::Mutex<bool>,
    opened: std::sync::Condvar,
    waiting: std::sync::atomic::AtomicUsize,
}

impl blobaccess_local_store::Device for SlowSyncs {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.waiting.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        drop(self.opened.wait_while(self.gate.lock().unwrap(), |is_shut| *is_shut).unwrap());
        self.inner.sync()
    }
}

#[test]
fn puts_that_wait_for_a_sync_hold_one_thread_and_share_the_next_sync() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(2).build().unwrap();
    runtime.block_on(async {
        let device = Arc::new(SlowSyncs {
            inner: MemoryDevice::new(32 << 20),
            gate: std::sync::Mutex::new(false),
            opened: std::sync::Condvar::new(),
            waiting: std::sync::atomic::AtomicUsize::new(0),
        });
        let options = Options::on_device(32 << 20).persistent(blobaccess_local_store::SyncPolicy::OnPut);
        let store = LocalStore::<Cas>::open_on(options, Arc::<SlowSyncs>::clone(&device), Environment::default());
        let store = Arc::new(store.await.unwrap());
        *device.gate.lock().unwrap() = true;
        let (before, syncs) = (device.waiting.load(std::sync::atomic::Ordering::SeqCst), store.snapshot().syncs);
        let mut numbers = Numbers::new(9);
        let puts: Vec<_> = (0..64)
            .map(|_| {
                let (store, bytes) = (Arc::clone(&store), Bytes::from(numbers.bytes(100)));
                tokio::spawn(async move {
                    store.put(&Context::background(), &digest(&bytes), Blob::from_bytes(bytes.clone())).await.unwrap();
                })
            })
            .collect();
        while device.waiting.load(std::sync::atomic::Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
        // The other thread is free for whoever reads.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        *device.gate.lock().unwrap() = false;
        device.opened.notify_all();
        for put in puts {
            put.await.unwrap();
        }
        assert!(store.snapshot().syncs - syncs <= 3, "{} syncs", store.snapshot().syncs - syncs);
    });
}
