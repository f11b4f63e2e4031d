//! The suite for every store and decorator of this crate.
//!
//! A decorator is one line: `name => Layered::new(|stores| Decorator::new(stores.store("inner")))`, with `: Ac` after
//! the name if it is one of messages, and `.promising(|promises| ..)` for promises that it changes.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that cannot be made is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{
    ActionResultExpiring, ActionResultTimestampInjecting, Authorizers, Authorizing, CompletenessChecking,
    CompletenessOptions, DeadlineEnforcing, Demultiplexing, EmptyBlobInjecting, ExistenceCaching, ExpiryOptions,
    HierarchicalInstanceNames, Mirrored, MirroredOptions, Observing, PutPolicy, QueryCoalescing, ReadCaching,
    ReadCachingOptions, ReadCanarying, ReadCoalescing, ReadFallback, ReadFallbackOptions, Route, Shard, Sharding,
    ShardingOptions, StaticAuthorizer,
};
use blobaccess::replication::{EntryLocks, LocalReplicator};
use blobaccess::{
    Ac, BlobAccess, Caller, Cas, Clock, Context, Error, FailingStore, Fsac, Icas, InstanceName, Iscc, Kind,
    MemoryStore, NoObserver, Observer, SystemClock,
};
use blobaccess_testkit::fakes::{InterruptibleStore, Outage};
use blobaccess_testkit::{InnerStore, Layered, Promises, Stores, Volatile, check, conformance, contracts};

/// Small, so that contracts about eviction are quick.
const CAPACITY_BYTES: u64 = 1 << 20;

const PROMISES: Promises = Promises::for_memory_store(CAPACITY_BYTES);

/// The maximum size of an action result, in bytes, for layers with such a limit: less than the stores beneath accept.
const MAX_MESSAGE_SIZE_BYTES: u64 = 4 << 20;

