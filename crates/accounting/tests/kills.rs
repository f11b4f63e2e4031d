//! A program that is killed while it uploads, again and again, has counted what is in the bucket.
//!
//! `BLOBACCESS_KILLS` sets how often (100), `BLOBACCESS_SIM_SEED` repeats the draws of a run.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use std::collections::BTreeMap;
use std::env;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, Error, InstanceName, StorageType};
use blobaccess_accounting::{
    Accounted, Accounts, AccountsOptions, Amounts, Class, Epoch, Ledger, RedbLedger, Reporter, Reporting, RowBatch,
    RowSink, RowsOptions, RowsWritten, Tally,
};
use blobaccess_s3_backend::sim::{FaultPlan, SimS3};
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore, Connection};
use blobaccess_testkit::{Numbers, list_all, seed};
use futures::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

const TEST: &str = "killed_programs_have_counted_what_is_in_the_bucket";

/// Variables of the program that is killed: the address of the bucket, the seed of its uploads, and its folder.
const ENDPOINT: &str = "BLOBACCESS_KILLED_ENDPOINT";
const SEED: &str = "BLOBACCESS_KILLED_SEED";
const DIRECTORY: &str = "BLOBACCESS_KILLED_DIRECTORY";

/// The number of concurrent uploads.
const CONCURRENT: usize = 8;

/// The faults of the bucket once it is open: a program that cannot open it has nothing to account for.
const FAULTS: FaultPlan = FaultPlan::NONE.with_reset_after_commit(20).with_closed_before_commit(20);

fn number_of(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

async fn open(endpoint: &str) -> Arc<BucketStore<Cas>> {
    let connection = Connection::default()
        .with_allow_http(true)
        .with_backoff(Duration::from_millis(1), Duration::from_millis(2))
        .with_retries(5, Duration::from_mins(1));
    let bucket = Bucket::s3(SimS3::builder_at(endpoint), &connection).unwrap();
    Arc::new(BucketStore::open(bucket, BucketOptions::default()).await.unwrap())
}

/// Begins a life. No request of the previous life is under way any more, so absence is believed immediately.
fn begin(store: Arc<BucketStore<Cas>>, directory: &Path) -> (Arc<Accounts>, Arc<RedbLedger>, Reporting) {
    let options = AccountsOptions::new(Reporter::new("host"))
        .with_journal(directory.join("journal"))
        .with_settle_after(Duration::ZERO);
    let accounts = Accounts::builder(options).with_resolver(StorageType::Cas, store).open().unwrap();
    let ledger = Arc::new(RedbLedger::open(directory.join("ledger")).unwrap());
    let reporting = Reporting::new(Arc::clone(&accounts), Arc::<RedbLedger>::clone(&ledger));
    let rows = RowsInFile { path: directory.join("rows"), writes: AtomicU64::new(0) };
    (accounts, ledger, reporting.with_rows(Arc::new(rows), RowsOptions::default()))
}

/// A sink that writes each batch at the end of a file, a line for each row, and loses every fourth acknowledgement.
#[derive(Debug)]
struct RowsInFile {
    path: PathBuf,
    writes: AtomicU64,
}

#[async_trait]
impl RowSink for RowsInFile {
    async fn write(&self, batch: &RowBatch) -> blobaccess::Result<RowsWritten> {
        let lines = batch.rows.iter().map(|row| {
            let columns = row.amounts.columns().map(|column| column.to_string()).join(" ");
            let (account, class) = (row.account.account_name(), row.class.code());
            let created_at = blobaccess_accounting::unix_millis(batch.created_at);
            format!("{} {} {account:?} {class} {created_at} {columns}\n", batch.epoch, batch.number)
        });
        let lines: Vec<_> = lines.collect();
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path).unwrap();
        file.write_all(lines.concat().as_bytes()).unwrap();
        if self.writes.fetch_add(1, Ordering::Relaxed) % 4 == 3 {
            return Err(Error::unavailable("the acknowledgement is lost"));
        }
        Ok(RowsWritten::ALL)
    }
}

/// Returns the sum of the rows by their key. Rows with the same key are the same.
fn sum_of_rows(path: &Path) -> Tally {
    let mut rows: BTreeMap<(Epoch, u64, String, Class), String> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let mut words = line.splitn(5, ' ');
        let mut word = || words.next().unwrap();
        let (epoch, number, account) = (Epoch::parse(word()).unwrap(), word().parse().unwrap(), word().to_owned());
        let key = (epoch, number, account, Class::from_code(word().parse().unwrap()).unwrap());
        let said = word().to_owned();
        let kept = rows.entry(key).or_insert_with(|| said.clone());
        assert_eq!(*kept, said, "a batch that is sent again is another one");
    }
    let amounts = |said: &str| {
        let columns: Vec<u64> = said.split(' ').skip(1).map(|column| column.parse().unwrap()).collect();
        Amounts::from_columns(columns.try_into().unwrap())
    };
    rows.iter().map(|((_, _, _, class), said)| (*class, amounts(said))).collect()
}

