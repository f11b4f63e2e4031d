//! The devices of one store: all on one, or logs and state apart.

use std::sync::Arc;

use super::Device;
use super::limited::LimitedDevice;

/// The devices of one store: one for its blocks, and where they are to lie apart, one for logs and one for the state.
///
/// A device alone is one that has all of it: `Arc<dyn Device>` and `Arc` of any device are turned into that.
#[derive(Clone, Debug)]
pub struct Devices {
    pub(crate) blocks: Arc<dyn Device>,
    pub(crate) logs: Option<Arc<dyn Device>>,
    pub(crate) state: Option<Arc<dyn Device>>,
}

impl Devices {
    /// Keeps everything on this device.
    #[must_use]
    pub fn new(blocks: Arc<dyn Device>) -> Self {
        Self { blocks, logs: None, state: None }
    }

    /// Keeps logs on this device instead. The options must say so as well:
    /// [`Options::with_logs_on_device`](crate::Options::with_logs_on_device).
    #[must_use]
    pub fn with_logs(mut self, logs: Arc<dyn Device>) -> Self {
        self.logs = Some(logs);
        self
    }

    /// Keeps the state on this device instead. The options must say so as well:
    /// [`Options::with_state_on_device`](crate::Options::with_state_on_device).
    #[must_use]
    pub fn with_state(mut self, state: Arc<dyn Device>) -> Self {
        self.state = Some(state);
        self
    }

    /// Limits each device to `writes` concurrent writing threads.
    pub(crate) fn limited(self, most: u32) -> Self {
        let limit = |device| -> Arc<dyn Device> { Arc::new(LimitedDevice::new(device, most)) };
        Self { blocks: limit(self.blocks), logs: self.logs.map(limit), state: self.state.map(limit) }
    }
}

impl From<Arc<dyn Device>> for Devices {
    fn from(device: Arc<dyn Device>) -> Self {
        Self::new(device)
    }
}

impl<D: Device> From<Arc<D>> for Devices {
    fn from(device: Arc<D>) -> Self {
        Self::new(device)
    }
}
