//! Limits the total bytes of blobs in transfer.

use std::sync::Arc;

use blobaccess::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The number of bytes that one permit stands for: the semaphore counts in 32 bits.
const UNIT_BYTES: u64 = 1 << 10;

/// A number of bytes that calls share.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    units: Arc<Semaphore>,
    capacity: u32,
}

/// A share of the bytes, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    _permit: OwnedSemaphorePermit,
}

impl InFlight {
    /// Makes a limit of `bytes`.
    pub(crate) fn new(bytes: u64) -> Self {
        let capacity = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).max(1);
        let permits = usize::try_from(capacity).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(permits)), capacity }
    }

    /// Waits for a share of `bytes`, in the order of the calls. A request larger than the total is granted the total.
    pub(crate) async fn share(&self, bytes: u64) -> Result<Share> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.capacity);
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await;
        let permit = permit.map_err(|_| Error::unavailable("server is shutting down"))?;
        Ok(Share { _permit: permit })
    }

    /// Returns the number of bytes that are taken now, rounded up to whole KiB.
    pub(crate) fn taken_bytes(&self) -> u64 {
        let free = u64::try_from(self.units.available_permits()).unwrap_or(u64::MAX);
        u64::from(self.capacity).saturating_sub(free) * UNIT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_is_beyond_waits_until_a_share_is_given_back() {
        let in_flight = InFlight::new(10 << 10);
        let first = in_flight.share(8 << 10).await.unwrap();
        assert_eq!(in_flight.taken_bytes(), 8 << 10);
        assert!(in_flight.share(4 << 10).now_or_never().is_none());
        drop(first);
        assert!(in_flight.share(4 << 10).now_or_never().is_some());
    }

    #[tokio::test]
    async fn more_than_there_is_at_all_is_let_in_alone() {
        let in_flight = InFlight::new(10 << 10);
        let all = in_flight.share(u64::MAX).await.unwrap();
        assert!(in_flight.share(1).now_or_never().is_none());
        drop(all);
        assert_eq!(in_flight.taken_bytes(), 0);
    }
}
