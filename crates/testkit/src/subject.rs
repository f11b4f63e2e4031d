//! The store that a contract has opened, with the calls and checks of contracts.

use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, ErrorKind, InstanceName, Kind, Provenance,
    PutOutcome, Result, Slicer,
};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{join_all, poll_fn};

use crate::fakes::{failing_stream, slow_stream};
use crate::samples::Sample;
use crate::{Fixture, Promises};

/// A limit above the size of any blob of the suite.
pub(crate) const ANY_SIZE: u64 = 1 << 40;

/// The way in which several puts are run at once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AtOnce {
    TurnByTurn,
    InParallel,
}

impl AtOnce {
    pub(crate) const ALL: [Self; 2] = [Self::TurnByTurn, Self::InParallel];
}

/// The store that a contract has opened.
pub(crate) struct Subject<'f, F: Fixture> {
    fixture: &'f F,
    pub(crate) store: Arc<F::Store>,
    pub(crate) ctx: Context,
    pub(crate) promises: Promises,
}

impl<'f, F: Fixture> Subject<'f, F> {
    pub(crate) async fn open(fixture: &'f F) -> Result<Self> {
        let store = fixture.open().await.map_err(|error| error.at("opening the store"))?;
        let store = Arc::new(store);
        Ok(Self { fixture, store, ctx: fixture.context(), promises: fixture.promises() })
    }

    /// Closes the store, which must not be in use any more.
    pub(crate) async fn close(self) -> Result<()> {
        let store = Arc::into_inner(self.store);
        let store = store.ok_or_else(|| Error::internal("the contract still uses the store that it closes"))?;
        self.fixture.close(store).await.map_err(|error| error.at("closing the store"))
    }

    pub(crate) async fn reopen(self) -> Result<Self> {
        let fixture = self.fixture;
        self.close().await?;
        Self::open(fixture).await
    }

    pub(crate) async fn put(&self, sample: &Sample) -> Result<PutOutcome> {
        self.put_blob(&sample.digest, Blob::from_bytes(sample.value.clone())).await
    }

    pub(crate) async fn put_blob(&self, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.store.put(&self.ctx, digest, blob).await.map_err(|error| error.at(format!("put of {digest}")))
    }