conformance! {
    memory: Cas + ResolveUpload + Inventory =>
        Volatile::new(|| MemoryStore::<Cas>::new(CAPACITY_BYTES)).promising(PROMISES),
    memory_of_action_results: Ac + ResolveUpload + Inventory =>
        Volatile::new(|| MemoryStore::<Ac>::new(CAPACITY_BYTES)).promising(PROMISES),
    memory_of_references: Icas => Volatile::new(|| MemoryStore::<Icas>::new(CAPACITY_BYTES)).promising(PROMISES),
    memory_of_size_classes: Iscc => Volatile::new(|| MemoryStore::<Iscc>::new(CAPACITY_BYTES)).promising(PROMISES),
    memory_of_path_profiles: Fsac => Volatile::new(|| MemoryStore::<Fsac>::new(CAPACITY_BYTES)).promising(PROMISES),
    of_any_type => Layered::<Cas, _>::new(|stores| -> Arc<dyn BlobAccess<Kind = Cas>> { Arc::new(stores.store("any")) }),
    of_any_type_boxed: Ac =>
        Layered::<Ac, _>::new(|stores| -> Box<dyn BlobAccess<Kind = Ac>> { Box::new(stores.store("any")) }),

    empty_blob_injecting =>
        Layered::<Cas, _>::new(|stores| EmptyBlobInjecting::new(stores.store("inner")))
            .with_layers(["empty_blob_injecting", "memory"])
            .promising(|promises| promises.with_empty_blob_exists(true)),
    existence_caching => Layered::<Cas, _>::new(|stores| existence_caching_over(stores.store("inner"))),
    read_coalescing =>
        Layered::<Cas, _>::new(|stores| ReadCoalescing::new(stores.store("inner")))
            .with_layers(["read_coalescing", "memory"]),
    query_coalescing =>
        Layered::<Cas, _>::new(|stores| QueryCoalescing::new(stores.store("inner")))
            .with_layers(["query_coalescing", "memory"]),
    read_fallback => Layered::<Cas, _>::new(read_fallback_over),
    read_fallback_of_messages: Ac => Layered::<Ac, _>::new(read_fallback_over),
    read_fallback_that_waits =>
        Layered::<Cas, _>::new(|stores| {
            read_fallback_over(stores).with_options(ReadFallbackOptions::new().with_waits_for_copies(true))
        }),
    mirrored => Layered::<Cas, _>::new(mirrored_over).with_layers(["mirrored", "memory", "memory"]),
    mirrored_of_messages: Ac => Layered::<Ac, _>::new(mirrored_over),
    sharding => Layered::<Cas, _>::new(sharding_over).with_layers(["sharding", "memory"]),
    sharding_of_messages: Ac => Layered::<Ac, _>::new(sharding_over).with_layers(["sharding", "memory"]),
    sharding_that_moves => Layered::<Cas, _>::new(moving_sharding_over),
    sharding_of_messages_that_moves: Ac => Layered::<Ac, _>::new(moving_sharding_over),
    sharding_in_legacy_order =>
        Layered::<Cas, _>::new(|stores| {
            let shards = [Shard::new("a", stores.store("a")), Shard::new("b", stores.store("b")).drained()];
            let sharding = Sharding::in_legacy_order(shards.into_iter().chain([Shard::new("c", stores.store("c"))]), 7);
            sharding.unwrap().with_options(without_rest())
        }),
    mirrored_that_waits =>
        Layered::<Cas, _>::new(|stores| {
            mirrored_over(stores).with_options(MirroredOptions::new().with_waits_for_repairs(true))
        }),
    mirrored_of_either =>
        Layered::<Cas, _>::new(|stores| {
            mirrored_over(stores).with_options(MirroredOptions::new().with_put_policy(PutPolicy::Either))
        }),
    mirrored_of_either_of_messages: Ac =>
        Layered::<Ac, _>::new(|stores| {
            mirrored_over(stores).with_options(MirroredOptions::new().with_put_policy(PutPolicy::Either))
        }),
    read_caching => Layered::<Cas, _>::new(read_caching_over).with_layers(["read_caching", "memory", "memory"]),
    read_caching_of_messages: Ac => Layered::<Ac, _>::new(read_caching_over),
    read_caching_that_does_not_write_through =>
        Layered::<Cas, _>::new(|stores| {
            read_caching_over(stores).with_options(ReadCachingOptions::new().with_writes_through(false))
        }),
    read_canarying => Layered::<Cas, _>::new(read_canarying_over).with_layers(["read_canarying", "memory", "memory"]),
    read_canarying_of_messages: Ac => Layered::<Ac, _>::new(read_canarying_over),
    read_canarying_that_remembers_nothing =>
        Layered::<Cas, _>::new(|stores| {
            ReadCanarying::new(stores.store("both"), stores.store("both"), 0, Duration::from_mins(5))
        }),
    // One store decides, and the other is down: then all is as with the one that decides.
    read_caching_without_its_fast_store =>
        Layered::<Cas, _>::new(read_caching_over_slow_alone).with_layers(["read_caching", "memory"]),
    read_caching_of_messages_without_its_fast_store: Ac => Layered::<Ac, _>::new(read_caching_over_slow_alone),
    read_canarying_without_its_replica =>
        Layered::<Cas, _>::new(read_canarying_over_source_alone).with_layers(["read_canarying", "memory"]),
    read_canarying_of_messages_without_its_replica: Ac => Layered::<Ac, _>::new(read_canarying_over_source_alone),
    existence_caching_that_answers_puts =>
        Layered::<Cas, _>::new(|stores| existence_caching_over(stores.store("inner")).answering_puts()),
    // A capacity at which each find evicts the previous one.
    existence_caching_of_one_digest =>
        Layered::<Cas, _>::new(|stores| {
            ExistenceCaching::new(stores.store("inner"), 1, Duration::from_mins(1))
        }),
    completeness_checking: Ac =>
        Layered::<Ac, _>::new(|stores| completeness_checking_over(stores.store("inner"), MAX_MESSAGE_SIZE_BYTES))
            .with_layers(["completeness_checking", "memory"])
            .promising(|promises| promises.with_max_blob_size_bytes(Some(MAX_MESSAGE_SIZE_BYTES))),
    action_result_expiring: Ac =>
        Layered::<Ac, _>::new(|stores| ActionResultExpiring::new(stores.store("inner"), ExpiryOptions::new(MILLENNIUM)))
            .with_layers(["action_result_expiring", "memory"]),
    hierarchical_instance_names: Ac =>
        Layered::<Ac, _>::new(|stores| HierarchicalInstanceNames::new(stores.store("inner")))
            .with_layers(["hierarchical_instance_names", "memory"]),
    hierarchical_instance_names_of_references: Icas =>
        Layered::<Icas, _>::new(|stores| HierarchicalInstanceNames::new(stores.store("inner"))),
    hierarchical_instance_names_of_size_classes: Iscc =>
        Layered::<Iscc, _>::new(|stores| HierarchicalInstanceNames::new(stores.store("inner"))),
    hierarchical_instance_names_of_path_profiles: Fsac =>
        Layered::<Fsac, _>::new(|stores| HierarchicalInstanceNames::new(stores.store("inner"))),
    demultiplexing =>
        Layered::<Cas, _>::new(demultiplexing_over)
            .with_layers(["demultiplexing", "left", "memory", "right", "ours", "memory"]),
    demultiplexing_of_messages: Ac => Layered::<Ac, _>::new(demultiplexing_over),
    // Contents that both instance names share.
    demultiplexing_over_one_store =>
        Layered::<Cas, _>::new(|stores| {
            let route = Route::new(InstanceName::empty(), Arc::new(stores.store("all")));
            by_routes([route.with_added_prefix(name("ours"))])
        })
        .promising(|promises| promises.with_knows_key_format(false)),
    action_result_timestamp_injecting: Ac =>
        Layered::<Ac, _>::new(|stores| {
            ActionResultTimestampInjecting::new(stores.store("inner"), MAX_MESSAGE_SIZE_BYTES)
        })
        .with_layers(["action_result_timestamp_injecting", "memory"])
        .promising(|promises| promises.with_max_blob_size_bytes(Some(MAX_MESSAGE_SIZE_BYTES))),
    deadline_enforcing =>
        Layered::<Cas, _>::new(|stores| deadline_enforcing_over(stores.store("inner")))
            .with_layers(["deadline_enforcing", "memory"]),
    deadline_enforcing_of_messages: Ac =>
        Layered::<Ac, _>::new(|stores| deadline_enforcing_over(stores.store("inner")))
            .with_layers(["deadline_enforcing", "memory"]),
    authorizing =>
        Layered::<Cas, _>::new(|stores| authorizing_over(stores.store("inner")))
            .with_layers(["authorizing", "memory"])
            .with_context(context_of_a_caller()),
    authorizing_of_messages: Ac =>
        Layered::<Ac, _>::new(|stores| authorizing_over(stores.store("inner")))
            .with_layers(["authorizing", "memory"])
            .with_context(context_of_a_caller()),
    observing =>
        Layered::<Cas, _>::new(|stores| observing_over(stores.store("inner")))
            .with_layers(["observing", "memory"]),
    observing_of_messages: Ac =>
        Layered::<Ac, _>::new(|stores| observing_over(stores.store("inner")))
            .with_layers(["observing", "memory"]),

    stack =>
        Layered::<Cas, _>::new(stack_of_contents)
            .promising(|promises| promises.with_empty_blob_exists(true))
            .with_context(context_of_a_caller()),
    stack_of_action_results: Ac =>
        Layered::<Ac, _>::new(stack_of_messages)
            .promising(|promises| promises.with_max_blob_size_bytes(Some(MAX_MESSAGE_SIZE_BYTES)))
            .with_context(context_of_a_caller()),
}

