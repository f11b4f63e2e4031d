//! Contracts about uploads: the upload that stored a blob can be identified afterwards.

use blobaccess::{Blob, BlobAccess, ResolveUpload, Result, StoredSize, UploadResolution, UploadToken};

use crate::Fixture;
use crate::samples::{Sample, Samples};
use crate::subject::Subject;

fn token(samples: &mut Samples) -> UploadToken {
    let mut bytes = [0; 16];
    for (byte, drawn) in bytes.iter_mut().zip(samples.bytes(16)) {
        *byte = drawn;
    }
    UploadToken::from_bytes(bytes)
}

async fn put<F: Fixture>(subject: &Subject<'_, F>, sample: &Sample, token: UploadToken) -> Result<()> {
    let ctx = subject.ctx.clone().with_upload_token(token);
    let put = subject.store.put(&ctx, &sample.digest, Blob::from_bytes(sample.value.clone())).await;
    put.map_err(|error| error.at(format!("put of {} with a token", sample.digest)))?;
    Ok(())
}

async fn resolve<F>(subject: &Subject<'_, F>, sample: &Sample, token: &UploadToken) -> Result<UploadResolution>
where
    F: Fixture<Store: ResolveUpload>,
{
    let resolution = subject.store.resolve_upload(&subject.ctx, &sample.digest, token).await;
    resolution.map_err(|error| error.at(format!("resolve_upload of {}", sample.digest)))
}

/// Checks that the upload that stored a blob is distinguished from all others, and from none at all.
pub async fn an_upload_is_told_from_all_others<F: Fixture<Store: ResolveUpload>>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let (mine, anothers) = (token(&mut samples), token(&mut samples));
    let sample = samples.small(fixture);
    let resolve = |token| resolve(&subject, &sample, token);
    assert_eq!(resolve(&mine).await?, UploadResolution::Absent);
    put(&subject, &sample, mine).await?;
    for _ in 0..2 {
        assert!(matches!(resolve(&mine).await?, UploadResolution::Mine { .. }), "the upload that stored it");
        assert!(matches!(resolve(&anothers).await?, UploadResolution::Anothers { .. }), "another upload");
    }
    Ok(())
}

/// Checks that a put that stores nothing does not claim a blob that an earlier put stored.
pub async fn a_put_that_adds_nothing_claims_nothing<F: Fixture<Store: ResolveUpload>>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let (first, second) = (token(&mut samples), token(&mut samples));
    let sample = samples.small(fixture);
    put(&subject, &sample, first).await?;
    put(&subject, &sample, second).await?;
    let resolve = |token| resolve(&subject, &sample, token);
    assert!(matches!(resolve(&first).await?, UploadResolution::Mine { .. }), "the upload that stored it");
    assert!(matches!(resolve(&second).await?, UploadResolution::Anothers { .. }), "the upload that added nothing");
    Ok(())
}

/// Checks that a blob that was put without a token never resolves to the caller: it is another's, or unknown.
pub async fn what_was_put_without_a_token_is_never_mine<F: Fixture<Store: ResolveUpload>>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let sample = samples.small(fixture);
    subject.put(&sample).await?;
    for token in [token(&mut samples), UploadToken::from_bytes([0; 16])] {
        let resolution = resolve(&subject, &sample, &token).await?;
        let is_right = matches!(resolution, UploadResolution::Unknown | UploadResolution::Anothers { .. });
        assert!(is_right, "a blob without a token resolves to {resolution:?}");
    }
    Ok(())
}

/// Checks that the size that a store tells before a put is the one that the blob takes, or the most that it can take.
pub async fn the_size_told_before_a_put_is_not_exceeded<F: Fixture<Store: ResolveUpload>>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    for _ in 0..3 {
        let sample = samples.small(fixture);
        let logical_bytes = u64::try_from(sample.value.len()).unwrap_or(u64::MAX);
        let told = subject.store.stored_size(logical_bytes);
        let mine = token(&mut samples);
        put(&subject, &sample, mine).await?;
        let UploadResolution::Mine { stored_bytes } = resolve(&subject, &sample, &mine).await? else { continue };
        match told {
            StoredSize::Exact(size) => {
                assert_eq!(stored_bytes, size, "the bytes taken, and those told before");
            }
            StoredSize::AtMost(most) => {
                assert!(stored_bytes <= most, "{stored_bytes} bytes taken of {most} at most");
            }
            StoredSize::Unknown => {}
        }
    }
    Ok(())
}
