//! Sends each instance name to a store of its own.

mod route;

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::try_join_all;

pub use self::route::Route;
use self::route::unknown;
use crate::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, InstanceName, InstanceNameTrie, KeyFormat, Kind,
    PutOutcome, ReadRequest, Result, Slicer,
};

/// A [`BlobAccess`] that sends each instance name to a store of its own, by the longest prefix that there is a route
/// for.
///
/// Prefixes are compared by whole components: `ci` is one of `ci` and `ci/tests`, not of `cider`. The store gets names
/// without the prefix, or with another one in its place ([`Route`]).
///
/// * **get** and **put**: of the store of the digest. A part is read from the store of its composite.
/// * **find missing**: each store is asked once about all digests that are its own, and all of them at the same time.
/// * **capabilities**: those of the store of the instance name.
///
/// # Order
///
/// Caches may stand outside, where they keep instance names apart, or around each store, where they need not. Inside of [`Authorizing`](super::Authorizing), whose names are those of callers.
///
/// # Weakens
///
/// An outage of one store fails a [`find_missing`](BlobAccess::find_missing) of digests of several stores. The calls of
/// the others are dropped.
///
/// # Memory
///
/// Of a call: the digests of a query, once more by the names of the stores.
///
/// # Cancel safety
///
/// That of the stores. Nothing is kept between calls.
///
/// # Errors
///
/// `InvalidArgument` for an instance name without a route, before any store is asked. Errors of a store have the prefix
/// of its route as their place, and name digests as the store knows them. An error that occurs while a blob is read comes
/// as it is.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::decorators::{Demultiplexing, Route};
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let (ci, others) = (Arc::new(MemoryStore::<Cas>::new(1 << 20)), Arc::new(MemoryStore::<Cas>::new(1 << 20)));
/// let store = Demultiplexing::new([
///     Route::new(InstanceName::new("ci")?, ci.clone()),
///     Route::new(InstanceName::empty(), others).with_added_prefix(InstanceName::new("others")?),
/// ])?;
/// assert_eq!(store.to_string(), r#"demultiplexing("ci": memory, "": as "others" memory)"#);
///
/// let (ctx, name) = (Context::background(), InstanceName::new("ci/tests")?);
/// let digest = Digest::of(name, DigestFunction::Sha256, b"hello");
/// store.put_bytes(&ctx, &digest, "hello").await?;
/// assert!(ci.contains(&ctx, &digest.with_instance_name(InstanceName::new("tests")?)).await?);
/// # Ok(())
/// # }
/// ```
///
/// A store of another kind does not compile:
///
/// ```compile_fail,E0271
/// # use std::sync::Arc;
/// # use blobaccess::decorators::{Demultiplexing, Route};
/// # use blobaccess::{Ac, Cas, InstanceName, MemoryStore};
/// let route = Route::<Ac>::new(InstanceName::empty(), Arc::new(MemoryStore::<Cas>::new(1 << 20)));
/// ```
#[derive(Debug)]
pub struct Demultiplexing<K: Kind> {
    routes: Vec<Route<K>>,
    /// The indexes of the routes, by their prefixes.
    by_prefix: InstanceNameTrie<usize>,
}

impl<K: Kind> Demultiplexing<K> {
    /// Makes a layer over the stores of `routes`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if there is no route, or if two of them have the same prefix.
    pub fn new(routes: impl IntoIterator<Item = Route<K>>) -> Result<Self> {
        let routes: Vec<_> = routes.into_iter().collect();
        if routes.is_empty() {
            return Err(Error::invalid_argument("there is no route for any instance name"));
        }
        let mut by_prefix = InstanceNameTrie::new();
        for (index, route) in routes.iter().enumerate() {
            if by_prefix.insert(route.prefix(), index).is_some() {
                let prefix = route.prefix().quoted();
                return Err(Error::invalid_argument(format!("two routes have the instance name prefix {prefix}")));
            }
        }
        Ok(Self { routes, by_prefix })
    }

    /// Returns the routes, in the order in which they were given.
    #[must_use]
    pub fn routes(&self) -> &[Route<K>] {
        &self.routes
    }

    /// Returns the route for an instance name: that with the longest prefix.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if there is none.
    pub fn route(&self, instance_name: &InstanceName) -> Result<&Route<K>> {
        let index = self.by_prefix.longest_prefix(instance_name).map(|(_, index)| *index);
        index.and_then(|index| self.routes.get(index)).ok_or_else(|| unknown(instance_name))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for Demultiplexing<K> {
    type Kind = K;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let route = self.route(digest.instance_name())?;
        let digest = route.patch_digest(digest)?;
        route.target().get(ctx, &digest).await.map_err(|error| error.at(route.place()))
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        let route = self.route(parent.instance_name())?;
        let name = route.patch(parent.instance_name())?;
        let request = ReadRequest::part(parent, child, slicer).with_instance_name(&name);
        request.read_from(route.target(), ctx).await.map_err(|error| error.at(route.place()))
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let route = self.route(digest.instance_name())?;
        let digest = route.patch_digest(digest)?;
        route.target().put(ctx, &digest, blob).await.map_err(|error| error.at(route.place()))
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let Some(first) = digests.first() else { return Ok(DigestSet::new()) };
        if !self.finds_in_bulk() {
            return Err(Error::unimplemented("one of the stores does not find in bulk"));
        }
        // Most queries are of one name.
        let name = first.instance_name();
        if digests.iter().all(|digest| digest.instance_name() == name) {
            return self.route(name)?.find_missing(ctx, digests.clone()).await;
        }
        let index_of = |digest: &Digest| self.by_prefix.longest_prefix(digest.instance_name()).map(|(_, index)| *index);
        let mut queries = Vec::new();
        for (_, part) in digests.partition_by(index_of) {
            let Some(first) = part.first() else { continue };
            let route = self.route(first.instance_name())?;
            queries.push(route.find_missing(ctx, part));
        }
        Ok(DigestSet::union(try_join_all(queries).await?))
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let route = self.route(instance_name)?;
        let patched = route.patch(instance_name)?;
        route.target().capabilities(ctx, &patched).await.map_err(|error| error.at(route.place()))
    }

    /// Returns the format with instance names, as those of different routes are different blobs.
    fn key_format(&self) -> KeyFormat {
        KeyFormat::WithInstanceName
    }

    fn finds_in_bulk(&self) -> bool {
        self.routes.iter().all(|route| route.target().finds_in_bulk())
    }
}

impl<K: Kind> Display for Demultiplexing<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("demultiplexing(")?;
        for (index, route) in self.routes.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{route}")?;
        }
        f.write_str(")")
    }
}
