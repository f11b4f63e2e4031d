//! Layers around stores, and the order in which they are commonly stacked.

mod authorizing;
mod deadline_enforcing;
mod empty_blob_injecting;
mod error;
mod existence_caching;
#[cfg(test)]
mod fakes;

pub use self::authorizing::{Authorizer, Authorizers, Authorizing, StaticAuthorizer};
pub use self::deadline_enforcing::DeadlineEnforcing;
pub use self::empty_blob_injecting::EmptyBlobInjecting;
pub use self::error::ErrorBlobAccess;
pub use self::existence_caching::ExistenceCaching;
