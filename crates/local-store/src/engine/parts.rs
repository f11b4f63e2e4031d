//! Remembers where parts of composite objects lie.

use blobaccess::{Digest, Slice};

use super::space::RecordFields;
use super::{Engine, Mode, Read};
use crate::account_names::NOBODY;
use crate::key_location_map::{Newcomer, Record};

impl Engine {
    /// Publishes the parts of the object that `parent` names, if their contents match their digests.
    ///
    /// It may block: each part is read and hashed. A part that cannot be remembered is passed over: it is sliced again
    /// when it is not found.
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
        let named = RecordFields {
            key_words: key.words,
            function: crate::key::function(digest),
            size_bytes: digest.size_bytes(),
            is_part: true,
            has_tail: false,
            account_name: NOBODY,
        };
        let block = parent.location.block;
        let Ok(Read::Bytes(bytes)) = self.read(parent, offset..offset + digest.size_bytes(), Mode::Waiting) else {
            return;
        };
        if !digest.verify(&bytes) {
            return;
        }
        let mut space = self.space();
        let Some(written) = self.blocks.get(block) else { return };
        let has_log_space = space.has_log_space(block);
        // Once touched objects are being copied, nothing is added to a block.
        let is_staying = written.is(parent.location.generation) && !written.is_copying();
        if !has_log_space || !is_staying || self.map.lookup_as_writer(&key, &space.map).is_some() {
            return;
        }
        let newcomer = Newcomer::Spare { safe_from: self.ages.safe_from() };
        let Some(room) = self.map.admit(&mut space.map, &key, newcomer) else { return };
        let sequence = space.draw_sequence();
        let record = space.draft(block, parent.location.offset + offset, named, sequence);
        let inserted = self.insert(&mut space, room, &record, 0);
        drop(space);
        if let Some(dropped) = &inserted.dropped {
            self.report_dropped(dropped);
        }
    }
}
