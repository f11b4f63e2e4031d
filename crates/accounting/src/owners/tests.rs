//! Deletions with other events between two of their steps, in orders that chance seldom draws.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use blobaccess::{
    Ac, AccountName, Blob, BlobAccess, Cas, Context, DeleteBlob, DeleteOutcome, Digest, DigestFunction, InstanceName,
    Kind, ResolveUpload, Result, StorageType, StoredBlob, UploadResolution, UploadToken,
};
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore};

use super::{OwnerIndex, OwnerIndexOptions};
use crate::drift::Owner;
use crate::{Account, Accounts, AccountsOptions, Amounts, Class, Outcome, Reporter, Tally};

/// A store in which something happens right before or after a deletion.
#[derive(Debug)]
struct Eventful<K: Kind> {
    bucket: BucketStore<K>,
    /// The value that the upload 9 puts before the next deletion.
    before_deletion: Mutex<Option<Blob>>,
    after_deletion: Mutex<Option<OwnerIndex>>,
}

fn upload(number: u8, name: &str) -> Context {
    let ctx = Context::background().with_upload_token(UploadToken::from_bytes([number; 16]));
    ctx.with_counted_account(AccountName::new(name))
}

fn digest() -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello")
}

#[async_trait]
impl<K: Kind> DeleteBlob for Eventful<K> {
    async fn stored_blob(&self, ctx: &Context, digest: &Digest) -> Result<Option<StoredBlob>> {
        self.bucket.stored_blob(ctx, digest).await
    }

    async fn delete_blob(&self, ctx: &Context, digest: &Digest, expected: &StoredBlob) -> Result<DeleteOutcome> {
        let value = self.before_deletion.lock().unwrap().take();
        if let Some(value) = value {
            self.bucket.put(&upload(9, "quick"), digest, value).await?;
            return Ok(DeleteOutcome::Replaced);
        }
        let outcome = self.bucket.delete_blob(ctx, digest, expected).await?;
        let index = self.after_deletion.lock().unwrap().take();
        if let Some(index) = index {
            self.bucket.put(&upload(9, "quick"), digest, Blob::from_bytes("hello")).await?;
            note(&index, K::STORAGE_TYPE, 9, "quick", Outcome::Created { stored_bytes: 5 });
        }
        Ok(outcome)
    }

    fn listed_digest(&self, digest: &Digest) -> Digest {
        self.bucket.listed_digest(digest)
    }
}

async fn open<K: Kind>() -> (OwnerIndex, Arc<Eventful<K>>) {
    let bucket = BucketStore::open(Bucket::memory(), BucketOptions::default()).await.unwrap();
    let store = Arc::new(Eventful { bucket, before_deletion: Mutex::new(None), after_deletion: Mutex::new(None) });
    let builder = OwnerIndex::builder(OwnerIndexOptions::default());
    let given: Arc<dyn DeleteBlob> = Arc::<Eventful<K>>::clone(&store);
    (builder.with_store(K::STORAGE_TYPE, given).open_in_memory().unwrap(), store)
}

fn note(index: &OwnerIndex, kind: StorageType, number: u8, name: &str, outcome: Outcome) {
    let account = Account::new(AccountName::new(name), kind);
    index.note(&account, &digest(), UploadToken::from_bytes([number; 16]), outcome, 5);
}

/// Returns what the index counted for an account.
async fn counted(index: &OwnerIndex, name: &str) -> Tally {
    let report = index.report(Reporter::new("owners")).await.unwrap();
    let found = report.accounts.into_iter().find(|(account, _)| account.account_name().as_str() == name);
    found.map(|(_, tally)| tally).unwrap_or_default()
}

async fn delete<K: Kind>(index: &OwnerIndex) -> Option<Owner> {
    index.delete(&Context::background(), K::STORAGE_TYPE, &digest()).await.unwrap().map(|deleted| deleted.owner)
}

