//! A comparison of what a store reports with the model.

use std::collections::BTreeMap;

use blobaccess::{Digest, Kind};
use blobaccess_local_store::BlockGroup;

use crate::{Counts, Model, bytes_of};

impl<K: Kind> Model<K> {
    pub(crate) fn check(&mut self) {
        let current = self.shape.current;
        let snapshot = self.store.snapshot();
        let blocks = snapshot.blocks.len();
        assert_eq!(snapshot.records, bytes_of(self.entries.len()));
        assert_eq!(snapshot.free_blocks, self.shape.blocks() - blocks);
        let new = blocks.min(1);
        let in_current = current.min(blocks - new);
        for (position, block) in snapshot.blocks.iter().enumerate() {
            let group = match blocks - position {
                1 => BlockGroup::New,
                from_end if from_end <= 1 + in_current => BlockGroup::Current,
                _ => BlockGroup::Old,
            };
            assert_eq!(block.group, group, "block {position} of {blocks}");
            let used = self.used.entry(self.blocks[position]).or_default();
            assert!(block.used_bytes >= *used);
            *used = block.used_bytes;
        }
        let counts = Counts {
            evicted: snapshot.evicted,
            evicted_bytes: snapshot.evicted_bytes,
            copied: snapshot.copied,
            copied_bytes: snapshot.copied_bytes,
            breached_bytes: snapshot.breached_bytes,
            recycled_blocks: snapshot.recycled_blocks,
        };
        assert_eq!(counts, self.counts);
        assert_eq!((snapshot.dropped_records, snapshot.corrupted), (0, 0));
    }

    /// Checks that everything is where the model has it, in blocks that have room for it.
    pub(crate) fn check_all(&mut self) {
        let mut held: BTreeMap<u64, u64> = BTreeMap::new();
        for (digest, entry) in &self.entries {
            let position = self.store.block_of(digest).unwrap();
            assert_eq!(self.blocks[position], entry.generation, "{digest} moved");
            if entry.parent.is_none() {
                *held.entry(entry.generation).or_default() += bytes_of(entry.contents.len());
            }
        }
        for (generation, held) in held {
            assert!(self.used[&generation] >= held);
        }
        let gone: Vec<Digest> = self.gone.iter().filter(|digest| !self.entries.contains_key(digest)).cloned().collect();
        assert!(gone.iter().all(|digest| !self.store.is_stored(digest)));
    }
}
