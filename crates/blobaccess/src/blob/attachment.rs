//! The things that layers attach to a blob: error handlers, tasks, interruptions, guards and callbacks.

use std::any::Any;
use std::fmt::{self, Debug, Formatter};
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;

use futures::future::{BoxFuture, poll_fn};
use futures::{FutureExt, StreamExt, stream};

use super::body::Body;
use super::finish::{self, Callback, Finish};
use super::resume::ErrorHandler;
use super::{Blob, RawStream};
use crate::{Error, Result};

pub(super) enum Attachment {
    /// A handler, asked when reading fails.
    Handler(Box<dyn ErrorHandler>),
    /// A task, run while the blob is read. It must succeed.
    Task(BoxFuture<'static, Result<()>>),
    /// A future that ends reading when it ends.
    Interruption(BoxFuture<'static, Error>),
    /// A guard, held while the blob can be read.
    Guard(Arc<dyn Any + Send + Sync>),
    /// A callback for how reading ended.
    Finish(Callback),
}

impl Blob {
    /// Attaches a handler that is asked what to do when reading fails.
    ///
    /// A stream continues from the replacement where the failed one stopped. The whole is verified together, so wrong
    /// contents are not handed out however they were pieced together. For a reader that wants all contents together
    /// ([`into_bytes`](Self::into_bytes)), all of the replacement is read. A [compressed form](Self::into_encoded) is
    /// replaced until its first bytes are handed out.
    ///
    /// Verified bytes at hand cannot fail. The handler is then dropped immediately, and reading them costs as little as
    /// without it.
    #[must_use]
    pub fn with_error_handler(self, handler: impl ErrorHandler) -> Self {
        if self.cannot_fail() {
            return self;
        }
        self.attach(Attachment::Handler(Box::new(handler)))
    }

    /// Attaches a task that runs while the blob is read. The last bytes are handed out once the task has ended. If it
    /// fails, its error takes their place; an error of the source comes first.
    ///
    /// The reader polls the task, and dropping the blob drops it. Work that must outlive the reader belongs in a queue.
    #[must_use]
    pub fn with_task(self, task: impl Future<Output = Result<()>> + Send + 'static) -> Self {
        self.attach(Attachment::Task(task.boxed()))
    }

    /// Makes reading fail with the error that `interruption` resolves to, if it resolves while the blob is read.
    #[must_use]
    pub fn with_interruption(self, interruption: impl Future<Output = Error> + Send + 'static) -> Self {
        self.attach(Attachment::Interruption(interruption.boxed()))
    }

    /// Keeps `guard` (a lease, a permit) for exactly as long as the blob can be read.
    #[must_use]
    pub fn with_guard(self, guard: impl Any + Send + Sync) -> Self {
        self.attach(Attachment::Guard(Arc::new(guard)))
    }

    /// Calls `callback` exactly once with how reading ended.
    ///
    /// The callback runs wherever the blob is read or dropped, so it must not block.
    #[must_use]
    pub fn on_finish(self, callback: impl FnOnce(Finish) + Send + 'static) -> Self {
        self.attach(Attachment::Finish(Callback::new(callback)))
    }

    /// Returns whether no way of reading the blob can fail.
    pub(crate) fn cannot_fail(&self) -> bool {
        matches!(self.body, Body::Bytes { trusted: true, .. })
            && self.attachments.iter().all(|attachment| match attachment {
                Attachment::Guard(_) | Attachment::Finish(_) => true,
                Attachment::Handler(_) | Attachment::Task(_) | Attachment::Interruption(_) => false,
            })
    }

    fn attach(mut self, attachment: Attachment) -> Self {
        self.attachments.push(attachment);
        self
    }
}

impl Attachment {
    pub(super) fn is_handler(&self) -> bool {
        matches!(self, Self::Handler(_))
    }

    pub(super) fn is_guard(&self) -> bool {
        matches!(self, Self::Guard(_))
    }

    /// Wraps `stream` in this attachment. A handler is dropped without being asked: streams that may have one are
    /// resumed with it instead.
    pub(super) fn wrap(self, stream: RawStream) -> RawStream {
        match self {
            Self::Handler(_) => stream,
            Self::Task(task) => with_task(stream, task),
            Self::Interruption(interruption) => interrupted_by(stream, interruption),
            Self::Guard(guard) => stream
                .map(move |piece| {
                    let _: &Arc<dyn Any + Send + Sync> = &guard;
                    piece
                })
                .boxed(),
            Self::Finish(callback) => finish::observe(stream, callback),
        }
    }
}

/// Returns the attachments that a second reader can share: the guards.
pub(super) fn guards(attachments: &[Attachment]) -> Vec<Attachment> {
    shared_guards(attachments).into_iter().map(Attachment::Guard).collect()
}

/// Returns the guards themselves.
pub(super) fn shared_guards(attachments: &[Attachment]) -> Vec<Arc<dyn Any + Send + Sync>> {
    attachments
        .iter()
        .filter_map(|attachment| match attachment {
            Attachment::Guard(guard) => Some(Arc::clone(guard)),
            Attachment::Handler(_) | Attachment::Task(_) | Attachment::Interruption(_) | Attachment::Finish(_) => None,
        })
        .collect()
}

/// Polls `task` alongside `stream`, and ends only when both have ended.
fn with_task(stream: RawStream, task: BoxFuture<'static, Result<()>>) -> RawStream {
    // The result of the task is kept until the stream ends: an error of the source comes first.
    let task = task.fuse();
    stream::try_unfold((stream, task, Ok(())), |(mut stream, mut task, mut result)| async move {
        let piece = poll_fn(|poller| {
            if let Poll::Ready(ended) = task.poll_unpin(poller) {
                result = ended;
            }
            stream.poll_next_unpin(poller)
        })
        .await;
        if let Some(piece) = piece {
            return Ok(Some((piece?, (stream, task, result))));
        }
        if !futures::future::FusedFuture::is_terminated(&task) {
            result = task.await;
        }
        result.map(|()| None)
    })
    .boxed()
}

/// Ends `stream` with the error that `interruption` resolves to.
fn interrupted_by(stream: RawStream, interruption: BoxFuture<'static, Error>) -> RawStream {
    stream::try_unfold((stream, interruption), |(mut stream, mut interruption)| async move {
        let piece = poll_fn(|poller| match interruption.poll_unpin(poller) {
            Poll::Ready(error) => Poll::Ready(Some(Err(error))),
            Poll::Pending => stream.poll_next_unpin(poller),
        })
        .await;
        piece.transpose().map(|piece| piece.map(|piece| (piece, (stream, interruption))))
    })
    .boxed()
}

impl Debug for Attachment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handler(_) => "Handler",
            Self::Task(_) => "Task",
            Self::Interruption(_) => "Interruption",
            Self::Guard(_) => "Guard",
            Self::Finish(_) => "Finish",
        })
    }
}
