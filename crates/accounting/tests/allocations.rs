//! The number of allocations for counting a put.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use blobaccess::{Ac, AccountName, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
use blobaccess_accounting::{Accounted, Accounts, AccountsOptions, OwnerIndex, OwnerIndexOptions, Reporter};
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

#[test]
fn an_index_of_owners_allocates_nothing_more_for_a_put() {
    let directory = tempfile::tempdir().unwrap();
    let owners = OwnerIndex::builder(OwnerIndexOptions::default()).open(directory.path().join("owners")).unwrap();
    let options = AccountsOptions::new(Reporter::new("host"));
    let accounts = Accounts::builder(options).with_owner_index(owners.clone()).open().unwrap();
    // A layer around each, so that blobs are new each time and the stores have the same memory.
    let accounted = Accounted::new(MemoryStore::<Ac>::new(1 << 20), accounts);
    let plain = MemoryStore::<Ac>::new(1 << 20);
    let ctx = Context::background();
    let digest = Digest::of(InstanceName::new("acme/main").unwrap(), DigestFunction::Sha256, b"action");
    let put = |store: &dyn BlobAccess<Kind = Ac>, value: &'static [u8]| {
        let blob = Blob::from_bytes(Bytes::from_static(value));
        counting(|| store.put(&ctx, &digest, blob).now_or_never().expect("nothing here waits").unwrap()).0.calls
    };
    // The first makes the account, and the buffer of the log.
    put(&accounted, b"first");
    put(&plain, b"first");
    for value in [b"one".as_slice(), b"two", b"three"] {
        assert_eq!(put(&accounted, value), put(&plain, value) + 1);
    }
    assert_eq!(owners.snapshot().waiting, 4);
}
