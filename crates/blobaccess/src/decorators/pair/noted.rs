//! A bounded list of digests that are yet to be seen to.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug, Formatter};
use std::ops::Range;
use std::sync::PoisonError;

use tokio::sync::Notify;

use crate::locks::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::locks::{Mutex, MutexGuard};
use crate::{Digest, DigestKey};

/// A bounded list of digests that are yet to be seen to, in the order in which they were noted.
///
/// A full list makes room by dropping its oldest note: blobs of recent puts and queries are the most likely to be used
/// again.
pub(super) struct Noted<T> {
    notes: Mutex<Notes<T>>,
    capacity: usize,
    /// The number of notes, so that an empty list needs no lock.
    len: AtomicUsize,
    dropped: AtomicU64,
    added: Notify,
}

struct Notes<T> {
    by_number: BTreeMap<u64, (DigestKey, Digest, T)>,
    numbers: HashMap<DigestKey, u64>,
    next: u64,
}

/// A note, with the number that tells it from an earlier one of the same digest.
#[derive(Clone, Debug)]
pub(super) struct Note<T> {
    pub(super) key: DigestKey,
    pub(super) digest: Digest,
    pub(super) what: T,
    pub(super) number: u64,
}

impl<T: Copy> Noted<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let notes = Notes { by_number: BTreeMap::new(), numbers: HashMap::new(), next: 1 };
        let (len, dropped) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { notes: Mutex::new(notes), capacity, len, dropped, added: Notify::new() }
    }

    /// Notes `what` about a digest, in place of any earlier note.
    pub(super) fn note(&self, key: DigestKey, digest: &Digest, what: T) {
        self.change(|notes, capacity| notes.note(key, digest, what, capacity));
    }

    /// Notes `what` about a digest, unless there is a note of it.
    pub(super) fn note_if_new(&self, key: DigestKey, digest: &Digest, what: T) {
        self.change(
            |notes, capacity| {
                if notes.numbers.contains_key(&key) { 0 } else { notes.note(key, digest, what, capacity) }
            },
        );
    }

    /// Removes the note of `key`, if its number is below `before`. Returns whether there was one.
    pub(super) fn remove_before(&self, key: &DigestKey, before: u64) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut notes = self.lock();
        let removed = match notes.numbers.get(key) {
            Some(number) if *number < before => {
                let number = *number;
                notes.numbers.remove(key);
                notes.by_number.remove(&number).is_some()
            }
            Some(_) | None => false,
        };
        self.len.store(notes.by_number.len(), Ordering::Release);
        removed
    }

    /// Returns the note of `key`.
    pub(super) fn get(&self, key: &DigestKey) -> Option<Note<T>> {
        if self.is_empty() {
            return None;
        }
        let notes = self.lock();
        let number = *notes.numbers.get(key)?;
        notes.by_number.get(&number).map(|(key, digest, what)| Note {
            key: key.clone(),
            digest: digest.clone(),
            what: *what,
            number,
        })
    }

    /// Returns up to `most` notes within the range of numbers, oldest first.
    pub(super) fn batch(&self, numbers: Range<u64>, most: usize) -> Vec<Note<T>> {
        if numbers.is_empty() {
            return Vec::new();
        }
        let notes = self.lock();
        let batch = notes.by_number.range(numbers).take(most);
        batch
            .map(|(number, (key, digest, what))| Note {
                key: key.clone(),
                digest: digest.clone(),
                what: *what,
                number: *number,
            })
            .collect()
    }

    /// Returns the number of the next note. All notes so far have lower ones.
    pub(super) fn next_number(&self) -> u64 {
        self.lock().next
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of notes that were dropped to make room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until there is a note. One caller may wait at a time.
    pub(super) async fn until_noted(&self) {
        while self.is_empty() {
            self.added.notified().await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut Notes<T>, usize) -> u64) {
        let mut notes = self.lock();
        let dropped = change(&mut notes, self.capacity);
        self.len.store(notes.by_number.len(), Ordering::Release);
        drop(notes);
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
        self.added.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Notes<T>> {
        // Only a failed allocation panics while the lock is held; a note without a number is then never found.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Notes<T> {
    /// Adds a note, and returns the number of notes that had to go.
    fn note(&mut self, key: DigestKey, digest: &Digest, what: T, capacity: usize) -> u64 {
        if capacity == 0 {
            return 1;
        }
        let number = self.next;
        self.next += 1;
        if let Some(before) = self.numbers.insert(key.clone(), number) {
            self.by_number.remove(&before);
        }
        self.by_number.insert(number, (key, digest.clone(), what));
        let mut dropped = 0;
        while self.by_number.len() > capacity
            && let Some((_, (oldest, _, _))) = self.by_number.pop_first()
        {
            self.numbers.remove(&oldest);
            dropped += 1;
        }
        dropped
    }
}

impl<T> Debug for Noted<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Noted").field("len", &self.len).field("dropped", &self.dropped).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::{DigestFunction, InstanceName, KeyFormat};

    fn digest_of(contents: &str) -> Digest {
        Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents.as_bytes())
    }

    fn key(name: &str) -> DigestKey {
        digest_of(name).cache_key(KeyFormat::WithInstanceName)
    }

    fn note(noted: &Noted<u8>, name: &str, what: u8) {
        noted.note(key(name), &digest_of(name), what);
    }

    fn all(noted: &Noted<u8>) -> Vec<(Digest, u8)> {
        noted.batch(0..u64::MAX, 100).into_iter().map(|note| (note.digest, note.what)).collect()
    }

    #[test]
    fn a_full_list_drops_its_oldest_note_and_counts_it() {
        let noted = Noted::new(2);
        note(&noted, "a", 1);
        note(&noted, "b", 2);
        note(&noted, "a", 3);
        assert_eq!((noted.len(), noted.dropped()), (2, 0));
        note(&noted, "c", 4);
        assert_eq!(all(&noted), [(digest_of("a"), 3), (digest_of("c"), 4)]);
        assert_eq!((noted.len(), noted.dropped()), (2, 1));
        assert!(noted.get(&key("b")).is_none());
    }

    #[test]
    fn a_list_without_room_drops_all() {
        let noted = Noted::new(0);
        note(&noted, "a", 1);
        assert_eq!((noted.len(), noted.dropped()), (0, 1));
    }

    #[test]
    fn a_newer_note_of_the_same_digest_is_not_taken_for_the_older() {
        let noted = Noted::new(9);
        note(&noted, "a", 1);
        let before = noted.next_number();
        note(&noted, "a", 2);
        assert!(!noted.remove_before(&key("a"), before));
        noted.note_if_new(key("a"), &digest_of("a"), 3);
        assert_eq!(noted.get(&key("a")).unwrap().what, 2);
        assert!(noted.remove_before(&key("a"), noted.next_number()) && noted.is_empty());
        assert!(!noted.remove_before(&key("a"), u64::MAX));
    }

    #[test]
    fn batches_go_on_where_the_one_before_ended() {
        let noted = Noted::new(9);
        for name in ["a", "b", "c"] {
            note(&noted, name, 0);
        }
        let end = noted.next_number();
        note(&noted, "d", 0);
        let first = noted.batch(0..end, 2);
        let second = noted.batch(first[1].number + 1..end, 2);
        let digests: Vec<_> = first.into_iter().chain(second).map(|note| note.digest).collect();
        assert_eq!(digests, ["a", "b", "c"].map(digest_of));
    }

    #[tokio::test]
    async fn one_can_wait_for_a_note() {
        let noted = Noted::new(9);
        assert!(noted.until_noted().now_or_never().is_none());
        note(&noted, "a", 1);
        noted.until_noted().await;
        assert!(noted.remove_before(&key("a"), u64::MAX));
        assert!(noted.until_noted().now_or_never().is_none());
    }
}
