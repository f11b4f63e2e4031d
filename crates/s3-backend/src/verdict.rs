//! The meaning of the answer to one attempt of a conditional put.

use blobaccess::Error;

use crate::bucket::{Provider, is_unsynced};
use crate::error::{code_in, from_provider};
use crate::last_answer::Answer;

/// The meaning of the answer to one attempt of a conditional put.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The condition did not hold. There is an object, which an earlier attempt of ours may have stored.
    Failed,
    /// Nothing was stored, and the put may be tried again.
    Again(Error),
    /// The object may have been stored, and the put may be tried again.
    Maybe(Error),
    /// Nothing was stored, and trying again does not help.
    Refused(Error),
}

/// Interprets a failed response to a conditional put.
pub(crate) fn judge(error: object_store::Error, answer: Option<&Answer>, provider: Provider) -> Verdict {
    let again = |error: Error| Verdict::Again(error.with_retryable(true).not_stored());
    let Some(answer) = answer else {
        return without_answer(error, provider);
    };
    match answer {
        Answer::Status { status: 304 | 412, .. } => Verdict::Failed,
        Answer::Status { status: 409, code, .. } if provider == Provider::Azure => match code.as_deref() {
            Some("BlobAlreadyExists") => Verdict::Failed,
            // A policy or a lease protects the blob, or it is of another type. Waiting does not help.
            Some(code)
                if code.starts_with("BlobImmutable") || code.contains("NotSupported") || code.contains("Lease") =>
            {
                Verdict::Refused(from_provider(error, Some(answer)))
            }
            _ => again(from_provider(error, Some(answer))),
        },
        // The object that was to be replaced is gone.
        Answer::Status { status: 404, .. } if code_in(&error.to_string()) == Some("NoSuchKey") => Verdict::Failed,
        // With 409, S3 says that two conditional requests for a key collided. This one was not carried out.
        Answer::NotSent | Answer::Status { status: 409, .. } => again(from_provider(error, Some(answer))),
        // S3 answers so if the body did not arrive in time.
        Answer::Status { status: 400, .. } if error.to_string().contains("RequestTimeout") => {
            again(from_provider(error, Some(answer)))
        }
        // With 200, the answer began well, but the rest could not be read.
        Answer::Lost { .. } | Answer::Status { status: 200..300 | 408 | 429 | 500.., .. } => {
            Verdict::Maybe(from_provider(error, Some(answer)))
        }
        Answer::Status { .. } => Verdict::Refused(from_provider(error, Some(answer))),
    }
}

/// Returns whether the put failed because of a lease: on Azure, only its holder may replace a leased object.
pub(crate) fn is_leased(answer: Option<&Answer>) -> bool {
    matches!(answer, Some(Answer::Status { code: Some(code), .. }) if code.starts_with("Lease"))
}

/// Interprets a failure without an answer over HTTP: there were no credentials, or there is no HTTP.
fn without_answer(error: object_store::Error, provider: Provider) -> Verdict {
    let exists = matches!(error, object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. });
    if exists && !provider.is_remote() {
        return Verdict::Failed;
    }
    if is_unsynced(&error) {
        return Verdict::Maybe(from_provider(error, None));
    }
    let ours = from_provider(error, None).not_stored();
    if provider.is_remote() { Verdict::Again(ours.with_retryable(true)) } else { Verdict::Refused(ours) }
}
