//! Operations that are drawn, each done to the store and to the model.

use blobaccess::{Blob, BlobAccess, Context, Digest, DigestFunction, DigestSet, Error, InstanceName, Kind, PutOutcome};
use bytes::Bytes;
use futures::executor::block_on;

use crate::shape::{Shape, open};
use crate::{Counts, Entry, Model, bytes_of};

impl<K: Kind> Model<K> {
    fn contents(&mut self) -> Bytes {
        let block = usize::try_from(self.store.sizes().max_blob_size_bytes()).unwrap();
        let size = match self.numbers.below(40) {
            0 => block / 2,
            1 => 0,
            2..=8 => self.numbers.below(block / 8),
            _ => self.numbers.below(1_500),
        };
        Bytes::from(self.numbers.bytes(size))
    }

    pub(crate) fn known(&mut self) -> Option<Digest> {
        let position = self.numbers.below(self.entries.len());
        self.entries.keys().nth(position).cloned()
    }

    fn count_put(&mut self, size: usize) {
        self.put_bytes += self.store.sizes().counted_bytes(bytes_of(size));
    }

    /// Returns the bytes behind a message, which are not known here exactly.
    fn earn(&mut self, size: usize, is_certain: bool) {
        let counted = self.store.sizes().counted_bytes(bytes_of(size)).into();
        let unknown = if K::STORAGE_TYPE.is_mutable() { 512 } else { 0 };
        self.share.earn(counted, unknown, is_certain);
    }

    fn put(&mut self) {
        let contents = self.contents();
        let again = self.numbers.below(8) == 0;
        let known = self.known().filter(|_| again);
        let digest = if K::STORAGE_TYPE.is_mutable() {
            Digest::of(InstanceName::empty(), DigestFunction::Sha256, &self.numbers.below(900).to_le_bytes())
        } else {
            known.clone().unwrap_or_else(|| Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents))
        };
        let digest = known.unwrap_or(digest);
        let contents =
            if again && let Some(entry) = self.entries.get(&digest) { entry.contents.clone() } else { contents };
        self.count_put(contents.len());
        let stored_bytes = bytes_of(contents.len());
        let expected = match self.entries.get(&digest) {
            None => PutOutcome::Created { stored_bytes },
            Some(entry) if entry.contents == contents => PutOutcome::AlreadyExists { stored_bytes },
            Some(entry) => PutOutcome::Replaced { stored_bytes, old_bytes: bytes_of(entry.contents.len()) },
        };
        let outcome = if self.numbers.below(2) == 0 {
            self.store.put_blocking(&digest, contents.clone()).unwrap()
        } else {
            block_on(self.store.put(&Context::background(), &digest, Blob::from_bytes(contents.clone()))).unwrap()
        };
        assert_eq!(outcome, expected);
        if matches!(outcome, PutOutcome::AlreadyExists { .. }) {
            self.find(&digest);
            return;
        }
        self.earn(contents.len(), true);
        // It is noted where it is as soon as it is known which blocks there are.
        let promised_at = Some(self.put_bytes);
        let entry = Entry { contents, generation: 0, is_found: false, is_read: false, promised_at, parent: None };
        self.entries.insert(digest.clone(), entry);
        self.settle(Some(&digest));
    }

    /// Begins an upload that breaks off.
    fn abort(&mut self) {
        let contents = self.contents();
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
        if self.entries.contains_key(&digest) || contents.is_empty() {
            return;
        }
        self.count_put(contents.len());
        self.earn(contents.len(), false);
        let half = contents.slice(..contents.len() / 2);
        let pieces = [Ok(half), Err(Error::unavailable("the client went away"))];
        let blob = Blob::from_verified_stream(&digest, futures::stream::iter(pieces));
        block_on(self.store.put(&Context::background(), &digest, blob)).unwrap_err();
        assert!(!self.store.is_stored(&digest));
    }

    fn find_missing(&mut self) {
        let mut asked = Vec::new();
        for _ in 0..self.numbers.below(12) {
            asked.extend(self.known());
            let position = self.numbers.below(self.gone.len());
            asked.extend(self.gone.get(position).cloned());
        }
        let asked: DigestSet = asked.into_iter().collect();
        let missing = block_on(self.store.find_missing(&Context::background(), &asked)).unwrap();
        for digest in &asked {
            assert_eq!(missing.contains(digest), !self.entries.contains_key(digest), "{digest}");
            if !missing.contains(digest) {
                self.find(digest);
            }
        }
    }

    fn get(&mut self) {
        if let Some(digest) = self.known() {
            let read = self.store.get_blocking(&digest).unwrap();
            assert_eq!(read.as_ref(), Some(&self.entries[&digest].contents));
            self.read(&digest);
        }
        let position = self.numbers.below(self.gone.len());
        if let Some(digest) = self.gone.get(position).filter(|digest| !self.entries.contains_key(digest)) {
            assert_eq!(self.store.get_blocking(digest).unwrap(), None);
        }
    }
    fn reopen(&mut self) {
        let Some(device) = self.device.take() else { return };
        let sizes = *self.store.sizes();
        // The store in hand must be closed before the next one is opened.
        let nothing = open(Shape { is_persistent: false, ..self.shape }, None);
        let store = std::mem::replace(&mut self.store, nothing);
        block_on(store.close()).unwrap();
        self.store = open(self.shape, Some(&device));
        self.device = Some(device);
        self.counts = Counts::default();
        self.share.fill();
        self.next_generation += 1 << 10;
        self.put_bytes += sizes.data_bytes() / bytes_of(self.shape.blocks()) / 16 + sizes.counted_bytes_of_sync();
        // Only promises are durable.
        for entry in self.entries.values_mut() {
            entry.is_read = false;
        }
        for (digest, entry) in &self.entries {
            assert_eq!(self.store.get_blocking(digest).unwrap().as_ref(), Some(&entry.contents));
        }
        let digests: Vec<Digest> = self.entries.keys().cloned().collect();
        for digest in digests {
            self.read(&digest);
        }
        self.check_all();
    }

    pub(crate) fn operate(&mut self) {
        match self.numbers.below(40) {
            0..=19 => self.put(),
            20 => self.abort(),
            21..=25 => self.find_missing(),
            26..=34 => self.get(),
            35 => {
                self.store.sync_blocking().unwrap();
                self.put_bytes += self.store.sizes().counted_bytes_of_sync();
            }
            36 if self.numbers.below(20) == 0 => self.reopen(),
            37 => self.check_all(),
            _ => {}
        }
        self.settle(None);
    }
}
