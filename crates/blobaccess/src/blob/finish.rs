//! How the reading of a blob ended.

use std::fmt::{self, Debug, Formatter};

use futures::StreamExt;
use futures::stream;

use super::RawStream;
use crate::ErrorKind;

/// How the reading of a blob ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// Everything that was asked for was read, and found right as far as it was verified.
    Complete,
    /// Reading failed so.
    Failed(ErrorKind),
    /// The blob was dropped before its end: never read, or its reader stopped.
    Dropped,
}

/// Tells whoever asked, exactly once, however it comes about.
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

/// Passes `stream` on and tells `callback` how it ended.
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
