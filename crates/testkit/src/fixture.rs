//! A store under test, which can be opened again and again over the same state.

use std::future::Future;

use blobaccess::{BlobAccess, Context, Digest, Error, InstanceName, Result};
use bytes::{BufMut, Bytes, BytesMut};

use crate::Promises;
use crate::foreign_answers::ForeignAnswer;

/// The way in which a blob is damaged where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Some of its bytes are others by now.
    Wrong,
    /// Some of its bytes cannot be read, while the rest of what the store keeps can.
    Unreadable,
}

impl Damage {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Wrong, Self::Unreadable];
}

/// A store under test, which can be opened again and again over the same state.
///
/// Each contract gets a fixture of its own, and expects that the store holds only what the contract puts.
///
/// [`Volatile`](crate::Volatile) is one for stores that a function makes, [`Layered`](crate::Layered) one for
/// decorators.
pub trait Fixture: Send + Sync {
    /// The type of the store.
    type Store: BlobAccess;

    /// Returns the ways in which the store differs from other conforming stores.
    fn promises(&self) -> Promises;

    /// Opens the store. After the first time this is a restart. No two stores of a fixture are open at once.
    ///
    /// # Errors
    ///
    /// The error of the store's constructor.
    fn open(&self) -> impl Future<Output = Result<Self::Store>> + Send;

    /// Closes the store in an orderly way, so that it keeps what is durable. Unless overridden, this drops it.
    ///
    /// # Errors
    ///
    /// The error of the store's own close.
    fn close(&self, store: Self::Store) -> impl Future<Output = Result<()>> + Send {
        drop(store);
        async { Ok(()) }
    }

    /// Makes everything behind the store fail until [`mend`](Self::mend): every disk, every server. Returns whether
    /// there is anything that can fail; if not, the contracts require that the store serves on.
    ///
    /// The default is [`break_down_with`](Self::break_down_with) an error of kind `Unavailable`.
    fn break_down(&self) -> bool {
        self.break_down_with(Error::unavailable("everything behind the store is down"))
    }

    /// Makes everything behind the store fail with `error` until [`mend`](Self::mend). Returns whether the fixture can
    /// choose the error; if not, nothing fails.
    fn break_down_with(&self, error: Error) -> bool {
        drop(error);
        false
    }

    /// Makes the server behind the store give `answer` to every request until [`mend`](Self::mend). Returns whether there is
    /// a server that can; if not, nothing changes.
    fn answer_with(&self, answer: &ForeignAnswer) -> bool {
        let _: &ForeignAnswer = answer;
        false
    }

    /// Ends the failure that [`break_down`](Self::break_down), [`break_down_with`](Self::break_down_with) or
    /// [`answer_with`](Self::answer_with) began.
    fn mend(&self) {}

    /// Damages a blob with these contents where the store keeps it: on its disk, in its bucket. No store is open meanwhile.
    /// Returns whether there is anything that can be damaged so; if not, the contracts require that the store has the blob as
    /// before.
    fn damage(&self, digest: &Digest, contents: &Bytes, damage: Damage) -> bool {
        let _: (&Digest, &Bytes, Damage) = (digest, contents, damage);
        false
    }

    /// Returns the context of every call, for stores that must know the caller.
    fn context(&self) -> Context {
        Context::background()
    }

    /// Returns two instance names that the store serves, neither within the other. Contracts use the first by default.
    ///
    /// # Panics
    ///
    /// The default does not: `left` and `right` are valid.
    fn instance_names(&self) -> [InstanceName; 2] {
        ["left", "right"].map(|name| InstanceName::new(name).unwrap_or_default())
    }

    /// Returns what the store's `Display` must mention, outermost first: its layers.
    fn layers(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns a message that contains `filling` and up to 16 further bytes, for contracts about stores of messages.
    ///
    /// The default is an `ActionResult` without outputs, which has `filling` as its `stdout_raw` and a
    /// `worker_completed_timestamp`, so that layers need not add anything.
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