    /// Runs all of `puts` at once. Turn by turn, each has begun before any goes on; in parallel, they run as far as the
    /// runtime allows.
    pub(crate) async fn put_at_once(&self, puts: Vec<(Digest, Blob)>, at_once: AtOnce) -> Vec<Result<PutOutcome>> {
        if matches!(at_once, AtOnce::TurnByTurn) {
            let puts = puts.into_iter().map(|(digest, blob)| async move { self.put_blob(&digest, blob).await });
            return join_all(puts).await;
        }
        let barrier = Arc::new(tokio::sync::Barrier::new(puts.len()));
        let tasks = puts.into_iter().map(|(digest, blob)| {
            let (store, ctx, barrier) = (Arc::clone(&self.store), self.ctx.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                store.put(&ctx, &digest, blob).await.map_err(|error| error.at(format!("put of {digest}")))
            })
        });
        let ended = join_all(tasks).await.into_iter();
        ended
            .map(|ended| ended.unwrap_or_else(|panic| Err(Error::internal("a put panicked").with_source(panic))))
            .collect()
    }

    pub(crate) async fn get(&self, digest: &Digest) -> Result<Blob> {
        self.store.get(&self.ctx, digest).await.map_err(|error| error.at(format!("get of {digest}")))
    }

    pub(crate) async fn read(&self, digest: &Digest) -> Result<Bytes> {
        let blob = self.get(digest).await?;
        blob.into_bytes(ANY_SIZE).await.map_err(|error| error.at(format!("reading of {digest}")))
    }

    pub(crate) async fn get_part(&self, parent: &Digest, child: &Digest, slicer: &Arc<dyn Slicer>) -> Result<Blob> {
        let got = self.store.get_from_composite(&self.ctx, parent, child, Arc::clone(slicer)).await;
        got.map_err(|error| error.at(format!("get_from_composite of {child} in {parent}")))
    }

    pub(crate) async fn find_missing(&self, digests: &DigestSet) -> Result<DigestSet> {
        self.store.find_missing(&self.ctx, digests).await.map_err(|error| {
            error.at(match (digests.first(), digests.len()) {
                (None, _) => "find_missing of no digests, which needs no store and cannot fail".to_owned(),
                (Some(only), 1) => format!("find_missing of {only}"),
                (Some(first), len) => format!("find_missing of {len} digests from {first} on"),
            })
        })
    }

    pub(crate) async fn capabilities(&self, name: &InstanceName) -> Result<Capabilities> {
        let capabilities = self.store.capabilities(&self.ctx, name).await;
        capabilities.map_err(|error| error.at(format!("capabilities of instance name {:?}", name.as_str())))
    }

    /// Returns the missing ones of `digests`, or `None` if the store rightly does not offer `find_missing`.
    pub(crate) async fn missing(&self, digests: &DigestSet) -> Result<Option<DigestSet>> {
        let answer = self.find_missing(digests).await;
        if self.promises.finds_in_bulk || digests.is_empty() {
            return answer.map(Some);
        }
        let error = refused(answer, "find_missing, by a store that does not promise to find in bulk");
        assert_eq!(error.kind(), ErrorKind::Unimplemented, "{error:?}");
        Ok(None)
    }

    /// Asserts that the digests in both `digests` and `expected` are missing, and no others.
    pub(crate) async fn assert_missing(&self, digests: &DigestSet, expected: &DigestSet) -> Result<()> {
        if let Some(missing) = self.missing(digests).await? {
            let (wrongly, _, overlooked) = missing.split(expected);
            assert!(
                wrongly.is_empty(),
                "reported missing, but stored: {:?} and {} in all",
                wrongly.first(),
                wrongly.len()
            );
            assert!(
                overlooked.is_empty(),
                "not stored, but not reported missing: {:?} and {} in all",
                overlooked.first(),
                overlooked.len()
            );
        }
        Ok(())
    }

    /// Asserts that the store has `sample`, by `get` and by `find_missing`.
    pub(crate) async fn assert_present(&self, sample: &Sample) -> Result<()> {
        self.assert_missing(&sample.digest.clone().into(), &DigestSet::new()).await?;
        self.assert_reads(sample).await
    }

    /// Asserts that the value of `sample` is read.
    pub(crate) async fn assert_reads(&self, sample: &Sample) -> Result<()> {
        let blob = self.get(&sample.digest).await?;
        assert_eq!(blob.size_bytes(), sample.size_bytes(), "the blob announces another size");
        let read = blob.into_bytes(ANY_SIZE).await?;
        assert!(read == sample.value, "another value was read than was put under {}", sample.digest);
        Ok(())
    }

    /// Asserts that the store does not have `digest`, by `get` and by `find_missing`.
    pub(crate) async fn assert_absent(&self, digest: &Digest) -> Result<()> {
        let asked = DigestSet::from(digest.clone());
        self.assert_missing(&asked, &asked).await?;
        let error = refused(self.get(digest).await, "the get of an absent blob");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        Ok(())
    }

    /// Asserts that the store has all of `sample` or nothing, and that `get` and `find_missing` agree. Returns whether
    /// it has it.
    ///
    /// A put that was dropped may still complete somewhere behind the store. Therefore `get` is compared with
    /// `find_missing` before it and after it.
    pub(crate) async fn assert_present_or_absent(&self, sample: &Sample) -> Result<bool> {
        let missing = self.missing(&sample.digest.clone().into()).await?;
        let present = match self.read(&sample.digest).await {
            Ok(read) => {
                assert!(read == sample.value, "another value was read than was put under {}", sample.digest);
                true
            }
            Err(error) if error.is_not_found() => false,
            Err(error) => return Err(error),
        };
        if missing.is_some_and(|missing| missing.is_empty() != present) {
            let missing = self.missing(&sample.digest.clone().into()).await?;
            let found = missing.is_none_or(|missing| missing.is_empty());
            assert_eq!(found, present, "find_missing and get disagree about {}", sample.digest);
        }
        Ok(present)
    }

    /// Asserts that `outcome` is that of a put that added the blob.
    pub(crate) fn assert_created(&self, outcome: PutOutcome) {
        self.assert_outcome(outcome, matches!(outcome, PutOutcome::Created { .. }), "Created");
    }

    /// Asserts that `outcome` is that of a put that added nothing.
    pub(crate) fn assert_already_exists(&self, outcome: PutOutcome) {
        self.assert_outcome(outcome, matches!(outcome, PutOutcome::AlreadyExists { .. }), "AlreadyExists");
    }

    /// Asserts that `outcome` is right, or unclassified if the store does not promise exact outcomes.
    pub(crate) fn assert_outcome(&self, outcome: PutOutcome, is_right: bool, right: &str) {
        let untold = !self.promises.exact_outcomes && matches!(outcome, PutOutcome::Unclassified { .. });
        assert!(is_right || untold, "the put returned {outcome:?}, not {right}");
    }

    /// Makes the blob of `sample` from a source that is slow: it takes many turns of the runtime.
    pub(crate) fn slow_blob(sample: &Sample) -> Blob {
        if <F::Store as BlobAccess>::Kind::STORAGE_TYPE.is_mutable() {
            let turns = async {
                for _ in 0..8 {
                    tokio::task::yield_now().await;
                }
                Ok(())
            };
            return Blob::from_bytes(sample.value.clone()).with_task(turns);
        }
        let stream = slow_stream(sample.value.clone(), (sample.value.len() / 7).max(1));
        Blob::from_untrusted_stream(&sample.digest, stream, Provenance::client())
    }

    /// Makes the blob of `sample` from a source that fails midway.
    pub(crate) fn failing_blob(sample: &Sample, error: Error) -> Blob {
        if <F::Store as BlobAccess>::Kind::STORAGE_TYPE.is_mutable() {
            return Blob::from_bytes(sample.value.clone()).with_task(async { Err(error) }.boxed());
        }
        let half = sample.value.len() / 2;
        let stream = failing_stream(sample.value.clone(), half, (half / 3).max(1), error);
        Blob::from_untrusted_stream(&sample.digest, stream, Provenance::client())
    }

    /// Returns `wanted`, or the maximum size of a blob if that is smaller, in bytes.
    pub(crate) fn at_most(&self, wanted: u64) -> u64 {
        self.promises.max_blob_size_bytes.map_or(wanted, |max| max.min(wanted))
    }
}

/// Returns the error of `result`, which must be one.
#[track_caller]
#[expect(clippy::panic, reason = "this is how a contract reports that it is broken")]
pub(crate) fn refused<T: Debug>(result: Result<T>, what: &str) -> Error {
    match result {
        Err(error) => error,
        Ok(value) => panic!("{what} must fail, but returned {value:?}"),
    }
}

/// Polls `future` up to `polls` times, and then drops it (or the reference to it).
pub(crate) async fn polled<T>(future: impl Future<Output = T> + Send, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|poller| {
        left = left.saturating_sub(1);
        match future.as_mut().poll(poller) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