/// Longer than the age of the messages of the suite, whose workers completed in 1970.
const MILLENNIUM: Duration = Duration::from_hours(1000 * 366 * 24);

fn name(name: &str) -> InstanceName {
    name.parse().unwrap_or_default()
}

fn by_routes<K: Kind, const N: usize>(routes: [Route<K>; N]) -> Demultiplexing<K> {
    Demultiplexing::new(routes).expect("there are routes, with different prefixes")
}

/// Makes a layer with a store for each instance name of the suite, one of which gets other names.
fn demultiplexing_over<K: Kind>(stores: &Stores<K>) -> Demultiplexing<K> {
    let left = Route::new(name("left"), Arc::new(stores.store("left")));
    let right = Route::new(name("right"), Arc::new(stores.store("right")));
    by_routes([left, right.with_added_prefix(name("ours"))])
}

/// Returns the context of a caller, which may do everything.
fn context_of_a_caller() -> Context {
    Context::background().with_caller(Caller::new("a build"))
}

type Shared<K> = Arc<InnerStore<K>>;

type Local<K> = LocalReplicator<InnerStore<K>, InnerStore<K>>;

fn read_fallback_over<K: Kind>(stores: &Stores<K>) -> ReadFallback<Shared<K>, Shared<K>, Local<K>> {
    let (primary, secondary) = (Arc::new(stores.store("primary")), Arc::new(stores.store("secondary")));
    let replicator = LocalReplicator::new(Arc::clone(&secondary), Arc::clone(&primary));
    ReadFallback::new(primary, secondary, replicator)
}

