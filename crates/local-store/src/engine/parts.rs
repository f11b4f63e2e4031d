//! Remembers where parts of composite objects lie.

use blobaccess::{Digest, Slice};

use super::read::is_contents_of;
use super::space::Named;
use super::{Engine, Mode, Read};
use crate::key_location_map::Record;

impl Engine {
    /// Makes those parts of the object that `parent` names found which are what they are said to be.
    ///
    /// It may block: each part is read and hashed. What cannot be remembered is passed over: a part that is not found
    /// is sliced again.
    pub(crate) fn remember_parts(&self, parent: &Record, slices: &[Slice]) {
        for slice in slices {
            let size = slice.digest.size_bytes();
            let end = slice.offset.checked_add(size);
            let is_within = end.is_some_and(|end| end <= parent.location.size_bytes);
            if slice.size_bytes == size && is_within && !parent.is_part {
                self.remember_part(parent, &slice.digest, slice.offset);
            }
        }
    }

    fn remember_part(&self, parent: &Record, digest: &Digest, offset: u64) {
        let key = self.keys.key(digest);
        if self.peek(&key).is_some() {
            return;
        }
        let named = Named {
            key_words: key.words,
            function: crate::key::function(digest),
            size_bytes: digest.size_bytes(),
            is_part: true,
        };
        let block = parent.location.block;
        let draft = |space: &super::Space| self.draft_with(space, block, parent.location.offset + offset, named, 0);
        let Ok(Read::Bytes(bytes)) = self.read(parent, offset..offset + digest.size_bytes(), Mode::Waiting) else {
            return;
        };
        let mut space = self.space();
        let Some(of) = self.block(block) else { return };
        let most = self.sizes.entries_per_block();
        let has_log_space =
            space.use_of(block).is_some_and(|usage| most.is_none_or(|most| u64::from(usage.entries) < most));
        if of.is_copying() || !of.is(parent.location.generation) || !has_log_space {
            return;
        }
        // The hash is computed under the lock no more than the record is drafted: it needs size and function only.
        let record = draft(&space);
        drop(space);
        if !is_contents_of(&record, &bytes) {
            return;
        }
        space = self.space();
        let is_still_there = of.is(parent.location.generation) && !of.is_copying();
        if !is_still_there || self.map.lookup_as_writer(&key, &space.map).is_some() {
            return;
        }
        let has_log_space =
            space.use_of(block).is_some_and(|usage| most.is_none_or(|most| u64::from(usage.entries) < most));
        if !has_log_space {
            return;
        }
        let sequence = space.next_record;
        space.next_record += 1;
        let record = Record { sequence, ..draft(&space) };
        let inserted = self.publish(&mut space, &record);
        drop(space);
        if let Some(dropped) = &inserted.dropped {
            self.evicted(dropped);
        }
    }
}
