//! Counts of calls, hits, bytes and refusals since the start, for the status page.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use blobaccess::{Call, ErrorKind, Event, Observer, Operation, PutOutcome, StorageType};

use crate::status::line;
use crate::units::human;

/// An [`Observer`] that counts calls for the status page, and forwards everything to another observer.
#[derive(Debug)]
pub(crate) struct Activity {
    contents: Counts,
    results: Counts,
    references: Counts,
    size_classes: Counts,
    profiles: Counts,
    next: Arc<dyn Observer>,
}

/// The counts of one store.
#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    served_bytes: AtomicU64,
    failed_gets: AtomicU64,
    created: AtomicU64,
    created_bytes: AtomicU64,
    already_there: AtomicU64,
    replaced: AtomicU64,
    unclassified: AtomicU64,
    questions: AtomicU64,
    digests: AtomicU64,
    refusals: Mutex<Vec<Refusal>>,
}

/// Puts that failed for one reason.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    kind: ErrorKind,
    puts: u64,
    largest_bytes: u64,
}

impl Activity {
    /// Makes an observer that has counted nothing, and forwards to `next`.
    pub(crate) fn new(next: Arc<dyn Observer>) -> Self {
        Self {
            contents: Counts::default(),
            results: Counts::default(),
            references: Counts::default(),
            size_classes: Counts::default(),
            profiles: Counts::default(),
            next,
        }
    }

    /// Describes what was counted, for people. Kinds that only Buildbarn uses are left out until they are used.
    pub(crate) fn describe(&self) -> String {
        let mut page = self.contents.describe("contents") + &self.results.describe("action results");
        let others = [
            ("references", &self.references),
            ("initial size classes", &self.size_classes),
            ("access profiles", &self.profiles),
        ];
        for (name, counts) in others {
            if counts.calls.load(Ordering::Relaxed) > 0 {
                page += &counts.describe(name);
            }
        }
        page
    }
}

impl Observer for Activity {
    fn call_ended(&self, call: &Call) {
        let counts = match call.storage_type {
            StorageType::Cas => &self.contents,
            StorageType::Ac => &self.results,
            StorageType::Icas => &self.references,
            StorageType::Iscc => &self.size_classes,
            StorageType::Fsac => &self.profiles,
        };
        counts.add(call);
        self.next.call_ended(call);
    }

    fn event(&self, event: &Event) {
        self.next.event(event);
    }
}

impl Counts {
    fn add(&self, call: &Call) {
        if call.operation != Operation::FindMissing {
            // The probe of health finds and nothing else.
            increase(&self.calls, 1);
        }
        let size = call.blob_size_bytes.unwrap_or_default();
        match call.operation {
            Operation::Get | Operation::GetFromComposite => match call.error {
                None => {
                    increase(&self.hits, 1);
                    increase(&self.served_bytes, size);
                }
                Some(ErrorKind::NotFound) => increase(&self.misses, 1),
                Some(_) => increase(&self.failed_gets, 1),
            },
            Operation::Put => match (call.outcome, call.error) {
                (_, Some(kind)) => self.add_refusal(kind, size),
                (Some(PutOutcome::Created { stored_bytes }), None) => {
                    increase(&self.created, 1);
                    increase(&self.created_bytes, stored_bytes);
                }
                (Some(PutOutcome::AlreadyExists { .. }), None) => increase(&self.already_there, 1),
                (Some(PutOutcome::Replaced { .. }), None) => increase(&self.replaced, 1),
                (Some(PutOutcome::Unclassified { .. }) | None, None) => increase(&self.unclassified, 1),
            },
            Operation::FindMissing => {
                increase(&self.questions, 1);
                increase(&self.digests, call.digests.and_then(|count| u64::try_from(count).ok()).unwrap_or_default());
            }
            Operation::GetCapabilities => {}
        }
    }

    fn add_refusal(&self, kind: ErrorKind, size: u64) {
        // Each use of the lock is one look-up in a short list.
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = refusals.iter_mut().find(|refusal| refusal.kind == kind) {
            known.puts += 1;
            known.largest_bytes = known.largest_bytes.max(size);
        } else {
            refusals.push(Refusal { kind, puts: 1, largest_bytes: size });
        }
    }

    fn describe(&self, name: &str) -> String {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (hits, misses) = (read(&self.hits), read(&self.misses));
        let percent = hits.saturating_mul(100).checked_div(hits.saturating_add(misses));
        let rate = percent.map(|percent| format!(" ({percent} % hits)")).unwrap_or_default();
        let served = human(read(&self.served_bytes));
        let gets = format!("{hits} hits, {misses} misses{rate}, {served} served, {} failed", read(&self.failed_gets));
        let puts = format!(
            "{} created ({}), {} already there, {} replaced, {} not known yet",
            read(&self.created),
            human(read(&self.created_bytes)),
            read(&self.already_there),
            read(&self.replaced),
            read(&self.unclassified),
        );
        let found = format!("{} calls about {} digests", read(&self.questions), read(&self.digests));
        let mut page =
            line(name, "") + &line("  gets", &gets) + &line("  puts", &puts) + &line("  find missing", &found);
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        for Refusal { kind, puts, largest_bytes } in refusals.iter() {
            page += &line("  refused puts", &format!("{puts} {kind}, the largest of {}", human(*largest_bytes)));
        }
        page
    }
}

fn increase(count: &AtomicU64, by: u64) {
    count.fetch_add(by, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use blobaccess::NoObserver;

    use super::*;

    fn call(operation: Operation, size: u64) -> Call {
        let mut call = Call::new(StorageType::Cas, "test", operation, Duration::ZERO);
        call.blob_size_bytes = Some(size);
        call
    }

    #[test]
    fn the_page_has_hits_misses_bytes_and_why_uploads_were_refused() {
        let activity = Activity::new(Arc::new(NoObserver));
        activity.call_ended(&call(Operation::Get, 3 << 20));
        let mut missed = call(Operation::Get, 5);
        missed.error = Some(ErrorKind::NotFound);
        activity.call_ended(&missed);
        let mut put = call(Operation::Put, 5);
        put.outcome = Some(PutOutcome::Created { stored_bytes: 5 });
        activity.call_ended(&put);
        let mut refused = call(Operation::Put, 200 << 20);
        refused.error = Some(ErrorKind::InvalidArgument);
        activity.call_ended(&refused);

        let mut profile = call(Operation::Get, 5);
        profile.storage_type = StorageType::Fsac;
        activity.call_ended(&profile);
        let mut probe = call(Operation::FindMissing, 0);
        probe.storage_type = StorageType::Iscc;
        activity.call_ended(&probe);

        let page = activity.describe();
        assert!(page.contains("access profiles\n  gets                1 hits"), "{page}");
        assert!(!page.contains("initial size classes"), "only the probe asked: {page}");
        for part in
            ["1 hits, 1 misses (50 % hits), 3.0 MiB", "1 created (5 B)", "1 InvalidArgument, the largest of 200.0 MiB"]
        {
            assert!(page.contains(part), "{part:?} is not in\n{page}");
        }
        assert!(page.contains("action results\n  gets                0 hits, 0 misses, 0 B served"), "{page}");
    }
}
