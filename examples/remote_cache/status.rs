//! The contents of the status page, and the gauges of the server.

use std::sync::Arc;
use std::time::Instant;

use blobaccess::{Clock, MemorySnapshot, StorageType, SystemClock};
use blobaccess_grpc::Services;
use blobaccess_local_store::Snapshot;
use blobaccess_metrics::{CONTENT_TYPE, LocalStoreReading, PrometheusObserver};
use hyper::StatusCode;
use hyper::http::request::Parts;

use crate::Result;
use crate::activity::Activity;
use crate::blocks::draw;
use crate::cached_bucket::CachedBucket;
use crate::pages::{Page, Pages, TEXT};
use crate::stack::{Backend, Others, Stack};
use crate::units::{exact, human};

/// The pages of a running `remote_cache`.
#[derive(Debug)]
pub(crate) struct RemoteCachePages {
    stack: Arc<Stack>,
    services: Services,
    metrics: Arc<PrometheusObserver>,
    activity: Arc<Activity>,
    started: Instant,
}

impl RemoteCachePages {
    pub(crate) fn new(
        stack: Arc<Stack>,
        services: Services,
        metrics: Arc<PrometheusObserver>,
        activity: Arc<Activity>,
        started: Instant,
    ) -> Result<Self> {
        register_gauges(&metrics, &stack, &services)?;
        Ok(Self { stack, services, metrics, activity, started })
    }
}

impl RemoteCachePages {
    /// Sets a gauge for each account, to the bytes that it has in the bucket.
    fn set_footprints(&self, stack: &CachedBucket) {
        const NAME: &str = "remote_cache_footprint_bytes";
        for total in stack.totals() {
            let footprint = number(u64::try_from(total.footprint_bytes()).unwrap_or_default());
            let (account_name, storage_type) =
                (total.account.account_name().as_str(), total.account.storage_type().name());
            let labels = [("namespace", account_name), ("storage_type", storage_type)];
            let set = self.metrics.register_gauge(NAME, "Bytes in the bucket", &labels, move || footprint);
            debug_assert!(set.is_ok(), "the name is one of a metric");
        }
    }
}

impl Pages for RemoteCachePages {
    async fn page(&self, request: &Parts) -> Page {
        let accounting = || self.accounting().map(|page| Page::found("text/plain; version=0.0.4", page));
        let no_page = || Page::refused(StatusCode::NOT_FOUND, "there are /, /metrics and, for a bucket, /accounting\n");
        match request.uri.path() {
            "/" => Page::found(TEXT, self.status()),
            "/metrics" => Page::found(CONTENT_TYPE, self.metrics()),
            "/accounting" => accounting().unwrap_or_else(no_page),
            _ => no_page(),
        }
    }
}

impl RemoteCachePages {
    /// Returns the status page, for people.
    fn status(&self) -> String {
        let services = self.services.snapshot();
        let up = SystemClock.monotonic().duration_since(self.started).as_secs();
        let mut page = format!("remote_cache {}, up {up} s\n\n", env!("CARGO_PKG_VERSION"));
        page += &line("more", "metrics for Prometheus: /metrics; of the accounts of a bucket: /accounting");
        let state = match (services.draining, services.serving) {
            (true, _) => "draining",
            (false, true) => "serving",
            (false, false) => "not serving: a store does not answer",
        };
        page += &line("state", state);
        page += &line("open calls", &format!("{} of {}", services.open_calls, services.max_open_calls));
        page += &line("refused calls", &services.refused_calls.to_string());
        let in_flight = (services.in_flight_bytes, services.max_in_flight_bytes);
        page += &line("uploads on their way", &format!("{} of {}", human(in_flight.0), human(in_flight.1)));
        page.push('\n');
        page += &self.activity.describe();
        page.push('\n');
        page += &line("stack of contents", &self.stack.cas.to_string());
        page += &line("stack of results", &self.stack.ac.to_string());
        page += &line("stack of size classes", &self.stack.iscc.to_string());
        page += &line("stack of profiles", &self.stack.fsac.to_string());
        page.push('\n');
        match &self.stack.backend {
            Backend::Memory { cas, ac, iscc, fsac } => {
                page += &line("contents in memory", &describe(&cas.snapshot()));
                page += &line("results in memory", &describe(&ac.snapshot()));
                page += &line("classes in memory", &describe(&iscc.snapshot()));
                page += &line("profiles in memory", &describe(&fsac.snapshot()));
            }
            Backend::Local { directory, cas, ac, others } => {
                page += &line("files in", &directory.display().to_string());
                page += &draw("contents in blocks", &cas.snapshot());
                page += &draw("results in blocks", &ac.snapshot());
                page += &draw_others(others);
            }
            Backend::Bucket { directory, stack, others, .. } => {
                page += &line("files in", &directory.display().to_string());
                page += &draw("contents in blocks", &stack.local_cas.snapshot());
                page += &draw("results in blocks", &stack.local_ac.snapshot());
                page += &draw_others(others);
                page.push('\n');
                page += &stack.describe();
            }
            Backend::Remote(remote) => page += &line("upstream", &format!("{remote}: {:?}", remote.snapshot())),
        }
        page
    }

    /// Returns the metrics, for Prometheus.
    fn metrics(&self) -> String {
        if let Backend::Bucket { stack, .. } = &self.stack.backend {
            self.set_footprints(stack);
        }
        self.metrics.encode()
    }

    /// Returns the metrics of the accounts of a bucket, if there is one, in the older format of Prometheus.
    fn accounting(&self) -> Option<String> {
        match &self.stack.backend {
            Backend::Bucket { stack, .. } => Some(stack.metrics()),
            Backend::Memory { .. } | Backend::Local { .. } | Backend::Remote(_) => None,
        }
    }
}

