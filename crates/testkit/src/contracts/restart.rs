//! Contracts about restarts: which blobs exist when the store is opened again.

use blobaccess::{DigestSet, Result};

use crate::Fixture;
use crate::samples::Samples;
use crate::subject::Subject;

/// Checks that a durable store has its blobs after a restart, and that any other store is empty and says so.
pub async fn a_blob_outlives_the_store_if_so_promised<F: Fixture>(fixture: &F) -> Result<()> {
    let (mut subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let stored: Vec<_> = (0..20).map(|_| samples.small(fixture)).collect();
    for sample in &stored {
        subject.put(sample).await?;
    }
    for _ in 0..2 {
        subject = subject.reopen().await?;
        for sample in &stored {
            if subject.promises.durable {
                subject.assert_present(sample).await?;
            } else {
                subject.assert_absent(&sample.digest).await?;
            }
        }
    }
    Ok(())
}

/// Checks that a store that was opened again distinguishes stored from absent blobs, and accepts further puts.
pub async fn a_store_that_was_opened_again_is_as_good_as_before<F: Fixture>(fixture: &F) -> Result<()> {
    let (mut subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let absent = samples.absent(fixture);
    let before = samples.small(fixture);
    subject.put(&before).await?;
    let mut stored = vec![before];
    for _ in 0..3 {
        subject = subject.reopen().await?;
        subject.assert_absent(&absent).await?;
        let (old, new) = (stored.clone(), samples.small(fixture));
        for sample in &old {
            let outcome = subject.put(sample).await?;
            if subject.promises.durable {
                subject.assert_already_exists(outcome);
            } else {
                subject.assert_created(outcome);
            }
        }
        let outcome = subject.put(&new).await?;
        subject.assert_created(outcome);
        stored.push(new);
        let all: DigestSet = stored.iter().map(|sample| sample.digest.clone()).collect();
        subject.assert_missing(&all, &DigestSet::new()).await?;
        for sample in &stored {
            subject.assert_reads(sample).await?;
        }
    }
    Ok(())
}