fn mirrored_over<K: Kind>(stores: &Stores<K>) -> Mirrored<K> {
    let (a, b) = (Arc::new(stores.store("a")), Arc::new(stores.store("b")));
    let locks = Arc::<EntryLocks>::default();
    let replicator = |source: &Shared<K>, sink: &Shared<K>| {
        Arc::new(LocalReplicator::new(Arc::clone(source), Arc::clone(sink)).with_entry_locks(Arc::clone(&locks)))
    };
    let (a_to_b, b_to_a) = (replicator(&a, &b), replicator(&b, &a));
    Mirrored::new(a, b, a_to_b, b_to_a).with_entry_locks(locks)
}

fn read_caching_over<K: Kind>(stores: &Stores<K>) -> ReadCaching<Shared<K>, Shared<K>, Local<K>> {
    let (slow, fast) = (Arc::new(stores.store("slow")), Arc::new(stores.store("fast")));
    let locks = Arc::<EntryLocks>::default();
    let replicator = LocalReplicator::new(Arc::clone(&slow), Arc::clone(&fast)).with_entry_locks(Arc::clone(&locks));
    ReadCaching::new(slow, fast, replicator).with_entry_locks(locks)
}

/// Makes a layer whose replica is another way to its source.
fn read_canarying_over<K: Kind>(stores: &Stores<K>) -> ReadCanarying<InnerStore<K>, InnerStore<K>> {
    ReadCanarying::new(stores.store("both"), stores.store("both"), 256, Duration::from_mins(5))
}

/// Makes a store that always fails, but tells instance names apart as a plain store does.
fn out_of_service<K: Kind>() -> InterruptibleStore<MemoryStore<K>> {
    let outage = Outage::default();
    outage.begin(Error::unavailable("out of service"));
    InterruptibleStore::new(MemoryStore::new(CAPACITY_BYTES), outage)
}

fn read_caching_over_slow_alone<K: Kind>(stores: &Stores<K>) -> impl BlobAccess<Kind = K> + use<K> {
    let (slow, fast) = (Arc::new(stores.store("slow")), Arc::new(out_of_service()));
    ReadCaching::new(Arc::clone(&slow), Arc::clone(&fast), LocalReplicator::new(slow, fast))
}

fn read_canarying_over_source_alone<K: Kind>(stores: &Stores<K>) -> impl BlobAccess<Kind = K> + use<K> {
    ReadCanarying::new(stores.store("source"), out_of_service(), 256, Duration::from_mins(5))
}

