//! A real Bazel builds with `remote_cache`, and finds everything the second time.
//!
//! Needs Bazel 4 and the rules for C++ tests, as Debian has them (`apt-get install bazel-bootstrap bazel-rules-java
//! bazel-rules-proto`), and the examples built in the same profile (`cargo build --examples`).

#![expect(clippy::expect_used, clippy::panic, reason = "a failed expectation is a failed test")]

mod bucket;
mod cache;
mod client;
mod cluster;
mod process;
#[path = "../storage_server/server.rs"]
mod server;
#[path = "../storage_server/site.rs"]
mod site;
mod watchdog;
mod workspace;

use std::thread;

use bucket::TestBucket;
use cache::RemoteCache;
use client::Bazel;
use cluster::Frontend;
use server::StorageServer;
use site::{Site, list};
use tempfile::TempDir;
use workspace::Workspace;

/// The number of targets in the workspace of genrules, without the one of 50 MB.
const TARGETS: usize = 64;

/// The number of all targets, with the large one.
const ACTIONS: usize = TARGETS + 1;

/// Makes a folder for the files of a cache.
fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder for the files")
}

#[test]
#[ignore = "needs Bazel: see CONTRIBUTING.md"]
fn a_second_build_is_all_remote_cache_hits() {
    let folder = folder();
    let cache = RemoteCache::start_in(folder.path());
    let bazel = Bazel::new(Workspace::of_genrules(TARGETS));
    let url = cache.flag();

    let first = bazel.build(&[&url]);
    assert_eq!(first.remote_cache_hits(), 0, "{first}");
    bazel.clean();
    let second = bazel.build(&[&url]);
    assert_eq!(second.remote_cache_hits(), ACTIONS, "{second}");
    assert_eq!(bazel.large_output(), workspace::large_output(), "the output of 50 MB is not what was built");

    bazel.clean();
    let minimal = bazel.build(&[&url, "--remote_download_minimal"]);
    assert_eq!(minimal.remote_cache_hits(), ACTIONS, "{minimal}");

    bazel.clean();
    let elsewhere = bazel.build(&[&url, "--remote_instance_name=some/where"]);
    assert_eq!(elsewhere.remote_cache_hits(), 0, "an instance name of its own has no results yet: {elsewhere}");
    bazel.clean();
    let again = bazel.build(&[&url, "--remote_instance_name=some/where"]);
    assert_eq!(again.remote_cache_hits(), ACTIONS, "{again}");
    cache.stop();
}

#[test]
#[ignore = "needs Bazel: see CONTRIBUTING.md"]
fn what_was_synced_is_all_hits_after_the_cache_was_killed() {
    let folder = folder();
    let bazel = Bazel::new(Workspace::of_genrules(TARGETS));

    let cache = RemoteCache::start_in(folder.path());
    bazel.build(&[&cache.flag()]);
    cache.wait_until_durable();
    cache.kill();

    let cache = RemoteCache::start_in(folder.path());
    bazel.clean();
    let second = bazel.build(&[&cache.flag()]);
    assert_eq!(second.remote_cache_hits(), ACTIONS, "{second}");
    assert_eq!(bazel.large_output(), workspace::large_output(), "the output of 50 MB is not what was built");
    cache.stop();

    // The same after an orderly end, without the flags for the sizes.
    let cache = RemoteCache::start(&["--directory", folder.path().to_str().expect("its name is text")]);
    bazel.clean();
    let third = bazel.build(&[&cache.flag()]);
    assert_eq!(third.remote_cache_hits(), ACTIONS, "{third}");
    cache.stop();
}

