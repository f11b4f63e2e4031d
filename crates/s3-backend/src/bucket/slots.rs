//! The room for requests that are under way to one bucket.

use object_store::client::HttpRequest;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The size in bytes from which on a request is one that sends contents.
const SENDS_FROM_BYTES: usize = 64 << 10;

/// The room for requests under way to a bucket. Half of it is for requests that send contents, which may take long, so
/// that they never hold up those that only ask.
#[derive(Debug)]
pub(super) struct Slots {
    asking: Semaphore,
    sending: Semaphore,
}

impl Slots {
    pub(super) fn new(requests: usize) -> Self {
        let sending = (requests / 2).max(1);
        let asking = requests.saturating_sub(sending).max(1);
        Self { asking: Semaphore::new(asking), sending: Semaphore::new(sending) }
    }

    /// Waits for room, which is taken until the answer has begun. The rest of the answer flows as quickly as its reader
    /// reads, so it holds up nobody.
    pub(super) async fn take(&self, request: &HttpRequest) -> Option<SemaphorePermit<'_>> {
        let sends = request.body().content_length() >= SENDS_FROM_BYTES;
        let slots = if sends { &self.sending } else { &self.asking };
        // The semaphores are never closed.
        slots.acquire().await.ok()
    }
}
