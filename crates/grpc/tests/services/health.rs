//! Health follows the stores, and no single accident.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use blobaccess::{Clock, Context, Error, InstanceName, StorageType, SystemClock};
use blobaccess_grpc::{ServiceOptions, Services};
use futures::future::{self, Either};
use tonic::service::Routes;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus::{self, NotServing, Serving};
use tonic_health::pb::health_client::HealthClient;

use crate::fake::Fake;
use crate::wired::Wired;

const CAS: &str = "build.bazel.remote.execution.v2.ContentAddressableStorage";
const AC: &str = "build.bazel.remote.execution.v2.ActionCache";
const CAPABILITIES: &str = "build.bazel.remote.execution.v2.Capabilities";

async fn check(client: &mut HealthClient<Routes>, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.into() };
    client.check(request).await.unwrap().into_inner().status()
}

/// Returns the reported health of the CAS after each of `probes` probes.
async fn after_probes(services: &Services, probes: usize) -> Vec<ServingStatus> {
    let mut client = HealthClient::new(services.routes().unwrap());
    let mut running = pin!(services.run());
    let start = SystemClock.monotonic() + Duration::from_millis(9_999);
    let mut reported = Vec::new();
    for probe in 0..u32::try_from(probes).unwrap() {
        let soon_due = SystemClock.sleep_until(start + probe * Duration::from_secs(10));
        let Either::Right(((), _)) = future::select(&mut running, soon_due).await;
        reported.push(check(&mut client, CAS).await);
    }
    reported
}

