//! Looks for messages in the parents of an instance name too.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, MessageKind,
    PutOutcome, ReadRequest, Result, Slicer,
};

/// The number of components of the longest names whose parents are looked in. Names come from callers, and one of
/// thousands of components would make thousands of calls.
const MAX_COMPONENTS: usize = 64;

/// A [`BlobAccess`] of messages that looks for what an instance name lacks in its parents: `a/b/c`, then `a/b`, `a`
/// and the empty name.
///
/// Use it so that all branches of a project profit from the results of its main builds, which only trusted callers may
/// put, while each branch puts results of its own.
///
/// * **get**: from the most specific name that has the message. An outage on the way ends the search, as a parent may
///   have an older value.
/// * **put** and **capabilities**: of the name itself only.
/// * **find missing**: a digest is missing if it is in none of its names. The names are asked about level by level: one
///   call for all digests, one for the parents of those that were missing, and so on. That is at most one call more
///   than the longest name has components.
///
/// For contents, see `with_hierarchical_instance_names` of the local store: contents are the same in every name, so
/// there it is a question of who may see them.
///
/// # Order
///
/// Outside of [`CompletenessChecking`](super::CompletenessChecking), so that a result of which something is missing
/// gives way to that of a parent. Each result is then checked in the name that it is found in, so the content store
/// must let callers read what its parents have. If it keeps names apart, check outside of this layer.
///
/// Outside of layers that cache, and directly around a store rather than behind a slow network: each level is a call.
/// Inside of [`Authorizing`](super::Authorizing): a right to read in a name is one to read what its parents have.
///
/// # Weakens
///
/// A put says `Created` for a message that only a parent has.
///
/// # Memory
///
/// 200 bytes for each digest of a query that its own name lacks.
///
/// # Cancel safety
///
/// That of the inner store. Nothing is kept between calls.
///
/// # Errors
///
/// Of a read: those of the inner store, with the instance name that was being read as their place. `NotFound` is that
/// of the caller's own name, without a place. Of all other calls: those of the inner store as they are.
/// `InvalidArgument` for what a name of more than 64 components lacks.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::decorators::HierarchicalInstanceNames;
/// use blobaccess::{Ac, BlobAccessExt, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let store = HierarchicalInstanceNames::new(MemoryStore::<Ac>::new(1 << 20));
/// let ctx = Context::background();
/// let main = Digest::of(InstanceName::new("project")?, DigestFunction::Sha256, b"action");
/// let branch = main.with_instance_name(InstanceName::new("project/branch")?);
///
/// store.put_bytes(&ctx, &main, "of the main build").await?;
/// assert_eq!(store.get_bytes(&ctx, &branch, 1024).await?, "of the main build");
/// store.put_bytes(&ctx, &branch, "of the branch").await?;
/// assert_eq!(store.get_bytes(&ctx, &branch, 1024).await?, "of the branch");
/// assert_eq!(store.get_bytes(&ctx, &main, 1024).await?, "of the main build");
/// # Ok(())
/// # }
/// ```
///
/// Over contents it does not compile:
///
/// ```compile_fail,E0277
/// # use blobaccess::decorators::HierarchicalInstanceNames;
/// # use blobaccess::{Cas, MemoryStore};
/// let store = HierarchicalInstanceNames::new(MemoryStore::<Cas>::new(1 << 20));
/// ```
#[derive(Debug)]
pub struct HierarchicalInstanceNames<B> {
    inner: B,
}

impl<B: BlobAccess<Kind: MessageKind>> HierarchicalInstanceNames<B> {
    /// Makes a layer around `inner`.
    pub const fn new(inner: B) -> Self {
        Self { inner }
    }

    /// Reads from the most specific instance name that has the message.
    async fn read(&self, ctx: &Context, request: &ReadRequest) -> Result<Blob> {
        let name = request.digest().instance_name();
        let absent = match request.read_from(&self.inner, ctx).await {
            // A message without the part is there, and goes before those of the parents.
            Err(error) if error.is_blob_missing() => error,
            result => return result.map_err(|error| place(error, name)),
        };
        check_depth(name)?;
        let mut above = name.parent();
        while let Some(name) = above {
            match request.with_instance_name(&name).read_from(&self.inner, ctx).await {
                Err(error) if error.is_blob_missing() => {}
                result => return result.map_err(|error| place(error, &name)),
            }
            above = name.parent();
        }
        Err(absent)
    }
}

impl<B> HierarchicalInstanceNames<B> {
    /// Returns the inner store.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// Returns the inner store.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

#[cold]
fn place(error: Error, name: &InstanceName) -> Error {
    error.at(format!("instance name {}", name.quoted()))
}

/// Fails if `name` has so many parents that looking in them is an attack.
fn check_depth(name: &InstanceName) -> Result<()> {
    let components = name.components().count();
    if components <= MAX_COMPONENTS {
        return Ok(());
    }
    let name = name.quoted();
    Err(Error::invalid_argument(format!(
        "instance name {name} has {components} components; the maximum is {MAX_COMPONENTS}"
    )))
}

/// A digest that a query is about, and the digest by which it is looked for next.
struct Sought<'a> {
    asked: &'a Digest,
    next: Digest,
}

/// The parent of the last instance name, as the digests of a query mostly share their name.
#[derive(Default)]
struct Parents {
    last: Option<(InstanceName, Option<InstanceName>)>,
}

impl Parents {
    /// Returns the same digest in the parent of its instance name; `None` if that is the empty one.
    fn parent_of(&mut self, digest: &Digest) -> Result<Option<Digest>> {
        let name = digest.instance_name();
        let (_, parent) = match &mut self.last {
            Some(last) if last.0 == *name => last,
            last => {
                check_depth(name)?;
                last.insert((name.clone(), name.parent()))
            }
        };
        Ok(parent.as_ref().map(|parent| digest.with_instance_name(parent.clone())))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess<Kind: MessageKind>> BlobAccess for HierarchicalInstanceNames<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.read(ctx, &ReadRequest::blob(digest)).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.read(ctx, &ReadRequest::part(parent, child, slicer)).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.inner.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let not_in_own_name = self.inner.find_missing(ctx, digests).await?;
        let mut parents = Parents::default();
        let (mut nowhere, mut sought) = (Vec::new(), Vec::new());
        for asked in &not_in_own_name {
            match parents.parent_of(asked)? {
                Some(next) => sought.push(Sought { asked, next }),
                None => nowhere.push(asked.clone()),
            }
        }
        if sought.is_empty() {
            return Ok(not_in_own_name);
        }
        while !sought.is_empty() {
            // Digests that differ only in their names may have the same parent.
            let level = sought.iter().map(|sought| sought.next.clone()).collect();
            let missing = self.inner.find_missing(ctx, &level).await?;
            let mut further = Vec::with_capacity(missing.len());
            for Sought { asked, next } in sought.into_iter().filter(|sought| missing.contains(&sought.next)) {
                match parents.parent_of(&next)? {
                    Some(next) => further.push(Sought { asked, next }),
                    None => nowhere.push(asked.clone()),
                }
            }
            sought = further;
        }
        Ok(nowhere.into())
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.inner.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<B: Display> Display for HierarchicalInstanceNames<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "hierarchical_instance_names({})", self.inner)
    }
}
