//! Files that two stores want.

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, ErrorKind, InstanceName};
use blobaccess_local_store::{LocalStore, Options, SyncPolicy};
use bytes::Bytes;

#[tokio::test]
async fn two_stores_do_not_share_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::in_file(directory.path().join("blocks"), 16 << 20).persistent(SyncPolicy::OnClose);
    let store = LocalStore::<Cas>::open(options.clone()).await.unwrap();
    let error = LocalStore::<Cas>::open(options.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert!(error.to_string().contains("in use"));
    store.close().await.unwrap();
    LocalStore::<Cas>::open(options).await.unwrap();
}

#[tokio::test]
async fn every_file_of_a_store_is_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let options = |blocks: &str, logs: &str, state: &str| {
        let state = directory.path().join(state);
        std::fs::create_dir_all(&state).unwrap();
        Options::in_file(directory.path().join(blocks), 16 << 20)
            .with_logs_in(directory.path().join(logs), 4 << 20)
            .with_state_directory(state)
            .persistent(SyncPolicy::OnClose)
    };
    let store = LocalStore::<Cas>::open(options("blocks", "logs", "state")).await.unwrap();
    for others in [("blocks", "logs2", "state2"), ("blocks2", "logs", "state2"), ("blocks2", "logs2", "state")] {
        let (blocks, logs, state) = others;
        let error = LocalStore::<Cas>::open(options(blocks, logs, state)).await.unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
    }
    let contents = Bytes::from_static(b"kept in three files");
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
    store.put(&Context::background(), &digest, Blob::from_bytes(contents.clone())).await.unwrap();
    store.close().await.unwrap();
    let store = LocalStore::<Cas>::open(options("blocks", "logs", "state")).await.unwrap();
    let blob = store.get(&Context::background(), &digest).await.unwrap();
    assert_eq!(blob.into_bytes(100).await.unwrap(), contents);
}