#[tokio::test]
async fn an_upload_that_is_noted_after_its_blob_was_deleted_leaves_no_entry() {
    let (index, store) = open::<Cas>().await;
    store.bucket.put(&upload(1, "acme"), &digest(), Blob::from_bytes("hello")).await.unwrap();
    assert_eq!(delete::<Cas>(&index).await, Some(Owner::Account(AccountName::new("acme"))));
    note(&index, StorageType::Cas, 1, "acme", Outcome::Created { stored_bytes: 5 });
    assert_eq!(counted(&index, "acme").await.get(Class::DeletedOnRequest), Amounts::deleted(1, 5));
    assert_eq!(index.snapshot().owned, []);
    assert_eq!(delete::<Cas>(&index).await, None);
    assert_eq!(counted(&index, "acme").await.deleted(), Amounts::deleted(1, 5), "it is counted once");
}

#[tokio::test]
async fn an_upload_whose_blob_was_deleted_before_the_question_did_create_it() {
    let (index, store) = open::<Cas>().await;
    store.bucket.put(&upload(1, "acme"), &digest(), Blob::from_bytes("hello")).await.unwrap();
    let resolver = index.resolver(StorageType::Cas, Arc::new(store.bucket.clone()));
    let ask = async |number: u8| {
        let token = UploadToken::from_bytes([number; 16]);
        resolver.resolve_upload(&Context::background(), &digest(), &token).await.unwrap()
    };
    assert_eq!(ask(1).await, UploadResolution::Mine { stored_bytes: 5 });
    delete::<Cas>(&index).await;
    assert_eq!(ask(1).await, UploadResolution::Mine { stored_bytes: 5 });
    assert_eq!(ask(2).await, UploadResolution::Absent);
    store.bucket.put(&upload(3, "other"), &digest(), Blob::from_bytes("hello")).await.unwrap();
    assert_eq!(ask(1).await, UploadResolution::Mine { stored_bytes: 5 });
    assert_eq!(ask(2).await, UploadResolution::Anothers { stored_bytes: 5 });
}

#[tokio::test]
async fn a_blob_that_is_uploaded_again_right_after_its_deletion_stays_in_the_index() {
    let (index, store) = open::<Cas>().await;
    store.bucket.put(&upload(1, "acme"), &digest(), Blob::from_bytes("hello")).await.unwrap();
    note(&index, StorageType::Cas, 1, "acme", Outcome::Created { stored_bytes: 5 });
    *store.after_deletion.lock().unwrap() = Some(index.clone());
    assert_eq!(delete::<Cas>(&index).await, Some(Owner::Account(AccountName::new("acme"))));
    assert_eq!(counted(&index, "acme").await.get(Class::DeletedOnRequest), Amounts::deleted(1, 5));
    assert!(counted(&index, "quick").await.is_zero());
    let quick = Account::new(AccountName::new("quick"), StorageType::Cas);
    assert_eq!(index.held_by(&quick).stored_bytes, 5);
    assert_eq!(delete::<Cas>(&index).await, Some(Owner::Account(AccountName::new("quick"))));
}

#[tokio::test]
async fn a_value_that_was_deleted_and_then_counted_as_replaced_is_subtracted_once() {
    let (index, store) = open::<Ac>().await;
    store.bucket.put(&upload(1, "first"), &digest(), Blob::from_bytes("hello")).await.unwrap();
    note(&index, StorageType::Ac, 1, "first", Outcome::Created { stored_bytes: 5 });
    assert_eq!(delete::<Ac>(&index).await, Some(Owner::Account(AccountName::new("first"))));
    // The server ignored the condition, so the deletion hit the value of an upload that had replaced the first one.
    note(&index, StorageType::Ac, 2, "second", Outcome::Replaced { stored_bytes: 7, old_bytes: 5 });
    assert_eq!(counted(&index, "first").await.net_bytes(), -5);
    assert_eq!(counted(&index, "second").await.net_bytes(), 5, "the upload counted 7 - 5");
    delete::<Ac>(&index).await;
    assert_eq!(counted(&index, "second").await.net_bytes(), -2);
}

