//! Layers that do what no layer may do, each of which the checks of `faults.rs` notice.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestSet, Error, ErrorKind, InstanceName, KeyFormat,
    PutOutcome, Result, Slicer, get_and_slice,
};

use crate::deployments;
use crate::faults::{Deployment, check};
use crate::leaf::Fault;
use crate::samples::sample;
use crate::site::{Site, Store};

/// The thing that a layer does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// It reads nothing where it cannot read.
    OutageIsAbsence,
    /// It reports everything missing where it cannot tell.
    OutageIsMissing,
    /// It says that nothing was stored where something was.
    DeniesPuts,
    /// It acknowledges what it could not store.
    AcknowledgesAll,
    /// It hides the error of the store.
    ChangesErrors,
    /// It reads other bytes where the right ones are gone.
    ReadsAnything,
}

#[derive(Debug)]
struct Broken {
    inner: Store<Cas>,
    wrong: Wrong,
}

impl Broken {
    fn change<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            if !error.is_infrastructure() {
                error
            } else if self.wrong == Wrong::OutageIsAbsence {
                error.with_kind(ErrorKind::NotFound)
            } else if self.wrong == Wrong::ChangesErrors {
                Error::internal("something went wrong")
            } else {
                error
            }
        })
    }
}

#[async_trait]
impl BlobAccess for Broken {
    type Kind = Cas;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let blob = self.change(self.inner.get(ctx, digest).await)?;
        let size = blob.size_bytes();
        match blob.into_bytes(size).await {
            Err(_) if self.wrong == Wrong::ReadsAnything => {
                let bytes = vec![b'x'; usize::try_from(size).unwrap()];
                Ok(Blob::from_verified_bytes(digest, bytes.into()))
            }
            bytes => Ok(Blob::from_bytes(bytes?)),
        }
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        get_and_slice(self, ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let put = self.inner.put(ctx, digest, blob).await;
        // Only the put that is made while the store is wrong.
        if self.wrong == Wrong::DeniesPuts && *digest == sample::<Cas>(2).digest {
            return Err(Error::unavailable("lost").not_stored());
        }
        if self.wrong == Wrong::AcknowledgesAll {
            put.or(Ok(PutOutcome::Unclassified { stored_bytes: None }))
        } else {
            put
        }
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let missing = self.change(self.inner.find_missing(ctx, digests).await);
        if self.wrong == Wrong::OutageIsMissing { missing.or(Ok(digests.clone())) } else { missing }
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

impl Display for Broken {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "broken({})", self.inner)
    }
}

fn broken(site: &dyn Site, wrong: Wrong) -> Store<Cas> {
    Arc::new(Broken { inner: deployments::node(site), wrong })
}

/// Returns what the check of this stack says when its store goes wrong in the way of `fault`.
async fn verdict(make: fn(&dyn Site) -> Store<Cas>, fault: Fault) -> Result<(), String> {
    let checked =
        tokio::spawn(async move { check(&Deployment { make: &make, spare: &[] }, "disk", fault, 1).await }).await;
    checked.map_err(|error| {
        let panic = error.into_panic();
        let literal = panic.downcast_ref::<&str>().map(|message| (*message).to_owned());
        literal.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
    })
}

#[tokio::test(start_paused = true)]
async fn what_no_layer_may_do_is_noticed() {
    type Make = fn(&dyn Site) -> Store<Cas>;
    let cases: [(Make, Fault, &str); 6] = [
        (|site| broken(site, Wrong::OutageIsAbsence), Fault::Down, "an outage passes for absence"),
        (|site| broken(site, Wrong::OutageIsMissing), Fault::Down, "what is stored is missing"),
        (|site| broken(site, Wrong::DeniesPuts), Fault::Boastful, "what was not stored is stored"),
        (|site| broken(site, Wrong::AcknowledgesAll), Fault::Down, "is not stored"),
        (|site| broken(site, Wrong::ChangesErrors), Fault::Down, "the error was changed"),
        (|site| broken(site, Wrong::ReadsAnything), Fault::Corrupt, "other bytes were read than were put"),
    ];
    for (make, fault, expected) in cases {
        let message = verdict(make, fault).await.expect_err(expected);
        assert!(message.contains(expected), "{expected}: {message}");
        assert_eq!(verdict(deployments::node, fault).await, Ok(()));
    }
}
