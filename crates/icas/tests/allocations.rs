//! Tests of how often following a reference allocates.
#![expect(clippy::expect_used, reason = "a test may panic")]

use std::sync::Arc;

use blobaccess::{Blob, BlobAccess, Cas, Context, Icas, InstanceName, MemoryStore};
use blobaccess_icas::{AllowedHosts, ExpandingOptions, Reference, ReferenceExpanding};
use blobaccess_testkit::allocations::{Counting, counting};
use blobaccess_testkit::digest_of;
use futures::FutureExt;

#[global_allocator]
static COUNTING: Counting = Counting;

fn run<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing here waits for anything")
}

#[test]
fn a_reference_to_another_store_adds_two_allocations_to_a_get() {
    let ctx = Context::background();
    for name in ["", "some/name"] {
        let digest = digest_of("hello").with_instance_name(InstanceName::new(name).unwrap());
        let target = Arc::new(MemoryStore::<Cas>::new(1 << 20));
        run(target.put(&ctx, &digest, Blob::from_bytes(b"hello".to_vec()))).unwrap();
        let options = ExpandingOptions::new(AllowedHosts::none());
        let store = ReferenceExpanding::new(MemoryStore::<Icas>::new(1 << 20), options).unwrap();
        let store = store.with_store(&InstanceName::empty(), Arc::<MemoryStore<Cas>>::clone(&target));
        let reference = Blob::from_bytes(Reference::blob(&digest).to_bytes());
        run(store.references().put(&ctx, &digest, reference)).unwrap();
        let gets = |store: &dyn BlobAccess<Kind = Cas>| {
            let get = || counting(|| drop(run(store.get(&ctx, &digest)).unwrap())).0.calls;
            // The first get makes the bytes shared.
            get();
            get()
        };
        // The futures of this layer and of the store of references.
        assert_eq!((gets(&target), gets(&store)), (1, 3), "{name:?}");
    }
}
