//! The observer and the clock that a store is opened with.

use std::sync::Arc;

use blobaccess::{Clock, NoObserver, Observer, SystemClock};

/// The components that a store is opened with, besides its options.
#[derive(Clone, Debug)]
pub struct Environment {
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Default for Environment {
    /// Makes an environment without an observer, with the time of the machine.
    fn default() -> Self {
        Self { observer: Arc::new(NoObserver), clock: Arc::new(SystemClock) }
    }
}

impl Environment {
    /// Notifies `observer` of evictions and of objects that failed verification.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observer) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}
