//! Equal large uploads at once: one is created, whoever is aborted, and no more than two take space.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use std::future::Future;
use std::pin::Pin;

use blobaccess::{
    Blob, BlobAccess, Cas, Context, Digest, DigestFunction, Error, ErrorKind, InstanceName, Provenance, PutCertainty,
    PutOutcome, Result,
};
use blobaccess_local_store::{LocalStore, Options};
use bytes::Bytes;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::executor::block_on;
use futures::poll;

const SIZE: usize = 700_000;

struct Upload<'a> {
    sender: UnboundedSender<Result<Bytes>>,
    put: Pin<Box<dyn Future<Output = Result<PutOutcome>> + Send + 'a>>,
}

fn contents() -> (Digest, Bytes) {
    let bytes: Bytes = (0..SIZE).map(|at| u8::try_from(at % 251).unwrap()).collect();
    (Digest::of(InstanceName::empty(), DigestFunction::Sha256, &bytes), bytes)
}

fn upload<'a>(store: &'a LocalStore<Cas>, ctx: &'a Context, digest: &'a Digest) -> Upload<'a> {
    let (sender, stream) = unbounded();
    let blob = Blob::from_untrusted_stream(digest, stream, Provenance::client());
    Upload { sender, put: Box::pin(async move { store.put(ctx, digest, blob).await }) }
}

impl Upload<'_> {
    /// Sends a piece, and lets the put take it. It is not complete then.
    async fn send(&mut self, piece: Bytes) {
        self.sender.unbounded_send(Ok(piece)).unwrap();
        assert!(poll!(self.put.as_mut()).is_pending());
    }

    async fn is_pending(&mut self) -> bool {
        poll!(self.put.as_mut()).is_pending()
    }

    async fn end(self) -> Result<PutOutcome> {
        drop(self.sender);
        self.put.await
    }
}

fn store() -> LocalStore<Cas> {
    block_on(LocalStore::open(Options::in_memory(128 << 20))).unwrap()
}

fn used(store: &LocalStore<Cas>) -> u64 {
    store.snapshot().blocks.iter().map(|block| block.used_bytes).sum()
}

const CREATED: PutOutcome = PutOutcome::Created { stored_bytes: 700_000 };
const EXISTS: PutOutcome = PutOutcome::AlreadyExists { stored_bytes: 700_000 };

#[test]
fn of_many_one_is_created_and_two_take_space() {
    let (store, ctx, (digest, bytes)) = (store(), Context::background(), contents());
    block_on(async {
        let mut uploads: Vec<_> = (0..6).map(|_| upload(&store, &ctx, &digest)).collect();
        for upload in &mut uploads {
            upload.send(bytes.slice(..300_000)).await;
        }
        assert!(used(&store) <= 2 * 704_512, "{} bytes are used", used(&store));
        // Those who follow are complete first, and wait.
        for upload in uploads.iter_mut().rev() {
            upload.sender.unbounded_send(Ok(bytes.slice(300_000..))).unwrap();
            upload.sender.close_channel();
        }
        for follower in uploads.iter_mut().skip(2) {
            assert!(follower.is_pending().await);
        }
        let mut outcomes = Vec::new();
        for upload in uploads {
            outcomes.push(upload.end().await.unwrap());
        }
        assert_eq!(outcomes, [CREATED, EXISTS, EXISTS, EXISTS, EXISTS, EXISTS]);
        let read = store.get(&ctx, &digest).await.unwrap().into_bytes(1 << 20).await.unwrap();
        assert_eq!(read, bytes);
    });
}

#[test]
fn another_takes_over_if_the_first_is_aborted() {
    let (store, ctx, (digest, bytes)) = (store(), Context::background(), contents());
    block_on(async {
        let mut uploads: Vec<_> = (0..4).map(|_| upload(&store, &ctx, &digest)).collect();
        for upload in &mut uploads {
            upload.send(bytes.slice(..300_000)).await;
        }
        for follower in uploads.iter_mut().skip(2) {
            follower.send(bytes.slice(300_000..)).await;
            follower.sender.close_channel();
            assert!(follower.is_pending().await);
        }
        let mut uploads = uploads.into_iter();
        let first = uploads.next().unwrap();
        first.sender.unbounded_send(Err(Error::unavailable("the client is gone"))).unwrap();
        assert_eq!(first.end().await.unwrap_err().kind(), ErrorKind::Unavailable);
        let second = uploads.next().unwrap();
        second.sender.unbounded_send(Ok(bytes.slice(300_000..))).unwrap();
        assert_eq!(second.end().await.unwrap(), CREATED);
        for follower in uploads {
            assert_eq!(follower.end().await.unwrap(), EXISTS);
        }
    });
}

#[test]
fn those_who_follow_are_told_if_nobody_stored_it_and_the_next_one_stores_it() {
    let (store, ctx, (digest, bytes)) = (store(), Context::background(), contents());
    block_on(async {
        let mut uploads: Vec<_> = (0..3).map(|_| upload(&store, &ctx, &digest)).collect();
        for upload in &mut uploads {
            upload.send(bytes.slice(..300_000)).await;
        }
        let mut follower = uploads.pop().unwrap();
        follower.send(bytes.slice(300_000..)).await;
        follower.sender.close_channel();
        assert!(follower.is_pending().await);
        drop(uploads);
        let error = follower.end().await.unwrap_err();
        assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::Unavailable, PutCertainty::NotStored));
        let late = upload(&store, &ctx, &digest);
        late.sender.unbounded_send(Ok(bytes.clone())).unwrap();
        assert_eq!(late.end().await.unwrap(), CREATED);
    });
}

#[test]
fn who_follows_with_wrong_bytes_is_refused_though_the_right_ones_are_stored() {
    let (store, ctx, (digest, bytes)) = (store(), Context::background(), contents());
    block_on(async {
        let mut uploads: Vec<_> = (0..3).map(|_| upload(&store, &ctx, &digest)).collect();
        for upload in &mut uploads {
            upload.send(bytes.slice(..300_000)).await;
        }
        let follower = uploads.pop().unwrap();
        follower.sender.unbounded_send(Ok(Bytes::from(vec![1; 400_000]))).unwrap();
        assert_eq!(follower.end().await.unwrap_err().kind(), ErrorKind::InvalidArgument);
        let first = uploads.swap_remove(0);
        first.sender.unbounded_send(Ok(bytes.slice(300_000..))).unwrap();
        assert_eq!(first.end().await.unwrap(), CREATED);
    });
}
