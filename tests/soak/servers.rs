//! The servers, over three sorts of stores.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{BlobAccess, Cas, Clock, MemoryStore, StorageType, SystemClock};
use blobaccess_accounting::{Accounts, AccountsOptions, Ledger, MemoryLedger, Reading, Reporter, Reporting};
use blobaccess_grpc::{ServiceOptions, Services};
use blobaccess_local_store::{LocalStore, Options, SyncPolicy};
use blobaccess_s3_backend::sim::{FaultPlan, SimS3};
use blobaccess_s3_backend::{BucketOptions, BucketStore};
use blobaccess_write_behind::{QueueOptions, UploadQueue, WriteBehind};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::good_clients::{Acknowledged, missing};
use crate::pause;

/// The number of the server in front of the bucket.
const BEFORE_BUCKET: usize = 2;

/// The space of each store. Nothing is evicted in a minute.
const STORE_BYTES: u64 = 1 << 30;

/// The memory of messages of each server. Its clients that read nothing ask for six times as much.
const IN_FLIGHT_BYTES: u64 = 32 << 20;

/// The memory that bad clients and outages may take, beside what is stored: the messages of the servers, and 2 MiB for each of a
/// hundred bad clients. Of these, the transport has a window of 1 MiB or 700 KiB of an answer; the rest is the client, which
/// lives in this process too, and what an allocator does not give back.
pub(crate) const MAX_GROWTH_BYTES: u64 = 3 * IN_FLIGHT_BYTES + (200 << 20);

/// Servers over files, over memory, and over a disk in front of a bucket.
pub(crate) struct Servers {
    running: Vec<(SocketAddr, Services)>,
    memory: Arc<MemoryStore<Cas>>,
    sim: SimS3,
    queue: Arc<UploadQueue<Arc<BucketStore<Cas>>>>,
    ledger: Arc<MemoryLedger>,
    reporting: Arc<Reporting>,
    bytes_before: u64,
    _folder: TempDir,
}

impl Servers {
    /// Starts the servers. The faults of the bucket are drawn from `seed`.
    pub(crate) async fn start(seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Options::in_file(folder.path().join("cas"), STORE_BYTES).persistent(SyncPolicy::OnClose);
        let files = Arc::new(LocalStore::<Cas>::open(files).await.expect("a store in files"));

        let sim = SimS3::new(seed);
        let bucket = sim.bucket().expect("a bucket");
        let bucket = Arc::new(BucketStore::<Cas>::open(bucket, BucketOptions::default()).await.expect("a bucket"));
        let accounts = Accounts::open(AccountsOptions::new(Reporter::new("soak"))).expect("accounts");
        let ledger = Arc::new(MemoryLedger::new());
        let reporting = Arc::new(Reporting::new(Arc::clone(&accounts), Arc::<MemoryLedger>::clone(&ledger)));
        let options = QueueOptions::new().with_backoff(Duration::from_millis(100), Duration::from_secs(1));
        let queue = Arc::new(UploadQueue::new(Arc::clone(&bucket), accounts, options));
        let disk = Options::in_file(folder.path().join("disk"), STORE_BYTES).persistent(SyncPolicy::OnClose);
        let disk = Arc::new(LocalStore::<Cas>::open(disk).await.expect("a disk"));
        let queued = WriteBehind::new(Arc::clone(&disk), Arc::clone(&queue));
        tokio::spawn({
            let (queue, files, bucket) = (Arc::clone(&queue), Arc::clone(&files), Arc::clone(&bucket));
            async move {
                let stores = futures::future::join(files.run(), disk.run());
                futures::future::join3(queue.run(), stores, bucket.run()).await
            }
        });

        let memory = Arc::new(MemoryStore::new(STORE_BYTES));
        let stores: [Arc<dyn BlobAccess<Kind = Cas>>; 3] =
            [files, Arc::<MemoryStore<Cas>>::clone(&memory), Arc::new(queued)];
        let mut running = Vec::new();
        for store in stores {
            let options = ServiceOptions::default()
                .with_max_in_flight_bytes(IN_FLIGHT_BYTES)
                .with_upload_idle_timeout(Duration::from_secs(10));
            let services = Services::new(options).with_cas(store);
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            running.push((listener.local_addr().expect("an address"), services.clone()));
            tokio::spawn(async move { services.serve(listener, std::future::pending()).await });
        }
        let bytes_before = sim.objects().values().sum();
        Self { running, memory, sim, queue, ledger, reporting, bytes_before, _folder: folder }
    }

    /// Returns the number of the server of client `number`, and its address.
    pub(crate) fn of_client(&self, number: usize) -> (usize, SocketAddr) {
        let number = number % self.running.len();
        (number, self.running[number].0)
    }

