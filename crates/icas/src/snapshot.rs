//! Counts of what a store has done.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of a [`ReferenceExpanding`](crate::ReferenceExpanding) since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpandingSnapshot {
    /// The requests to web servers.
    pub http_requests: u64,
    /// The reads of objects in buckets.
    pub bucket_reads: u64,
    /// The gets from other stores.
    pub store_gets: u64,
    /// The references that were refused, because they lead to a server, a bucket or a store that is not allowed.
    pub refused: u64,
    /// The references whose source no longer exists.
    pub gone: u64,
    /// The times that reading went on with a new request, after an answer was cut.
    pub resumed: u64,
}

macro_rules! counts {
    ($($field:ident $add:ident),*) => {
        /// The same counts, while they grow.
        #[derive(Debug, Default)]
        pub(crate) struct Counts {
            $($field: AtomicU64),*
        }

        impl Counts {
            $(
                pub(crate) fn $add(&self) {
                    self.$field.fetch_add(1, Ordering::Relaxed);
                }
            )*

            pub(crate) fn snapshot(&self) -> ExpandingSnapshot {
                ExpandingSnapshot { $($field: self.$field.load(Ordering::Relaxed)),* }
            }
        }
    };
}

counts! {
    http_requests add_http_request,
    bucket_reads add_bucket_read,
    store_gets add_store_get,
    refused add_refused,
    gone add_gone,
    resumed add_resumed
}
