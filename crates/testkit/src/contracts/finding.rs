//! Contracts about `find_missing`: it is exact for any set of digests, however often it is called.

use blobaccess::{BlobAccess, DigestSet, Error, KeyFormat, Result};

use crate::Fixture;
use crate::samples::Samples;
use crate::subject::{Subject, refused};

/// Checks that `find_missing` of no digests returns none. That call needs no store and cannot fail.
pub async fn of_no_digests_none_is_missing<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    subject.assert_missing(&DigestSet::new(), &DigestSet::new()).await?;
    subject.put(&samples.small(fixture)).await?;
    subject.assert_missing(&DigestSet::new(), &DigestSet::new()).await
}

/// Checks that exactly the digests that cannot be read are reported missing: for one digest, and for sets with some of
/// each.
pub async fn exactly_what_is_absent_is_missing<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let stored: Vec<_> = (0..20).map(|_| samples.small(fixture)).collect();
    for sample in &stored {
        subject.put(sample).await?;
    }
    let present: DigestSet = stored.iter().map(|sample| sample.digest.clone()).collect();
    let absent: DigestSet = (0..20).map(|_| samples.absent(fixture)).collect();
    subject.assert_missing(&present, &DigestSet::new()).await?;
    subject.assert_missing(&absent, &absent).await?;
    subject.assert_missing(&DigestSet::union([&present, &absent]), &absent).await?;
    for digest in &present {
        subject.assert_missing(&digest.clone().into(), &DigestSet::new()).await?;
    }
    for digest in &absent {
        subject.assert_absent(digest).await?;
    }
    for sample in &stored {
        subject.assert_present(sample).await?;
    }
    Ok(())
}

/// Checks that each of ten thousand digests, as many as a build asks about at once, is answered correctly.
pub async fn ten_thousand_digests_are_each_answered_for<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let asked: Vec<_> = (0..10_000).map(|_| samples.sample(fixture, 40)).collect();
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    for (index, sample) in asked.iter().enumerate() {
        if index % 97 == 0 || index + 1 == asked.len() {
            subject.put(sample).await?;
            present.push(sample.digest.clone());
        } else {
            absent.push(sample.digest.clone());
        }
    }
    let absent = DigestSet::from(absent);
    let asked: DigestSet = asked.into_iter().map(|sample| sample.digest).collect();
    subject.assert_missing(&asked, &absent).await?;
    subject.assert_missing(&present.into(), &DigestSet::new()).await
}

/// Checks that repeating a query does not change its answer, and that putting a missing blob changes it at once.
pub async fn an_answer_holds_until_something_is_put<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let (sample, other) = (samples.small(fixture), samples.small(fixture));
    let asked = DigestSet::from([sample.digest.clone(), other.digest.clone()]);
    for _ in 0..3 {
        subject.assert_missing(&asked, &asked).await?;
    }
    subject.assert_absent(&sample.digest).await?;
    subject.put(&sample).await?;
    for _ in 0..3 {
        subject.assert_missing(&asked, &other.digest.clone().into()).await?;
    }
    subject.assert_present(&sample).await?;
    subject.put(&other).await?;
    subject.assert_missing(&asked, &DigestSet::new()).await
}

/// Checks that a blob that was read is not missing, and that a blob that was not found still is.
pub async fn to_get_changes_no_answer<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let (sample, absent) = (samples.small(fixture), samples.absent(fixture));
    subject.put(&sample).await?;
    for _ in 0..3 {
        subject.assert_reads(&sample).await?;
        let error = refused(subject.get(&absent).await, "the get of an absent blob");
        assert!(error.is_not_found(), "{error:?}");
        let asked = DigestSet::from([sample.digest.clone(), absent.clone()]);
        subject.assert_missing(&asked, &absent.clone().into()).await?;
    }
    Ok(())
}

/// Checks that a blob is missing after its put failed, also if it was asked about before.
pub async fn after_a_failed_put_the_blob_is_missing<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let sample = samples.small(fixture);
    let asked = DigestSet::from(sample.digest.clone());
    subject.assert_missing(&asked, &asked).await?;
    let blob = Subject::<F>::failing_blob(&sample, Error::aborted("the source failed"));
    refused(subject.put_blob(&sample.digest, blob).await, "a put whose source fails");
    subject.assert_missing(&asked, &asked).await?;
    subject.put(&sample).await?;
    subject.assert_missing(&asked, &DigestSet::new()).await
}

/// Checks that a set may have digests of several instance names, and that each is reported in its own.
pub async fn several_instance_names_are_answered_for_at_once<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let [_, other] = fixture.instance_names();
    let (stored, absent) = (samples.small(fixture), samples.small(fixture));
    subject.put(&stored).await?;
    let (stored_there, absent_there) = (stored.within(other.clone()).digest, absent.within(other).digest);
    let asked = DigestSet::from([stored.digest, stored_there.clone(), absent.digest.clone(), absent_there.clone()]);
    let expected = match subject.store.key_format() {
        // The answer for the whole set is the same as for each of its digests.
        _ if !subject.promises.knows_key_format => {
            let there = subject.missing(&stored_there.into()).await?.unwrap_or_default();
            DigestSet::union([&there, &DigestSet::from([absent.digest, absent_there])])
        }
        KeyFormat::WithInstanceName => DigestSet::from([stored_there, absent.digest, absent_there]),
        KeyFormat::WithoutInstanceName => DigestSet::from([absent.digest, absent_there]),
    };
    subject.assert_missing(&asked, &expected).await
}