    /// Lets a tenth of the requests to the bucket fail, or none.
    pub(crate) fn fail_some_requests(&self, fail: bool) {
        let plan = FaultPlan::NONE.with_throttled(30).with_lost_after_commit(30).with_not_connected(40);
        self.sim.set_faults(if fail { plan } else { FaultPlan::NONE });
    }

    /// Takes the bucket away, or gives it back.
    pub(crate) fn set_bucket_away(&self, is_away: bool) {
        println!("the bucket {}", if is_away { "goes away" } else { "is back" });
        self.sim.set_broken(is_away);
    }

    /// Asserts that no server holds more than it may.
    pub(crate) fn check_bounds(&self) {
        for (_, services) in &self.running {
            let snapshot = services.snapshot();
            assert!(snapshot.in_flight_bytes <= snapshot.max_in_flight_bytes, "{snapshot:?}");
        }
    }

    /// Asserts that the servers let go of everything once their clients are gone.
    pub(crate) async fn check_released(&self) {
        let deadline = SystemClock.monotonic() + Duration::from_secs(30);
        for (_, services) in &self.running {
            loop {
                let now = services.snapshot();
                if now.connections == 0 && now.open_calls == 0 && now.in_flight_bytes == 0 {
                    break;
                }
                assert!(SystemClock.monotonic() < deadline, "something is held for clients that are gone: {now:?}");
                pause(Duration::from_millis(50)).await;
            }
        }
    }

    /// Returns the bytes of blobs in memory, which is as large as the work that was done.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let bucket: u64 = self.sim.objects().values().sum();
        bucket + self.memory.snapshot().taken_bytes + self.queue.snapshot().held_bytes
    }

    /// Describes the servers for people.
    pub(crate) fn describe(&self) -> String {
        let of = |services: &Services| {
            let now = services.snapshot();
            format!("{} connections, {} calls, {} KiB", now.connections, now.open_calls, now.in_flight_bytes >> 10)
        };
        let servers: Vec<_> = self.running.iter().map(|(_, services)| of(services)).collect();
        let queue = self.queue.snapshot();
        format!("{}; {} uploads wait, {} were tried again", servers.join("; "), queue.items, queue.retried)
    }

    /// Asserts that every blob that was acknowledged is there.
    pub(crate) async fn check_acknowledged(&self, acknowledged: &[Acknowledged]) {
        for (number, (address, _)) in self.running.iter().enumerate() {
            let digests = acknowledged.iter().filter(|(server, _)| *server == number);
            let digests: Vec<_> = digests.map(|(_, digest)| digest.clone()).collect();
            let count = digests.len();
            for digests in digests.chunks(10_000) {
                let missing = missing(*address, digests.to_vec()).await;
                assert!(missing.is_empty(), "{} of {count} acknowledged blobs are gone", missing.len());
            }
            println!("server {number}: all of {count} acknowledged blobs are there");
        }
    }

    /// Asserts that the bucket has all that was acknowledged before it, and the ledger what the bucket has, once all that
    /// waits is uploaded.
    pub(crate) async fn check_bucket(&self, acknowledged: &[Acknowledged]) {
        let given_up = self.queue.drain(SystemClock.monotonic() + Duration::from_mins(1)).await.dropped;
        let queue = self.queue.snapshot();
        assert!(queue.retried > 0, "the bucket has never failed");
        assert_eq!((given_up, queue.dropped, queue.failed), (0, 0, 0), "an outage loses uploads");

        self.sim.settle();
        let objects = self.sim.objects();
        let is_hash = |text: &&str| text.len() == 64;
        let hashes: HashSet<_> =
            objects.keys().flat_map(|key| key.split(|c: char| !c.is_ascii_hexdigit()).filter(is_hash)).collect();
        let before_bucket = acknowledged.iter().filter(|(server, _)| *server == BEFORE_BUCKET);
        let lost = before_bucket.filter(|(_, digest)| !hashes.contains(digest.hash.as_str())).count();
        assert_eq!(lost, 0, "acknowledged blobs are not in the bucket");

        self.reporting.flush().await.expect("the ledger takes reports");
        let totals = self.ledger.totals(None).await.expect("the ledger answers");
        let counted = Reading::from_totals(&totals, StorageType::Cas).footprint_bytes;
        let there = objects.values().sum::<u64>() - self.bytes_before;
        println!(
            "the ledger has {counted} bytes, the bucket {there} in {} objects, after {} faults and {} further attempts",
            objects.len(),
            self.sim.faults(),
            queue.retried
        );
        assert_eq!(counted, i128::from(there), "the ledger has other bytes than the bucket");
    }
}
