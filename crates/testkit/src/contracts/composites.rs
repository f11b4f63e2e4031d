//! A part of a composite blob is found within it.

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{Blob, BlobAccess, Cas, Digest, DigestFunction, Error, ErrorKind, Result, Slice, Sliced, Slicer};
use bytes::{Bytes, BytesMut};

use crate::Fixture;
use crate::samples::{Sample, Samples};
use crate::subject::{ANY_SIZE, Subject, refused};

/// A slicer that knows where the parts of one composite are.
#[derive(Debug)]
struct KnownParts(Vec<Slice>);

#[async_trait]
impl Slicer for KnownParts {
    async fn slice(&self, parent: Blob, child: &Digest) -> Result<Sliced> {
        let whole = parent.into_bytes(ANY_SIZE).await?;
        let part = self.0.iter().find(|part| part.digest == *child);
        let part = part.ok_or_else(|| Error::not_found(format!("the composite has no part {child}")))?;
        let start = usize::try_from(part.offset).unwrap_or(usize::MAX);
        let bytes: Bytes = whole.iter().skip(start).take(length(part.size_bytes)).copied().collect();
        Ok(Sliced::new(Blob::from_verified_bytes(child, bytes)).with_slices(self.0.clone()))
    }
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Makes a composite, its parts, and a slicer that finds them.
fn composite<F: Fixture>(fixture: &F, samples: &mut Samples) -> (Sample, Vec<Sample>, Arc<dyn Slicer>) {
    let parts: Vec<_> = (0..5).map(|_| samples.small(fixture)).collect();
    let mut whole = BytesMut::new();
    let mut slices = Vec::new();
    let mut offset = 0;
    for part in &parts {
        whole.extend_from_slice(&part.value);
        slices.push(Slice { digest: part.digest.clone(), offset, size_bytes: part.size_bytes() });
        offset += part.size_bytes();
    }
    let [name, _] = fixture.instance_names();
    let whole = whole.freeze();
    let parent = Sample { digest: Digest::of(name, DigestFunction::Sha256, &whole), value: whole };
    (parent, parts, Arc::new(KnownParts(slices)))
}

/// Checks that every part of a composite is found, in any order and repeatedly.
pub async fn a_part_is_found_again_and_again<F>(fixture: &F) -> Result<()>
where
    F: Fixture<Store: BlobAccess<Kind = Cas>>,
{
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let (parent, parts, slicer) = composite(fixture, &mut samples);
    subject.put(&parent).await?;
    for _ in 0..2 {
        for part in parts.iter().rev() {
            let blob = subject.get_part(&parent.digest, &part.digest, &slicer).await?;
            assert_eq!(blob.size_bytes(), part.size_bytes(), "the part announces another size");
            assert!(blob.into_bytes(ANY_SIZE).await? == part.value, "other bytes were read than the part has");
        }
    }
    subject.assert_present(&parent).await
}

/// Checks that the error is `NotFound` if the composite has no such part, and if the composite itself is absent.
pub async fn what_no_composite_has_is_not_found<F>(fixture: &F) -> Result<()>
where
    F: Fixture<Store: BlobAccess<Kind = Cas>>,
{
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let (parent, parts, slicer) = composite(fixture, &mut samples);
    subject.put(&parent).await?;
    let mut cases = vec![(parent.digest.clone(), samples.absent(fixture))];
    let (absent_parent, absent_parts, _) = composite(fixture, &mut samples);
    cases.extend(absent_parts.into_iter().map(|part| (absent_parent.digest.clone(), part.digest)));
    for _ in 0..2 {
        for (parent, child) in &cases {
            let error = refused(subject.get_part(parent, child, &slicer).await, "the get of a part that is absent");
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        }
        for part in &parts {
            subject.get_part(&parent.digest, &part.digest, &slicer).await?;
        }
    }
    Ok(())
}

/// Checks that the error says whether the composite is absent or merely has no such part.
pub async fn a_missing_part_is_told_from_a_missing_composite<F>(fixture: &F) -> Result<()>
where
    F: Fixture<Store: BlobAccess<Kind = Cas>>,
{
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let (parent, parts, slicer) = composite(fixture, &mut samples);
    let absent = samples.absent(fixture);
    for is_stored in [false, true] {
        if is_stored {
            subject.put(&parent).await?;
        }
        for _ in 0..2 {
            let error = refused(
                subject.get_part(&parent.digest, &absent, &slicer).await,
                "the get of a part that no composite has",
            );
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
            assert_eq!(error.is_part_missing(), is_stored, "whether only the part is missing: {error:?}");
        }
    }
    for part in &parts {
        subject.get_part(&parent.digest, &part.digest, &slicer).await?;
    }
    Ok(())
}
