//! Every store and decorator of this crate, held to the suite.
//!
//! A decorator is one line: `name => Layered::new(|beneath| Decorator::new(beneath.store("inner")))`, with
//! `: Ac` behind the name if it is one of messages, and `.promising(|promises| ..)` for what it does not keep up.

use std::sync::Arc;

use blobaccess::{Ac, BlobAccess, Cas, Fsac, Icas, Iscc, MemoryBlobAccess};
use blobaccess_testkit::{Layered, Promises, Volatile, conformance};

/// Little, so that contracts about eviction are quick.
const CAPACITY_BYTES: u64 = 1 << 20;

const PROMISES: Promises = Promises::of_memory(CAPACITY_BYTES);

conformance! {
    memory: Cas + ResolveUpload + Inventory =>
        Volatile::new(|| MemoryBlobAccess::<Cas>::new(CAPACITY_BYTES)).promising(PROMISES),
    memory_of_action_results: Ac + ResolveUpload + Inventory =>
        Volatile::new(|| MemoryBlobAccess::<Ac>::new(CAPACITY_BYTES)).promising(PROMISES),
    memory_of_references: Icas => Volatile::new(|| MemoryBlobAccess::<Icas>::new(CAPACITY_BYTES)).promising(PROMISES),
    memory_of_size_classes: Iscc => Volatile::new(|| MemoryBlobAccess::<Iscc>::new(CAPACITY_BYTES)).promising(PROMISES),
    memory_of_path_profiles: Fsac => Volatile::new(|| MemoryBlobAccess::<Fsac>::new(CAPACITY_BYTES)).promising(PROMISES),
    of_any_type => Layered::<Cas, _>::new(|beneath| -> Arc<dyn BlobAccess<Kind = Cas>> { Arc::new(beneath.store("any")) }),
    of_any_type_boxed: Ac =>
        Layered::<Ac, _>::new(|beneath| -> Box<dyn BlobAccess<Kind = Ac>> { Box::new(beneath.store("any")) }),
}
