//! Stores and sources that do what a test tells them to.

mod counting;
mod interruptible;
mod paused;
mod scripted;
mod streams;

pub use self::counting::{CountingStore, Counts};
pub use self::interruptible::{InterruptibleStore, Outage};
pub use self::paused::PausedStore;
pub use self::scripted::{RecordedCall, ScriptedStore};
pub use self::streams::{Polls, failing_stream, slow_stream, watched_stream};
/// A store of which every call fails with the same error.
pub use blobaccess::FailingStore as UnreachableStore;
