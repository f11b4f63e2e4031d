//! A scan that compares an index of owners with a listing: both in the order of keys, side by side.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Context, DigestFunction, Error, Inventory, Result, StorageType};
use futures::{StreamExt, stream};

use super::OwnerIndex;
use super::changes::{Change, Found, Whose};
use super::deleting::found;
use super::entry::{Entry, Key, Mark, State, keys_of};
use crate::Class;

/// The number of entries that are read from the index at a time.
const PAGE: usize = 4_096;

/// The number of changes that are made in one transaction.
const BATCH: usize = 4_096;

/// The settings of an [`OwnerScan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerScanOptions {
    settle_after: Duration,
    unknown: UnknownBlobs,
    questions_at_once: usize,
    max_questions: u64,
    parts_at_once: usize,
}

/// The meaning of a stored blob that the index lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownBlobs {
    /// The store is asked whose it is. A blob that no account was left with is foreign.
    #[default]
    Ask,
    /// It was there before the ledger began: nobody is asked. For the scan with which a ledger and its index begin.
    Adopt,
}

impl Default for OwnerScanOptions {
    fn default() -> Self {
        Self {
            settle_after: Duration::from_hours(1),
            unknown: UnknownBlobs::Ask,
            questions_at_once: 16,
            max_questions: 1_000_000,
            parts_at_once: 4,
        }
    }
}

impl OwnerScanOptions {
    /// Sets the time after which a blob that a scan missed is believed to be gone, if a later scan misses it as well: an
    /// hour unless set.
    #[must_use]
    pub const fn with_settle_after(mut self, settle_after: Duration) -> Self {
        self.settle_after = settle_after;
        self
    }

    /// Sets the meaning of a stored blob that the index lacks: [`UnknownBlobs::Ask`] unless set.
    #[must_use]
    pub const fn with_unknown(mut self, unknown: UnknownBlobs) -> Self {
        self.unknown = unknown;
        self
    }

    /// Sets how many blobs the store is asked about at a time, in each part: at least 1, 16 unless set.
    #[must_use]
    pub fn with_questions_at_once(mut self, questions: usize) -> Self {
        self.questions_at_once = questions.max(1);
        self
    }

    /// Sets how many blobs of each part the store is asked about in one scan: a million unless set. The next scan asks about
    /// the others.
    #[must_use]
    pub const fn with_max_questions(mut self, questions: u64) -> Self {
        self.max_questions = questions;
        self
    }

    /// Sets how many parts are listed at a time: at least 1, 4 unless set.
    #[must_use]
    pub fn with_parts_at_once(mut self, parts: usize) -> Self {
        self.parts_at_once = parts.max(1);
        self
    }
}

/// A part of a store that is listed by itself.
#[derive(Clone, Debug)]
pub struct ScanPart {
    inventory: Arc<dyn Inventory>,
    digests: Option<(DigestFunction, u8)>,
}

impl ScanPart {
    /// Makes a part of a whole store.
    ///
    /// Pages must be in the order of keys: by the name of the digest function, then by hash. Those of a bucket are.
    #[must_use]
    pub fn whole(inventory: Arc<dyn Inventory>) -> Self {
        Self { inventory, digests: None }
    }

    /// Makes the part with the digests of `function` whose hash begins with the byte `first`. All of them must be in
    /// `inventory`, and no others.
    #[must_use]
    pub fn of_hashes(inventory: Arc<dyn Inventory>, function: DigestFunction, first: u8) -> Self {
        Self { inventory, digests: Some((function, first)) }
    }
}

/// The result of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnerScanned {
    /// The number of blobs that were listed.
    pub objects: u64,
    /// The bytes that they take.
    pub stored_bytes: u64,
    /// The number of blobs that the index lacked and has now.
    pub entered: u64,
    /// The number of blobs that the index has and this scan missed for the first time.
    pub missed: u64,
    /// The number of blobs that were counted as gone.
    pub gone: u64,
    /// The number of blobs about which the store could not be asked now. The next scan asks.
    pub unanswered: u64,
}

