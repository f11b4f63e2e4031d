//! Azure's protocol at an emulator. Each test is ignored unless it is asked for, and needs azurite:
//!
//! | variable | is |
//! |---|---|
//! | `BLOBACCESS_AZURITE_ENDPOINT` | its address with the account: `http://127.0.0.1:10000/devstoreaccount1` |
//! | `BLOBACCESS_AZURITE_CONTAINER` | a container that exists there (`blobaccess`) |
//!
//! The account is that of the emulator, whose key is public. What they leave lies below a prefix of its own.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use std::env;
use std::sync::Arc;

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, PutOutcome};
use blobaccess_s3_backend::object_store::azure::MicrosoftAzureBuilder;
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore, Connection};
use futures::future::join_all;
use uuid::Uuid;

fn bucket() -> Bucket {
    let endpoint = env::var("BLOBACCESS_AZURITE_ENDPOINT").unwrap();
    let container = env::var("BLOBACCESS_AZURITE_CONTAINER").unwrap_or_else(|_| "blobaccess".to_owned());
    let builder = MicrosoftAzureBuilder::new()
        .with_use_emulator(true)
        .with_endpoint(endpoint)
        .with_container_name(container)
        .with_allow_http(true);
    let bucket = Bucket::azure(builder, &Connection::default().with_allow_http(true)).unwrap();
    bucket.with_prefix(&format!("test-{}", Uuid::new_v4())).unwrap()
}

fn random(size: usize) -> (Digest, Vec<u8>) {
    let contents: Vec<u8> = Uuid::new_v4().into_bytes().into_iter().cycle().take(size).collect();
    (Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents), contents)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs azurite at BLOBACCESS_AZURITE_ENDPOINT"]
async fn of_eight_that_race_one_creates_and_the_others_find_it() {
    let in_parts = BucketOptions::default().with_single_put_max_bytes(0).with_part_size_bytes(5 << 20);
    for (options, size, rounds) in [(BucketOptions::default(), 1000, 20), (in_parts, 6 << 20, 3)] {
        let store = Arc::new(BucketStore::<Cas>::open(bucket(), options).await.unwrap());
        println!("{}", store.snapshot().findings);
        for round in 0..rounds {
            let (digest, contents) = random(size);
            let put =
                async || store.put(&Context::background(), &digest, Blob::from_bytes(contents.clone())).await.unwrap();
            let outcomes = join_all((0..8).map(|_| put())).await;
            let created = outcomes.iter().filter(|outcome| matches!(outcome, PutOutcome::Created { .. })).count();
            assert_eq!(created, 1, "round {round} of {size} bytes: {outcomes:?}");
            let stored_bytes = digest.size_bytes();
            assert_eq!(put().await, PutOutcome::AlreadyExists { stored_bytes });
        }
    }
}
