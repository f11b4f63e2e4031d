//! Deletions on request, each counted once for the account of the blob.

use std::sync::Arc;

use blobaccess::{Context, DeleteBlob, DeleteOutcome, Digest, Error, Result, StorageType, StoredBlob};

use super::OwnerIndex;
use super::changes::{Change, Found, Whose};
use super::entry::{Entry, Key, Mark, State};
use super::figures::Held;
use crate::drift::Owner;
use crate::{Account, Class};

/// The number of times that a value is looked at which others replace meanwhile.
const TRIES: u32 = 4;

/// A blob that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeletedBlob {
    /// The owner, whose footprint falls.
    pub owner: Owner,
    /// The bytes that the blob took in the store.
    pub stored_bytes: u64,
}

impl OwnerIndex {
    /// Deletes a blob from its store, and counts that for the account that it was counted for. Returns `None` if nothing was
    /// stored.
    ///
    /// The blob is counted once, also if an answer is lost or the program dies in between: by the repeated call, or by the
    /// next scan. If its value is replaced by others while it is deleted, the value that they put is deleted, or the call
    /// fails. Where the server ignores conditions of deletions, a value that was put at that very moment may be deleted as
    /// well; a scan then counts that it is gone.
    ///
    /// # Errors
    ///
    /// Those of store and index: the blob may be stored or not, and the call may be repeated. `Aborted` if others replace the
    /// value again and again. `FailedPrecondition` if the index has no store of this kind.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped may still take effect, and what it deleted is counted by the next scan.
    pub async fn delete(
        &self,
        ctx: &Context,
        storage_type: StorageType,
        digest: &Digest,
    ) -> Result<Option<DeletedBlob>> {
        let store = Arc::clone(self.store(storage_type)?);
        let key = self.shared.key(storage_type, digest);
        for _ in 0..TRIES {
            // The entry is read first: what the store says afterwards is said of that entry, or of a later one.
            let entry = self.shared.entry(&key).await?;
            let Some(stored) = store.stored_blob(ctx, digest).await? else {
                return self.settle_absent(storage_type, key, entry).await;
            };
            let Some(entry) = self.prepare(storage_type, &key, entry, &stored).await? else { continue };
            match store.delete_blob(ctx, digest, &stored).await? {
                DeleteOutcome::Deleted | DeleteOutcome::Absent => {
                    return self.settle(storage_type, key, entry).await;
                }
                // The replaced value is handed over when the upload is noted, or when the new one is looked at. It was not
                // deleted, so it must not count as deleted then.
                DeleteOutcome::Replaced => {
                    let change = Change::Set { key: key.clone(), mark: entry.mark, state: State::Stored };
                    self.shared.change(vec![(storage_type, change)]).await?;
                }
            }
        }
        let message = format!("blob {digest} was replaced while it was deleted, again and again");
        Err(Error::aborted(message).with_retryable(true))
    }

    /// Enters the blob if the index lacks it, and writes down that it is about to go. Returns its entry; `None` if another
    /// upload came in between.
    async fn prepare(
        &self,
        storage_type: StorageType,
        key: &Key,
        entry: Option<Entry>,
        stored: &StoredBlob,
    ) -> Result<Option<Entry>> {
        let mark = Mark::of_token(stored.upload_token.as_ref());
        let mut changes = Vec::new();
        let is_known = entry
            .is_some_and(|entry| entry.mark == mark || (!mark.is_some() && entry.stored_bytes == stored.stored_bytes));
        let mark = match entry {
            Some(entry) if is_known => entry.mark,
            Some(_) | None => {
                let found = found(storage_type, stored);
                changes.push((storage_type, Change::Enter { key: key.clone(), found }));
                mark
            }
        };
        changes.push((storage_type, Change::Set { key: key.clone(), mark, state: State::Deleting }));
        self.shared.change(changes).await?;
        Ok(self.shared.entry(key).await?.filter(|entry| entry.mark == mark))
    }

    async fn settle(&self, storage_type: StorageType, key: Key, entry: Entry) -> Result<Option<DeletedBlob>> {
        let change = Change::Settle { key, mark: entry.mark, class: Class::DeletedOnRequest };
        // If another has counted it in between, it is deleted all the same.
        self.shared.change(vec![(storage_type, change)]).await?;
        let owner = self.shared.owner(entry.owner);
        Ok(Some(DeletedBlob { owner, stored_bytes: entry.stored_bytes }))
    }

    /// Counts a blob that was gone before the store was asked: by a deletion whose answer was lost, or by itself.
    async fn settle_absent(
        &self,
        storage_type: StorageType,
        key: Key,
        entry: Option<Entry>,
    ) -> Result<Option<DeletedBlob>> {
        let Some(entry) = entry else { return Ok(None) };
        let change = Change::Settle { key, mark: entry.mark, class: Class::DeletedByCollection };
        self.shared.change(vec![(storage_type, change)]).await?;
        if entry.state != State::Deleting {
            return Ok(None);
        }
        let owner = self.shared.owner(entry.owner);
        Ok(Some(DeletedBlob { owner, stored_bytes: entry.stored_bytes }))
    }

    /// Returns the blobs of an account that are in the store, as far as the index knows.
    #[must_use]
    pub fn held_by(&self, account: &Account) -> Held {
        let figures = self.shared.figures();
        let held = figures.accounts().find(|(known, _)| *known == account).map(|(_, counts)| counts.held);
        held.unwrap_or_default()
    }
}

/// Returns what the metadata of a blob says.
pub(super) fn found(storage_type: StorageType, stored: &StoredBlob) -> Found {
    let mark = Mark::of_token(stored.upload_token.as_ref());
    let whose = match &stored.account_name {
        Some(account_name) if mark.is_some() => Whose::Account(Account::new(account_name.clone(), storage_type)),
        Some(_) | None => Whose::Foreign,
    };
    Found { whose, stored_bytes: stored.stored_bytes, mark }
}
