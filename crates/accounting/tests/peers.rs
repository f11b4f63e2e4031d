//! The tokens that peers name decide their answers, and no count.

use std::sync::Arc;

use blobaccess::{
    Blob, BlobAccess, Cas, Context, Digest, DigestFunction, ErrorKind, InstanceName, MemoryStore, PutOutcome,
    StorageType, UploadToken,
};
use blobaccess_accounting::{Accounted, Accounts, AccountsOptions, Class, Reporter, Tally};
use blobaccess_s3_backend::sim::SimS3;
use blobaccess_s3_backend::{BucketOptions, BucketStore};
use blobaccess_testkit::Numbers;
use blobaccess_testkit::fakes::UnreliableStore;

const CREATED: PutOutcome = PutOutcome::Created { stored_bytes: 5 };

fn digest() -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello")
}

fn peer(number: u8) -> Context {
    Context::background().with_upload_token(UploadToken::from_bytes([number; 16]))
}

fn counts(accounts: &Accounts) -> (Tally, [u64; 2]) {
    let tally = accounts.tallies().sum();
    let objects = [Class::Created, Class::AlreadyExists].map(|class| tally.get(class).objects);
    (tally, objects)
}

#[tokio::test]
async fn a_blob_that_is_put_again_under_one_token_is_created_once() {
    let bucket = SimS3::new(1).bucket().unwrap();
    let store = Arc::new(BucketStore::<Cas>::open(bucket, BucketOptions::default()).await.unwrap());
    let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host"))).unwrap();
    let counted = Accounted::new(store, Arc::clone(&accounts));
    for _ in 0..5 {
        // The answer to the peer is that of its first put, which it may not have heard.
        let outcome = counted.put(&peer(1), &digest(), Blob::from_bytes("hello")).await.unwrap();
        assert_eq!(outcome, CREATED);
    }
    let other = counted.put(&peer(2), &digest(), Blob::from_bytes("hello")).await.unwrap();
    assert_eq!(other, PutOutcome::AlreadyExists { stored_bytes: 5 });
    let (tally, objects) = counts(&accounts);
    assert_eq!((tally.net_bytes(), objects), (5, [1, 5]));
}

#[tokio::test]
async fn a_peer_whose_answer_was_lost_hears_it_when_it_asks_again() {
    let memory = Arc::new(MemoryStore::<Cas>::new(1 << 20));
    let accounts = Accounts::builder(AccountsOptions::new(Reporter::new("host")))
        .with_resolver(StorageType::Cas, Arc::<MemoryStore<Cas>>::clone(&memory))
        .open()
        .unwrap();
    let unreliable = UnreliableStore::new(Arc::clone(&memory), Numbers::new(7), 70);
    let counted = Accounted::new(unreliable, Arc::clone(&accounts));
    let mut created = 0;
    for number in 0..50 {
        let contents = [number; 5];
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
        let outcome = loop {
            match counted.put(&peer(number), &digest, Blob::from_bytes(contents.to_vec())).await {
                Ok(outcome) => break outcome,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
            }
        };
        created += u32::from(outcome == CREATED);
    }
    assert_eq!(created, 50, "each peer has created its blob, and hears so");
    accounts.resolve().await;
    let (tally, [created, exists]) = counts(&accounts);
    assert_eq!((tally.net_bytes(), created), (250, 50));
    assert!(exists > 5, "no answer was lost");
}