impl OwnerScanned {
    const fn plus(self, other: Self) -> Self {
        Self {
            objects: self.objects.saturating_add(other.objects),
            stored_bytes: self.stored_bytes.saturating_add(other.stored_bytes),
            entered: self.entered.saturating_add(other.entered),
            missed: self.missed.saturating_add(other.missed),
            gone: self.gone.saturating_add(other.gone),
            unanswered: self.unanswered.saturating_add(other.unanswered),
        }
    }
}

/// A comparison of an [`OwnerIndex`] with the listing of a store.
///
/// * A blob that the index has and the listing lacks is *missed*. If a later scan misses it too, after the
///   [settle time](OwnerScanOptions::with_settle_after), it is gone: a rule of the bucket has deleted it, or somebody else.
///   That is counted once, as [`Class::DeletedByCollection`], for the account of the blob. Blobs that were uploaded while the
///   scan runs are left alone.
/// * A blob that the listing has and the index lacks is [asked for or adopted](UnknownBlobs).
///
/// # Costs
///
/// The pages of the listing, and one question for each blob that is new to the index: none if all uploads go through this
/// process.
///
/// # Memory
///
/// A page of the listing, a page of the index and a batch of changes, for each part that is listed at a time.
///
/// # Cancel safety
///
/// The future may be dropped at any time. A scan that begins anew counts nothing twice.
pub struct OwnerScan {
    index: OwnerIndex,
    storage_type: StorageType,
    parts: Vec<ScanPart>,
    options: OwnerScanOptions,
}

impl OwnerScan {
    /// Makes a scan of all parts of a store of this kind.
    #[must_use]
    pub const fn new(
        index: OwnerIndex,
        storage_type: StorageType,
        parts: Vec<ScanPart>,
        options: OwnerScanOptions,
    ) -> Self {
        Self { index, storage_type, parts, options }
    }

    /// Lists all parts, and compares.
    ///
    /// # Errors
    ///
    /// The first error of a listing or of the index. `FailedPrecondition` if pages are not in the order of keys. What was
    /// found until then stays.
    pub async fn run(&self, ctx: &Context) -> Result<OwnerScanned> {
        let parts = self.parts.iter().map(|part| self.run_part(ctx, part));
        let mut results = stream::iter(parts).buffer_unordered(self.options.parts_at_once);
        let mut sum = OwnerScanned::default();
        while let Some(result) = results.next().await {
            sum = sum.plus(result?);
        }
        Ok(sum)
    }

    async fn run_part(&self, ctx: &Context, part: &ScanPart) -> Result<OwnerScanned> {
        let range = keys_of(self.storage_type, part.digests);
        let mut comparing = Comparing {
            scan: self,
            ctx,
            begin: range.start,
            sum: OwnerScanned::default(),
            asked: 0,
            changes: Vec::new(),
            questions: Vec::new(),
        };
        let mut listed: Vec<(Key, u64)> = Vec::new();
        let mut cursor = None;
        loop {
            // What is noted by now is older than the listing.
            self.index.flush().await?;
            let began = self.index.shared.now();
            let page = part.inventory.inventory(ctx, cursor.as_ref()).await?;
            for entry in &page.entries {
                comparing.sum.objects += 1;
                comparing.sum.stored_bytes = comparing.sum.stored_bytes.saturating_add(entry.stored_bytes);
                listed.push((self.index.shared.key(self.storage_type, &entry.digest), entry.stored_bytes));
            }
            listed.sort();
            listed.dedup_by(|(later, _), (key, _)| later == key);
            // Digests with the same hash may go on in the next page, in another order.
            let end = match (&page.next, listed.last()) {
                (None, _) => range.end.clone(),
                (Some(_), None) => comparing.begin.clone(),
                (Some(_), Some((last, _))) => last.of_hash().to_vec(),
            };
            if listed.first().is_some_and(|(first, _)| first.0 < comparing.begin) {
                return Err(Error::failed_precondition("the pages of the listing are not in the order of keys"));
            }
            let whole = listed.partition_point(|(key, _)| key.0 < end);
            let rest = listed.split_off(whole);
            comparing.compare(&listed, end, began).await?;
            listed = rest;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        if !listed.is_empty() {
            return Err(Error::failed_precondition("the listing has digests that are not of this part"));
        }
        comparing.finish().await
    }
}

/// A comparison of one part, as far as it has come.
struct Comparing<'a> {
    scan: &'a OwnerScan,
    ctx: &'a Context,
    /// The first key that was not compared yet.
    begin: Vec<u8>,
    sum: OwnerScanned,
    asked: u64,
    changes: Vec<(StorageType, Change)>,
    questions: Vec<Question>,
}

