//! The cost of counting a put: run with `cargo bench -p blobaccess-accounting`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark may panic, print and look at the clock"
)]

use std::fmt::{self, Display, Formatter};
use std::hint::black_box;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestFunction, DigestSet, Error, InstanceName, Inventory,
    InventoryCursor, InventoryEntry, InventoryPage, KeyFormat, PutOutcome, Result, Slicer, StorageType,
};
use blobaccess_accounting::{
    Accounted, Accounts, AccountsOptions, Outcome, OwnerIndex, OwnerIndexOptions, OwnerScan, OwnerScanOptions,
    Reporter, ScanPart, UnknownBlobs,
};
use criterion::{Criterion, criterion_group, criterion_main};
use futures::FutureExt;

/// A store that stores nothing, so that only the cost of the layers is left.
#[derive(Debug)]
struct Nowhere;

/// A layer that forwards puts and does nothing else: the cost of any layer.
#[derive(Debug)]
struct Passing<B>(B);

impl Display for Nowhere {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("nowhere")
    }
}

impl<B: Display> Display for Passing<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "passing({})", self.0)
    }
}

macro_rules! store {
    ($type:ty, [$($generics:tt)*], |$self:ident, $ctx:ident, $digest:ident, $blob:ident| $put:expr) => {
        #[async_trait]
        impl<$($generics)*> BlobAccess for $type {
            type Kind = Cas;

            async fn get(&self, _: &Context, _: &Digest) -> Result<Blob> {
                Err(Error::not_found("nothing is stored"))
            }

            async fn get_from_composite(
                &self,
                _: &Context,
                _: &Digest,
                _: &Digest,
                _: Arc<dyn Slicer>,
            ) -> Result<Blob> {
                Err(Error::not_found("nothing is stored"))
            }

            async fn put(&$self, $ctx: &Context, $digest: &Digest, $blob: Blob) -> Result<PutOutcome> {
                $put
            }

            async fn find_missing(&self, _: &Context, digests: &DigestSet) -> Result<DigestSet> {
                Ok(digests.clone())
            }

            async fn capabilities(&self, _: &Context, _: &InstanceName) -> Result<Capabilities> {
                Ok(Capabilities::unlimited())
            }

            fn key_format(&self) -> KeyFormat {
                KeyFormat::WithoutInstanceName
            }

            fn finds_in_bulk(&self) -> bool {
                true
            }
        }
    };
}

store!(Nowhere, [], |self, ctx, digest, blob| {
    black_box((ctx, digest, blob));
    Ok(PutOutcome::Created { stored_bytes: 5 })
});
store!(Passing<B>, [B: BlobAccess<Kind = Cas>], |self, ctx, digest, blob| self.0.put(ctx, digest, blob).await);

/// The calls in a round: so few that some rounds are not interrupted on a shared machine.
const ROUNDS: u32 = 400;
const CALLS: u32 = 4_000;

/// Returns the time of a call in the quickest round, in nanoseconds.
fn best_round<T>(mut call: impl FnMut() -> T) -> u128 {
    let mut round = || {
        let begin = Instant::now();
        for _ in 0..CALLS {
            black_box(call());
        }
        begin.elapsed().as_nanos() / u128::from(CALLS)
    };
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default()
}

