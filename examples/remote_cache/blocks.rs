//! A drawing of the blocks of a local store: groups, fill levels and ages, with the counters of the store.

use std::time::Duration;

use blobaccess_local_store::{BlockGroup, BlockSnapshot, Snapshot};

use crate::status::line;
use crate::units::human;

/// The fill levels of a block, from empty to full.
const LEVELS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The groups, in the order in which they are drawn: a block goes through them from the last to the first.
const GROUPS: [(&str, BlockGroup); 3] =
    [("old", BlockGroup::Old), ("current", BlockGroup::Current), ("new", BlockGroup::New)];

/// Draws the blocks of a store, under the heading `name`.
pub(crate) fn draw(name: &str, store: &Snapshot) -> String {
    let full = store.sizes.max_blob_size_bytes().max(1);
    let mut page = line(name, &held(store));
    for (name, group) in GROUPS {
        let blocks: Vec<_> = store.blocks.iter().filter(|block| block.group == group).collect();
        page += &line("", &draw_group(name, &blocks, full));
    }
    let Snapshot { evicted, evicted_bytes, copied, copied_bytes, breached_bytes, .. } = store;
    let Snapshot { recycled_blocks, waits_for_space, dropped_records, corrupted, syncs, unsynced, .. } = store;
    page += &line("", &format!("{:<9}{}", "free", store.free_blocks));
    page += &line("  retention", &retention(store));
    page += &line(
        "  refreshes",
        &format!("{copied} ({}), {} evicted earlier than stated", human(*copied_bytes), human(*breached_bytes)),
    );
    page += &line(
        "  evicted",
        &format!("{evicted} ({}), {dropped_records} of them because the map was full", human(*evicted_bytes)),
    );
    page += &line("  recycled", &format!("{recycled_blocks} blocks, {waits_for_space} puts had to wait for one"));
    page += &line("  durable", &format!("{syncs} syncs, {unsynced} changes not synced yet, {corrupted} corrupt"));
    page
}

fn held(store: &Snapshot) -> String {
    let used: u64 = store.blocks.iter().map(|block| block.used_bytes).sum();
    let (used, room) = (human(used), human(store.sizes.data_bytes()));
    let percent = store.records.saturating_mul(100) / store.slots.max(1);
    format!("{used} of {room}; {} blobs in {} slots ({percent} %)", store.records, store.slots)
}

/// Draws one character for each block, oldest first. `full` is the size of a block in bytes.
fn draw_group(name: &str, blocks: &[&BlockSnapshot], full: u64) -> String {
    let level = |block: &&BlockSnapshot| {
        let eighths = block.used_bytes.saturating_mul(8).div_ceil(full).min(8);
        LEVELS.get(usize::try_from(eighths).unwrap_or_default())
    };
    let drawn: String = blocks.iter().filter_map(level).collect();
    let ages = match blocks {
        [] => String::new(),
        [only] => format!(", begun {} ago", age(only.age)),
        [first, .., last] => format!(", begun {} to {} ago", age(first.age), age(last.age)),
    };
    format!("{name:<9}{} [{drawn}]{ages}", blocks.len())
}

/// Describes how long a blob stays that is not used. While no block was recycled, that is a lower bound.
fn retention(store: &Snapshot) -> String {
    let least = if store.recycled_blocks == 0 { "at least " } else { "" };
    let promised = human(store.sizes.promised_bytes());
    format!("{least}{}; a blob in use stays for {promised} of further uploads", age(store.retention))
}

fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName};
    use blobaccess_local_store::{LocalStore, Options, SyncPolicy};

    use super::*;

    #[tokio::test]
    async fn blocks_are_drawn_by_group_as_they_fill_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::in_file(folder.path().join("cas"), 8 << 20).with_blocks(1, 3, 1).with_spare_blocks(2);
        let store = LocalStore::<Cas>::open(options.persistent(SyncPolicy::OnClose)).await.unwrap();
        let empty = draw("contents", &store.snapshot());
        assert!(empty.contains("old      0 []") && empty.contains("free     7"), "{empty}");
        assert!(empty.contains("at least 0 s") && empty.contains("0 changes not synced"), "{empty}");

        let most = usize::try_from(store.sizes().max_blob_size_bytes()).unwrap();
        for number in 0..12_u32 {
            let contents = [&number.to_le_bytes()[..], &vec![7; most - 4]].concat();
            let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
            store.put(&Context::background(), &digest, Blob::from_bytes(contents)).await.unwrap();
        }
        let page = draw("contents", &store.snapshot());
        assert!(page.contains("current  3 [███], begun 0 s to 0 s ago"), "{page}");
        assert!(!page.contains("at least") && !page.contains(" 0 changes not synced"), "{page}");
        store.sync().await.unwrap();
        assert!(draw("contents", &store.snapshot()).contains(" 0 changes not synced"));
    }

    #[test]
    fn ages_are_given_in_two_digits_or_more() {
        let ages = [0, 119, 120, 7_199, 7_200, 172_800].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(ages, ["0 s", "119 s", "2 min", "119 min", "2 h", "2 days"]);
    }
}
