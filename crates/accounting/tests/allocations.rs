//! The number of allocations for counting a put.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use blobaccess::{AccountName, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
use blobaccess_accounting::{Accounted, Accounts, AccountsOptions, Reporter};
use blobaccess_testkit::allocations::{Counting, counting};
use bytes::Bytes;
use futures::FutureExt;

#[global_allocator]
static COUNTING: Counting = Counting;

fn puts(store: &dyn BlobAccess<Kind = Cas>, ctx: &Context, digest: &Digest) -> u64 {
    let put = || {
        let blob = Blob::from_bytes(Bytes::from_static(b"hello"));
        store.put(ctx, digest, blob).now_or_never().expect("nothing here waits").unwrap()
    };
    // The first makes the account.
    put();
    counting(put).0.calls
}

#[test]
fn counting_a_put_allocates_nothing_but_the_future_of_its_layer() {
    let digest = Digest::of(InstanceName::new("acme/main").unwrap(), DigestFunction::Sha256, b"hello");
    let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host"))).unwrap();
    let plain = MemoryStore::<Cas>::new(1 << 20);
    let accounted = Accounted::new(MemoryStore::<Cas>::new(1 << 20), accounts);
    for ctx in [Context::background(), Context::background().with_account_name(AccountName::new("acme"))] {
        assert_eq!(puts(&accounted, &ctx, &digest), puts(&plain, &ctx, &digest) + 1);
    }
}
