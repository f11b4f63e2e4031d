//! Contracts about damage: blobs that are not what was put where they lie, or cannot be read there.

use blobaccess::{ErrorKind, PutOutcome, Result};

use crate::samples::Samples;
use crate::subject::Subject;
use crate::{Damage, Fixture};

/// Checks that a damaged blob is never served wrong, is absent once a read has found it damaged, and can be put again; and
/// that all others are served meanwhile.
///
/// The read that finds it may fail with `DataLoss`, or say that it is absent. It may also return the blob, if the store has
/// it elsewhere. A blob that is damaged is no outage: nothing is `Unavailable`. A store that is not durable is empty.
pub async fn what_is_damaged_goes_alone_and_can_be_put_again<F: Fixture>(fixture: &F) -> Result<()> {
    let (mut subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    for damage in Damage::ALL {
        let all: Vec<_> = (0..4).map(|_| samples.small(fixture)).collect();
        for sample in &all {
            subject.put(sample).await?;
        }
        subject.close().await?;
        let Some((hit, others)) = all.split_first() else { return Ok(()) };
        let is_damaged = fixture.damage(&hit.digest, &hit.value, damage);
        subject = Subject::open(fixture).await?;
        if !subject.promises.durable {
            for sample in &all {
                subject.assert_absent(&sample.digest).await?;
            }
            continue;
        }
        match subject.read(&hit.digest).await {
            Ok(read) => assert!(read == hit.value, "another value was read than was put under {}", hit.digest),
            Err(error) => {
                assert!(is_damaged, "nothing was damaged, and a read failed: {error:?}");
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::DataLoss | ErrorKind::NotFound), "{damage:?}: {error:?}");
                subject.assert_absent(&hit.digest).await?;
                let outcome = subject.put(hit).await?;
                let is_known = matches!(outcome, PutOutcome::AlreadyExists { .. });
                assert!(!is_known, "what is damaged was put again, and the put returned {outcome:?}");
            }
        }
        for _ in 0..2 {
            subject.assert_present(hit).await?;
            for sample in others {
                subject.assert_present(sample).await?;
            }
            subject = subject.reopen().await?;
        }
    }
    Ok(())
}
