//! The cost of counting a put: run with `cargo bench -p blobaccess-accounting`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark may panic, print and look at the clock"
)]

use std::fmt::{self, Display, Formatter};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestFunction, DigestSet, Error, InstanceName, KeyFormat,
    PutOutcome, Result, Slicer, StorageType,
};
use blobaccess_accounting::{Accounted, Accounts, AccountsOptions, Outcome, Reporter};
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
    let stores: [(&str, Box<dyn BlobAccess<Kind = Cas>>); 4] = [
        ("no_layer", Box::new(Nowhere)),
        ("a_layer_that_passes_on", Box::new(Passing(Nowhere))),
        ("accounted", Box::new(Accounted::new(Nowhere, Arc::clone(&accounts)))),
        ("accounted_with_a_journal", Box::new(Accounted::new(Nowhere, journaled))),
    ];
    if !std::env::args().any(|argument| argument == "--test") {
        for (name, store) in &stores {
            let put = || store.put(&ctx, &digest, Blob::from_bytes("hello")).now_or_never().unwrap().unwrap();
            println!("put/{name}: {} ns, the best of {ROUNDS} rounds", best_round(put));
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

criterion_group!(benches, accounted);
criterion_main!(benches);