/// Runs the program that is killed: it uploads and reports without end, and prints a byte for each.
fn be_killed(endpoint: &str) {
    let directory = env::var(DIRECTORY).unwrap();
    let mut numbers = Numbers::new(number_of(SEED).unwrap());
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let store = open(endpoint).await;
        say(b'o');
        let (accounts, _ledger, reporting) = begin(Arc::clone(&store), Path::new(&directory));
        let store = Accounted::new(store, accounts);
        let (store, reporting) = (&store, &reporting);
        let uploads = stream::iter(0_u64..).map(|turn| {
            // Another life may have uploaded some of these blobs.
            let contents = format!("{:0>1$}", numbers.below(4_000), 8 + numbers.below(2));
            async move {
                if turn % 16 == 0 {
                    // Ends in an error if the acknowledgement of rows is lost.
                    drop(reporting.flush().await);
                } else {
                    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents.as_bytes());
                    // A failure has its outcome too.
                    drop(store.put(&Context::background(), &digest, Blob::from_bytes(contents)).await);
                }
                say(b'.');
            }
        });
        uploads.buffer_unordered(CONCURRENT).for_each(|()| async {}).await;
    });
}

/// Prints a byte for the test that kills. If nobody reads it any more, the program fails.
fn say(byte: u8) {
    std::io::stderr().write_all(&[byte]).unwrap();
}

/// Reads the next byte that the program printed, and checks it.
fn hear(said: &mut ChildStderr, expected: u8) {
    let mut heard = vec![0];
    said.read_exact(&mut heard).unwrap();
    if heard != [expected] {
        said.read_to_end(&mut heard).unwrap();
    }
    assert!(heard == [expected], "the program failed by itself: {}", String::from_utf8_lossy(&heard));
}

struct Killing {
    runtime: Runtime,
    sim: SimS3,
    directory: tempfile::TempDir,
}

impl Killing {
    /// Serves the bucket while `work` lasts, at first without faults. Nothing that was sent to it arrives later than that.
    fn served<T>(&self, work: impl FnOnce(&str) -> T) -> T {
        let listener = self.runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let sim = self.sim.clone();
        sim.set_faults(FaultPlan::NONE);
        let serving = self.runtime.spawn(async move { sim.serve(listener).await });
        let result = work(&endpoint);
        serving.abort();
        drop(self.runtime.block_on(serving));
        result
    }

    /// Runs one program, and kills it a little while after it has uploaded `steps` times.
    fn kill(&self, seed: u64, steps: usize, while_: usize) {
        self.served(|endpoint| {
            let mut child = Command::new(env::current_exe().unwrap())
                .args(["--exact", TEST, "--nocapture"])
                .env(ENDPOINT, endpoint)
                .env(SEED, seed.to_string())
                .env(DIRECTORY, self.directory.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut said = child.stderr.take().unwrap();
            hear(&mut said, b'o');
            self.sim.set_faults(FAULTS);
            (0..steps).for_each(|_| hear(&mut said, b'.'));
            for _ in 0..while_ {
                std::hint::spin_loop();
            }
            child.kill().unwrap();
            assert!(!child.wait().unwrap().success());
        });
    }

    /// Reports the dead lives, and returns the objects and bytes in the ledger and in the listing of the bucket.
    fn compare(&self) -> ((u64, i128), (u64, i128), Tally) {
        self.served(|endpoint| {
            self.runtime.block_on(async {
                let store = open(endpoint).await;
                self.sim.set_faults(FAULTS);
                let (accounts, ledger, reporting) = begin(Arc::clone(&store), self.directory.path());
                while accounts.snapshot().dead_lives > 0 {
                    drop(reporting.flush().await);
                }
                while !matches!(reporting.close().await, Ok(true)) {}
                let mut tally = Tally::new();
                ledger.totals(None).await.unwrap().iter().for_each(|total| tally.add_all(&total.tally));
                let outcomes: Tally = tally.iter().filter(|(class, _)| *class != Class::Started).collect();
                assert_eq!(sum_of_rows(&self.directory.path().join("rows")), outcomes);
                let entries = list_all(&*store, &Context::background()).await.unwrap();
                let bytes: i128 = entries.iter().map(|entry| i128::from(entry.stored_bytes)).sum();
                let listed = (u64::try_from(entries.len()).unwrap(), bytes);
                ((tally.get(Class::Created).objects, tally.net_bytes()), listed, tally)
            })
        })
    }
}

#[test]
fn killed_programs_have_counted_what_is_in_the_bucket() {
    if let Ok(endpoint) = env::var(ENDPOINT) {
        return be_killed(&endpoint);
    }
    let seed = seed("BLOBACCESS_SIM_SEED");
    let kills = number_of("BLOBACCESS_KILLS").unwrap_or(100);
    let killing = Killing {
        runtime: Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap(),
        sim: SimS3::new(seed),
        directory: tempfile::tempdir().unwrap(),
    };
    let mut numbers = Numbers::new(seed);
    let mut last = Tally::new();
    for kill in 1..=kills {
        killing.kill(numbers.draw(), 1 + numbers.below(40), numbers.below(20_000));
        // The lives in between are reported by those that follow.
        if kill % 10 == 0 || kill == kills {
            let (counted, listed, tally) = killing.compare();
            assert_eq!(counted, listed, "objects and bytes after {kill} kills, seed {seed}: {tally:?}");
            assert_eq!(tally.in_flight().objects, 0, "seed {seed}");
            assert_eq!(tally.get(Class::Ambiguous).objects, 0, "seed {seed}");
            last = tally;
        }
    }
    let (created, begun) = (last.get(Class::Created).objects, last.get(Class::Started).objects);
    eprintln!("seed {seed}: {kills} kills, {begun} uploads, {created} created");
}
