//! A component with work that its host must have polled.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;

/// A component with background work: [`Background`](crate::Background) takes it.
#[async_trait]
pub trait BackgroundWork: Send + Sync {
    /// Returns the name of the component, for the log.
    fn name(&self) -> Cow<'static, str>;

    /// Does the work, for as long as it is polled.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time, and another be made.
    async fn run(&self);
}

#[async_trait]
impl<T: BackgroundWork + ?Sized> BackgroundWork for Arc<T> {
    fn name(&self) -> Cow<'static, str> {
        (**self).name()
    }

    async fn run(&self) {
        (**self).run().await;
    }
}
