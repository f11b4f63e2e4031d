//! The puts of a broken store.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{
    Blob, BlobAccess, Clock, Context, Digest, DigestFunction, Error, ErrorKind, Kind, PutOutcome, Result, SystemClock,
};
use bytes::BytesMut;
use futures::{FutureExt, StreamExt};

use super::{ANY_SIZE, Broken, CAPACITY_BYTES, Fault, size_of};

impl<K: Kind> Broken<K> {
    pub(super) async fn put_wrongly(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let inner = &self.inner;
        let size = blob.size_bytes();
        match self.fault {
            Fault::SaysCreatedAgain => match inner.put(ctx, digest, blob).await? {
                PutOutcome::AlreadyExists { stored_bytes } => Ok(PutOutcome::Created { stored_bytes }),
                outcome => Ok(outcome),
            },
            Fault::LooksAndThenAdds => {
                let missing = !inner.find_missing(ctx, &digest.clone().into()).await?.is_empty();
                let bytes = blob.into_bytes(ANY_SIZE).await?;
                let outcome = inner.put(ctx, digest, Blob::from_bytes(bytes.clone())).await?;
                Ok(if missing { PutOutcome::Created { stored_bytes: size_of(&bytes) } } else { outcome })
            }
            Fault::HidesWhyASourceFailed => {
                inner.put(ctx, digest, blob).await.map_err(|error| error.with_kind(ErrorKind::Internal))
            }
            Fault::ShowsPiecesAsTheyCome => {
                let mut so_far = BytesMut::new();
                let mut pieces = blob.into_stream(..)?;
                while let Some(piece) = pieces.next().await.transpose()? {
                    so_far.extend_from_slice(&piece);
                    self.state().instead.insert(digest.clone(), so_far.clone().freeze());
                    tokio::task::yield_now().await;
                }
                self.state().instead.remove(digest);
                inner.put(ctx, digest, Blob::from_bytes(so_far.freeze())).await
            }
            Fault::ReadsBeforeItRefuses if size > CAPACITY_BYTES - 256 => {
                drop(blob.verify().await);
                Err(Error::invalid_argument("blob is too large"))
            }
            Fault::RefusesTheLargest if size > CAPACITY_BYTES - 300 => {
                Err(Error::invalid_argument("blob is too large"))
            }
            Fault::BelievesInPutsBeforeTheyEnd => {
                self.state().found.insert(digest.clone());
                inner.put(ctx, digest, blob).await
            }
            Fault::ListsAFunctionThatItDoesNotTake if digest.function() == DigestFunction::Sha512 => {
                Err(Error::unimplemented("no SHA-512 here"))
            }
            Fault::TakesAnySize | Fault::TakesAnyHash => {
                let bytes = blob.into_bytes(ANY_SIZE).await?;
                let has_the_size = size_of(&bytes) == digest.size_bytes();
                if has_the_size == self.is(Fault::TakesAnyHash) && !digest.verify(&bytes) {
                    self.state().instead.insert(digest.clone(), bytes);
                    return Ok(PutOutcome::Created { stored_bytes: size });
                }
                inner.put(ctx, digest, Blob::from_bytes(bytes)).await
            }
            Fault::OverwritesContents if inner.find_missing(ctx, &digest.clone().into()).await?.is_empty() => {
                let bytes = blob.into_bytes(ANY_SIZE).await?;
                self.state().instead.insert(digest.clone(), bytes);
                Ok(PutOutcome::AlreadyExists { stored_bytes: size })
            }
            Fault::PutsOneAfterTheOther => {
                let turn = self.turn().lock_owned().await;
                let outcome = inner.put(ctx, digest, blob).await;
                drop(turn);
                outcome
            }
            Fault::PutsOneAfterTheOtherUnlessSilent => self.put_unless_silent(ctx, digest, blob).await,
            Fault::GivesFollowersTheFailureOfTheirLeader | Fault::WaitsForEqualUploads => {
                self.put_as_equals(ctx, digest, blob).await
            }
            Fault::KeepsTheFirstValue if inner.find_missing(ctx, &digest.clone().into()).await?.is_empty() => {
                Ok(PutOutcome::AlreadyExists { stored_bytes: size })
            }
            Fault::RemovesBeforeItReplaces => {
                self.state().absent.insert(digest.clone());
                let outcome = inner.put(ctx, digest, blob).await?;
                self.state().absent.remove(digest);
                Ok(outcome)
            }
            Fault::BringsBackTheFirstValue => {
                let bytes = blob.into_bytes(ANY_SIZE).await?;
                self.state().first.entry(digest.clone()).or_insert_with(|| bytes.clone());
                inner.put(ctx, digest, Blob::from_bytes(bytes)).await
            }
            _ => inner.put(ctx, digest, blob).await,
        }
    }

    /// Puts one blob at a time, and ends those that send nothing for a second.
    async fn put_unless_silent(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let turn = self.turn().lock_owned().await;
        let mut so_far = BytesMut::new();
        let mut pieces = blob.into_stream(..)?;
        loop {
            let clock: &dyn Clock = &SystemClock;
            let piece = clock.timeout(Some(clock.monotonic() + Duration::from_secs(1)), pieces.next()).await;
            match piece.map_err(|_| Error::unavailable("it is silent for too long"))? {
                Some(piece) => so_far.extend_from_slice(&piece?),
                None => break,
            }
        }
        drop(turn);
        self.inner.put(ctx, digest, Blob::from_bytes(so_far.freeze())).await
    }

    /// Lets equal puts wait for the first of them.
    async fn put_as_equals(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let (flight, leads) = {
            let mut state = self.state();
            if let Some(flight) = state.flights.get(digest) {
                (flight.clone(), false)
            } else {
                let (inner, ctx, digest) = (Arc::clone(&self.inner), ctx.clone(), digest.clone());
                let key = digest.clone();
                let flight = async move { inner.put(&ctx, &digest, blob).await }.boxed().shared();
                state.flights.insert(key, flight.clone());
                (flight, true)
            }
        };
        let outcome = flight.await?;
        if leads {
            self.state().flights.remove(digest);
            return Ok(outcome);
        }
        Ok(PutOutcome::AlreadyExists { stored_bytes: outcome.stored_bytes().unwrap() })
    }
}
