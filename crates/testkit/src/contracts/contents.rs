//! Contracts about contents: they match their digest, whoever puts them.

use blobaccess::{Blob, BlobAccess, Cas, Digest, DigestFunction, ErrorKind, Provenance, PutOutcome, Result};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;

use crate::Fixture;
use crate::fakes::slow_stream;
use crate::samples::{Sample, Samples};
use crate::subject::{AtOnce, Subject, polled, refused};

/// Returns `bytes` as blobs of `digest`, in each way in which a client can put them.
fn brought(digest: &Digest, bytes: &Bytes) -> Vec<Blob> {
    let stream = |piece_bytes| slow_stream(bytes.clone(), piece_bytes);
    vec![
        Blob::from_untrusted_stream(digest, stream(97), Provenance::client()),
        Blob::from_untrusted_stream(digest, stream(usize::MAX), Provenance::client()),
        Blob::from_untrusted_bytes(digest, bytes.clone(), Provenance::client()),
        Blob::from_bytes(bytes.clone()),
    ]
}

async fn are_refused<F: Fixture>(
    subject: &Subject<'_, F>,
    sample: &Sample,
    blobs: impl IntoIterator<Item = Blob>,
) -> Result<()> {
    for blob in blobs {
        let error = refused(subject.put_blob(&sample.digest, blob).await, "a put of wrong contents");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
        subject.assert_absent(&sample.digest).await?;
    }
    let outcome = subject.put(sample).await?;
    subject.assert_created(outcome);
    subject.assert_present(sample).await
}

/// Checks that contents that are too short or too long for their digest are refused, and that nothing of them is
/// stored.
pub async fn contents_of_the_wrong_size_are_refused<F>(fixture: &F) -> Result<()>
where
    F: Fixture<Store: BlobAccess<Kind = Cas>>,
{
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let sample = samples.sample(fixture, subject.at_most(1000));
    let mut long = BytesMut::from(&*sample.value);
    long.extend_from_slice(b"!");
    let short = sample.value.slice(..sample.value.len() - 1);
    let wrong = [short, Bytes::new(), long.freeze()];
    are_refused(&subject, &sample, wrong.iter().flat_map(|wrong| brought(&sample.digest, wrong))).await
}

/// Checks that contents of the right size with the wrong hash are refused, and that nothing of them is stored.
pub async fn contents_with_the_wrong_hash_are_refused<F>(fixture: &F) -> Result<()>
where
    F: Fixture<Store: BlobAccess<Kind = Cas>>,
{
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let sample = samples.sample(fixture, subject.at_most(1000));
    are_refused(&subject, &sample, brought(&sample.digest, &sample.wrong_value())).await
}

/// Checks that contents that were verified for one digest are not accepted for another.
pub async fn contents_of_another_digest_are_refused<F>(fixture: &F) -> Result<()>
where
    F: Fixture<Store: BlobAccess<Kind = Cas>>,
{
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let (sample, other) = (samples.sample(fixture, 1000), samples.sample(fixture, 1000));
    let blobs = vec![
        Blob::from_verified_bytes(&other.digest, other.value.clone()),
        Blob::from_verified_stream(&other.digest, slow_stream(other.value.clone(), 97)),
    ];
    are_refused(&subject, &sample, blobs).await
}

