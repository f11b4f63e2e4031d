//! Contracts about writing: a put stores all of its blob or nothing, and returns its outcome.

use blobaccess::{Blob, Digest, DigestFunction, Error, ErrorKind, PutOutcome, Result};

use crate::Fixture;
use crate::fakes::watched_stream;
use crate::samples::Samples;
use crate::subject::{AtOnce, Subject, polled, refused};

/// The number of concurrent puts: more than there are processors, so that some are suspended midway.
const PUTS: usize = 64;

/// The number of polls after which a put is dropped: more than any store of ours needs.
const POLLS: usize = 64;

/// The largest blob that the suite makes, in bytes.
const LARGEST_MADE_BYTES: u64 = 64 << 20;

/// Checks that a put of a stored value adds nothing, that its outcome says so, and that it counts the same bytes as the
/// first put.
pub async fn an_equal_value_already_exists<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let sample = samples.small(fixture);
    let first = subject.put(&sample).await?;
    subject.assert_created(first);
    for _ in 0..2 {
        let again = subject.put(&sample).await?;
        subject.assert_already_exists(again);
        if let (Some(first), Some(again)) = (first.stored_bytes(), again.stored_bytes()) {
            assert_eq!(first, again, "the same blob takes another number of bytes");
        }
    }
    subject.assert_present(&sample).await
}

/// Checks that of any number of concurrent puts of one value exactly one creates it. Without exact outcomes, at most
/// one may claim to.
pub async fn of_many_puts_at_once_exactly_one_creates<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    for (size, at_once) in [100, 20_000].into_iter().flat_map(|size| AtOnce::ALL.map(|at_once| (size, at_once))) {
        let sample = samples.sample(fixture, subject.at_most(size));
        let puts = (0..PUTS).map(|_| (sample.digest.clone(), Subject::<F>::slow_blob(&sample))).collect();
        let mut created = 0;
        for outcome in subject.put_at_once(puts, at_once).await {
            match outcome? {
                PutOutcome::Created { .. } => created += 1,
                outcome @ (PutOutcome::AlreadyExists { .. }
                | PutOutcome::Replaced { .. }
                | PutOutcome::Unclassified { .. }) => subject.assert_already_exists(outcome),
            }
        }
        if subject.promises.exact_outcomes {
            assert_eq!(created, 1, "puts that came to Created, of {PUTS} of one digest at once");
        } else {
            assert!(created <= 1, "{created} puts of one digest came to Created");
        }
        subject.assert_present(&sample).await?;
    }
    Ok(())
}

/// Checks that a put whose source fails midway returns that failure and stores nothing.
pub async fn a_put_whose_source_fails_leaves_nothing<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    for kind in [ErrorKind::Unavailable, ErrorKind::ResourceExhausted, ErrorKind::DataLoss, ErrorKind::Aborted] {
        let sample = samples.sample(fixture, subject.at_most(50_000));
        let blob = Subject::<F>::failing_blob(&sample, Error::new(kind, "the source failed"));
        let error = refused(subject.put_blob(&sample.digest, blob).await, "a put whose source fails");
        assert_eq!(error.kind(), kind, "the failure of the source came out as {error:?}");
        subject.assert_absent(&sample.digest).await?;
        let outcome = subject.put(&sample).await?;
        subject.assert_created(outcome);
        subject.assert_present(&sample).await?;
    }
    Ok(())
}

/// Checks that a put that is dropped at any point stores all of its blob or nothing, and does not block later calls.
pub async fn a_dropped_put_leaves_nothing_partial<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    for polls in 1..=POLLS {
        let sample = samples.sample(fixture, subject.at_most(10_000));
        let blob = Subject::<F>::slow_blob(&sample);
        let ended = polled(subject.put_blob(&sample.digest, blob), polls).await.transpose()?;
        subject.assert_present_or_absent(&sample).await?;
        subject.put(&sample).await?;
        subject.assert_present(&sample).await?;
        if ended.is_some() {
            return Ok(());
        }
    }
    Ok(())
}

/// Checks that a blob above the maximum size is refused before its first byte is read, and that nothing of it is
/// stored. A store without such a limit must accept a blob of a few MiB.
pub async fn a_blob_larger_than_promised_is_refused_unread<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let Some(max) = subject.promises.max_blob_size_bytes else {
        let sample = samples.sample(fixture, 5 << 20);
        subject.put(&sample).await?;
        return subject.assert_present(&sample).await;
    };
    let [name, _] = fixture.instance_names();
    for more in [1, 1 << 30] {
        let hash = samples.bytes(32);
        let digest = Digest::from_hash(name.clone(), DigestFunction::Sha256, &hash, max.saturating_add(more))?;
        let (stream, polls) = watched_stream();
        let blob = Blob::from_verified_stream(&digest, stream);
        let error = refused(subject.put_blob(&digest, blob).await, "the put of a blob that is too large");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
        assert_eq!(polls.count(), 0, "how often the stream was polled");
        subject.assert_absent(&digest).await?;
    }
    Ok(())
}

/// Checks that a blob of the maximum size is stored.
pub async fn the_largest_blob_promised_is_stored<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let max = subject.promises.max_blob_size_bytes.filter(|max| *max <= LARGEST_MADE_BYTES).unwrap_or(5 << 20);
    let sample = samples.sample(fixture, max);
    let outcome = subject.put(&sample).await?;
    subject.assert_created(outcome);
    subject.assert_present(&sample).await
}

/// Checks that a blob of a few MiB, in pieces of odd sizes, is stored whole.
pub async fn a_large_blob_in_odd_pieces_is_stored_whole<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let sample = samples.sample(fixture, subject.at_most((3 << 20) + 4321));
    let outcome = subject.put_blob(&sample.digest, Subject::<F>::slow_blob(&sample)).await?;
    subject.assert_created(outcome);
    subject.assert_present(&sample).await
}