#[test]
#[ignore = "needs Bazel: see CONTRIBUTING.md"]
fn compiled_targets_and_their_test_are_hits() {
    let cache = RemoteCache::start(&["--in-memory"]);
    let bazel = Bazel::new(Workspace::of_cc());
    let url = cache.flag();

    let first = bazel.test(&[&url]);
    assert_eq!(first.remote_cache_hits(), 0, "{first}");
    assert!(first.to_string().contains("1 test passes"), "{first}");
    bazel.clean();
    let second = bazel.test(&[&url]);
    let hits = second.remote_cache_hits();
    assert!(hits > 0 && hits == first.executed(), "{hits} hits of {} actions: {second}", first.executed());
    assert!(second.to_string().contains("(cached) PASSED"), "{second}");
    cache.stop();
}

#[test]
#[ignore = "needs Bazel: see CONTRIBUTING.md"]
fn a_chain_of_two_caches_serves_the_same_build() {
    let folder = folder();
    let back = RemoteCache::start_in(folder.path());
    let front = RemoteCache::start(&["--upstream", &back.url()]);
    let bazel = Bazel::new(Workspace::of_genrules(TARGETS));

    bazel.build(&[&front.flag()]);
    bazel.clean();
    let second = bazel.build(&[&front.flag()]);
    assert_eq!(second.remote_cache_hits(), ACTIONS, "{second}");
    bazel.clean();
    let behind = bazel.build(&[&back.flag()]);
    assert_eq!(behind.remote_cache_hits(), ACTIONS, "what the front was given is in the back: {behind}");
    front.stop();
    back.stop();
}

#[test]
#[ignore = "needs Bazel: see CONTRIBUTING.md"]
fn a_frontend_finds_everything_on_two_shards() {
    let folders = [folder(), folder()];
    let [a, b] = [&folders[0], &folders[1]].map(|folder| RemoteCache::start_node(folder.path()));
    let frontend = Frontend::start(&[("a", &[&a.url()]), ("b", &[&b.url()])]);
    let bazel = Bazel::new(Workspace::of_genrules(TARGETS));

    let first = bazel.build(&[&frontend.flag()]);
    assert_eq!(first.remote_cache_hits(), 0, "{first}");
    let added = [a.added_results(), b.added_results()];
    assert!(added[0] > TARGETS / 8 && added[1] > TARGETS / 8, "the shards have {added:?} results");
    assert_eq!(added[0] + added[1], ACTIONS, "a result is on one shard");
    bazel.clean();
    let second = bazel.build(&[&frontend.flag()]);
    assert_eq!(second.remote_cache_hits(), ACTIONS, "{second}");
    assert_eq!(bazel.large_output(), workspace::large_output(), "the output of 50 MB is not what was built");
    frontend.stop();
    a.stop();
    b.stop();
}

#[test]
#[ignore = "needs Bazel: see CONTRIBUTING.md"]
fn a_site_of_storage_servers_is_all_hits_after_all_were_started_again() {
    let site = Site::new(2304);
    // Without its scheduler, which is not there, so that Bazel would be refused.
    let frontend = "(import 'frontend.jsonnet') + { schedulers:: null, executeAuthorizer:: null }";
    let frontend_file = site.write("cache.jsonnet", frontend);
    let bazel = Bazel::new(Workspace::of_genrules(TARGETS));
    let start = || {
        let nodes = ["a", "b"]
            .map(|name| StorageServer::start(&site.path("storage.jsonnet"), &[("SITE_FOLDER", &*site.node(name))]));
        let addresses = [nodes[0].address(), nodes[1].address()];
        let frontend = StorageServer::start(&frontend_file, &[("SITE_NODES", &list(&addresses))]);
        (nodes, frontend)
    };

    let (nodes, frontend) = start();
    let flag = format!("--remote_cache=grpc://{}", frontend.address());
    let first = bazel.build(&[&flag]);
    assert_eq!(first.remote_cache_hits(), 0, "{first}");
    bazel.clean();
    let second = bazel.build(&[&flag]);
    assert_eq!(second.remote_cache_hits(), ACTIONS, "{second}");
    assert_eq!(bazel.large_output(), workspace::large_output(), "the output of 50 MB is not what was built");
    assert!(frontend.page("/metrics").contains("grpc_code=\"OK\""), "{}", frontend.page("/metrics"));
    frontend.stop();
    nodes.into_iter().for_each(StorageServer::stop);

    let (nodes, frontend) = start();
    bazel.clean();
    let third = bazel.build(&[&format!("--remote_cache=grpc://{}", frontend.address())]);
    assert_eq!(third.remote_cache_hits(), ACTIONS, "{third}");
    frontend.stop();
    nodes.into_iter().for_each(StorageServer::stop);
}

