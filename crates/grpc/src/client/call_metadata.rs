//! Metadata that is made for each call.

use std::fmt::Debug;

use async_trait::async_trait;
use blobaccess::{Context, Result};
use tonic::metadata::MetadataMap;

/// A source of metadata that depends on the call or on the time, such as a token that is renewed now and then.
///
/// It is asked before each attempt of a call.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use async_trait::async_trait;
/// use blobaccess::{Context, Error, Result};
/// use blobaccess_grpc::tonic::metadata::MetadataMap;
/// use blobaccess_grpc::{CallMetadata, Remote, RemoteOptions};
///
/// /// Tells the server on whose behalf a call is made.
/// #[derive(Debug)]
/// struct CallerName;
///
/// #[async_trait]
/// impl CallMetadata for CallerName {
///     async fn add_to(&self, ctx: &Context, metadata: &mut MetadataMap) -> Result<()> {
///         if let Some(caller) = ctx.caller() {
///             let name = caller.name().parse().map_err(|_| Error::invalid_argument("caller's name cannot be sent"))?;
///             metadata.insert("x-caller", name);
///         }
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let remote = Remote::new(RemoteOptions::new("grpc://cache.example.com:8980"))?.with_call_metadata(Arc::new(CallerName));
/// # drop(remote);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait CallMetadata: Debug + Send + Sync + 'static {
    /// Adds to the metadata of a call on behalf of `ctx`.
    ///
    /// # Errors
    ///
    /// An error ends the attempt before anything is sent. One that is retryable is retried.
    ///
    /// # Cancel safety
    ///
    /// It is dropped when the call ends, such as by its deadline.
    async fn add_to(&self, ctx: &Context, metadata: &mut MetadataMap) -> Result<()>;
}
