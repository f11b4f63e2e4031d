//! Tests of what each layer adds to the store beneath it. The contracts of every store are in `conformance.rs`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod action_result_expiring;
mod action_result_timestamp_injecting;
mod authorizing;
mod background;
mod deadline_enforcing;
mod demultiplexing;
mod empty_blob_injecting;
mod existence_caching;
mod failing_store;
mod forwarding;
mod hierarchical_instance_names;
mod local_replicator;
mod mirrored;
mod mirrored_model;
mod observing;
mod outages;
mod query_coalescing;
mod read_caching;
mod read_canarying;
mod read_coalescing;
mod read_fallback;
mod replaceable;
mod sharding;
mod streaming;
mod unreliable;

use std::sync::Arc;

use blobaccess::{
    Blob, BlobAccess, BlobAccessExt, Context, Digest, DigestSet, Error, InstanceName, Kind, MemoryStore, Operation,
};
use blobaccess_testkit::digest_of;
use blobaccess_testkit::fakes::{CountingStore, InterruptibleStore, Outage, PausedStore};

/// The store beneath a layer: in memory, counted, and down when a test wants it to be.
type Inner<K> = Arc<CountingStore<InterruptibleStore<MemoryStore<K>>>>;

fn inner<K: Kind>() -> Inner<K> {
    Arc::new(CountingStore::new(InterruptibleStore::new(MemoryStore::new(1 << 20), Outage::default())))
}

fn memory<K: Kind>(inner: &Inner<K>) -> &MemoryStore<K> {
    inner.inner().inner()
}

/// Makes every call of `inner` fail with `error` from now on.
fn fail<K: Kind>(inner: &Inner<K>, error: Error) {
    inner.inner().outage().begin(error);
}

/// Lets calls of `inner` pass again.
fn mend<K: Kind>(inner: &Inner<K>) {
    inner.inner().outage().end();
}

/// Returns whether `inner` has `digest`, without a call that is counted or fails.
async fn has<K: Kind>(inner: &Inner<K>, digest: &Digest) -> bool {
    memory(inner).contains(&Context::background(), digest).await.unwrap()
}

/// Returns the value of `digest` in `inner`, without a call that is counted or fails.
async fn value<K: Kind>(inner: &Inner<K>, digest: &Digest) -> String {
    let value = memory(inner).get_bytes(&Context::background(), digest, 1000).await.unwrap();
    String::from_utf8(value.to_vec()).unwrap()
}

/// Stores `contents` without a call that is counted.
async fn stored<K: Kind>(inner: &Inner<K>, contents: &'static str) -> Digest {
    let digest = digest_of(contents);
    memory(inner).put(&Context::background(), &digest, Blob::from_bytes(contents)).await.unwrap();
    digest
}

fn name(name: &str) -> InstanceName {
    InstanceName::new(name).unwrap()
}

/// Stores `contents` under `digest`, without a call that is counted.
async fn store_as<K: Kind>(inner: &Inner<K>, digest: &Digest, contents: &'static str) {
    memory(inner).put(&Context::background(), digest, Blob::from_bytes(contents)).await.unwrap();
}

/// The store beneath a layer whose calls are counted, and then held until a test releases them.
type Paused<K> = Arc<CountingStore<PausedStore<Inner<K>>>>;

fn paused<K: Kind>() -> Paused<K> {
    Arc::new(CountingStore::new(PausedStore::new(inner())))
}

/// Returns the store that `paused` passes calls on to.
fn beneath<K: Kind>(paused: &Paused<K>) -> &Inner<K> {
    paused.inner().inner()
}

fn set(digests: &[&Digest]) -> DigestSet {
    digests.iter().copied().cloned().collect()
}

/// Returns the digests of each call of `find_missing`.
fn queries<B>(store: &CountingStore<B>) -> Vec<DigestSet> {
    store.digests_of_each(Operation::FindMissing).into_iter().map(DigestSet::from).collect()
}