#[test]
#[ignore = "needs Bazel: see CONTRIBUTING.md"]
fn a_mirrored_node_that_is_killed_in_mid_build_and_replaced_empty_costs_no_hit() {
    let (folders, empty) = ([folder(), folder()], folder());
    let [a, b] = [&folders[0], &folders[1]].map(|folder| RemoteCache::start_node(folder.path()));
    let frontend = Frontend::start(&[("a", &[&a.url(), &b.url()])]);
    let bazel = Bazel::new(Workspace::of_genrules(TARGETS));
    let flag = frontend.flag();

    let a = thread::scope(|scope| {
        let build = scope.spawn(|| bazel.build(&[&flag]));
        while a.added_results() < TARGETS / 8 && !build.is_finished() {
            thread::yield_now();
        }
        let before = a.added_results();
        let a = a.replace_node(empty.path());
        let first = build.join().expect("the build passes");
        assert_eq!(first.remote_cache_hits(), 0, "{first}");
        assert!(before < ACTIONS, "it was not killed in mid-build, but after {before}");
        // If it was gone for long, the frontend copies into it later what it missed.
        while a.added_results() == 0 {
            thread::yield_now();
        }
        a
    });
    assert_eq!(b.added_results(), ACTIONS, "the other half has not all results");
    bazel.clean();
    let second = bazel.build(&[&flag]);
    assert_eq!(second.remote_cache_hits(), ACTIONS, "{second}");
    assert_eq!(bazel.large_output(), workspace::large_output(), "the output of 50 MB is not what was built");
    frontend.stop();
    a.stop();
    b.stop();
}

#[test]
#[ignore = "needs Bazel, and an S3 server at BLOBACCESS_S3_ENDPOINT: see CONTRIBUTING.md"]
fn a_bucket_serves_all_of_a_build_whose_cache_lost_its_files() {
    let (files, accounts) = (folder(), folder());
    let bucket = TestBucket::from_environment();
    let bazel = Bazel::new(Workspace::of_genrules(TARGETS));

    let cache = RemoteCache::start_before(&bucket, files.path(), accounts.path());
    let first = bazel.build(&[&cache.flag()]);
    assert_eq!(first.remote_cache_hits(), 0, "{first}");
    bazel.clean();
    bazel.build(&[&cache.flag(), "--remote_instance_name=some/where"]);
    cache.stop();
    let stored = bucket.stored_bytes();
    assert!(stored > workspace::large_output().len().try_into().expect("it is 50 MB"), "{stored} bytes");
    assert_eq!(bucket::reported_bytes(accounts.path()), stored, "the ledger is not what is in the bucket");

    drop(files);
    let files = folder();
    let cache = RemoteCache::start_before(&bucket, files.path(), accounts.path());
    bazel.clean();
    let second = bazel.build(&[&cache.flag()]);
    assert_eq!(second.remote_cache_hits(), ACTIONS, "{second}");
    assert_eq!(bazel.large_output(), workspace::large_output(), "the output of 50 MB is not what was built");
    let page = cache.status_page();
    assert!(page.contains("footprint             ac of some/where: "), "{page}");
    cache.stop();
    assert_eq!(bucket.stored_bytes(), stored, "a build that was all hits has put something");
    assert_eq!(bucket::reported_bytes(accounts.path()), stored, "the ledger is not what is in the bucket");
}