/// Registers the gauges that are read when metrics are encoded.
fn register_gauges(metrics: &PrometheusObserver, stack: &Arc<Stack>, services: &Services) -> Result<()> {
    let open = services.clone();
    metrics.register_gauge("remote_cache_open_calls", "Calls that are open", &[], move || {
        number(u64::try_from(open.snapshot().open_calls).unwrap_or(u64::MAX))
    })?;
    let in_flight = services.clone();
    metrics.register_gauge("remote_cache_in_flight_bytes", "Bytes of blobs on their way", &[], move || {
        number(in_flight.snapshot().in_flight_bytes)
    })?;
    match &stack.backend {
        Backend::Memory { cas, ac, iscc, fsac } => {
            let (cas, ac, iscc, fsac) = (Arc::clone(cas), Arc::clone(ac), Arc::clone(iscc), Arc::clone(fsac));
            register_memory(metrics, "cas", move || cas.snapshot())?;
            register_memory(metrics, "ac", move || ac.snapshot())?;
            register_memory(metrics, "iscc", move || iscc.snapshot())?;
            register_memory(metrics, "fsac", move || fsac.snapshot())
        }
        Backend::Local { cas, ac, others, .. } => {
            let (cas, ac) = (Arc::clone(cas), Arc::clone(ac));
            register_blocks(metrics, StorageType::Cas, move || cas.snapshot())?;
            register_blocks(metrics, StorageType::Ac, move || ac.snapshot())?;
            register_others(metrics, others)
        }
        Backend::Bucket { stack, others, .. } => {
            let (cas, ac) = (Arc::clone(&stack.local_cas), Arc::clone(&stack.local_ac));
            register_blocks(metrics, StorageType::Cas, move || cas.snapshot())?;
            register_blocks(metrics, StorageType::Ac, move || ac.snapshot())?;
            register_others(metrics, others)
        }
        Backend::Remote(_) => Ok(()),
    }
}

fn register_others(metrics: &PrometheusObserver, others: &Others) -> Result<()> {
    let (iscc, fsac) = (Arc::clone(&others.iscc), Arc::clone(&others.fsac));
    register_blocks(metrics, StorageType::Iscc, move || iscc.snapshot())?;
    register_blocks(metrics, StorageType::Fsac, move || fsac.snapshot())
}

fn draw_others(others: &Others) -> String {
    draw("classes in blocks", &others.iscc.snapshot()) + &draw("profiles in blocks", &others.fsac.snapshot())
}

/// The name of a gauge of a local store, its help text, and how it follows from a snapshot.
type BlocksGauge = (&'static str, &'static str, fn(&Snapshot) -> u64);

const BLOCKS_GAUGES: [BlocksGauge; 7] = [
    ("remote_cache_used_bytes", "Bytes of blocks that are in use", |store| {
        store.blocks.iter().map(|block| block.used_bytes).sum()
    }),
    ("remote_cache_capacity_bytes", "Bytes that blocks have", |store| store.sizes.data_bytes()),
    ("remote_cache_records", "Blobs", |store| store.records),
    ("remote_cache_slots", "Blobs that there may be", |store| store.slots),
    ("remote_cache_retention_seconds", "How long ago the oldest block was begun", |store| store.retention.as_secs()),
    ("remote_cache_refreshed_blobs", "Blobs copied forward because they were used", |store| store.copied),
    ("remote_cache_unsynced_changes", "Changes that a crash may lose", |store| store.unsynced),
];

fn register_blocks<F>(metrics: &PrometheusObserver, storage_type: StorageType, snapshot: F) -> Result<()>
where
    F: Fn() -> Snapshot + Clone + Send + Sync + 'static,
{
    let read = snapshot.clone();
    metrics.register_local_store(storage_type, move || {
        let Snapshot { retention, recycled_blocks, dropped_records, .. } = read();
        LocalStoreReading { retention, recycled_blocks, dropped_records }
    });
    for (name, help, read) in BLOCKS_GAUGES {
        let snapshot = snapshot.clone();
        metrics
            .register_gauge(name, help, &[("storage_type", storage_type.name())], move || number(read(&snapshot())))?;
    }
    Ok(())
}

fn register_memory<F>(metrics: &PrometheusObserver, storage_type: &str, snapshot: F) -> Result<()>
where
    F: Fn() -> MemorySnapshot + Clone + Send + Sync + 'static,
{
    let labels = [("storage_type", storage_type)];
    let taken = snapshot.clone();
    metrics
        .register_gauge("remote_cache_memory_bytes", "Memory taken", &labels, move || number(taken().taken_bytes))?;
    metrics.register_gauge("remote_cache_memory_capacity_bytes", "Memory that may be taken", &labels, move || {
        number(snapshot().capacity_bytes)
    })?;
    Ok(())
}

/// Converts a number to the value of a gauge, which is exact up to 2^53.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
fn number(value: u64) -> f64 {
    value as f64
}

/// Writes one line of the page: a name, and a value.
pub(crate) fn line(name: &str, value: &str) -> String {
    format!("{}\n", format!("{name:<22}{value}").trim_end())
}

fn describe(memory: &MemorySnapshot) -> String {
    let MemorySnapshot { blobs, taken_bytes, capacity_bytes, evicted, .. } = memory;
    let percent = taken_bytes.saturating_mul(100) / (*capacity_bytes).max(1);
    let (taken, capacity) = (exact(*taken_bytes), human(*capacity_bytes));
    format!("{blobs} blobs, {taken} of {capacity} ({percent} %), {evicted} evicted so far")
}
