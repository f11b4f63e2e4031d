//! The cost of a scan for drift over a million blobs, each with its owner: run with
//! `cargo bench -p blobaccess-accounting --bench drift`. The time is to be at most 2 s, and the memory 64 MiB.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark may panic, print and look at the clock"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use blobaccess::{
    AccountName, Context, Digest, DigestFunction, Error, InstanceName, Inventory, InventoryCursor, InventoryEntry,
    InventoryPage, Result, StorageType,
};
use blobaccess_accounting::{
    Account, Amounts, Class, DriftWatch, DriftWatchOptions, Epoch, Ledger, MemoryLedger, Owner, Owners, Report,
    Reporter,
};
use blobaccess_testkit::allocations::{Counting, counting};
use futures::FutureExt;

#[global_allocator]
static COUNTING: Counting = Counting;

const SHARDS: u32 = 256;
const BLOBS: u32 = 1_000_000;
const PAGE: u32 = 1_000;
const ACCOUNTS: u32 = 10_000;
const BYTES: u64 = 4_096;

/// A shard of a bucket, whose pages are made when they are asked for.
#[derive(Debug)]
struct Shard(u32);

fn hash(number: u32) -> [u8; 32] {
    let mut hash = [0; 32];
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = number.to_le_bytes().get(place % 4).copied().unwrap_or(0) ^ u8::try_from(place).unwrap_or(0);
    }
    hash
}

#[async_trait]
impl Inventory for Shard {
    async fn inventory(&self, _: &Context, cursor: Option<&InventoryCursor>) -> Result<InventoryPage> {
        let from = match cursor {
            None => self.0,
            Some(cursor) => u32::from_le_bytes(
                cursor.as_bytes().try_into().map_err(|_| Error::invalid_argument("a cursor of another"))?,
            ),
        };
        let step = usize::try_from(SHARDS).unwrap_or(1);
        let numbers = (from..BLOBS).step_by(step).take(usize::try_from(PAGE).unwrap_or(1));
        let mut entries = Vec::with_capacity(usize::try_from(PAGE).unwrap_or(1));
        for number in numbers {
            let digest = Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &hash(number), 1)?;
            entries.push(InventoryEntry::new(digest, BYTES));
        }
        let next = Some(from + SHARDS * PAGE).filter(|next| *next < BLOBS);
        let next = next.map(|next| InventoryCursor::from_bytes(next.to_le_bytes().to_vec()));
        Ok(InventoryPage::new(entries, next))
    }
}

/// The owner of each blob, by its hash.
#[derive(Debug)]
struct Index {
    names: Vec<AccountName>,
    by_hash: HashMap<[u8; 32], u32>,
}

#[async_trait]
impl Owners for Index {
    async fn owners(&self, _: &Context, _: StorageType, entries: &[InventoryEntry]) -> Result<Vec<Owner>> {
        let owner = |entry: &InventoryEntry| {
            let hash = <[u8; 32]>::try_from(entry.digest.hash_bytes()).ok()?;
            self.names.get(usize::try_from(*self.by_hash.get(&hash)?).ok()?).cloned()
        };
        Ok(entries.iter().map(|entry| owner(entry).map_or(Owner::Unknown, Owner::Account)).collect())
    }
}

/// Returns the most memory that the process has had so far, in bytes; 0 where that cannot be read.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

fn main() {
    let names: Vec<_> = (0..ACCOUNTS).map(|number| AccountName::new(format!("customer-{number}"))).collect();
    let ledger = Arc::new(MemoryLedger::new());
    let each = u64::from(BLOBS / ACCOUNTS);
    let created = Amounts { objects: each, stored_bytes: each * BYTES, ..Amounts::default() };
    let counted = names.iter().map(|name| {
        let account = Account::new(name.clone(), StorageType::Cas);
        (account, [(Class::Created, created)].into_iter().collect())
    });
    let report = Report::new(
        Reporter::new("host"),
        Epoch::from_bytes([1; 16]),
        1,
        std::time::SystemTime::UNIX_EPOCH,
        counted.collect(),
    );
    ledger.apply(&[report.closing()]).now_or_never().unwrap().unwrap();
    let by_hash = (0..BLOBS).map(|number| (hash(number), number % ACCOUNTS)).collect();
    let shards: Vec<_> = (0..SHARDS).map(|shard| Arc::new(Shard(shard))).collect();
    let watch = DriftWatch::new(ledger, DriftWatchOptions::new().with_pages_per_second(0))
        .with_store(StorageType::Cas, shards)
        .with_owners(Arc::new(Index { names, by_hash }));
    let rounds = if std::env::args().any(|argument| argument == "--test") { 1 } else { 3 };
    for _ in 0..rounds {
        let (before, began) = (peak_bytes(), Instant::now());
        let scan = || watch.run_once(&Context::background()).now_or_never().unwrap().unwrap();
        let (allocations, report) = counting(scan);
        let took = began.elapsed();
        let found = (report.total.interval.low_bytes, report.total.interval.high_bytes, report.compared_accounts);
        assert_eq!(found, (0, 0, usize::try_from(ACCOUNTS).unwrap()));
        let (calls, more) = (allocations.calls, peak_bytes().saturating_sub(before) >> 10);
        println!("{BLOBS} blobs of {ACCOUNTS} accounts: {took:.2?}, {calls} allocations, {more} KiB more at the peak");
    }
}
