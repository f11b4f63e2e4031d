//! The state of a cached bucket for people: footprints, outcomes, bytes that were spared, and the queues.

use std::fmt::Write;

use blobaccess_accounting::{Class, Tally, Total};
use blobaccess_write_behind::QueueSnapshot;

use super::opening::BEFORE;

/// Describes the accounts of a bucket and its queues, one fact a line.
pub(crate) fn report(totals: &[Total], queues: [(&str, QueueSnapshot); 2]) -> String {
    let mut page = String::new();
    let mut line = |label: &str, fact: &str| {
        // Writing to a string cannot fail.
        let _: std::fmt::Result = writeln!(page, "{label:<22}{fact}");
    };
    let mut sum = Tally::new();
    for total in totals {
        sum.add_all(&total.tally);
        let (bytes, objects) = (total.footprint_bytes(), total.tally.net_objects());
        if total.account.account_name().as_str() == BEFORE {
            let kind = total.account.storage_type().name();
            line("footprint", &format!("{kind} that was in the bucket before the ledger began: {bytes} bytes"));
        } else {
            line("footprint", &format!("{}: {bytes} bytes in {objects} objects", total.account));
        }
    }
    let outcomes = Class::OUTCOMES.iter().copied().filter(|class| sum.get(*class).objects > 0);
    let outcomes = outcomes.map(|class| format!("{class:?} {}", sum.get(class).objects));
    line("outcomes", &outcomes.collect::<Vec<_>>().join(", "));
    line("spared", &format!("{}.{} % of the bytes were there already", spared(&sum) / 10, spared(&sum) % 10));
    for (label, queue) in queues {
        let QueueSnapshot { items, uploading, uploaded, failed, dropped, joined, superseded, .. } = queue;
        let held = format!("{items} queued, {uploading} of them under way, {uploaded} uploaded");
        line(label, &format!("{held}, {joined} joined, {failed} failed, {dropped} dropped"));
        if superseded > 0 {
            // Otherwise an outcome that sounds like a fault stands beside a queue without any.
            line(
                "",
                &format!("{superseded} replaced by a newer value before their turn, counted as SourceUnavailable"),
            );
        }
    }
    page
}

/// Returns the part of the bytes to be uploaded that the bucket already had, in thousandths.
fn spared(tally: &Tally) -> u64 {
    let there = tally.get(Class::AlreadyExists).logical_bytes;
    let new = [Class::Created, Class::Replaced].map(|class| tally.get(class).logical_bytes);
    let all = new.into_iter().fold(there, u64::saturating_add);
    there.saturating_mul(1000).checked_div(all).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use blobaccess::{Ac, Blob, BlobAccess, Context, Digest, DigestFunction, InstanceName, MemoryStore};
    use blobaccess_accounting::{Accounts, AccountsOptions, Reporter};
    use blobaccess_write_behind::{QueueOptions, UploadQueue};

    use super::*;

    #[tokio::test]
    async fn values_that_were_never_uploaded_are_explained() {
        let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host"))).unwrap();
        let queue = UploadQueue::new(MemoryStore::<Ac>::new(1 << 10), Arc::clone(&accounts), QueueOptions::new());
        let action = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"action");
        for value in ["one", "two", "three"] {
            queue.put(&Context::background(), &action, Blob::from_bytes(value)).await.unwrap();
        }
        queue.close();
        queue.run().await;
        let totals = accounts.tallies().accounts.into_iter().map(|(account, tally)| Total::new(account, tally, 0));
        let page = report(&totals.collect::<Vec<_>>(), [("uploads", queue.snapshot()), ("more", queue.snapshot())]);
        assert!(page.contains("SourceUnavailable 2\n"), "{page}");
        assert!(page.contains("0 joined, 0 failed, 0 dropped\n"), "{page}");
        assert!(page.contains("2 replaced by a newer value before their turn, counted as SourceUnavailable"), "{page}");
    }
}