#[tokio::test(start_paused = true)]
async fn two_failures_in_a_row_and_it_is_not_serving_until_it_answers() {
    let wired = Wired::new(ServiceOptions::default());
    let fire = || Some(Error::unavailable("disk on fire"));
    let unimplemented = || Some(Error::unimplemented("finds nothing in bulk"));
    *wired.cas.finds.lock().unwrap() =
        vec![fire(), unimplemented(), fire(), fire(), fire(), unimplemented(), unimplemented(), unimplemented()];
    let reported = after_probes(&wired.services, 9).await;
    let expected = [Serving, Serving, Serving, NotServing, NotServing, Serving, Serving, Serving, Serving];
    assert_eq!(reported, expected);
    let asked = wired.cas.asked.lock().unwrap();
    assert_eq!(asked.len(), 9, "one probe every ten seconds");
    assert_eq!(asked.iter().collect::<HashSet<_>>().len(), 9, "each of a digest of its own");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_has_failed() {
    let wired = Wired::new(ServiceOptions::default());
    *wired.cas.finds.lock().unwrap() = vec![None, None, None, None];
    let reported = after_probes(&wired.services, 5).await;
    assert_eq!(reported, [Serving, Serving, NotServing, NotServing, Serving]);
}

#[tokio::test(start_paused = true)]
async fn a_store_of_which_a_part_is_out_serves_the_rest_until_nothing_answers() {
    let mut wired = Wired::new(ServiceOptions::default());
    *wired.ac.error.lock().unwrap() = Some(Error::unavailable("the bucket has not answered yet"));
    let waits = Arc::new(AtomicBool::new(true));
    let is_waiting = Arc::clone(&waits);
    wired.services =
        wired.services.clone().with_degraded_while(StorageType::Ac, move || is_waiting.load(Ordering::Relaxed));
    after_probes(&wired.services, 4).await;
    let mut client = HealthClient::new(wired.services.routes().unwrap());
    assert_eq!((check(&mut client, AC).await, check(&mut client, "").await), (Serving, Serving));
    let snapshot = wired.services.snapshot();
    assert!(snapshot.serving && snapshot.degraded);
    // It has answered, and fails since then.
    waits.store(false, Ordering::Relaxed);
    after_probes(&wired.services, 2).await;
    assert_eq!((check(&mut client, AC).await, check(&mut client, CAS).await), (NotServing, Serving));
    assert!(!wired.services.snapshot().degraded);
}

#[tokio::test(start_paused = true)]
async fn each_service_depends_on_its_own_store_and_the_server_on_all() {
    let wired = Wired::new(ServiceOptions::default());
    *wired.ac.error.lock().unwrap() = Some(Error::internal("disk on fire"));
    assert_eq!(after_probes(&wired.services, 2).await, [Serving, Serving]);
    let mut client = HealthClient::new(wired.services.routes().unwrap());
    assert_eq!(check(&mut client, AC).await, NotServing);
    assert_eq!(check(&mut client, "google.bytestream.ByteStream").await, Serving);
    assert_eq!(check(&mut client, CAPABILITIES).await, NotServing);
    assert_eq!(check(&mut client, "").await, NotServing);
    assert!(!wired.services.snapshot().serving);
    let unknown = client.check(HealthCheckRequest { service: "other".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn stores_of_every_kind_are_probed() {
    let wired = Wired::new(ServiceOptions::default());
    let (icas, iscc, fsac) = (Fake::new(), Fake::new(), Fake::new());
    let services = wired.services.clone();
    let services = services.with_icas(Arc::clone(&icas)).with_iscc(Arc::clone(&iscc)).with_fsac(Arc::clone(&fsac));
    *iscc.error.lock().unwrap() = Some(Error::internal("disk on fire"));
    assert_eq!(after_probes(&services, 2).await, [Serving, Serving]);
    let mut client = HealthClient::new(services.routes().unwrap());
    assert_eq!(check(&mut client, "buildbarn.icas.IndirectContentAddressableStorage").await, Serving);
    assert_eq!(check(&mut client, "buildbarn.iscc.InitialSizeClassCache").await, NotServing);
    assert_eq!(check(&mut client, "buildbarn.fsac.FileSystemAccessCache").await, Serving);
    assert_eq!(check(&mut client, AC).await, Serving);
    assert_eq!(check(&mut client, "").await, NotServing);
    for asked in [&icas.asked, &iscc.asked, &fsac.asked] {
        assert_eq!(asked.lock().unwrap().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drains_is_not_serving_however_well_its_stores_do() {
    let wired = Wired::new(ServiceOptions::default());
    wired.services.drain();
    assert_eq!(after_probes(&wired.services, 2).await, [NotServing, NotServing]);
    let snapshot = wired.services.snapshot();
    assert!(snapshot.draining && !snapshot.serving);
}

#[tokio::test(start_paused = true)]
async fn the_probe_is_made_as_whoever_it_is_told_to_be() {
    #[derive(Debug)]
    struct Named(blobaccess::MemoryStore<blobaccess::Cas>);

    impl std::fmt::Display for Named {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("named")
        }
    }

    #[async_trait::async_trait]
    impl blobaccess::BlobAccess for Named {
        type Kind = blobaccess::Cas;

        async fn get(&self, ctx: &Context, digest: &blobaccess::Digest) -> blobaccess::Result<blobaccess::Blob> {
            self.0.get(ctx, digest).await
        }

        async fn get_from_composite(
            &self,
            ctx: &Context,
            parent: &blobaccess::Digest,
            child: &blobaccess::Digest,
            slicer: Arc<dyn blobaccess::Slicer>,
        ) -> blobaccess::Result<blobaccess::Blob> {
            self.0.get_from_composite(ctx, parent, child, slicer).await
        }

        async fn put(
            &self,
            ctx: &Context,
            digest: &blobaccess::Digest,
            blob: blobaccess::Blob,
        ) -> blobaccess::Result<blobaccess::PutOutcome> {
            self.0.put(ctx, digest, blob).await
        }

        async fn find_missing(
            &self,
            ctx: &Context,
            digests: &blobaccess::DigestSet,
        ) -> blobaccess::Result<blobaccess::DigestSet> {
            let known = ctx.caller().is_some_and(|caller| caller.name() == "probe");
            let here = digests.iter().all(|digest| digest.instance_name().as_str() == "main");
            if known && here { self.0.find_missing(ctx, digests).await } else { Err(Error::permission_denied("no")) }
        }

        async fn capabilities(
            &self,
            ctx: &Context,
            instance_name: &InstanceName,
        ) -> blobaccess::Result<blobaccess::Capabilities> {
            self.0.capabilities(ctx, instance_name).await
        }

        fn key_format(&self) -> blobaccess::KeyFormat {
            self.0.key_format()
        }

        fn finds_in_bulk(&self) -> bool {
            self.0.finds_in_bulk()
        }
    }

    let services = Services::new(ServiceOptions::default()).with_cas(Named(blobaccess::MemoryStore::new(1000)));
    assert_eq!(after_probes(&services, 2).await, [Serving, NotServing]);
    let ctx = Context::background().with_caller(blobaccess::Caller::new("probe"));
    let services = services.with_probe(ctx, InstanceName::new("main").unwrap());
    assert_eq!(after_probes(&services, 3).await, [Serving; 3]);
}
