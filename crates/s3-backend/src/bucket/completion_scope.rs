//! Context of a completion, for the connector, as the client library passes nothing on.

use std::future::Future;

use blobaccess::{AccountName, UploadToken};

use crate::last_answer::LastAnswer;

tokio::task_local! {
    static COMPLETING: CompletionScope;
}

/// The context of a completion. It belongs to the task that sends the completion, as the request has no room for it.
#[derive(Clone, Debug)]
pub(super) struct CompletionScope {
    /// The token of the object, if it was not sent before.
    #[cfg_attr(not(feature = "azure"), expect(dead_code, reason = "the others are told when an upload begins"))]
    pub(super) token: Option<UploadToken>,
    /// The account of the upload, if it was not sent before.
    #[cfg_attr(not(feature = "azure"), expect(dead_code, reason = "the others are told when an upload begins"))]
    pub(super) account: Option<AccountName>,
    /// The place where the answer is recorded.
    #[cfg_attr(not(feature = "_cloud"), expect(dead_code, reason = "only requests over HTTP are answered"))]
    pub(super) last_answer: LastAnswer,
}

impl CompletionScope {
    /// Runs `completion` with this context.
    pub(super) async fn scope<F: Future + Send>(self, completion: F) -> F::Output {
        COMPLETING.scope(self, completion).await
    }

    /// Returns the context of the completion that runs in this task.
    #[cfg(feature = "_cloud")]
    pub(super) fn current() -> Option<Self> {
        COMPLETING.try_with(Clone::clone).ok()
    }
}
