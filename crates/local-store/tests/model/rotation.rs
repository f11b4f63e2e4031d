//! The effect of rotation: blocks begin and go, and blobs in use move on.

use blobaccess::{Digest, Kind};

use crate::{Entry, Model, bytes_of};

impl<K: Kind> Model<K> {
    fn newest(&self) -> u64 {
        self.blocks.back().copied().unwrap_or_default()
    }

    pub(crate) fn find(&mut self, digest: &Digest) {
        let (newest, safe, now) = (self.newest(), self.shape.safe(), self.put_bytes);
        let entry = self.entries.get_mut(digest).unwrap();
        entry.promised_at = Some(now);
        if entry.generation + safe < newest {
            entry.is_found = true;
        } else if entry.generation < newest {
            entry.is_read = true;
        }
    }

    pub(crate) fn read(&mut self, digest: &Digest) {
        let newest = self.newest();
        let entry = self.entries.get_mut(digest).unwrap();
        entry.is_read |= entry.generation < newest;
    }
    /// Compares blocks with the model, recycles what is too much, and notes what became of it.
    pub(crate) fn settle(&mut self, put: Option<&Digest>) {
        self.store.recycle_blocking().unwrap();
        let snapshot = self.store.snapshot();
        let recycled = usize::try_from(snapshot.recycled_blocks - self.counts.recycled_blocks).unwrap();
        let begun = snapshot.blocks.len() + recycled - self.blocks.len();
        let first_for_copies = self.newest();
        for _ in 0..begun {
            self.blocks.push_back(self.next_generation);
            self.next_generation += 1;
        }
        let gone: Vec<u64> = self.blocks.drain(..recycled).collect();
        if let Some(digest) = put {
            let generation = self.blocks[self.store.block_of(digest).unwrap()];
            assert!(generation >= first_for_copies);
            self.entries.get_mut(digest).unwrap().generation = generation;
        }
        for generation in &gone {
            self.leave(*generation, first_for_copies);
        }
        self.counts.recycled_blocks += bytes_of(recycled);
        self.recycled += bytes_of(recycled);
        self.check();
    }

    /// Records the outcome of the blobs in a block that was recycled.
    fn leave(&mut self, left: u64, first_for_copies: u64) {
        let within = self.entries.iter().filter(|(_, entry)| entry.generation == left);
        let within: Vec<(Digest, Entry)> = within.map(|(digest, entry)| (digest.clone(), entry.clone())).collect();
        let flags = |digest: &Digest| {
            let of_it = within.iter().filter(|(other, entry)| other == digest || entry.parent.as_ref() == Some(digest));
            of_it.fold((false, false), |(found, read), (_, entry)| (found | entry.is_found, read | entry.is_read))
        };
        let (mut largest_read_kept, mut smallest_found_gone) = (0, u64::MAX);
        let counted = |size: u64| i128::from(self.store.sizes().counted_bytes(size)) + 512;
        let found = within.iter().filter(|(digest, _)| flags(digest).0);
        let needed: i128 = found.map(|(_, entry)| counted(bytes_of(entry.contents.len()))).sum();
        let (low, _) = self.share.left;
        let is_enough = needed <= low;
        let (mut taken_at_most, mut taken, mut is_any_read) = (0, 0, false);
        for (digest, entry) in &within {
            let parent = entry.parent.as_ref().filter(|parent| within.iter().any(|(other, _)| other == *parent));
            let size = bytes_of(entry.contents.len());
            let Some(position) = self.store.block_of(digest) else {
                if let Some(parent) = parent {
                    assert!(!self.store.is_stored(parent), "the part {digest} went, and what it is a part of did not");
                }
                let is_promised =
                    entry.promised_at.is_some_and(|at| self.put_bytes - at <= self.store.sizes().promised_bytes());
                assert!(entry.is_found || !is_promised, "{digest} went early, unmarked");
                self.counts.evicted += 1;
                self.counts.evicted_bytes += size;
                assert!(!entry.is_found || !is_enough, "{digest} went, while {low} bytes were left for {needed}");
                if entry.is_found {
                    self.counts.breached_bytes += size;
                    smallest_found_gone = size.min(smallest_found_gone);
                }
                self.entries.remove(digest);
                self.gone.push(digest.clone());
                continue;
            };
            let generation = self.blocks[position];
            assert!(generation >= first_for_copies);
            let (is_found, is_read) = flags(digest);
            let went_along = parent.is_some_and(|parent| self.store.is_stored(parent));
            assert!(is_found || is_read || went_along, "{digest} stayed untouched");
            if went_along {
                let parent = parent.and_then(|parent| self.store.block_of(parent));
                assert_eq!(parent, Some(position), "the part {digest} lies elsewhere than what it is a part of");
            } else {
                self.counts.copied += 1;
                self.counts.copied_bytes += size;
                self.copies += 1;
                taken_at_most += counted(size);
                taken += i128::from(size);
                if !is_found && parent.is_none() {
                    is_any_read = true;
                    largest_read_kept = size.max(largest_read_kept);
                }
            }
            let now = self.entries.get_mut(digest).unwrap();
            (now.generation, now.is_found, now.is_read) = (generation, false, false);
            if !went_along {
                now.parent = None;
            }
        }
        self.share.take(taken, taken_at_most, is_any_read);
        assert!(largest_read_kept <= smallest_found_gone, "what was read was copied, and what was promised was not");
    }
}
