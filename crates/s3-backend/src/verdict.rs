//! What the answer to one attempt of a conditional put says.

use blobaccess::Error;

use crate::bucket::Provider;
use crate::error::from_provider;
use crate::last_answer::Answer;

/// What the answer to one attempt of a conditional put says.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The condition did not hold: there is an object, which may be one that an earlier attempt of ours stored.
    Failed,
    /// Nothing was stored, and it may be tried again.
    Again(Error),
    /// It may have been stored, and may be tried again.
    Maybe(Error),
    /// Nothing was stored, and nothing will be.
    Refused(Error),
}

/// What it says that a put was not answered with success.
pub(crate) fn judge(error: object_store::Error, answer: Option<&Answer>, provider: Provider) -> Verdict {
    let again = |error: Error| Verdict::Again(error.with_retryable(true).not_stored());
    let Some(answer) = answer else {
        return without_answer(error, provider);
    };
    match answer {
        Answer::Status { status: 304 | 412, .. } => Verdict::Failed,
        Answer::Status { status: 409, code } if provider == Provider::Azure => match code.as_deref() {
            Some("BlobAlreadyExists") => Verdict::Failed,
            // A blob that a policy or a lease keeps as it is, or of another type: waiting does not help.
            Some(code)
                if code.starts_with("BlobImmutable") || code.contains("NotSupported") || code.contains("Lease") =>
            {
                Verdict::Refused(from_provider(error, Some(answer)))
            }
            _ => again(from_provider(error, Some(answer))),
        },
        // With 409, S3 says that two conditional requests for a key met: the request was not carried out.
        Answer::NotSent | Answer::Status { status: 409, .. } => again(from_provider(error, Some(answer))),
        // S3 answers so when it waited for the body in vain.
        Answer::Status { status: 400, .. } if error.to_string().contains("RequestTimeout") => {
            again(from_provider(error, Some(answer)))
        }
        // With 200, the answer began well, but what followed could not be read.
        Answer::Lost { .. } | Answer::Status { status: 200..300 | 408 | 429 | 500.., .. } => {
            Verdict::Maybe(from_provider(error, Some(answer)))
        }
        Answer::Status { .. } => Verdict::Refused(from_provider(error, Some(answer))),
    }
}

/// Whether a condition failed that nobody has set: on Azure, an object that somebody leases is theirs to replace.
pub(crate) fn is_leased(answer: Option<&Answer>) -> bool {
    matches!(answer, Some(Answer::Status { code: Some(code), .. }) if code.starts_with("Lease"))
}

/// Nothing was sent over HTTP: credentials could not be had, or there is no HTTP.
fn without_answer(error: object_store::Error, provider: Provider) -> Verdict {
    let exists = matches!(error, object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. });
    if exists && !provider.is_remote() {
        return Verdict::Failed;
    }
    let ours = from_provider(error, None).not_stored();
    if provider.is_remote() { Verdict::Again(ours.with_retryable(true)) } else { Verdict::Refused(ours) }
}
