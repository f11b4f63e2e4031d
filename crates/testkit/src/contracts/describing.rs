//! Contracts about descriptions: what a store says of itself is true.

use blobaccess::{Blob, BlobAccess, Digest, DigestFunction, KeyFormat, Result};

use crate::Fixture;
use crate::samples::{Sample, Samples, is_mutable};
use crate::subject::{Subject, refused};

/// Checks that a store prints as one line that names its layers, outermost first.
pub async fn a_store_prints_as_one_line_that_names_its_layers<F: Fixture>(fixture: &F) -> Result<()> {
    let subject = Subject::open(fixture).await?;
    let line = subject.store.to_string();
    assert!(!line.trim().is_empty(), "the store prints as nothing");
    assert!(!line.contains(char::is_control), "the store prints as more than a line: {line:?}");
    let mut rest = line.as_str();
    for layer in fixture.layers() {
        let place = rest.find(&layer);
        assert!(place.is_some(), "`{line}` does not name `{layer}` in its place");
        rest = rest.get(place.unwrap_or_default() + layer.len()..).unwrap_or_default();
    }
    Ok(())
}

/// Checks that the capabilities are those promised, and the same at each query. Updates must be allowed, because no
/// contract could be checked otherwise.
pub async fn capabilities_are_those_promised<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    assert_eq!(subject.store.finds_in_bulk(), subject.promises.finds_in_bulk, "whether the store finds in bulk");
    for name in fixture.instance_names() {
        let capabilities = subject.capabilities(&name).await?;
        assert_eq!(capabilities.max_blob_size_bytes, subject.promises.max_blob_size_bytes, "the maximum blob size");
        assert!(capabilities.updates_allowed, "updates are not allowed in `{name}`");
        let listed = &capabilities.digest_functions;
        assert!(!listed.is_empty(), "no digest function is listed");
        assert!(listed.is_sorted_by(|a, b| a < b), "functions are not listed once each, in order: {listed:?}");
        assert_eq!(subject.capabilities(&name).await?, capabilities);
        let sample = samples.small(fixture).within(name);
        subject.put(&sample).await?;
        subject.assert_present(&sample).await?;
    }
    Ok(())
}

/// Checks that every digest function in the capabilities can be used, and that contents are verified with it.
pub async fn every_digest_function_listed_can_be_used<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let [name, _] = fixture.instance_names();
    let listed = subject.capabilities(&name).await?.digest_functions;
    let value = samples.small(fixture).value;
    let digest = |function: DigestFunction, contents: &[u8]| Digest::of(name.clone(), function, contents);
    for function in &listed {
        let sample = Sample { digest: digest(*function, &value), value: value.clone() };
        if !is_mutable::<F>() {
            let blob = Blob::from_bytes(sample.wrong_value());
            refused(subject.put_blob(&sample.digest, blob).await, "a put of wrong bytes");
        }
        subject.assert_absent(&sample.digest).await?;
        let outcome = subject.put(&sample).await?;
        subject.assert_created(outcome);
    }
    for function in listed {
        subject.assert_present(&Sample { digest: digest(function, &value), value: value.clone() }).await?;
    }
    Ok(())
}

/// Checks that a blob of one instance name exists in another exactly if the key format says so. A store that does not
/// know must say that digests are told apart by instance name, and may do either.
pub async fn instance_names_are_told_apart_as_the_key_format_says<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let [_, other] = fixture.instance_names();
    let sample = samples.small(fixture);
    let there = sample.within(other);
    subject.put(&sample).await?;
    match subject.store.key_format() {
        format if !subject.promises.knows_key_format => {
            assert_eq!(format, KeyFormat::WithInstanceName, "what is safe for a store that does not know");
            let present = subject.assert_present_or_absent(&there).await?;
            let outcome = subject.put(&there).await?;
            if present {
                subject.assert_already_exists(outcome);
            } else {
                subject.assert_created(outcome);
            }
        }
        KeyFormat::WithInstanceName => {
            subject.assert_absent(&there.digest).await?;
            let outcome = subject.put(&there).await?;
            subject.assert_created(outcome);
        }
        KeyFormat::WithoutInstanceName => {
            subject.assert_present(&there).await?;
            let outcome = subject.put(&there).await?;
            subject.assert_already_exists(outcome);
        }
    }
    subject.assert_present(&there).await?;
    subject.assert_present(&sample).await
}
