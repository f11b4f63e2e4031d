//! The suite over stacks with a real `bb_storage` in them: as a frontend of our services, and behind our stores.
//!
//! Needs the program of Buildbarn's storage daemon, whose path is in `BLOBACCESS_BB_STORAGE`: see CONTRIBUTING.md.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail so")]

mod archives;
mod daemon;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{EmptyBlobInjecting, ExistenceCaching, QueryCoalescing};
use blobaccess::{Ac, BlobAccess, Cas, Fsac, Icas, Iscc};
use blobaccess_grpc::{Remote, RemoteOptions, RetryPolicy, ServiceOptions, Services};
use blobaccess_testkit::contracts::replicating;
use blobaccess_testkit::{Layered, Promises, Replicating, Volatile, conformance, run};
use tokio::net::TcpListener;

use daemon::{Backend, Daemon};

/// The largest message of a remote store: one of the connection, less everything that surrounds it.
const MAX_MESSAGE_BYTES: u64 = (4 << 20) - (64 << 10);

conformance! {
    #[ignore = "needs BLOBACCESS_BB_STORAGE"]
    contents_behind_a_frontend =>
        Layered::<Cas, _>::new(|beneath| frontend_of(services().with_cas(beneath.store("inner"))).cas())
            .with_layers(["grpc(unix:"])
            .promising(of_contents),
    #[ignore = "needs BLOBACCESS_BB_STORAGE"]
    action_results_behind_a_frontend: Ac =>
        Layered::<Ac, _>::new(|beneath| frontend_of(services().with_ac(beneath.store("inner"))).ac())
            .with_layers(["grpc(unix:"])
            .promising(of_messages),
    #[ignore = "needs BLOBACCESS_BB_STORAGE"]
    references_behind_a_frontend: Icas =>
        Layered::<Icas, _>::new(|beneath| frontend_of(services().with_icas(beneath.store("inner"))).icas())
            .with_layers(["grpc(unix:"])
            .promising(|promises| of_messages(promises).with_finds_in_bulk(true)),
    #[ignore = "needs BLOBACCESS_BB_STORAGE"]
    size_classes_behind_a_frontend: Iscc =>
        Layered::<Iscc, _>::new(|beneath| frontend_of(services().with_iscc(beneath.store("inner"))).iscc())
            .with_layers(["grpc(unix:"])
            .promising(of_messages),
    #[ignore = "needs BLOBACCESS_BB_STORAGE"]
    path_profiles_behind_a_frontend: Fsac =>
        Layered::<Fsac, _>::new(|beneath| frontend_of(services().with_fsac(beneath.store("inner"))).fsac())
            .with_layers(["grpc(unix:"])
            .promising(of_messages),

    #[ignore = "needs BLOBACCESS_BB_STORAGE"]
    contents_before_a_storage_node =>
        Volatile::new(|| {
            let cas = QueryCoalescing::new(node().cas());
            EmptyBlobInjecting::new(ExistenceCaching::new(cas, 1000, Duration::from_mins(1)))
        })
        .promising(of_contents(Promises::IN_MEMORY)),
    #[ignore = "needs BLOBACCESS_BB_STORAGE"]
    action_results_before_a_storage_node: Ac =>
        Volatile::new(|| node().ac()).promising(of_messages(Promises::IN_MEMORY)),
    #[ignore = "needs BLOBACCESS_BB_STORAGE"]
    references_before_a_storage_node: Icas =>
        Volatile::new(|| node().icas()).promising(of_messages(Promises::IN_MEMORY).with_finds_in_bulk(true)),
    #[ignore = "needs BLOBACCESS_BB_STORAGE"]
    size_classes_before_a_storage_node: Iscc =>
        Volatile::new(|| node().iscc()).promising(of_messages(Promises::IN_MEMORY)),
    #[ignore = "needs BLOBACCESS_BB_STORAGE"]
    path_profiles_before_a_storage_node: Fsac =>
        Volatile::new(|| node().fsac()).promising(of_messages(Promises::IN_MEMORY)),
}

