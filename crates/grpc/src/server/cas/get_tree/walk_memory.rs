//! The memory of a walk through a tree.

use blobaccess::Result;

use crate::server::call::CallMemory;
use crate::server::in_flight::FREE_BYTES;

/// The memory that is taken in one step, in bytes, if there is as much.
const STEP_BYTES: u64 = 256 << 10;

/// The memory of a walk, which grows as more of it is in use. The first [`FREE_BYTES`] count for nothing.
#[derive(Debug)]
pub(super) struct WalkMemory {
    call: CallMemory,
    taken_bytes: u64,
}

impl WalkMemory {
    /// Makes the memory of a walk that is part of `call`.
    pub(super) fn new(call: CallMemory) -> Self {
        Self { call, taken_bytes: FREE_BYTES }
    }

    /// Waits until `bytes` may be in use in all, before anything is.
    pub(super) async fn begin_with(&mut self, bytes: u64) -> Result<()> {
        if bytes > FREE_BYTES {
            self.call.hold(bytes).await?;
            self.taken_bytes = self.taken_bytes.saturating_add(bytes);
        }
        Ok(())
    }

    /// Returns the memory of the call.
    pub(super) fn call(&self) -> &CallMemory {
        &self.call
    }

    /// Returns whether `bytes` may be in use in all.
    pub(super) fn holds(&mut self, bytes: u64) -> bool {
        let Some(lacking) = bytes.checked_sub(self.taken_bytes).filter(|lacking| *lacking > 0) else { return true };
        for more in [lacking.max(STEP_BYTES), lacking] {
            if self.call.try_hold(more) {
                self.taken_bytes = self.taken_bytes.saturating_add(more);
                return true;
            }
        }
        false
    }
}
