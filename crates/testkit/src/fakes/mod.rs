//! Stores, sources and observers that do what a test needs of them.
//!
//! Two fakes of this repository stand with the tests that use them, since they know what those test: the content store of
//! the completeness check (`ScriptedCas`) counts the trees that are read at once, and hands them out piece by piece; the
//! store of the services (`WatchedStore`) hands out compressed forms, which needs the codec of `blobaccess-grpc`.

mod counting;
mod interruptible;
mod misbehaving;
mod observer;
mod paused;
mod scripted;
mod slicers;
mod streams;
mod unreliable;
mod warnings;

pub use self::counting::{CountedCall, CountingStore, Counts};
pub use self::interruptible::{InterruptibleStore, Outage};
pub use self::misbehaving::MisbehavingStore;
pub use self::observer::RecordingObserver;
pub use self::paused::PausedStore;
pub use self::scripted::{RecordedCall, ScriptedStore};
pub use self::slicers::LeadingBytes;
pub use self::streams::{Polls, failing_stream, slow_stream, trickling_stream, watched_stream};
pub use self::unreliable::UnreliableStore;
pub use self::warnings::Warnings;
/// A store whose every call fails with the same error.
pub use blobaccess::FailingStore as UnreachableStore;
