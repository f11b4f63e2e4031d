//! Contracts about messages, which are stored under a digest that is not theirs and may be replaced.

use blobaccess::{Error, PutOutcome, Result};

use crate::Fixture;
use crate::samples::{Sample, Samples};
use crate::subject::{AtOnce, Subject, refused};

/// Draws another message for the same digest.
fn other_value<F: Fixture>(fixture: &F, samples: &mut Samples, sample: &Sample, size: u64) -> Sample {
    Sample { digest: sample.digest.clone(), value: samples.sample(fixture, size).value }
}

/// Checks that a different value replaces the previous one, that the outcome says so, and that it counts the bytes of
/// both.
pub async fn a_new_value_replaces_the_one_before<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let mut sample = samples.small(fixture);
    let mut before = subject.put(&sample).await?;
    subject.assert_created(before);
    for size in [10, 500, 500] {
        sample = other_value(fixture, &mut samples, &sample, size);
        let outcome = subject.put(&sample).await?;
        subject.assert_outcome(outcome, matches!(outcome, PutOutcome::Replaced { .. }), "Replaced");
        if let (PutOutcome::Replaced { old_bytes, .. }, Some(stored)) = (outcome, before.stored_bytes()) {
            assert_eq!(old_bytes, stored, "what was replaced took another number of bytes");
        }
        subject.assert_present(&sample).await?;
        let again = subject.put(&sample).await?;
        subject.assert_already_exists(again);
        before = again;
    }
    Ok(())
}

/// Checks that a failed put of a new value keeps the previous one.
pub async fn a_failed_put_leaves_the_value_before<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let sample = samples.small(fixture);
    subject.put(&sample).await?;
    let other = other_value(fixture, &mut samples, &sample, 500);
    let blob = Subject::<F>::failing_blob(&other, Error::aborted("the source failed"));
    refused(subject.put_blob(&other.digest, blob).await, "a put whose source fails");
    subject.assert_present(&sample).await
}

/// Checks that of many values that are put for one digest at once, one is kept whole. One put creates the entry, and
/// the others replace each other.
pub async fn of_many_values_at_once_one_is_kept<F: Fixture>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    for at_once in AtOnce::ALL {
        let sample = samples.small(fixture);
        let values: Vec<_> = (0..32).map(|_| other_value(fixture, &mut samples, &sample, 2000)).collect();
        let puts = values.iter().map(|value| (value.digest.clone(), Subject::<F>::slow_blob(value))).collect();
        let mut created = 0;
        for outcome in subject.put_at_once(puts, at_once).await {
            match outcome? {
                PutOutcome::Created { .. } => created += 1,
                PutOutcome::Replaced { .. } => {}
                outcome @ (PutOutcome::AlreadyExists { .. } | PutOutcome::Unclassified { .. }) => {
                    subject.assert_outcome(outcome, false, "Replaced");
                }
            }
        }
        assert!(created <= 1, "{created} puts of one digest came to Created");
        assert!(created == 1 || !subject.promises.exact_outcomes, "no put of an absent digest came to Created");
        let kept = subject.read(&sample.digest).await?;
        assert!(values.iter().any(|value| value.value == kept), "a value was read that nobody put");
    }
    Ok(())
}

/// Checks that a replaced value does not come back when the store is opened again.
pub async fn a_restart_does_not_bring_back_what_was_replaced<F: Fixture>(fixture: &F) -> Result<()> {
    let (mut subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    let mut sample = samples.small(fixture);
    subject.put(&sample).await?;
    for _ in 0..3 {
        sample = other_value(fixture, &mut samples, &sample, 300);
        subject.put(&sample).await?;
        subject = subject.reopen().await?;
        if subject.promises.durable {
            subject.assert_present(&sample).await?;
        } else {
            subject.assert_absent(&sample.digest).await?;
        }
    }
    Ok(())
}