fn accounted(c: &mut Criterion) {
    let digest = Digest::of(InstanceName::new("acme/main").unwrap(), DigestFunction::Sha256, b"hello");
    let ctx = Context::background();
    let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host"))).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let journaled = Accounts::open(AccountsOptions::new(Reporter::new("host")).with_journal(directory.path())).unwrap();
    let mut group = c.benchmark_group("put");
    let owners = OwnerIndex::builder(OwnerIndexOptions::default()).open(directory.path().join("owners")).unwrap();
    let options = AccountsOptions::new(Reporter::new("host"));
    let indexed = Accounts::builder(options.clone()).with_owner_index(owners.clone()).open().unwrap();
    let journal = directory.path().join("journal of all");
    let all = Accounts::builder(options.with_journal(journal)).with_owner_index(owners.clone()).open().unwrap();
    let stores: [(&str, Box<dyn BlobAccess<Kind = Cas>>); 6] = [
        ("no_layer", Box::new(Nowhere)),
        ("a_layer_that_passes_on", Box::new(Passing(Nowhere))),
        ("accounted", Box::new(Accounted::new(Nowhere, Arc::clone(&accounts)))),
        ("accounted_with_a_journal", Box::new(Accounted::new(Nowhere, journaled))),
        ("accounted_with_an_index", Box::new(Accounted::new(Nowhere, indexed))),
        ("accounted_with_both", Box::new(Accounted::new(Nowhere, all))),
    ];
    if !std::env::args().any(|argument| argument == "--test") {
        for (name, store) in &stores {
            let put = || store.put(&ctx, &digest, Blob::from_bytes("hello")).now_or_never().unwrap().unwrap();
            // Nobody takes the notes meanwhile, so a put with an index is measured apart.
            if !name.ends_with("index") && !name.ends_with("both") {
                println!("put/{name}: {} ns, the best of {ROUNDS} rounds", best_round(put));
                continue;
            }
            let round = |_| {
                owners.flush().now_or_never().unwrap().unwrap();
                let begin = Instant::now();
                for _ in 0..1_000 {
                    black_box(put());
                }
                begin.elapsed().as_nanos() / 1_000
            };
            println!("put/{name}: {} ns, the best of 40 rounds", (0..40).map(round).min().unwrap_or_default());
        }
        let ticket = || {
            let ticket = accounts.begin(&ctx, &digest, StorageType::Cas, 5).unwrap();
            ticket.finish(Outcome::Created { stored_bytes: 5 });
        };
        println!("a ticket and its outcome: {} ns, the best of {ROUNDS} rounds", best_round(ticket));
    }
    for (name, store) in &stores {
        group.bench_function(*name, |b| {
            b.iter(|| store.put(&ctx, &digest, Blob::from_bytes("hello")).now_or_never().unwrap().unwrap());
        });
    }
    group.finish();
    let mut group = c.benchmark_group("tallies");
    group.bench_function("a_ticket_and_its_outcome", |b| {
        b.iter(|| {
            let ticket = accounts.begin(&ctx, &digest, StorageType::Cas, 5).unwrap();
            ticket.finish(Outcome::Created { stored_bytes: 5 });
        });
    });
    group.finish();
}

/// A listing of many blobs, in the order of keys.
#[derive(Debug)]
struct Listing(Vec<InventoryEntry>);

#[async_trait]
impl Inventory for Listing {
    async fn inventory(&self, _: &Context, cursor: Option<&InventoryCursor>) -> Result<InventoryPage> {
        let begin =
            cursor.map_or(0, |cursor| usize::from_str(std::str::from_utf8(cursor.as_bytes()).unwrap()).unwrap());
        let end = self.0.len().min(begin + 1_000);
        let next = (end < self.0.len()).then(|| InventoryCursor::from_bytes(end.to_string()));
        Ok(InventoryPage::new(self.0.get(begin..end).unwrap_or_default().to_vec(), next))
    }
}

/// Prints how long an index and a listing of a million blobs take to compare.
fn scans(_: &mut Criterion) {
    let blobs: u64 = if std::env::args().any(|argument| argument == "--test") { 1_000 } else { 1_000_000 };
    let digest = |number: u64| Digest::of(InstanceName::empty(), DigestFunction::Sha256, &number.to_le_bytes());
    let mut entries: Vec<_> = (0..blobs).map(|number| InventoryEntry::new(digest(number), 8)).collect();
    entries.sort_by(|a, b| a.digest.cmp(&b.digest));
    let part = ScanPart::whole(Arc::new(Listing(entries)));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("owners");
    let owners = OwnerIndex::builder(OwnerIndexOptions::default()).open(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (what, unknown) in [("enter", UnknownBlobs::Adopt), ("compare", UnknownBlobs::Ask)] {
        let options = OwnerScanOptions::default().with_unknown(unknown);
        let scan = OwnerScan::new(owners.clone(), StorageType::Cas, vec![part.clone()], options);
        let begin = Instant::now();
        let scanned = runtime.block_on(scan.run(&Context::background())).unwrap();
        assert_eq!(scanned.objects, blobs);
        println!("scan/{what} {blobs} blobs: {:?}", begin.elapsed());
    }
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!("scan/file: {} bytes a blob", bytes / blobs);
}

criterion_group!(benches, accounted, scans);
criterion_main!(benches);
