//! Contracts about reading: a blob is read as it was put, whole or in part.

use std::ops::Range;

use blobaccess::{BlobAccess, ErrorKind, Result};
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};

use crate::Fixture;
use crate::samples::{Sample, Samples};
use crate::subject::{ANY_SIZE, Subject, refused};

/// Checks that small and large blobs are read as they were put, byte for byte.
pub async fn what_was_put_is_read<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let stored = [1, 2, 63, 64, 65, 1000, 4096, 70_000].map(|size| samples.sample(fixture, subject.at_most(size)));
    for sample in &stored {
        let outcome = subject.put(sample).await?;
        subject.assert_created(outcome);
    }
    for sample in &stored {
        subject.assert_reads(sample).await?;
    }
    Ok(())
}

/// Checks that the error for an absent blob comes from `get` itself, is `NotFound`, and names the digest.
pub async fn what_is_absent_is_not_found_by_name<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    subject.put(&samples.small(fixture)).await?;
    let absent = samples.absent(fixture);
    for _ in 0..2 {
        // Not by the subject, which adds the digest to the error.
        let error = refused(subject.store.get(&subject.ctx, &absent).await, "the get of an absent blob");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        let hash = absent.hash().to_string();
        assert!(error.to_string().contains(&hash), "the error does not name the digest {absent}: {error:?}");
    }
    Ok(())
}

/// Checks that a range is read as requested. A range that ends beyond the end of the blob ends there, and one that
/// begins at the end is empty.
pub async fn a_range_is_read_as_asked<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let sample = samples.sample(fixture, subject.at_most(10_000));
    subject.put(&sample).await?;
    let size = sample.size_bytes();
    let middle = size / 2;
    for range in [
        0..size,
        0..1,
        1..3,
        middle..middle,
        middle..size - 1,
        middle..size,
        size - 1..size,
        size - 1..size + 9,
        size..size,
        size..u64::MAX,
        0..u64::MAX,
    ] {
        let expected = part(&sample, &range);
        let stream = subject.get(&sample.digest).await?.into_stream(range.clone())?;
        let read: Vec<_> = stream.try_collect().await?;
        assert!(read.iter().all(|piece| !piece.is_empty()), "an empty piece of {range:?}");
        assert!(read.concat() == expected, "other bytes were read within {range:?} of {size}");
    }
    Ok(())
}

fn part(sample: &Sample, range: &Range<u64>) -> Vec<u8> {
    let clip = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(sample.value.len());
    let (start, end) = (clip(range.start), clip(range.end));
    sample.value.iter().skip(start).take(end.saturating_sub(start)).copied().collect()
}

/// Checks that a range that begins beyond the end is `OutOfRange` rather than empty.
pub async fn a_range_beyond_the_end_is_out_of_range<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let sample = samples.small(fixture);
    subject.put(&sample).await?;
    for beyond in [1, 1000] {
        let start = sample.size_bytes() + beyond;
        let blob = subject.get(&sample.digest).await?;
        let error = refused(blob.into_stream(start..).map(|_| ()), "a read beyond the end");
        assert_eq!(error.kind(), ErrorKind::OutOfRange, "{error:?}");
    }
    Ok(())
}

/// Checks that readers that stop early, or never begin, do not block other calls.
pub async fn a_reader_that_stops_early_leaves_the_store_usable<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let sample = samples.sample(fixture, subject.at_most(1 << 20));
    subject.put(&sample).await?;
    for attempt in 0..100 {
        let blob = subject.get(&sample.digest).await?;
        match attempt % 3 {
            0 => drop(blob),
            1 => drop(blob.into_stream(..)?),
            _ => {
                let mut stream = blob.into_stream(1..)?;
                let first = stream.next().await.transpose()?;
                assert!(first.is_some(), "a blob of many bytes has no first piece");
            }
        }
    }
    subject.assert_present(&sample).await?;
    let another = samples.small(fixture);
    subject.put(&another).await?;
    subject.assert_present(&another).await
}

/// Checks that a blob owns what its reading needs, so that it outlives the store that returned it.
pub async fn a_blob_can_be_read_when_its_store_is_gone<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let sample = samples.sample(fixture, subject.at_most(300_000));
    subject.put(&sample).await?;
    let blob = subject.get(&sample.digest).await?;
    drop(subject);
    assert!(blob.into_bytes(ANY_SIZE).await? == sample.value, "another value was read than was put");
    Ok(())
}

/// Checks that concurrent readers of one blob each read all of it.
pub async fn many_readers_at_once_each_read_all<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let sample = samples.sample(fixture, subject.at_most(300_000));
    subject.put(&sample).await?;
    let subject = &subject;
    let mut blobs = Vec::new();
    for _ in 0..32 {
        blobs.push(subject.get(&sample.digest).await?);
    }
    for read in join_all(blobs.into_iter().map(|blob| blob.into_bytes(ANY_SIZE))).await {
        assert!(read? == sample.value, "another value was read than was put");
    }
    Ok(())
}
