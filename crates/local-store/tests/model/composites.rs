//! Gets of parts of what is stored, after which the parts are stored too.

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, Result, Slice, Sliced, Slicer};
use futures::executor::block_on;

use crate::{Entry, Model, bytes_of};

/// Cuts composites into parts of equal length.
#[derive(Debug)]
struct Cutter;

const PART: usize = 500;

fn parts(whole: &[u8]) -> Vec<Slice> {
    let parts = (0..).zip(whole.chunks_exact(PART)).map(|(number, part)| Slice {
        digest: Digest::of(InstanceName::empty(), DigestFunction::Sha256, part),
        offset: number * bytes_of(PART),
        size_bytes: bytes_of(PART),
    });
    parts.collect()
}

#[async_trait]
impl Slicer for Cutter {
    async fn slice(&self, parent: Blob, child: &Digest) -> Result<Sliced> {
        let whole = parent.into_bytes(1 << 30).await?;
        let slices = parts(&whole);
        let slice = slices.iter().find(|slice| slice.digest == *child).unwrap();
        let from = usize::try_from(slice.offset).unwrap();
        Ok(Sliced::new(Blob::from_bytes(whole.slice(from..from + PART))).with_slices(slices))
    }
}

impl Model<Cas> {
    pub(crate) fn get_from_composite(&mut self) {
        let Some(digest) = self.known() else { return };
        let entry = self.entries[&digest].clone();
        let parts = parts(&entry.contents);
        if entry.parent.is_some() || parts.is_empty() || parts.len() > 40 {
            return;
        }
        let child = parts[self.numbers.below(parts.len())].digest.clone();
        let ctx = Context::background();
        let read = block_on(self.store.get_from_composite(&ctx, &digest, &child, Arc::new(Cutter))).unwrap();
        let read = block_on(read.into_bytes(1 << 20)).unwrap();
        assert_eq!(Digest::of(InstanceName::empty(), DigestFunction::Sha256, &read), child);
        self.read(&digest);
        if self.entries.contains_key(&child) {
            self.read(&child);
            return;
        }
        for (number, part) in parts.into_iter().enumerate() {
            let part_of = Entry {
                contents: entry.contents.slice(number * PART..(number + 1) * PART),
                is_found: false,
                is_read: false,
                promised_at: None,
                parent: Some(digest.clone()),
                ..entry.clone()
            };
            self.entries.entry(part.digest).or_insert(part_of);
        }
        self.settle(None);
    }
}
