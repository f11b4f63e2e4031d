//! A store under test, which can be opened again and again over the same state.

use std::future::Future;

use blobaccess::{BlobAccess, Context, InstanceName, Result};
use bytes::{BufMut, Bytes, BytesMut};

use crate::Promises;

/// A store under test, which can be opened again and again over the same state.
///
/// Each contract gets a fixture of its own, and expects that what it did not put is not there.
///
/// [`Volatile`](crate::Volatile) is one for stores that a function makes, [`Layered`](crate::Layered) one for
/// decorators.
pub trait Fixture: Send + Sync {
    /// The store that this opens.
    type Store: BlobAccess;

    /// In what the store differs from others.
    fn promises(&self) -> Promises;

    /// Opens the store; the second time, as after a restart. No two are open at once.
    ///
    /// # Errors
    ///
    /// Whatever the store's own constructor reports.
    fn open(&self) -> impl Future<Output = Result<Self::Store>> + Send;

    /// Closes the store in an orderly way, such that what is durable is kept. It is dropped unless there is more to do.
    ///
    /// # Errors
    ///
    /// Whatever keeps the store from being closed.
    fn close(&self, store: Self::Store) -> impl Future<Output = Result<()>> + Send {
        drop(store);
        async { Ok(()) }
    }

    /// Makes all that is behind the store fail, until [`mend`](Self::mend): every disk, every server. Returns whether
    /// there is anything that can fail; if not, the contracts hold the store to serving on.
    fn break_down(&self) -> bool {
        false
    }

    /// Ends what [`break_down`](Self::break_down) began.
    fn mend(&self) {}

    /// The context of every call: for stores that want to know the caller.
    fn context(&self) -> Context {
        Context::background()
    }

    /// Two instance names that the store serves, neither within the other. Contracts use the first.
    ///
    /// # Panics
    ///
    /// Not as it is given here: `left` and `right` are valid.
    fn instance_names(&self) -> [InstanceName; 2] {
        ["left", "right"].map(|name| InstanceName::new(name).unwrap_or_default())
    }

    /// What the `Display` of the store must mention, outermost first: its layers.
    fn layers(&self) -> Vec<String> {
        Vec::new()
    }

    /// A message with `filling` within it, and at most 16 bytes besides: what a contract puts into a store of messages.
    ///
    /// As it is given here, it is an `ActionResult` without outputs, which has `filling` as its `stdout_raw` and a
    /// `worker_completed_timestamp`; nothing that layers need to add.
    fn message(&self, filling: &Bytes) -> Bytes {
        // execution_metadata { worker_completed_timestamp { seconds: 1 } }
        const METADATA: [u8; 6] = [9 << 3 | 2, 4, 4 << 3 | 2, 2, 1 << 3, 1];
        let mut message = BytesMut::new();
        if !filling.is_empty() {
            // stdout_raw
            message.put_u8(5 << 3 | 2);
            let mut rest = filling.len();
            while rest > 0x7f {
                message.put_u8(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
                rest >>= 7;
            }
            message.put_u8(u8::try_from(rest).unwrap_or_default());
            message.extend_from_slice(filling);
        }
        message.extend_from_slice(&METADATA);
        message.freeze()
    }
}
