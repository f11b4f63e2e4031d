//! Objects that are sent in parts.

use std::sync::Arc;

use blobaccess::{AccountName, Error, Result, UploadToken};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{PutMultipartOptions, PutPayload};

use super::completion_scope::CompletionScope;
use super::directory::DirectoryParts;
use super::{Bucket, Provider};
use crate::error::from_provider;
use crate::last_answer::{Answer, LastAnswer};
use crate::requests::RequestKind;
use crate::verdict::{self, Verdict};

/// The receiver of objects in parts.
#[derive(Clone)]
pub(crate) enum Parts {
    /// There is none: objects of any size are sent whole.
    None,
    #[cfg_attr(not(feature = "_cloud"), expect(dead_code, reason = "made with the features of the providers"))]
    Provider(Arc<dyn MultipartStore>),
    Directory(DirectoryParts),
}

/// The result of completing an upload.
#[derive(Debug)]
pub(crate) enum Completion {
    /// The object exists, and this upload created it.
    Done,
    /// An object existed already, and the condition protected it.
    Exists,
    /// The upload conflicts with another one. Nothing was stored, and this upload may be gone.
    Conflict(Error),
    /// The result is not known.
    Maybe(Error),
}

impl Parts {
    pub(crate) fn exist(&self) -> bool {
        !matches!(self, Self::None)
    }

    pub(crate) async fn begin(
        &self,
        bucket: &Bucket,
        path: &Path,
        token: Option<&UploadToken>,
        account: Option<&AccountName>,
    ) -> Result<String> {
        bucket.count(RequestKind::BeginMultipart);
        match self {
            Self::None => Err(Error::unimplemented("the bucket takes no objects in parts")),
            Self::Directory(parts) => parts.begin(path).await,
            Self::Provider(parts) => {
                let token = token.filter(|_| bucket.provider().begins_with_token());
                let attributes = bucket.attributes(token, account);
                let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
                parts.create_multipart_opts(path, options).await.map_err(|error| from_provider(error, None))
            }
        }
    }

    /// Sends a part, which is `offset` bytes from the beginning.
    pub(crate) async fn put(
        &self,
        bucket: &Bucket,
        at: &MultipartUpload,
        index: usize,
        offset: u64,
        payload: PutPayload,
    ) -> Result<(usize, PartId)> {
        bucket.count(RequestKind::PutPart);
        let part = match self {
            Self::None => return Err(Error::unimplemented("the bucket takes no objects in parts")),
            Self::Directory(parts) => {
                parts.put(&at.path, &at.id, offset, payload).await?;
                PartId { content_id: String::new() }
            }
            Self::Provider(parts) => {
                parts.put_part(&at.path, &at.id, index, payload).await.map_err(|error| from_provider(error, None))?
            }
        };
        Ok((index, part))
    }

    pub(crate) async fn complete(
        &self,
        bucket: &Bucket,
        at: &MultipartUpload,
        parts: Vec<PartId>,
        token: Option<&UploadToken>,
        account: Option<&AccountName>,
    ) -> Completion {
        bucket.count(RequestKind::CompleteMultipart);
        match self {
            Self::None => Completion::Conflict(Error::unimplemented("the bucket takes no objects in parts")),
            Self::Directory(directory) => {
                match directory.complete(&at.path, &at.id, bucket.attributes(token, account)).await {
                    Ok(true) => Completion::Done,
                    Ok(false) => Completion::Exists,
                    Err(error) => Completion::Maybe(error),
                }
            }
            Self::Provider(provider) => {
                let last_answer = LastAnswer::default();
                let completing = CompletionScope {
                    token: token.copied(),
                    account: account.cloned(),
                    last_answer: last_answer.clone(),
                };
                match completing.scope(provider.complete_multipart(&at.path, &at.id, parts)).await {
                    Ok(_) => Completion::Done,
                    Err(error) => not_completed(error, last_answer.answer().as_ref(), bucket.provider()),
                }
            }
        }
    }

    pub(crate) async fn abort(&self, bucket: &Bucket, at: &MultipartUpload) -> Result<()> {
        bucket.count(RequestKind::AbortMultipart);
        match self {
            Self::None => Ok(()),
            Self::Directory(parts) => parts.abort(&at.path, &at.id).await,
            Self::Provider(parts) => match parts.abort_multipart(&at.path, &at.id).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(from_provider(error, None)),
            },
        }
    }
}

/// Interprets a failed response to a completion. Only a failed condition or a conflict is certain to have stored
/// nothing: any other answer may belong to a second request, after the first succeeded.
fn not_completed(error: object_store::Error, answer: Option<&Answer>, provider: Provider) -> Completion {
    if !matches!(answer, Some(Answer::Status { status: 304 | 409 | 412, .. })) {
        return Completion::Maybe(from_provider(error, answer));
    }
    match verdict::judge(error, answer, provider) {
        Verdict::Failed => Completion::Exists,
        Verdict::Again(error) => Completion::Conflict(error),
        Verdict::Refused(error) => Completion::Conflict(error.with_retryable(false)),
        Verdict::Maybe(error) => Completion::Maybe(error),
    }
}

/// An upload in parts, by its key and the provider's name for it.
#[derive(Clone, Debug)]
pub(crate) struct MultipartUpload {
    pub(crate) path: Path,
    pub(crate) id: String,
}