/// Checks that wrong contents that arrive together with the right ones are not stored, and do not fail the right ones.
pub async fn wrong_contents_beside_the_right_ones_do_no_harm<F>(fixture: &F) -> Result<()>
where
    F: Fixture<Store: BlobAccess<Kind = Cas>>,
{
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let judge = |outcome: Result<PutOutcome>, is_right: bool| match outcome {
        Ok(PutOutcome::Created { .. }) => {
            assert!(is_right, "a put of wrong contents came to Created");
            Ok(())
        }
        Ok(outcome) => {
            subject.assert_already_exists(outcome);
            Ok(())
        }
        Err(error) if is_right => Err(error.at("a put of right contents beside wrong ones")),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
            Ok(())
        }
    };
    // The first has read a part of its blob when the second comes.
    for first_is_right in [false, true] {
        let (sample, wrong) = right_and_wrong(fixture, &subject, &mut samples);
        let (first, second) = if first_is_right { (&sample, &wrong) } else { (&wrong, &sample) };
        let mut first_put = subject.put_blob(&first.digest, Subject::<F>::slow_blob(first)).boxed();
        let first_ended = polled(&mut first_put, 4).await;
        let second_put = subject.put_blob(&second.digest, Subject::<F>::slow_blob(second));
        let (first_ended, second_ended) = if let Some(ended) = first_ended {
            (ended, second_put.await)
        } else {
            futures::join!(first_put, second_put)
        };
        judge(first_ended, first_is_right)?;
        judge(second_ended, !first_is_right)?;
        subject.assert_present(&sample).await?;
    }
    // Many come at once.
    for (right_every, at_once) in [2, 8, 32].into_iter().flat_map(|every| AtOnce::ALL.map(|at_once| (every, at_once))) {
        let (sample, wrong) = right_and_wrong(fixture, &subject, &mut samples);
        let is_right = |index: usize| index % right_every == right_every - 1;
        let puts = (0..32).map(|index| {
            let blob = Subject::<F>::slow_blob(if is_right(index) { &sample } else { &wrong });
            (sample.digest.clone(), blob)
        });
        for (index, outcome) in subject.put_at_once(puts.collect(), at_once).await.into_iter().enumerate() {
            judge(outcome, is_right(index))?;
        }
        subject.assert_present(&sample).await?;
    }
    Ok(())
}

fn right_and_wrong<F: Fixture>(fixture: &F, subject: &Subject<'_, F>, samples: &mut Samples) -> (Sample, Sample) {
    let right = samples.sample(fixture, subject.at_most(20_000));
    let wrong = Sample { value: right.wrong_value(), ..right.clone() };
    (right, wrong)
}

/// Checks that wrong contents for a stored digest change nothing, and that a store that demands possession refuses
/// them.
pub async fn wrong_contents_for_what_is_stored_change_nothing<F>(fixture: &F) -> Result<()>
where
    F: Fixture<Store: BlobAccess<Kind = Cas>>,
{
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let sample = samples.sample(fixture, subject.at_most(1000));
    subject.put(&sample).await?;
    for blob in brought(&sample.digest, &sample.wrong_value()) {
        match subject.put_blob(&sample.digest, blob).await {
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}"),
            Ok(outcome) => {
                assert!(!subject.promises.demands_possession, "wrong contents were taken as a proof of possession");
                subject.assert_already_exists(outcome);
            }
        }
        subject.assert_present(&sample).await?;
    }
    Ok(())
}

/// Checks that the empty blob exists from the beginning if so promised. Otherwise it exists once it was put, like any
/// other blob.
pub async fn the_empty_blob_exists_if_so_promised<F>(fixture: &F) -> Result<()>
where
    F: Fixture<Store: BlobAccess<Kind = Cas>>,
{
    let subject = Subject::open(fixture).await?;
    let [name, _] = fixture.instance_names();
    let empty = Sample { digest: Digest::of(name, DigestFunction::Sha256, b""), value: Bytes::new() };
    if subject.promises.empty_blob_exists {
        subject.assert_present(&empty).await?;
        let outcome = subject.put(&empty).await?;
        subject.assert_already_exists(outcome);
    } else {
        subject.assert_absent(&empty.digest).await?;
        let outcome = subject.put(&empty).await?;
        subject.assert_created(outcome);
    }
    subject.assert_present(&empty).await?;
    let wrong = Blob::from_untrusted_bytes(&empty.digest, Bytes::from_static(b"!"), Provenance::client());
    if let Err(error) = subject.put_blob(&empty.digest, wrong).await {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    }
    subject.assert_present(&empty).await
}
