//! What goes with a completion to the connector, as the client library passes nothing on with one.

use std::future::Future;

use blobaccess::UploadToken;

use crate::last_answer::LastAnswer;

tokio::task_local! {
    static COMPLETING: CompletionScope;
}

/// What goes with a completion: with the task that sends it, since its request has no room for more.
#[derive(Clone, Debug)]
pub(super) struct CompletionScope {
    /// The token that the object is to have, where it was not sent before.
    #[cfg_attr(not(feature = "azure"), expect(dead_code, reason = "the others are told when an upload begins"))]
    pub(super) token: Option<UploadToken>,
    /// Where the answer is left.
    #[cfg_attr(not(feature = "cloud"), expect(dead_code, reason = "only requests over HTTP are answered"))]
    pub(super) last_answer: LastAnswer,
}

impl CompletionScope {
    /// Lets `completion` run with this.
    pub(super) async fn scope<F: Future + Send>(self, completion: F) -> F::Output {
        COMPLETING.scope(self, completion).await
    }

    /// What the completion that runs in this task goes with.
    #[cfg(feature = "cloud")]
    pub(super) fn current() -> Option<Self> {
        COMPLETING.try_with(Clone::clone).ok()
    }
}