/// A blob whose owner is to be asked for.
struct Question {
    key: Key,
    stored_bytes: u64,
    /// The entry that it may belong to, and when the listing began.
    known: Option<(Entry, u32)>,
}

impl Comparing<'_> {
    /// Compares the listed blobs with the entries up to `end`. The listing began at `began`.
    async fn compare(&mut self, listed: &[(Key, u64)], end: Vec<u8>, began: u32) -> Result<()> {
        // What was noted while the page was listed is in it.
        self.scan.index.flush().await?;
        let mut listed = listed.iter().peekable();
        let mut from = std::mem::replace(&mut self.begin, end.clone());
        loop {
            let entries = self.scan.index.shared.page(from, end.clone(), PAGE).await?;
            let more = entries.len() == PAGE;
            let after = entries.last().map(|(key, _)| after(key));
            for (key, entry) in entries {
                while let Some((unknown, stored_bytes)) = listed.next_if(|(listed, _)| *listed < key) {
                    self.unknown(unknown.clone(), *stored_bytes);
                }
                match listed.next_if(|(listed, _)| *listed == key) {
                    Some((_, stored_bytes)) => self.known(key, entry, *stored_bytes, began),
                    None => self.missed(key, entry, began),
                }
            }
            self.apply(false).await?;
            match after {
                Some(after) if more => from = after,
                Some(_) | None => break,
            }
        }
        for (unknown, stored_bytes) in listed {
            self.unknown(unknown.clone(), *stored_bytes);
        }
        self.apply(false).await
    }

    fn push(&mut self, change: Change) {
        self.changes.push((self.scan.storage_type, change));
    }

    fn unknown(&mut self, key: Key, stored_bytes: u64) {
        match self.scan.options.unknown {
            UnknownBlobs::Adopt => {
                let found = Found { whose: Whose::Adopted, stored_bytes, mark: Mark::default() };
                self.push(Change::Enter { key, found });
            }
            UnknownBlobs::Ask => self.questions.push(Question { key, stored_bytes, known: None }),
        }
    }

    fn known(&mut self, key: Key, entry: Entry, stored_bytes: u64, began: u32) {
        // A blob that was missed may have come back by another upload, whose end was never noted.
        let is_doubtful = entry.state == State::Missed || (entry.stored_bytes != stored_bytes && entry.since < began);
        if is_doubtful && self.scan.options.unknown == UnknownBlobs::Ask {
            self.questions.push(Question { key, stored_bytes, known: Some((entry, began)) });
        }
    }

    /// Takes what the store, or else the listing, says of a blob.
    fn answered(&mut self, question: Question, found: Found) {
        let Question { key, known, .. } = question;
        match known {
            // Without a token, the size alone tells whether it is the same.
            Some((entry, began)) if !found.mark.is_some() && found.stored_bytes != entry.stored_bytes => {
                self.missed(key, entry, began);
            }
            Some((entry, _)) => {
                self.push(Change::Enter { key: key.clone(), found });
                self.push(Change::Set { key, mark: entry.mark, state: State::Stored });
            }
            None => self.push(Change::Enter { key, found }),
        }
    }

    fn missed(&mut self, key: Key, entry: Entry, began: u32) {
        if entry.since >= began && entry.state != State::Missed {
            // Its upload or its deletion may be younger than the listing.
            return;
        }
        let (storage_type, mark) = (self.scan.storage_type, entry.mark);
        let settled = u64::from(began).saturating_sub(self.scan.options.settle_after.as_secs());
        let class = Class::DeletedByCollection;
        let change = match entry.state {
            State::Deleting => Change::Settle { key, mark, class },
            State::Missed if entry.since <= began && u64::from(entry.since) <= settled => {
                Change::Settle { key, mark, class }
            }
            State::Missed if entry.since > began => {
                // The clock was ahead when it was missed: the time begins anew.
                self.push(Change::Set { key: key.clone(), mark, state: State::Stored });
                Change::Set { key, mark, state: State::Missed }
            }
            State::Missed => return,
            State::Stored => Change::Set { key, mark, state: State::Missed },
        };
        self.changes.push((storage_type, change));
    }

    /// Asks about blobs and makes changes, once there are many or if this is the end.
    async fn apply(&mut self, all: bool) -> Result<()> {
        if !all && self.changes.len() + self.questions.len() < BATCH {
            return Ok(());
        }
        self.ask().await;
        let changes = std::mem::take(&mut self.changes);
        for batch in changes.chunks(BATCH) {
            let done = self.scan.index.shared.change(batch.to_vec()).await?;
            for ((_, change), _) in batch.iter().zip(done).filter(|(_, done)| *done) {
                match change {
                    Change::Enter { .. } => self.sum.entered += 1,
                    Change::Settle { .. } => self.sum.gone += 1,
                    Change::Set { state: State::Missed, .. } => self.sum.missed += 1,
                    Change::Set { state: State::Stored | State::Deleting, .. } => {}
                }
            }
        }
        Ok(())
    }

    /// Asks the store whose blobs are. One about which it cannot tell now is asked for by the next scan.
    async fn ask(&mut self) {
        let (ctx, storage_type) = (self.ctx, self.scan.storage_type);
        let room = self.scan.options.max_questions.saturating_sub(self.asked);
        let mut questions = std::mem::take(&mut self.questions);
        let most = usize::try_from(room).unwrap_or(usize::MAX).min(questions.len());
        let left = questions.split_off(most);
        self.asked += count(questions.len());
        self.sum.unanswered += count(left.len());
        let Some(store) = self.scan.index.shared.store(storage_type) else {
            // Nobody can be asked, so whatever the index lacks is foreign.
            for question in questions {
                let (whose, stored_bytes) = (Whose::Foreign, question.stored_bytes);
                self.answered(question, Found { whose, stored_bytes, mark: Mark::default() });
            }
            return;
        };
        let store = Arc::clone(store);
        let store = &store;
        let asking = questions.into_iter().map(|question| async move {
            let Some(digest) = question.key.digest() else { return (question, Ok(None)) };
            let stored = store.stored_blob(ctx, &digest).await;
            (question, stored)
        });
        let mut answers = stream::iter(asking).buffer_unordered(self.scan.options.questions_at_once);
        while let Some((question, answer)) = answers.next().await {
            match answer {
                Ok(Some(stored)) => self.answered(question, found(storage_type, &stored)),
                // It went in between.
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot ask whose a blob is");
                    self.sum.unanswered += 1;
                }
            }
        }
    }

    async fn finish(mut self) -> Result<OwnerScanned> {
        self.apply(true).await?;
        Ok(self.sum)
    }
}

/// Returns the first key after `key`.
fn after(key: &Key) -> Vec<u8> {
    let mut after = key.0.clone();
    after.push(0);
    after
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl Debug for OwnerScan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerScan")
            .field("storage_type", &self.storage_type)
            .field("parts", &self.parts.len())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
