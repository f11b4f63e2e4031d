//! How often counting a put allocates.
#![expect(unsafe_code, reason = "an allocator that counts is a global allocator, which is an unsafe trait")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryBlobAccess, Namespace};
use blobaccess_accounting::{Accounted, Accounts, AccountsOptions, Reporter};
use bytes::Bytes;
use futures::FutureExt;

struct Counting;

thread_local! {
    /// Of this thread: tests run beside each other.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|counted| counted.set(counted.get() + 1));
}

// SAFETY: every call is passed on to the system's allocator as it is. Counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that are asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are those that are asked for.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that are asked for.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn puts(store: &dyn BlobAccess<Kind = Cas>, ctx: &Context, digest: &Digest) -> usize {
    let put = || {
        let blob = Blob::from_bytes(Bytes::from_static(b"hello"));
        store.put(ctx, digest, blob).now_or_never().expect("nothing here waits").unwrap()
    };
    // The first makes the account.
    put();
    ALLOCATIONS.with(|counted| counted.set(0));
    put();
    ALLOCATIONS.with(Cell::get)
}

#[test]
fn counting_a_put_allocates_nothing_but_the_future_of_its_layer() {
    let digest = Digest::of(InstanceName::new("acme/main").unwrap(), DigestFunction::Sha256, b"hello");
    let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host"))).unwrap();
    let plain = MemoryBlobAccess::<Cas>::new(1 << 20);
    let accounted = Accounted::new(MemoryBlobAccess::<Cas>::new(1 << 20), accounts);
    for ctx in [Context::background(), Context::background().with_namespace(Namespace::new("acme"))] {
        assert_eq!(puts(&accounted, &ctx, &digest), puts(&plain, &ctx, &digest) + 1);
    }
}
