//! What a store answers when all that is behind it is down.

use blobaccess::{BlobAccess, DigestSet, Result};

use crate::Fixture;
use crate::samples::Samples;
use crate::subject::{Subject, refused};

/// During an outage nothing is reported to be absent, or stored. A store with nothing behind it serves on.
pub async fn an_outage_is_never_not_found<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let (stored, new, absent) = (samples.small(fixture), samples.small(fixture), samples.absent(fixture));
    subject.put(&stored).await?;
    if !fixture.break_down() {
        subject.assert_absent(&absent).await?;
        return subject.assert_present(&stored).await;
    }
    // What it remembers it may answer; the rest it does not know.
    match subject.read(&stored.digest).await {
        Ok(read) => assert!(read == stored.value, "another value was read than was put"),
        Err(error) => assert!(!error.is_not_found(), "a get during an outage: {error:?}"),
    }
    let error = refused(subject.get(&absent).await, "a get of what it cannot know of, during an outage");
    assert!(!error.is_not_found(), "a get during an outage: {error:?}");
    match subject.store.find_missing(&subject.ctx, &stored.digest.clone().into()).await {
        Ok(missing) => assert!(missing.is_empty(), "find_missing during an outage reports what is stored"),
        Err(error) => assert!(!error.is_not_found(), "find_missing during an outage: {error:?}"),
    }
    let found = subject.store.find_missing(&subject.ctx, &absent.into()).await;
    let error = refused(found, "find_missing of what it cannot know of, during an outage");
    assert!(!error.is_not_found(), "find_missing during an outage: {error:?}");
    let none = subject.store.find_missing(&subject.ctx, &DigestSet::new()).await?;
    assert!(none.is_empty(), "of no digests, some are missing");
    let put = subject.put(&new).await;
    if let Err(error) = &put {
        assert!(!error.is_not_found(), "a put during an outage: {error:?}");
    }
    fixture.mend();
    if put.is_ok() {
        subject.assert_present(&new).await?;
    }
    Ok(())
}

/// After an outage a store serves as before: it remembers nothing that it only believed.
pub async fn after_an_outage_a_store_serves_as_before<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let (stored, refused, absent) = (samples.small(fixture), samples.small(fixture), samples.absent(fixture));
    subject.put(&stored).await?;
    fixture.break_down();
    let put = subject.put(&refused).await;
    for digest in [&stored.digest, &refused.digest, &absent] {
        // How these end is the other contract's business.
        drop(subject.read(digest).await);
        drop(subject.store.find_missing(&subject.ctx, &digest.clone().into()).await);
    }
    fixture.mend();
    subject.assert_present(&stored).await?;
    subject.assert_absent(&absent).await?;
    if put.is_ok() {
        subject.assert_present(&refused).await?;
    } else {
        subject.assert_present_or_absent(&refused).await?;
        subject.put(&refused).await?;
    }
    subject.assert_present(&refused).await
}
