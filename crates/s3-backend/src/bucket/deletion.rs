//! Deletes objects, with a condition where the provider has one.

use blobaccess::{DeleteOutcome, Result};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use super::deletion_scope::DeletionScope;
use super::{Bucket, ObjectInfo, Provider, is_not_found};
use crate::error::from_provider;
use crate::last_answer::{Answer, LastAnswer};
use crate::requests::RequestKind;

impl Bucket {
    pub(crate) async fn delete(&self, path: &Path) -> Result<()> {
        self.count(RequestKind::Delete);
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(from_provider(error, None)),
        }
    }

    /// Deletes the object that is `expected`, on the condition that it has not been replaced since, where the provider has
    /// such a condition. A server may ignore it.
    pub(crate) async fn delete_if_same(
        &self,
        path: &Path,
        expected: &ObjectInfo,
        bare_e_tags: bool,
    ) -> Result<DeleteOutcome> {
        if !self.provider.is_remote() {
            let _alone = self.lock(path).await;
            return match self.head(path).await? {
                None => Ok(DeleteOutcome::Absent),
                Some(now) if !now.is_same(expected) => Ok(DeleteOutcome::Replaced),
                Some(_) => self.delete(path).await.map(|()| DeleteOutcome::Deleted),
            };
        }
        let e_tag = match (self.provider, &expected.e_tag) {
            (Provider::S3, Some(e_tag)) if bare_e_tags => e_tag.trim_matches('"').to_owned(),
            (Provider::S3, Some(e_tag)) => e_tag.clone(),
            (Provider::S3, None) | (Provider::Gcs | Provider::Azure | Provider::Directory | Provider::Memory, _) => {
                return self.delete(path).await.map(|()| DeleteOutcome::Deleted);
            }
        };
        let last_answer = LastAnswer::default();
        let scope = DeletionScope { e_tag, last_answer: last_answer.clone() };
        let error = match scope.scope(self.store.delete(path)).await {
            Ok(()) => return Ok(DeleteOutcome::Deleted),
            Err(error) => error,
        };
        let asks = match last_answer.answer() {
            Some(Answer::Status { status: 404, .. }) => is_not_found(&error),
            Some(Answer::Status { status, .. }) => matches!(status, 409 | 412),
            Some(Answer::NotSent | Answer::Lost { .. }) | None => false,
        };
        match last_answer.answer() {
            // The bucket may be gone, an earlier attempt may have deleted the object, two requests may have collided, or the
            // server may compare in another way. A question finds out.
            answer if asks => match self.get(path, None).await?.map(|reading| reading.found) {
                None => Ok(DeleteOutcome::Absent),
                Some(now) if !now.is_same(expected) => Ok(DeleteOutcome::Replaced),
                Some(_) => Err(from_provider(error, answer.as_ref()).with_retryable(true)),
            },
            // The server does not know such a condition.
            Some(Answer::Status { status: 501, .. }) => self.delete(path).await.map(|()| DeleteOutcome::Deleted),
            answer => Err(from_provider(error, answer.as_ref())),
        }
    }
}
