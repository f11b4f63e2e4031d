//! What a store is opened with besides its options: whom it tells, and what time it is.

use std::sync::Arc;

use blobaccess::{Clock, NoObserver, Observer, SystemClock};

/// What a store is opened with besides its options.
#[derive(Clone, Debug)]
pub struct Environment {
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Default for Environment {
    /// Nobody is told anything, and the time is that of the machine.
    fn default() -> Self {
        Self { observer: Arc::new(NoObserver), clock: Arc::new(SystemClock) }
    }
}

impl Environment {
    /// Tells `observer` what is evicted and what proves wrong.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}
