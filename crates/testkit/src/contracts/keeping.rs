//! Contracts about eviction: a blob in use stays as long as promised, and an evicted blob is gone for every call.

use blobaccess::Result;

use crate::Fixture;
use crate::samples::{Sample, Samples};
use crate::subject::Subject;

/// The number of bytes that the suite puts into a store that promises no capacity.
const UNBOUNDED_BYTES: u64 = 4 << 20;

/// The call that uses a blob, so that the blob is kept.
enum Use {
    Put,
    Get,
    Find,
}

/// Checks that a blob that was put stays for as many further bytes as promised.
pub async fn what_was_put_stays_as_long_as_promised<F: Fixture>(fixture: &F) -> Result<()> {
    stays(fixture, &Use::Put).await
}

/// Checks that a blob that is read repeatedly stays, whatever else is put.
pub async fn what_is_read_stays_as_long_as_promised<F: Fixture>(fixture: &F) -> Result<()> {
    stays(fixture, &Use::Get).await
}

/// Checks that a blob that is asked about repeatedly stays, whatever else is put.
pub async fn what_is_found_stays_as_long_as_promised<F: Fixture>(fixture: &F) -> Result<()> {
    stays(fixture, &Use::Find).await
}

async fn stays<F: Fixture>(fixture: &F, used: &Use) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let sample = samples.small(fixture);
    subject.put(&sample).await?;
    let Some(keeps_bytes) = subject.promises.keeps_bytes else {
        fill(&subject, fixture, &mut samples, UNBOUNDED_BYTES).await?;
        subject.assert_present_or_absent(&sample).await?;
        return Ok(());
    };
    match used {
        Use::Put => drop(fill(&subject, fixture, &mut samples, keeps_bytes).await?),
        // Four times half of the bytes that the blob outlives unused: it is kept because it is used.
        Use::Get => {
            for _ in 0..4 {
                fill(&subject, fixture, &mut samples, keeps_bytes / 2).await?;
                subject.assert_reads(&sample).await?;
            }
        }
        Use::Find => {
            for _ in 0..4 {
                fill(&subject, fixture, &mut samples, keeps_bytes / 2).await?;
                subject.assert_missing(&sample.digest.clone().into(), &blobaccess::DigestSet::new()).await?;
            }
        }
    }
    if matches!(used, Use::Find) && !subject.promises.finds_in_bulk {
        subject.assert_present_or_absent(&sample).await?;
        return Ok(());
    }
    subject.assert_present(&sample).await
}

/// Checks that a store that was given twice its capacity has evicted the excess. An evicted blob is gone for `get` and
/// `find_missing` alike, and the others are whole. A store that promises no capacity must have evicted nothing.
pub async fn what_is_evicted_is_gone_for_get_and_find_missing_alike<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let bytes = subject.promises.capacity_bytes.map_or(UNBOUNDED_BYTES, |capacity| capacity.saturating_mul(2));
    let stored = fill(&subject, fixture, &mut samples, bytes).await?;
    let (mut kept_bytes, mut kept) = (0, 0);
    for sample in &stored {
        if subject.assert_present_or_absent(sample).await? {
            kept_bytes += sample.size_bytes();
            kept += 1;
        }
    }
    match subject.promises.capacity_bytes {
        Some(capacity) => assert!(kept_bytes <= capacity, "{kept_bytes} bytes were kept, of a capacity of {capacity}"),
        None => assert_eq!(kept, stored.len(), "blobs that were kept by a store that promises no capacity"),
    }
    Ok(())
}

/// Puts up to `bytes` bytes of new contents, in blobs of up to 64 KiB.
async fn fill<F: Fixture>(
    subject: &Subject<'_, F>,
    fixture: &F,
    samples: &mut Samples,
    bytes: u64,
) -> Result<Vec<Sample>> {
    let size = subject.at_most(64 << 10).min(bytes / 8).max(1);
    let mut stored = Vec::new();
    for _ in 0..bytes / size {
        let sample = samples.sample(fixture, size);
        subject.put(&sample).await?;
        stored.push(sample);
    }
    Ok(stored)
}
