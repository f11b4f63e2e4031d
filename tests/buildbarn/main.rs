//! Buildbarn's own programs and ours, from configuration files of one form, build with a real Bazel.
//!
//! Needs the programs of Buildbarn at the paths in `BLOBACCESS_BB_STORAGE`, `BLOBACCESS_BB_SCHEDULER`,
//! `BLOBACCESS_BB_WORKER` and `BLOBACCESS_BB_RUNNER`, a Bazel as the tests in `tests/bazel` do, and the examples built in
//! the same profile (`cargo build --examples`). A scheduler asks for version 2.3 of the protocol, which Bazel has from 7
//! on: one that takes older versions is needed for an older Bazel.

#![expect(clippy::expect_used, clippy::panic, reason = "a failed expectation is a failed test")]
#![expect(clippy::indexing_slicing, reason = "a JSON value takes new fields by index")]

#[path = "../bazel/client.rs"]
#[expect(dead_code, reason = "the tests with Bazel use all of it")]
mod client;
mod documents;
mod files;
mod program;
mod site;
mod verdict;
#[path = "../bazel/watchdog.rs"]
mod watchdog;
#[path = "../bazel/workspace.rs"]
#[expect(dead_code, reason = "the tests with Bazel use all of it")]
mod workspace;

use blobaccess::{BlobAccess, BlobAccessExt, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName};
use blobaccess_grpc::{Remote, RemoteCasStore, RemoteOptions};

use client::Bazel;
use program::Maker;
use site::{Frontend, Site, Storage};
use verdict::Verdict;
use workspace::Workspace;

/// The number of genrules, without the one of 50 MB.
const TARGETS: usize = 64;

/// The number of all actions.
const ACTIONS: usize = TARGETS + 1;

/// The number of blobs that are spread over two shards.
const BLOBS: usize = 200;

/// Builds twice by remote execution, and expects that the second build executes nothing.
fn expect_hits_after_clean(frontend: &Frontend) {
    let bazel = Bazel::new(Workspace::of_genrules(TARGETS));
    let flags = [&*frontend.executor_flag(), "--jobs=16", "--spawn_strategy=remote", "--remote_timeout=600"];
    let first = bazel.build(&flags);
    assert_eq!(first.processes("remote"), ACTIONS, "{first}");
    assert_eq!(first.remote_cache_hits(), 0, "{first}");
    bazel.clean();
    let second = bazel.build(&flags);
    assert_eq!(second.remote_cache_hits(), ACTIONS, "{second}");
    assert_eq!(bazel.large_output(), workspace::large_output(), "the output of 50 MB is not what was built");
}

#[test]
#[ignore = "needs Bazel and the programs of Buildbarn: see CONTRIBUTING.md"]
fn a_worker_of_buildbarn_builds_over_our_storage_and_frontend() {
    let site = Site::new();
    let storage = site.start_storage(Maker::Ours, "0");
    let frontend = site.start_frontend(Maker::Ours, &Storage::One(&storage));
    let execution = site.start_execution(&Storage::One(&storage));
    expect_hits_after_clean(&frontend);
    execution.stop();
    frontend.stop();
    storage.stop();
}

#[test]
#[ignore = "needs Bazel and the programs of Buildbarn: see CONTRIBUTING.md"]
fn a_worker_of_buildbarn_builds_over_two_shards_of_ours() {
    let site = Site::new();
    let shards = ["0", "1"].map(|name| site.start_storage(Maker::Ours, name));
    let frontend = site.start_frontend(Maker::Ours, &Storage::Shards(&shards));
    let execution = site.start_execution(&Storage::Shards(&shards));
    expect_hits_after_clean(&frontend);
    execution.stop();
    frontend.stop();
    shards.into_iter().for_each(program::Program::stop);
}

#[test]
#[ignore = "needs Bazel and the programs of Buildbarn: see CONTRIBUTING.md"]
fn a_frontend_of_buildbarn_builds_over_a_shard_of_ours_and_one_of_theirs() {
    let site = Site::new();
    let shards = [site.start_storage(Maker::Ours, "0"), site.start_storage(Maker::Buildbarn, "1")];
    let frontend = site.start_frontend(Maker::Buildbarn, &Storage::Shards(&shards));
    let execution = site.start_execution(&Storage::Shards(&shards));
    expect_hits_after_clean(&frontend);
    execution.stop();
    frontend.stop();
    shards.into_iter().for_each(program::Program::stop);
}