#[tokio::test]
async fn a_value_that_was_replaced_before_its_deletion_is_subtracted_once() {
    let (index, store) = open::<Ac>().await;
    store.bucket.put(&upload(1, "first"), &digest(), Blob::from_bytes(vec![1; 100])).await.unwrap();
    note(&index, StorageType::Ac, 1, "first", Outcome::Created { stored_bytes: 100 });
    *store.before_deletion.lock().unwrap() = Some(Blob::from_bytes(vec![2; 40]));
    assert_eq!(delete::<Ac>(&index).await, Some(Owner::Account(AccountName::new("quick"))));
    note(&index, StorageType::Ac, 9, "quick", Outcome::Replaced { stored_bytes: 40, old_bytes: 100 });
    assert_eq!(counted(&index, "first").await.net_bytes(), -100);
    assert_eq!(counted(&index, "quick").await.net_bytes(), 60, "the upload counted 40 - 100");
    assert_eq!(delete::<Ac>(&index).await, None);
}

#[tokio::test]
async fn an_upload_that_sent_nothing_leaves_no_entry() {
    let (index, _) = open::<Ac>().await;
    let options = AccountsOptions::new(Reporter::new("host"));
    let accounts = Accounts::builder(options).with_owner_index(index.clone()).open().unwrap();
    let foreign = || index.snapshot().foreign.iter().map(|(_, held)| held.stored_bytes).sum::<u64>();
    let outcome = Outcome::Unclassified { stored_bytes: Some(5) };
    let ctx = Context::background();
    accounts.begin_joined(&ctx, &digest(), StorageType::Ac, 5).finish(outcome);
    index.flush().await.unwrap();
    assert_eq!(foreign(), 0, "the upload that it joined is noted");
    let mut ticket = accounts.begin(&ctx, &digest(), StorageType::Ac, 5).unwrap();
    drop(ticket.send(&ctx));
    ticket.finish(outcome);
    index.flush().await.unwrap();
    assert_eq!(foreign(), 5);
}

#[tokio::test]
async fn an_upload_that_nobody_can_classify_is_foreign() {
    let (index, store) = open::<Ac>().await;
    store.bucket.put(&upload(1, "acme"), &digest(), Blob::from_bytes("hello")).await.unwrap();
    note(&index, StorageType::Ac, 1, "acme", Outcome::Unclassified { stored_bytes: Some(5) });
    index.flush().await.unwrap();
    assert_eq!(index.snapshot().foreign.iter().map(|(_, held)| held.stored_bytes).sum::<u64>(), 5);
    assert_eq!(delete::<Ac>(&index).await, Some(Owner::Unknown));
    assert!(counted(&index, "acme").await.is_zero());
}

#[tokio::test]
async fn an_index_goes_on_where_it_was_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("owners");
    let mut source = None;
    for number in 1..4_u8 {
        let index = OwnerIndex::builder(OwnerIndexOptions::default()).open(&path).unwrap();
        let report = index.report(Reporter::new("owners")).await.unwrap();
        assert_eq!(*source.get_or_insert(report.epoch), report.epoch, "the life is that of the file");
        // Each upload is of the same blob, so the one before is gone.
        note(&index, StorageType::Cas, number, "acme", Outcome::Created { stored_bytes: number.into() });
        let stored: u64 = (1..number).map(u64::from).sum();
        let objects = u64::from(number - 1);
        assert_eq!(counted(&index, "acme").await.get(Class::DeletedByCollection), Amounts::deleted(objects, stored));
    }
    assert!(OwnerIndex::builder(OwnerIndexOptions::default()).open(directory.path()).is_err());
}

#[tokio::test]
async fn notes_wait_while_the_file_cannot_be_written_and_nothing_is_counted_twice() {
    let directory = tempfile::tempdir().unwrap();
    let index = OwnerIndex::builder(OwnerIndexOptions::default()).open(directory.path().join("owners")).unwrap();
    note(&index, StorageType::Cas, 1, "acme", Outcome::Created { stored_bytes: 5 });
    index.shared.fail_next_change();
    assert!(index.flush().await.is_err());
    assert_eq!((index.snapshot().waiting, index.snapshot().owned.len()), (1, 0));
    note(&index, StorageType::Cas, 2, "acme", Outcome::Created { stored_bytes: 6 });
    index.flush().await.unwrap();
    assert_eq!(
        counted(&index, "acme").await.deleted(),
        Amounts::deleted(1, 5),
        "in the order in which they were noted"
    );
    assert_eq!((index.snapshot().waiting, index.snapshot().lost), (0, 0));
}