/// Returns the promises of contents behind `bb_storage`, which reports no outcomes and no largest blob, and reads each
/// put to its end.
fn of_contents(promises: Promises) -> Promises {
    promises
        .with_exact_outcomes(false)
        .with_max_blob_size_bytes(None)
        .with_knows_key_format(false)
        .with_empty_blob_exists(true)
        .with_demands_possession(true)
}

fn of_messages(promises: Promises) -> Promises {
    promises
        .with_exact_outcomes(false)
        .with_max_blob_size_bytes(Some(MAX_MESSAGE_BYTES))
        .with_knows_key_format(false)
        .with_finds_in_bulk(false)
}

fn services() -> Services {
    Services::new(ServiceOptions::default())
}

/// Makes a client of a `bb_storage` that forwards to `services`. All end with the runtime of the contract.
fn frontend_of(services: Services) -> Remote {
    client_of(Daemon::start(&Backend::Remote(serve(services))))
}

/// Serves on loopback, until the runtime of the contract ends.
fn serve(services: Services) -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move { services.serve(listener, std::future::pending()).await });
    address
}

/// Makes a client of a `bb_storage` that keeps everything in its memory.
fn node() -> Remote {
    client_of(Daemon::start(&Backend::Memory))
}

fn client_of(daemon: Daemon) -> Remote {
    let remote = connect(&daemon);
    // The task goes with the runtime, and the daemon with the task.
    tokio::spawn(async move {
        let _daemon: Daemon = daemon;
        std::future::pending::<()>().await;
    });
    remote
}

fn connect(daemon: &Daemon) -> Remote {
    // The suite breaks stores down, and expects to be told at once.
    let retry = RetryPolicy::default().with_backoff(Duration::from_millis(1), Duration::from_millis(2));
    let options = RemoteOptions::new(format!("unix:{}", daemon.socket().display())).with_retry(retry);
    Remote::new(options).unwrap()
}

#[tokio::test]
#[ignore = "needs BLOBACCESS_BB_STORAGE"]
async fn compressed_blobs_pass_a_frontend_both_ways() {
    use blobaccess::{Blob, Context, Digest, DigestFunction, InstanceName, MemoryStore};

    let store = Arc::new(MemoryStore::<Cas>::new(64 << 20));
    let remote = frontend_of(services().with_cas(Arc::clone(&store)));
    let ctx = Context::background();
    let contents = b"as compressible as contents can be ".repeat(100_000);
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
    // Once: a compressed upload of a blob that is there is answered early, which the client in there takes for an error.
    remote.cas().put(&ctx, &digest, Blob::from_bytes(contents.clone())).await.unwrap();
    let found = remote.cas().get(&ctx, &digest).await.unwrap();
    assert_eq!(found.into_bytes(64 << 20).await.unwrap(), contents);
    assert!(store.get(&ctx, &digest).await.is_ok());
}

/// Holds copies by a `bb_replicator` to the contracts, but for those about the names of the stores in errors, which
/// `bb_replicator` does not give.
#[test]
#[ignore = "needs BLOBACCESS_BB_REPLICATOR"]
fn a_real_replicator_copies_for_us() {
    let fixture = Replicating::<Cas, _>::new(|source, sink| {
        let addresses = [&source, &sink].map(|store| serve(services().with_cas(Arc::clone(store))));
        client_of(Daemon::start_replicator(addresses[0], addresses[1])).replicator(source)
    });
    run(replicating::what_was_copied_is_in_the_sink(&fixture));
    run(replicating::of_no_digests_none_is_copied(&fixture));
    run(replicating::a_read_returns_what_the_source_has(&fixture));
    run(replicating::a_part_is_read_from_its_composite(&fixture));
    run(replicating::after_an_outage_copies_are_made_as_before(&fixture));
    run(replicating::callers_at_once_are_all_served(&fixture));
    run(replicating::a_dropped_call_leaves_nobody_waiting(&fixture));
    run(replicating::slow_stores_delay_and_fail_nothing(&fixture));
}
