//! The process that uploads and writes its journal, and its successor.

use std::collections::{BTreeMap, BTreeSet};

use blobaccess::{InstanceName, StoredSize, UploadResolution, UploadToken};

use super::{KEYS, Mistake, Process, Upload, World, account, digest, logical_bytes, owner, storage_type};
use crate::accounts::outcome_of;
use crate::journal::{Opened, Record, State};
use crate::{Amounts, Class, Epoch, ErrorReason, Outcome};

impl World {
    pub(super) fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    pub(super) fn begin(&mut self, key: u8) {
        self.bounds.uploads -= 1;
        let process = self.process();
        let number = process.next_number;
        process.next_number += 1;
        process.uploads.push(Upload { number, key, stored: None });
        process.counted.entry(account(key)).or_default().add(Class::Started, Amounts::started(logical_bytes(number)));
        process.journal.apply(&Record::Open(Opened {
            number,
            name: u32::from(key),
            digest: digest(key),
            logical_bytes: logical_bytes(number),
            size: size(number),
            token: None,
            sent: false,
            counted: false,
        }));
        process.journal.apply(&Record::Sent { number });
    }

    /// Stores the blob if it is not there, and entries of a mutable kind in any case.
    pub(super) fn commit(&mut self, index: usize) {
        let epoch = self.process().journal.epoch;
        let upload = self.process().uploads[index].clone();
        let (key, size) = (upload.key, 10 + upload.number);
        let token = crate::tokens::token_of(epoch, upload.number);
        let truth = self.truth.entry(account(key)).or_default();
        let outcome = match self.store.get(&key).copied() {
            None => {
                truth.added_bytes += size;
                self.created.insert((epoch.as_bytes()[0], key, upload.number));
                self.store.insert(key, (token, size));
                Outcome::Created { stored_bytes: size }
            }
            Some((_, old_bytes)) if storage_type(key).is_mutable() => {
                truth.added_bytes += size;
                truth.removed_bytes += old_bytes;
                self.store.insert(key, (token, size));
                Outcome::Replaced { stored_bytes: size, old_bytes }
            }
            Some((_, stored_bytes)) => Outcome::AlreadyExists { stored_bytes },
        };
        self.process().uploads[index].stored = Some(outcome);
    }

    pub(super) fn finish(&mut self, index: usize) {
        let upload = self.process().uploads.remove(index);
        let outcome = upload.stored.unwrap();
        // I3: an upload is `created` exactly if it created the stored blob.
        let epoch = self.process().journal.epoch.as_bytes()[0];
        let created = self.created.contains(&(epoch, upload.key, upload.number));
        assert_eq!(matches!(outcome, Outcome::Created { .. }), created);
        self.end(&upload, outcome);
    }

    pub(super) fn lose(&mut self, index: usize) {
        let upload = self.process().uploads.remove(index);
        let token = crate::tokens::token_of(self.process().journal.epoch, upload.number);
        let mut resolution = self.resolve(upload.key, token);
        if self.mistake == Mistake::ExistsMeansAnothers
            && let UploadResolution::Mine { stored_bytes } = resolution
        {
            resolution = UploadResolution::Anothers { stored_bytes };
        }
        self.end(&upload, outcome_of(resolution, storage_type(upload.key).is_mutable(), ErrorReason::Rejected));
    }

    fn resolve(&self, key: u8, token: UploadToken) -> UploadResolution {
        match self.store.get(&key) {
            None => UploadResolution::Absent,
            Some((stored, stored_bytes)) if *stored == token => UploadResolution::Mine { stored_bytes: *stored_bytes },
            Some((_, stored_bytes)) => UploadResolution::Anothers { stored_bytes: *stored_bytes },
        }
    }

    pub(super) fn end(&mut self, upload: &Upload, outcome: Outcome) {
        let early = self.mistake == Mistake::CountedBeforeWritten;
        let process = self.process();
        let amounts = Amounts::ended_with(outcome, logical_bytes(upload.number), size(upload.number));
        process.counted.entry(account(upload.key)).or_default().add(Class::from_outcome(outcome), amounts);
        if !early {
            process.journal.apply(&Record::End { number: upload.number, outcome });
        }
    }

    /// Deletes a blob, if nothing is under way: a blob deleted before it was counted looks like one that never was.
    pub(super) fn delete(&mut self, key: u8) {
        if !self.process().uploads.is_empty() {
            return;
        }
        self.bounds.deletions -= 1;
        let Some((_, size)) = self.store.remove(&key) else { return };
        self.truth.entry(account(key)).or_default().removed_bytes += size;
        let (class, amounts) = (Class::DeletedOnRequest, Amounts::deleted(1, size));
        let process = self.process();
        process.journal.apply(&Record::Deleted { account: account(key), class, amounts });
        process.counted.entry(account(key)).or_default().add(class, amounts);
    }

    pub(super) fn restart(&mut self) {
        self.epochs += 1;
        let mut journal = State::new(owner(), Epoch::from_bytes([self.epochs; 16]));
        for (key, _) in KEYS {
            let (id, instance_name) = (u32::from(key), InstanceName::empty());
            journal.apply(&Record::Name { id, account: account(key), instance_name });
        }
        let mut dead = std::mem::take(&mut self.journals);
        if self.mistake == Mistake::NoReplay {
            dead.clear();
        }
        for life in &mut dead {
            for unsent in life.unsent() {
                life.apply(&unsent);
            }
            for (number, intent) in life.intents().clone() {
                let key = KEYS.iter().find(|(key, _)| digest(*key) == intent.digest).unwrap().0;
                let resolution = self.resolve(key, intent.token);
                let outcome = outcome_of(resolution, storage_type(key).is_mutable(), ErrorReason::Cancelled);
                life.apply(&Record::End { number, outcome });
            }
        }
        self.process = Some(Process {
            journal,
            counted: BTreeMap::new(),
            uploads: Vec::new(),
            seq: 0,
            next_number: 1,
            dead,
            acknowledged: BTreeSet::new(),
            reported: BTreeMap::new(),
        });
    }
}

/// Returns the size that the store expects of the blob of an upload.
fn size(number: u64) -> StoredSize {
    match number % 3 {
        0 => StoredSize::Unknown,
        1 => StoredSize::Exact(10 + number),
        _ => StoredSize::AtMost(100 + number),
    }
}