fn sharding_over<K: Kind>(stores: &Stores<K>) -> Sharding<InnerStore<K>> {
    let shards = ["a", "b", "c"].map(|name| Shard::new(name, stores.store(name)));
    Sharding::new(shards).unwrap().with_options(without_rest())
}

/// Returns options by which a shard serves as soon as it is back. The suite does not wait for the end of a rest.
fn without_rest() -> ShardingOptions {
    ShardingOptions::new().with_failures_in_a_row(0)
}

/// Makes a layer with a shard that is drained and one that has just been added.
fn moving_sharding_over<K: Kind>(stores: &Stores<K>) -> Sharding<InnerStore<K>> {
    let added = Shard::new("added", stores.store("added")).added(SystemClock.now(), Duration::from_hours(1));
    let drained = Shard::new("drained", stores.store("drained")).drained();
    let sharding = Sharding::new([Shard::new("a", stores.store("a")), added, drained]);
    sharding.unwrap().with_options(without_rest())
}

fn existence_caching_over<B: BlobAccess<Kind = Cas>>(inner: B) -> ExistenceCaching<B> {
    ExistenceCaching::new(inner, 100_000, Duration::from_mins(1))
}

/// Makes a layer for results without references, which are complete over any content store.
fn completeness_checking_over<A: BlobAccess<Kind = Ac>>(
    inner: A,
    max_message_size_bytes: u64,
) -> CompletenessChecking<A, EmptyBlobInjecting<FailingStore<Cas>>> {
    let cas = EmptyBlobInjecting::new(FailingStore::new(Error::internal("nothing is to be looked for")));
    let options = CompletenessOptions::new().with_max_message_size_bytes(max_message_size_bytes);
    CompletenessChecking::new(inner, cas, options)
}

/// Makes a layer with a timeout above what a contract takes.
fn deadline_enforcing_over<B: BlobAccess>(inner: B) -> DeadlineEnforcing<B> {
    DeadlineEnforcing::new(inner, Duration::from_hours(1))
}

fn authorizing_over<B: BlobAccess>(inner: B) -> Authorizing<B> {
    Authorizing::new(inner, Authorizers::all(Arc::new(StaticAuthorizer::Allow)))
}

fn observing_over<B: BlobAccess>(inner: B) -> Observing<B> {
    let observer: Arc<dyn Observer> = Arc::new(NoObserver);
    Observing::new(inner, "inner", observer)
}

/// Makes a stack of all layers for contents, in the order in which they are commonly stacked.
fn stack_of_contents(stores: &Stores<Cas>) -> impl BlobAccess<Kind = Cas> + use<> {
    let store = deadline_enforcing_over(observing_over(stores.store("inner")));
    let store = observing_over(existence_caching_over(QueryCoalescing::new(store)));
    authorizing_over(EmptyBlobInjecting::new(store))
}

/// Makes a stack of all layers for action results, in the order in which they are commonly stacked.
fn stack_of_messages(stores: &Stores<Ac>) -> impl BlobAccess<Kind = Ac> + use<> {
    let store: DeadlineEnforcing<Observing<InnerStore<Ac>>> =
        deadline_enforcing_over(observing_over(stores.store("inner")));
    let store = completeness_checking_over(store, MAX_MESSAGE_SIZE_BYTES);
    authorizing_over(ActionResultTimestampInjecting::new(store, MAX_MESSAGE_SIZE_BYTES))
}

// Every call fails, so that most contracts cannot even begin. Its description is checked, and it must not pass as a
// store that serves.
#[test]
fn a_store_that_always_fails_describes_itself_and_does_not_pass_as_another() {
    let fixture = Volatile::new(|| FailingStore::<Cas>::new(Error::unavailable("under repair")));
    assert_eq!(check(contracts::describing::a_store_prints_as_one_line_that_names_its_layers(&fixture)), Ok(()));
    let outage = check(contracts::outages::an_outage_is_never_not_found(&fixture));
    assert!(outage.is_err_and(|how| how.contains("under repair")));
}
