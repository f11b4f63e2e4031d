//! The ways in which reading a blob ends.

use std::fmt::{self, Debug, Formatter};

use futures::StreamExt;
use futures::stream;

use super::RawStream;
use crate::ErrorKind;

/// The way in which reading a blob ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// All requested bytes were read, and passed verification as far as they were verified.
    Complete,
    /// Reading failed with an error of this kind.
    Failed(ErrorKind),
    /// The blob was dropped before its end: it was never read, or its reader stopped.
    Dropped,
}

/// A callback that is called exactly once, whichever way reading ends.
pub(super) struct Callback(Option<Box<dyn FnOnce(Finish) + Send>>);

impl Callback {
    pub(super) fn new(callback: impl FnOnce(Finish) + Send + 'static) -> Self {
        Self(Some(Box::new(callback)))
    }

    fn call(&mut self, finish: Finish) {
        if let Some(callback) = self.0.take() {
            callback(finish);
        }
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        self.call(Finish::Dropped);
    }
}

impl Debug for Callback {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

/// Passes `stream` on and calls `callback` with how it ended.
pub(super) fn observe(stream: RawStream, callback: Callback) -> RawStream {
    stream::unfold((stream, callback), |(mut stream, mut callback)| async move {
        let piece = stream.next().await;
        match &piece {
            Some(Ok(_)) => {}
            Some(Err(error)) => callback.call(Finish::Failed(error.kind())),
            None => callback.call(Finish::Complete),
        }
        piece.map(|piece| (piece, (stream, callback)))
    })
    .boxed()
}
