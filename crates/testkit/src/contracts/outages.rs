//! Contracts about outages: the answers of a store when everything behind it fails.

use std::sync::Arc;

use blobaccess::{BlobAccess, DigestSet, Error, ErrorKind, Result, Slicer};

use crate::Fixture;
use crate::fakes::LeadingBytes;
use crate::foreign_answers::{ForeignAnswer, PAGE_MARK, foreign_answers};
use crate::samples::Samples;
use crate::subject::{Subject, refused};

/// The longest text of an error, in bytes.
const MAX_TEXT_BYTES: usize = 1 << 10;

/// Checks that during an outage no blob is reported to be absent, and none to be stored that may not be.
///
/// A store may answer what it remembers. `find_missing` of no digests needs no store and cannot fail, so it succeeds
/// during an outage too. A store with nothing behind it must serve on.
pub async fn an_outage_is_never_not_found<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let (stored, new, absent) = (samples.small(fixture), samples.small(fixture), samples.absent(fixture));
    subject.put(&stored).await?;
    if !fixture.break_down() {
        subject.assert_absent(&absent).await?;
        return subject.assert_present(&stored).await;
    }
    match subject.read(&stored.digest).await {
        Ok(read) => assert!(read == stored.value, "another value was read than was put"),
        Err(error) => assert!(!error.is_not_found(), "a get during an outage: {error:?}"),
    }
    let error = refused(subject.get(&absent).await, "during an outage, a get of a blob that the store cannot know");
    assert!(!error.is_not_found(), "a get during an outage: {error:?}");
    match subject.find_missing(&stored.digest.clone().into()).await {
        Ok(missing) => assert!(missing.is_empty(), "find_missing during an outage reports a stored blob"),
        Err(error) => assert!(!error.is_not_found(), "find_missing during an outage: {error:?}"),
    }
    let found = subject.find_missing(&absent.into()).await;
    let error = refused(found, "during an outage, find_missing of a blob that the store cannot know");
    assert!(!error.is_not_found(), "find_missing during an outage: {error:?}");
    let none = subject.find_missing(&DigestSet::new()).await.map_err(|error| error.at("during an outage"))?;
    assert!(none.is_empty(), "find_missing of no digests reports some");
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

/// Checks that no answer of a proxy or of a store that refuses is taken for the absence of a blob.
///
/// Clients upload and execute again what they are told is missing. Absence is what the store itself says, and everything
/// else is a failure, whose text is short and has nothing of the foreign answer in it. A store that nothing over HTTP stands
/// behind must serve on.
pub async fn an_outage_of_any_shape_is_no_miss<F: Fixture>(fixture: &F) -> Result<()> {
    answers_are_no_miss(fixture, &foreign_answers()).await
}

/// Checks that none of `answers` is taken for the absence of a blob, as
/// [`an_outage_of_any_shape_is_no_miss`] does: for stores with a protocol of their own, such as gRPC
/// ([`grpc_answers`](crate::foreign_answers::grpc_answers)).
pub async fn answers_are_no_miss<F: Fixture>(fixture: &F, answers: &[ForeignAnswer]) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let (stored, absent) = (samples.small(fixture), samples.absent(fixture));
    subject.put(&stored).await?;
    for answer in answers {
        let new = samples.small(fixture);
        if !fixture.answer_with(answer) {
            continue;
        }
        let read = subject.read(&stored.digest).await;
        let got = subject.get(&absent).await.map(drop);
        let asked = [stored.digest.clone(), absent.clone()].into_iter().collect();
        let found = subject.find_missing(&asked).await;
        let put = subject.put(&new).await;
        fixture.mend();
        let name = answer.to_string();
        if let Ok(read) = &read {
            assert!(*read == stored.value, "{name}: another value was read than was put");
        }
        if let Ok(missing) = &found
            && subject.promises.finds_in_bulk
        {
            assert!(missing.is_empty(), "{name}: find_missing reports {missing:?}");
        }
        assert!(got.is_err(), "{name}: a get of a blob that the store cannot know succeeds");
        if put.is_ok() {
            subject.assert_present(&new).await?;
        }
        let results =
            [("get", read.map(drop)), ("get", got), ("find_missing", found.map(drop)), ("put", put.map(drop))];
        for error in results.into_iter().filter_map(|(call, result)| Some((call, result.err()?))) {
            let (call, error) = error;
            assert!(!error.is_not_found(), "{name}: a {call} is answered with {error:?}");
            let text = error.to_string();
            assert!(text.len() <= MAX_TEXT_BYTES, "{name}: {} bytes of text: {text}", text.len());
            for secret in [PAGE_MARK, "secret", "://", "<"] {
                assert!(!text.contains(secret), "{name}: a {call} quotes {secret:?}: {text}");
            }
        }
        subject.assert_present(&stored).await.map_err(|error| error.at(format!("after {name}")))?;
        subject.assert_absent(&absent).await.map_err(|error| error.at(format!("after {name}")))?;
    }
    Ok(())
}

/// Checks that an error from behind the store comes out of every call with its kind and its message.
///
/// A caller decides by the kind whether to try again, and an operator looks for the message. A store may add where
/// the error comes from ([`Error::at`]), and may answer what it remembers. A fixture that cannot choose the error must
/// serve on.
pub async fn an_error_keeps_its_kind_and_message<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let (stored, [name, _]) = (samples.small(fixture), fixture.instance_names());
    subject.put(&stored).await?;
    let slicer: Arc<dyn Slicer> = Arc::new(LeadingBytes);
    for kind in [ErrorKind::Unavailable, ErrorKind::ResourceExhausted, ErrorKind::DataLoss, ErrorKind::Internal] {
        let (new, absent, part) = (samples.small(fixture), samples.absent(fixture), samples.absent(fixture));
        let message = format!("failure {:x} of a test", samples.number());
        if !fixture.break_down_with(Error::new(kind, message.clone())) {
            subject.assert_absent(&absent).await?;
            return subject.assert_present(&stored).await;
        }
        let results = [
            ("get", subject.store.get(&subject.ctx, &absent).await.map(drop)),
            ("get_from_composite", subject.get_part(&absent, &part, &slicer).await.map(drop)),
            ("find_missing", subject.find_missing(&absent.clone().into()).await.map(drop)),
            ("put", subject.put(&new).await.map(drop)),
            ("capabilities", subject.capabilities(&name).await.map(drop)),
        ];
        fixture.mend();
        for (call, result) in results {
            if let Err(error) = result {
                if call == "find_missing" && !subject.promises.finds_in_bulk {
                    assert_eq!(error.kind(), ErrorKind::Unimplemented, "{call} is offered after all: {error:?}");
                    continue;
                }
                assert_eq!(error.kind(), kind, "{call} changed the kind of an error: {error:?}");
                assert!(error.message().contains(&message), "{call} changed the message {message:?}: {error:?}");
            }
        }
    }
    subject.assert_present(&stored).await
}

/// Checks that after an outage a store serves as before, and remembers nothing that it only assumed.
pub async fn after_an_outage_a_store_serves_as_before<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let (stored, refused, absent) = (samples.small(fixture), samples.small(fixture), samples.absent(fixture));
    subject.put(&stored).await?;
    fixture.break_down();
    let put = subject.put(&refused).await;
    for digest in [&stored.digest, &refused.digest, &absent] {
        // The other contracts check how these end.
        drop(subject.read(digest).await);
        drop(subject.find_missing(&digest.clone().into()).await);
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