/// Returns the contents behind a server of the site.
fn contents_of(program: &program::Program) -> RemoteCasStore {
    Remote::new(RemoteOptions::new(format!("unix:{}", program.socket().display())))
        .expect("the options are valid")
        .cas()
}

fn digest_of(contents: &str) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents.as_bytes())
}

async fn put_blobs(into: &dyn BlobAccess<Kind = Cas>, name: &str) -> DigestSet {
    let ctx = Context::background();
    let mut digests = Vec::new();
    for number in 0..BLOBS {
        let contents = format!("{name} {number}");
        let digest = digest_of(&contents);
        into.put_bytes(&ctx, &digest, contents).await.expect("the blob is stored");
        digests.push(digest);
    }
    digests.into_iter().collect()
}

/// Returns how many of `digests` a server has.
async fn count_present(store: &dyn BlobAccess<Kind = Cas>, digests: &DigestSet) -> usize {
    let missing = store.find_missing(&Context::background(), digests).await.expect("the server answers");
    digests.len() - missing.len()
}

#[tokio::test]
#[ignore = "needs the programs of Buildbarn: see CONTRIBUTING.md"]
async fn frontends_of_both_makers_find_every_blob_on_the_same_shard() {
    let site = Site::new();
    let shards = [site.start_storage(Maker::Ours, "0"), site.start_storage(Maker::Buildbarn, "1")];
    let ours = site.start_frontend(Maker::Ours, &Storage::Shards(&shards));
    let theirs = site.start_frontend(Maker::Buildbarn, &Storage::Shards(&shards));
    let frontends = [contents_of(&ours.program), contents_of(&theirs.program)];
    let stores = shards.each_ref().map(contents_of);
    for (writer, reader, name) in [(&frontends[0], &frontends[1], "ours"), (&frontends[1], &frontends[0], "theirs")] {
        let digests = put_blobs(writer, name).await;
        assert_eq!(count_present(reader, &digests).await, BLOBS, "put through {name}");
        assert_eq!(count_present(writer, &digests).await, BLOBS, "put through {name}");
        let there = [count_present(&stores[0], &digests).await, count_present(&stores[1], &digests).await];
        assert_eq!(there[0] + there[1], BLOBS, "each blob is on one shard: {there:?}");
        assert!(there.iter().all(|count| *count > BLOBS / 4), "{there:?}");
    }
    ours.stop();
    theirs.stop();
    shards.into_iter().for_each(program::Program::stop);
}

/// Compares the verdicts about configurations in which one field was changed. Ours may refuse what Buildbarn loads: values
/// that cannot work. The test prints those, for a person to judge. It never loads what Buildbarn refuses.
#[test]
#[ignore = "needs the programs of Buildbarn: see CONTRIBUTING.md"]
fn nothing_is_loaded_that_buildbarn_refuses() {
    let (mut equal, mut stricter, mut faults) = (0, Vec::new(), Vec::new());
    let originals = documents::originals();
    let all =
        originals.iter().flat_map(|original| std::iter::once(original.clone()).chain(documents::changed(original)));
    for document in all {
        let (theirs, ours) = (Verdict::of(Maker::Buildbarn, &document), Verdict::of(Maker::Ours, &document));
        match (theirs, ours) {
            // A program that ends for want of memory, or by a fault of its own, has given no verdict.
            (Verdict::Loads | Verdict::Fails(_), Verdict::Loads) | (Verdict::Refuses(_), Verdict::Refuses(_)) => {
                equal += 1;
            }
            (Verdict::Loads | Verdict::Fails(_), Verdict::Refuses(text)) => stricter.push((document.name, text)),
            (theirs, ours) => faults.push(format!("{}: theirs {theirs:?}, ours {ours:?}", document.name)),
        }
    }
    for (name, text) in &stricter {
        println!("stricter: {name}: {}", text.trim_end());
    }
    println!("{equal} equal, {} stricter, {} wrong", stricter.len(), faults.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
