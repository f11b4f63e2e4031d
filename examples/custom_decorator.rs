//! A layer of your own: a switch in front of any store, which refuses uploads while it is on.
//!
//! `docs/writing-a-decorator.md` builds another layer step by step. `cargo test --example custom_decorator` holds
//! this one to the contracts of every store.

#![expect(clippy::print_stdout, reason = "an example prints what it did")]

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestFunction, DigestSet, Error, InstanceName, KeyFormat,
    MemoryStore, PutOutcome, Result, Slicer,
};

/// A [`BlobAccess`] that can be frozen: it then refuses uploads, and everything else goes on.
///
/// Use it while a disk is being replaced, or while a copy of the store is made. Clients see from the capabilities that
/// there are no updates, and leave uploads out.
#[derive(Debug)]
struct Freezing<B> {
    inner: B,
    is_frozen: AtomicBool,
}

impl<B> Freezing<B> {
    /// Forwards everything to `inner`, until the layer is frozen.
    fn new(inner: B) -> Self {
        Self { inner, is_frozen: AtomicBool::new(false) }
    }

    /// Sets whether uploads are refused. Uploads that are under way go on.
    fn set_frozen(&self, is_frozen: bool) {
        self.is_frozen.store(is_frozen, Ordering::Relaxed);
    }

    /// Returns whether uploads are refused.
    fn is_frozen(&self) -> bool {
        self.is_frozen.load(Ordering::Relaxed)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess> BlobAccess for Freezing<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.inner.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.inner.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        if self.is_frozen() {
            // The blob is dropped unread: nothing of it was sent anywhere.
            return Err(Error::failed_precondition("the store is frozen: it takes no uploads for now"));
        }
        self.inner.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.inner.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let capabilities = self.inner.capabilities(ctx, instance_name).await?;
        Ok(if self.is_frozen() { capabilities.with_updates_allowed(false) } else { capabilities })
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<B: Display> Display for Freezing<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "freezing({})", self.inner)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let ctx = Context::background();
    let store = Freezing::new(MemoryStore::<Cas>::new(1 << 20));
    println!("the store is {store}");

    for (is_frozen, contents) in [(false, "first"), (true, "second"), (false, "third")] {
        store.set_frozen(is_frozen);
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents.as_bytes());
        let allowed = store.capabilities(&ctx, &InstanceName::empty()).await?.updates_allowed;
        println!("frozen: {is_frozen}; clients are told that updates are allowed: {allowed}");
        match store.put(&ctx, &digest, Blob::from_bytes(contents)).await {
            Ok(outcome) => println!("put {contents:?}: {outcome:?}"),
            Err(error) => println!("put {contents:?}: refused: {error}"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use blobaccess::{ErrorKind, PutCertainty};
    use blobaccess_testkit::Layered;

    #[tokio::test]
    async fn a_frozen_store_refuses_puts_and_still_serves_gets() {
        let (ctx, store) = (Context::background(), Freezing::new(MemoryStore::<Cas>::new(1 << 20)));
        let digest = |contents: &[u8]| Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents);
        store.put(&ctx, &digest(b"first"), Blob::from_bytes("first")).await.unwrap();

        store.set_frozen(true);
        let error = store.put(&ctx, &digest(b"second"), Blob::from_bytes("second")).await.unwrap_err();
        assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::FailedPrecondition, PutCertainty::NotStored));
        assert!(!store.capabilities(&ctx, &InstanceName::empty()).await.unwrap().updates_allowed);
        assert_eq!(store.get(&ctx, &digest(b"first")).await.unwrap().into_bytes(5).await.unwrap(), "first");

        store.set_frozen(false);
        store.put(&ctx, &digest(b"second"), Blob::from_bytes("second")).await.unwrap();
    }

    // A layer passes the suite that every store passes.
    blobaccess_testkit::conformance! {
        freezing => Layered::<Cas, _>::new(|stores| Freezing::new(stores.store("inner"))),
    }
}
