//! Warnings about puts that a restart will lose: one for a store that nobody syncs, one for a store dropped unsynced.

use blobaccess::BackgroundWatch;

use crate::options::SyncPolicy;

/// Makes the watch for [`run`](crate::LocalStore::run) of a store that relies on it to sync by interval; `None` for any
/// other.
pub(super) fn watch_syncs(policy: Option<SyncPolicy>) -> Option<BackgroundWatch> {
    let Some(SyncPolicy::Interval(interval)) = policy else { return None };
    let watch = BackgroundWatch::new("a store that is synced by interval", "a restart loses what is put");
    Some(watch.with_patience(interval.min(BackgroundWatch::PATIENCE)))
}

/// Warns that a store is dropped while no sync has covered `unsynced` of its changes.
pub(super) fn warn_of_drop(unsynced: u64) {
    tracing::warn!(
        unsynced,
        "a persistent store is dropped with changes that no sync has covered, which may be lost: call `sync` or `close`"
    );
}
