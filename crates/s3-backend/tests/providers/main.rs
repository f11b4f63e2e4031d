//! Google Cloud Storage and Azure Blob Storage, as fakes within the process answer for them.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail so")]

mod azure;
mod fake;
mod google;

use std::marker::PhantomData;
use std::time::Duration;

use blobaccess::{
    Ac, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, ErrorKind, InstanceName, Kind, PutCertainty,
    PutOutcome, Result, UploadToken,
};
use blobaccess_s3_backend::{BucketOptions, BucketStore, OnMissingConditions};
use blobaccess_testkit::{Fixture, Promises, conformance, list_all};
use bytes::Bytes;
use futures::future::join_all;

use crate::fake::{Dialect, Fake};

const HELLO: &[u8] = b"hello";
const MIB: usize = 1 << 20;

fn digest_of(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

fn options() -> BucketOptions {
    BucketOptions::default().with_backoff(Duration::from_millis(1), Duration::from_millis(4)).with_attempts(6)
}

/// Returns options that send nearly every blob in parts.
fn in_parts() -> BucketOptions {
    options().with_single_put_max_bytes(0).with_part_size_bytes(5 << 20)
}

async fn open<K: Kind>(fake: &Fake, options: BucketOptions) -> BucketStore<K> {
    BucketStore::open(fake.bucket(), options).await.unwrap()
}

async fn put(store: &BucketStore<Cas>, contents: &Bytes) -> Result<PutOutcome> {
    store.put(&Context::background(), &digest_of(contents), Blob::from_bytes(contents.clone())).await
}

fn created_and_existing(outcomes: &[Result<PutOutcome>]) -> (usize, usize) {
    let count = |name: &str| outcomes.iter().filter(|outcome| outcome.as_ref().unwrap().name() == name).count();
    (count("created"), count("already_exists"))
}

fn hello() -> Bytes {
    Bytes::from_static(HELLO)
}

fn large() -> Bytes {
    (0..12 * MIB + 5).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_probe_finds_what_each_of_them_documents() {
    for fake in Fake::both() {
        let findings = open::<Cas>(&fake, options()).await.snapshot().findings;
        assert!(findings.probed && findings.conditional_put && findings.conditional_update && findings.keeps_tokens);
        // Google has no condition for a completion; that of Azure is a put like any other.
        assert_eq!(findings.conditional_completion, fake.dialect == Dialect::Azure);
        let state = fake.state();
        assert!(state.objects.is_empty(), "{:?}", state.objects);
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_is_created_once_and_then_exists() {
    for fake in Fake::both() {
        let store = open::<Cas>(&fake, options()).await;
        assert_eq!(put(&store, &hello()).await.unwrap(), PutOutcome::Created { stored_bytes: 5 });
        assert_eq!(put(&store, &hello()).await.unwrap(), PutOutcome::AlreadyExists { stored_bytes: 5 });
        let read = store.get(&Context::background(), &digest_of(HELLO)).await.unwrap();
        assert_eq!(read.into_bytes(5).await.unwrap(), HELLO);
    }
}

#[tokio::test(start_paused = true)]
async fn whose_a_blob_is_that_exists_is_told_by_its_token() {
    for fake in Fake::both() {
        let store = open::<Cas>(&fake, options()).await;
        let under = |token: u8| Context::background().with_upload_token(UploadToken::from_bytes([token; 16]));
        let digest = digest_of(HELLO);
        store.put(&under(1), &digest, Blob::from_bytes(HELLO)).await.unwrap();
        let again = store.put(&under(1), &digest, Blob::from_bytes(HELLO)).await.unwrap();
        assert_eq!(again, PutOutcome::Created { stored_bytes: 5 });
        let another = store.put(&under(2), &digest, Blob::from_bytes(HELLO)).await.unwrap();
        assert_eq!(another, PutOutcome::AlreadyExists { stored_bytes: 5 });
        let state = fake.state();
        let object = state.objects.values().next().unwrap();
        let token = object.metadata.iter().find(|(name, _)| name.ends_with("-meta-uploadtoken")).unwrap();
        assert_eq!(token.1, "01".repeat(16));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_a_create_is_resolved() {
    for fake in Fake::both() {
        let store = open::<Cas>(&fake, options()).await;
        fake.state().lost = 1;
        assert_eq!(put(&store, &hello()).await.unwrap(), PutOutcome::Created { stored_bytes: 5 });
        assert_eq!(fake.state().lost, 0);
        assert_eq!(put(&store, &hello()).await.unwrap(), PutOutcome::AlreadyExists { stored_bytes: 5 });
    }
}

#[tokio::test(start_paused = true)]
async fn of_eight_that_race_one_creates() {
    for fake in Fake::both() {
        let store = open::<Cas>(&fake, options()).await;
        let contents = hello();
        let outcomes = join_all((0..8).map(|_| put(&store, &contents))).await;
        assert_eq!(created_and_existing(&outcomes), (1, 7), "{outcomes:?}");
    }
}

/// Loses more races than there are attempts, as a lost race is not a failed attempt.
#[tokio::test(start_paused = true)]
async fn of_many_that_replace_one_entry_at_once_none_gives_up() {
    for fake in Fake::both() {
        let store = &open::<Ac>(&fake, options().with_attempts(2)).await;
        let (ctx, digest) = (&Context::background(), &digest_of(b"action"));
        let puts = (0..64_u8).map(|value| store.put(ctx, digest, Blob::from_bytes(vec![value])));
        let outcomes = join_all(puts).await;
        let count = |name: &str| outcomes.iter().filter(|outcome| outcome.as_ref().unwrap().name() == name).count();
        assert_eq!((count("created"), count("replaced")), (1, 63), "{outcomes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_on_azure_is_told_from_a_blob_that_exists_by_its_code() {
    for (code, kind, retryable) in [
        ("BlobImmutableDueToPolicy", ErrorKind::Aborted, false),
        ("BlobImmutableDueToLegalHold", ErrorKind::Aborted, false),
        ("BlobOperationNotSupported", ErrorKind::Aborted, false),
        ("LeaseAlreadyPresent", ErrorKind::Aborted, false),
        ("BlobOverwritten", ErrorKind::Aborted, true),
        ("ContainerBeingDeleted", ErrorKind::Aborted, true),
    ] {
        let fake = Fake::new(Dialect::Azure);
        let store = open::<Cas>(&fake, options()).await;
        fake.state().refusal = Some((409, code));
        fake.state().requests.clear();
        let error = put(&store, &hello()).await.unwrap_err();
        assert_eq!((error.kind(), error.put_certainty()), (kind, PutCertainty::NotStored), "{code}: {error}");
        assert_eq!(error.is_retryable(), retryable, "{code}: {error}");
        assert!(error.to_string().contains(code), "{error}");
        let puts = fake.state().requests["PUT"];
        assert_eq!(puts, if retryable { 6 } else { 1 }, "{code}");
        // The same of a completion.
        let error = put_in_parts_refused(code).await;
        assert_eq!((error.put_certainty(), error.is_retryable()), (PutCertainty::NotStored, retryable), "{error}");
    }
}

/// Returns the error of a large put whose blocks Azure takes, and whose list it refuses with this code.
async fn put_in_parts_refused(code: &'static str) -> blobaccess::Error {
    let fake = Fake::new(Dialect::Azure);
    let store = open::<Cas>(&fake, in_parts()).await;
    fake.state().refused_list = Some(code);
    put(&store, &large()).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_leased_entry_is_neither_replaced_nor_tried_again() {
    let fake = Fake::new(Dialect::Azure);
    let store = open::<Ac>(&fake, options()).await;
    let (ctx, digest) = (Context::background(), digest_of(b"action"));
    store.put(&ctx, &digest, Blob::from_bytes("first")).await.unwrap();
    fake.state().refusal = Some((412, "LeaseIdMissing"));
    let error = store.put(&ctx, &digest, Blob::from_bytes("second")).await.unwrap_err();
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::FailedPrecondition, PutCertainty::NotStored));
    assert!(error.message().contains("leased"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_gone_is_no_miss() {
    for (fake, code) in Fake::both().into_iter().zip(["NoSuchBucket", "ContainerNotFound"]) {
        let store = open::<Cas>(&fake, options()).await;
        fake.state().gone = Some(code);
        let error = store.get(&Context::background(), &digest_of(HELLO)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_large_blobs_at_once_one_creates() {
    for fake in Fake::both() {
        let store = open::<Cas>(&fake, in_parts()).await;
        let contents = large();
        let outcomes = join_all((0..4).map(|_| put(&store, &contents))).await;
        assert_eq!(created_and_existing(&outcomes), (1, 3), "{outcomes:?}");
        let state = fake.state();
        // Blocks that became no blob are for Azure to give up, after a week: nobody can be told to.
        let left = if fake.dialect == Dialect::Google { state.parts.len() } else { 0 };
        assert_eq!((state.objects.len(), left, state.begun.len()), (1, 0, 0));
        assert_eq!(state.objects.values().next().unwrap().contents, contents);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_completion_is_resolved_by_the_token_that_came_with_it() {
    for fake in Fake::both() {
        let store = open::<Cas>(&fake, in_parts()).await;
        let contents = large();
        fake.state().lost_lists = 1;
        let stored_bytes = digest_of(&contents).size_bytes();
        assert_eq!(put(&store, &contents).await.unwrap(), PutOutcome::Created { stored_bytes });
        assert_eq!(fake.state().lost_lists, 0);
        assert_eq!(put(&store, &contents).await.unwrap(), PutOutcome::AlreadyExists { stored_bytes });
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_comes_while_blocks_are_sent_is_kept() {
    let fake = Fake::new(Dialect::Azure);
    let store = open::<Cas>(&fake, in_parts()).await;
    let contents = large();
    fake.state().raced = Some(contents.clone());
    let stored_bytes = digest_of(&contents).size_bytes();
    assert_eq!(put(&store, &contents).await.unwrap(), PutOutcome::Unclassified { stored_bytes: Some(stored_bytes) });
    assert_eq!(fake.state().versions, 1 + PROBED, "the list was not put over the blob that was there");
}

/// How many objects the probe of Azure writes.
const PROBED: u64 = 7;

#[tokio::test(start_paused = true)]
async fn without_conditions_a_large_blob_on_azure_is_unclassified_rather_than_claimed() {
    let fake = Fake::new(Dialect::Azure);
    fake.state().ignores_conditions = true;
    assert!(BucketStore::<Cas>::open(fake.bucket(), options()).await.is_err());
    let store = open::<Cas>(&fake, in_parts().with_on_missing_conditions(OnMissingConditions::Degrade)).await;
    let contents = large();
    let stored_bytes = Some(digest_of(&contents).size_bytes());
    assert_eq!(put(&store, &contents).await.unwrap(), PutOutcome::Unclassified { stored_bytes });
}

#[tokio::test(start_paused = true)]
async fn listings_are_followed_through_short_and_empty_pages() {
    for fake in Fake::both() {
        let store = open::<Cas>(&fake, options().with_list_from_digests(1).with_digests_per_page(1)).await;
        let ctx = Context::background();
        let mut digests = Vec::new();
        for number in 0..20_u8 {
            let contents = Bytes::from(vec![number; 10]);
            put(&store, &contents).await.unwrap();
            digests.push(digest_of(&contents));
        }
        let absent = digest_of(b"absent");
        {
            let mut state = fake.state();
            state.page_keys = 3;
            state.empty_page_first = fake.dialect == Dialect::Azure;
        }
        let entries = list_all(&store, &ctx).await.unwrap();
        let listed: Vec<Digest> = entries.into_iter().map(|entry| entry.digest).collect();
        assert_eq!(listed.iter().cloned().collect::<DigestSet>(), digests.iter().cloned().collect::<DigestSet>());
        let asked: DigestSet = digests.iter().cloned().chain([absent.clone()]).collect();
        assert_eq!(store.find_missing(&ctx, &asked).await.unwrap(), absent.into());
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_as_what_they_are() {
    for fake in Fake::both() {
        let bucket = fake.bucket();
        let store = BucketStore::<Cas>::open(bucket.clone(), in_parts()).await.unwrap();
        put(&store, &large()).await.unwrap();
        let counts = bucket.requests();
        assert_eq!(counts.other, 0, "{counts:?}");
        assert_eq!(counts.total(), fake.state().requests.values().sum::<u64>());
        assert!(counts.delete >= 2 && counts.put_part >= 3 && counts.complete_multipart >= 1, "{counts:?}");
    }
}

conformance! {
    on_google: Cas + ResolveUpload + Inventory => Faked::<Cas>::new(Dialect::Google, options()),
    on_google_in_parts: Cas + ResolveUpload + Inventory => Faked::<Cas>::new(Dialect::Google, in_small_parts()),
    on_google_of_action_results: Ac + ResolveUpload + Inventory => Faked::<Ac>::new(Dialect::Google, messages()),
    on_azure: Cas + ResolveUpload + Inventory => Faked::<Cas>::new(Dialect::Azure, options()),
    on_azure_in_parts: Cas + ResolveUpload + Inventory => Faked::<Cas>::new(Dialect::Azure, in_small_parts()),
    on_azure_of_action_results: Ac + ResolveUpload + Inventory => Faked::<Ac>::new(Dialect::Azure, messages()),
}

const MAX_MESSAGE_BYTES: u64 = 1 << 20;

fn messages() -> BucketOptions {
    options().with_max_message_size_bytes(MAX_MESSAGE_BYTES)
}

fn in_small_parts() -> BucketOptions {
    in_parts().with_part_size_bytes(0).with_concurrent_parts(1).with_list_from_digests(1).with_ask_first_from_bytes(0)
}

struct Faked<K> {
    fake: Fake,
    options: BucketOptions,
    kind: PhantomData<K>,
}

impl<K> Faked<K> {
    fn new(dialect: Dialect, options: BucketOptions) -> Self {
        Self { fake: Fake::new(dialect), options, kind: PhantomData }
    }
}

impl<K: Kind> Fixture for Faked<K> {
    type Store = BucketStore<K>;

    fn promises(&self) -> Promises {
        let max = K::STORAGE_TYPE.is_mutable().then_some(MAX_MESSAGE_BYTES);
        Promises::IN_MEMORY.with_durable(true).with_max_blob_size_bytes(max)
    }

    async fn open(&self) -> Result<BucketStore<K>> {
        BucketStore::open(self.fake.bucket(), self.options.clone()).await
    }

    fn break_down(&self) -> bool {
        self.fake.state().broken = true;
        true
    }

    fn mend(&self) {
        self.fake.state().broken = false;
    }

    fn layers(&self) -> Vec<String> {
        vec![format!("bucket({}", self.fake.bucket())]
    }
}
