//! What a cached bucket has come to, for people: footprint, outcomes, what was spared, and the queues.

use std::fmt::Write;

use blobaccess_accounting::{Class, Tally, Total};
use blobaccess_write_behind::QueueSnapshot;

/// The accounts of a bucket and its queues, a line each.
pub(crate) fn report(totals: &[Total], queues: [(&str, QueueSnapshot); 2]) -> String {
    let mut page = String::new();
    let mut line = |what: &str, how: &str| {
        // To write to a string cannot fail.
        let _: std::fmt::Result = writeln!(page, "{what:<22}{how}");
    };
    let mut sum = Tally::new();
    for total in totals {
        sum.add_all(&total.tally);
        let (bytes, objects) = (total.footprint_bytes(), total.tally.net_objects());
        line("footprint", &format!("{}: {bytes} bytes in {objects} objects", total.account));
    }
    let outcomes = Class::OUTCOMES.iter().copied().filter(|class| sum.of(*class).objects > 0);
    let outcomes = outcomes.map(|class| format!("{class:?} {}", sum.of(class).objects));
    line("outcomes", &outcomes.collect::<Vec<_>>().join(", "));
    line("spared", &format!("{}.{} % of the bytes were there already", spared(&sum) / 10, spared(&sum) % 10));
    for (what, queue) in queues {
        let QueueSnapshot { items, uploading, uploaded, failed, dropped, joined, .. } = queue;
        let held = format!("{items} queued, {uploading} of them under way, {uploaded} uploaded");
        line(what, &format!("{held}, {joined} joined, {failed} failed, {dropped} dropped"));
    }
    page
}

/// How much of what was to be uploaded the bucket had, in thousandths of its bytes.
fn spared(tally: &Tally) -> u64 {
    let there = tally.of(Class::AlreadyExists).logical_bytes;
    let new = [Class::Created, Class::Replaced].map(|class| tally.of(class).logical_bytes);
    let all = new.into_iter().fold(there, u64::saturating_add);
    there.saturating_mul(1000).checked_div(all).unwrap_or_default()
}
