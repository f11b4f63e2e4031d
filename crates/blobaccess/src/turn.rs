//! A share of a thread that work takes before others get theirs.

use std::future::poll_fn;
use std::task::Poll;

/// The bytes of a message that are looked at before others get a turn. It takes some tenths of a millisecond.
const BYTES_PER_TURN: u64 = 1 << 16;

/// A share of a thread that work takes before others get theirs: a message at hand has nothing that its reader would
/// wait for.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    bytes: u64,
}

impl Turn {
    /// Counts `bytes` that were looked at, and lets whoever else is ready run first once they are enough for a turn.
    pub(crate) async fn take(&mut self, bytes: u64) {
        // One, so that what has no bytes counts too.
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(1);
        if self.bytes >= BYTES_PER_TURN {
            self.bytes = 0;
            give_way().await;
        }
    }
}

async fn give_way() {
    let mut gave_way = false;
    poll_fn(|poller| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        poller.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
