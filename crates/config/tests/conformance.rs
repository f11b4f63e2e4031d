//! Stores of configurations, held to the suite: every backend that is a layer, over stores in memory.

#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made is a failed test")]

use std::sync::Arc;

use blobaccess::{BlobAccess, Kind, StorageType};
use blobaccess_config::{Document, Registry, Stacks, StacksPlan};
use blobaccess_testkit::{Layered, Promises, Stores, conformance};
use futures::FutureExt;

/// The largest message, in bytes. It is less than the stores beneath accept.
const MAX_MESSAGE_SIZE_BYTES: u64 = 4 << 20;

const REPLICATOR: &str = "{'queued': {'base': {'concurrencyLimiting': {'base': {'local': {}}, 'maximumConcurrency': 8}}, \
     'existenceCache': {'cacheSize': 10, 'cacheDuration': '0s', 'cacheReplacementPolicy': 'LEAST_RECENTLY_USED'}}}";

const MIRRORED: &str = "{'mirrored': {'backendA': 'A', 'backendB': 'B', 'replicatorAToB': {'local': {}}, \
     'replicatorBToA': {'local': {}}}}";

const READ_CACHING: &str = "{'readCaching': {'slow': 'A', 'fast': 'B', 'replicator': {'local': {}}}}";

const READ_FALLBACK: &str = "{'readFallback': {'primary': 'A', 'secondary': 'B', 'replicator': {'local': {}}}}";

const READ_CANARYING: &str =
    "{'readCanarying': {'source': 'A', 'replica': 'A', 'maximumCacheSize': 256, 'maximumCacheDuration': '300s'}}";

const DEMULTIPLEXING: &str = "{'demultiplexing': {'instanceNamePrefixes': {\
     'left': {'backend': 'A'}, 'right': {'backend': 'B', 'addInstanceNamePrefix': 'ours'}}}}";

/// Some of the above in each other, with labels. There are no shards: one that failed rests, which the suite does not wait
/// for.
const STACK: &str = "{'withLabels': {'labels': {'inner': 'A'}, 'backend': {'deadlineEnforcing': {'timeout': '3600s', 'backend': \
     {'demultiplexing': {'instanceNamePrefixes': {'': {'backend': {'readFallback': {'primary': {'label': 'inner'}, \
     'secondary': 'B', 'replicator': {'noop': {}}}}}}}}}}}}";

const EXISTENCE_CACHING: &str = "{'existenceCaching': {'backend': 'A', 'existenceCache': {\
     'cacheSize': 100000, 'cacheDuration': '60s', 'cacheReplacementPolicy': 'LEAST_RECENTLY_USED'}}}";

const ACTION_RESULT_EXPIRING: &str = "{'actionResultExpiring': {'backend': 'A', 'minimumValidity': '31557600000s', \
     'maximumValidityJitter': '1s', 'minimumTimestamp': '1970-01-01T00:00:00Z'}}";

const HIERARCHICAL: &str = "{'hierarchicalInstanceNames': 'A'}";

conformance! {
    mirrored: Cas => layered(MIRRORED, Stacks::cas).promising(of_contents),
    read_caching: Cas => layered(READ_CACHING, Stacks::cas).promising(of_contents),
    read_fallback: Cas => layered(READ_FALLBACK, Stacks::cas).promising(of_contents),
    read_canarying: Cas => layered(READ_CANARYING, Stacks::cas).promising(of_contents),
    demultiplexing: Cas => layered(DEMULTIPLEXING, Stacks::cas).promising(of_contents),
    existence_caching: Cas => layered(EXISTENCE_CACHING, Stacks::cas).promising(of_contents),
    stack: Cas =>
        layered(STACK, Stacks::cas).promising(|promises| of_contents(promises).with_knows_key_format(false)),

    mirrored_of_action_results: Ac => layered(MIRRORED, Stacks::ac).promising(of_action_results),
    read_caching_of_action_results: Ac => layered(READ_CACHING, Stacks::ac).promising(of_action_results),
    action_result_expiring: Ac => layered(ACTION_RESULT_EXPIRING, Stacks::ac).promising(of_action_results),
    stack_of_action_results: Ac => layered(STACK, Stacks::ac).promising(of_action_results),

    read_fallback_of_references: Icas => layered(READ_FALLBACK, Stacks::icas),
    hierarchical_instance_names_of_references: Icas => layered(HIERARCHICAL, Stacks::icas),
    demultiplexing_of_size_classes: Iscc => layered(DEMULTIPLEXING, Stacks::iscc),
    stack_of_size_classes: Iscc => layered(STACK, Stacks::iscc),
    read_canarying_of_path_profiles: Fsac => layered(READ_CANARYING, Stacks::fsac),
    stack_of_path_profiles: Fsac => layered(STACK, Stacks::fsac),
}

type Store<K> = Arc<dyn BlobAccess<Kind = K>>;

fn of_contents(promises: Promises) -> Promises {
    promises.with_empty_blob_exists(true)
}

fn of_action_results(promises: Promises) -> Promises {
    promises.with_max_blob_size_bytes(Some(MAX_MESSAGE_SIZE_BYTES))
}

fn layered<K: Kind>(
    text: &'static str,
    store_of: fn(&Stacks) -> Option<&Store<K>>,
) -> Layered<K, impl Fn(&Stores<K>) -> Store<K>> {
    Layered::new(move |stores: &Stores<K>| {
        let registry = ["A", "B"]
            .into_iter()
            .fold(Registry::new(), |registry, name| registry.with_store::<K>(name, Arc::new(stores.store(name))));
        let registry = registry.with_max_message_size_bytes(MAX_MESSAGE_SIZE_BYTES);
        let text =
            text.replace('\'', "\"").replace("\"A\"", "{\"label\": \"A\"}").replace("\"B\"", "{\"label\": \"B\"}");
        let document = Document::from_json(&text, "suite.json").unwrap();
        let plan = StacksPlan::of_store(&document, K::STORAGE_TYPE, &registry).unwrap();
        // Stores in memory are open at once.
        let stacks = plan.open().now_or_never().unwrap().unwrap();
        Arc::clone(store_of(&stacks).unwrap())
    })
}

#[test]
fn replicators_of_all_modes_are_opened() {
    for kind in [StorageType::Cas, StorageType::Icas, StorageType::Fsac] {
        let registry = Registry::new();
        let text = format!(
            "{{'readCaching': {{'slow': {{'error': {{'code': 14}}}}, 'fast': {{'error': {{'code': 14}}}}, 'replicator': {REPLICATOR}}}}}"
        );
        let document = Document::from_json(&text.replace('\'', "\""), "replicator.json").unwrap();
        let stacks = StacksPlan::of_store(&document, kind, &registry).unwrap().open().now_or_never().unwrap().unwrap();
        assert_eq!(stacks.snapshot().len(), 4, "a cache, and three layers of copying");
    }
}
