//! Context of a conditional deletion, for the connector, as the client library knows no conditions of deletions.

use std::future::Future;

use crate::last_answer::LastAnswer;

tokio::task_local! {
    static DELETING: DeletionScope;
}

/// The context of a deletion. It belongs to the task that sends the request.
#[derive(Clone, Debug)]
pub(super) struct DeletionScope {
    /// The `ETag` that the object must have.
    #[cfg_attr(not(feature = "_cloud"), expect(dead_code, reason = "only requests over HTTP have headers"))]
    pub(super) e_tag: String,
    /// The place where the answer is recorded.
    #[cfg_attr(not(feature = "_cloud"), expect(dead_code, reason = "only requests over HTTP are answered"))]
    pub(super) last_answer: LastAnswer,
}

impl DeletionScope {
    /// Runs `deletion` with this context.
    pub(super) async fn scope<F: Future + Send>(self, deletion: F) -> F::Output {
        DELETING.scope(self, deletion).await
    }

    /// Returns the context of the deletion that runs in this task.
    #[cfg(feature = "_cloud")]
    pub(super) fn current() -> Option<Self> {
        DELETING.try_with(Clone::clone).ok()
    }
}
