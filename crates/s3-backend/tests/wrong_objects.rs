//! An object that is wrong is missing, and the next put replaces it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use std::path::PathBuf;

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, ErrorKind, InstanceName, PutOutcome, Result};
use blobaccess_s3_backend::sim::SimS3;
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore, Layout};

fn digest_of(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

async fn open(sim: &SimS3, options: BucketOptions) -> BucketStore<Cas> {
    BucketStore::open(sim.bucket().unwrap(), options).await.unwrap()
}

async fn put(store: &BucketStore<Cas>, contents: &[u8]) -> Result<PutOutcome> {
    store.put(&Context::background(), &digest_of(contents), Blob::from_bytes(contents.to_vec())).await
}

async fn read(store: &BucketStore<Cas>, contents: &[u8]) -> Result<()> {
    let blob = store.get(&Context::background(), &digest_of(contents)).await?;
    assert!(blob.into_bytes(64 << 20).await? == contents);
    Ok(())
}

async fn is_missing(store: &BucketStore<Cas>, contents: &[u8]) -> bool {
    let asked = digest_of(contents).into();
    !store.find_missing(&Context::background(), &asked).await.unwrap().is_empty()
}

fn key(sim: &SimS3) -> String {
    sim.objects().into_keys().next().unwrap()
}

/// Sizes below the first question, above it, and of a blob in parts.
const SIZES: [usize; 3] = [3_000, 50_000, 7 << 20];

fn options() -> BucketOptions {
    BucketOptions::default().with_single_put_max_bytes(6 << 20).with_part_size_bytes(5 << 20)
}

#[tokio::test(start_paused = true)]
async fn what_a_read_proved_wrong_is_missing_until_a_put_replaces_it() {
    for size in SIZES {
        for listed in [64, 1] {
            let (sim, contents) = (SimS3::new(1), vec![7; size]);
            let store = open(&sim, options().with_list_from_digests(listed)).await;
            put(&store, &contents).await.unwrap();
            sim.insert(&key(&sim), vec![0; size]);
            assert_eq!(read(&store, &contents).await.unwrap_err().kind(), ErrorKind::DataLoss, "{size}");
            assert!(is_missing(&store, &contents).await, "{size}");
            let (stored_bytes, old_bytes) = (digest_of(&contents).size_bytes(), digest_of(&contents).size_bytes());
            let outcome = put(&store, &contents).await.unwrap();
            assert_eq!(outcome, PutOutcome::Replaced { stored_bytes, old_bytes }, "{size}");
            read(&store, &contents).await.unwrap();
            assert!(!is_missing(&store, &contents).await, "{size}");
            let snapshot = store.snapshot();
            let counts = (snapshot.objects_wrong, snapshot.objects_found_wrong, snapshot.objects_repaired);
            assert_eq!(counts, (0, 1, 1));
            assert_eq!(put(&store, &contents).await.unwrap(), PutOutcome::AlreadyExists { stored_bytes });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_of_the_wrong_size_is_missing_at_once() {
    for size in SIZES {
        for listed in [64, 1] {
            let (sim, contents) = (SimS3::new(1), vec![7; size]);
            let store = open(&sim, options().with_list_from_digests(listed)).await;
            put(&store, &contents).await.unwrap();
            sim.insert(&key(&sim), "");
            assert!(is_missing(&store, &contents).await, "{size}");
            assert_eq!(read(&store, &contents).await.unwrap_err().kind(), ErrorKind::NotFound, "{size}");
            let outcome = put(&store, &contents).await.unwrap();
            assert!(["replaced", "unclassified"].contains(&outcome.name()), "{size}: {outcome:?}");
            read(&store, &contents).await.unwrap();
            assert!(!is_missing(&store, &contents).await, "{size}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_wrong_is_replaced_on_a_server_that_marks_nothing() {
    for size in SIZES {
        for wrong in [1, size] {
            let (sim, contents) = (SimS3::new(1).marking_nothing(), vec![7; size]);
            let store = open(&sim, options()).await;
            put(&store, &contents).await.unwrap();
            sim.insert(&key(&sim), vec![0; wrong]);
            assert!(read(&store, &contents).await.is_err());
            assert!(is_missing(&store, &contents).await, "{size} {wrong}");
            let outcome = put(&store, &contents).await.unwrap();
            assert!(["replaced", "unclassified"].contains(&outcome.name()), "{size} {wrong}: {outcome:?}");
            read(&store, &contents).await.unwrap();
            assert!(!is_missing(&store, &contents).await, "{size} {wrong}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_another_has_replaced_since_is_there_again() {
    let (sim, contents) = (SimS3::new(1), vec![7; 3_000]);
    let store = open(&sim, options()).await;
    put(&store, &contents).await.unwrap();
    sim.insert(&key(&sim), vec![0; 3_000]);
    assert!(read(&store, &contents).await.is_err());
    assert!(is_missing(&store, &contents).await);
    sim.insert(&key(&sim), contents.clone());
    assert!(!is_missing(&store, &contents).await);
    read(&store, &contents).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_compressed_object_that_is_wrong_is_replaced() {
    for wrong in [&b"too small"[..], &[9; 200]] {
        let (sim, contents) = (SimS3::new(1), vec![7; 3_000]);
        let store = open(&sim, options().with_layout(Layout::own_compressed())).await;
        put(&store, &contents).await.unwrap();
        sim.insert(&key(&sim), wrong.to_vec());
        assert!(read(&store, &contents).await.is_err());
        assert!(is_missing(&store, &contents).await);
        assert_eq!(put(&store, &contents).await.unwrap().name(), "replaced");
        read(&store, &contents).await.unwrap();
    }
}

/// Returns the file of the only object.
fn file_in(folder: &std::path::Path) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.file_name().unwrap().to_str().unwrap() {
                ".in-use" => {}
                _ if path.is_dir() => folders.push(path),
                _ => return path,
            }
        }
    }
    unreachable!("there is an object")
}

#[tokio::test]
async fn a_file_that_is_wrong_is_replaced() {
    for size in [3_000, 7 << 20] {
        let (folder, contents) = (tempfile::tempdir().unwrap(), vec![7; size]);
        let bucket = Bucket::directory(folder.path(), false).unwrap();
        let store = BucketStore::<Cas>::open(bucket, options()).await.unwrap();
        put(&store, &contents).await.unwrap();
        std::fs::write(file_in(folder.path()), "cut").unwrap();
        assert!(is_missing(&store, &contents).await);
        assert_eq!(put(&store, &contents).await.unwrap().name(), "replaced");
        read(&store, &contents).await.unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_is_gone_is_no_miss_and_is_not_made_anew() {
    let (folder, contents) = (tempfile::tempdir().unwrap(), vec![7; 3_000]);
    let (root, aside) = (folder.path().join("bucket"), folder.path().join("aside"));
    let bucket = Bucket::directory(&root, false).unwrap();
    let store = BucketStore::<Cas>::open(bucket, options()).await.unwrap();
    put(&store, &contents).await.unwrap();
    std::fs::rename(&root, &aside).unwrap();
    // Moved away, and then with another directory in its place, as when a file system is unmounted.
    for place in [false, true] {
        if place {
            std::fs::create_dir(&root).unwrap();
        }
        let ctx = Context::background();
        assert_eq!(read(&store, &contents).await.unwrap_err().kind(), ErrorKind::Unavailable);
        let found = store.find_missing(&ctx, &digest_of(&contents).into()).await;
        assert_eq!(found.unwrap_err().kind(), ErrorKind::Unavailable);
        for size in [3_001, 7 << 20] {
            assert_eq!(put(&store, &vec![8; size]).await.unwrap_err().kind(), ErrorKind::Unavailable);
        }
        assert!(blobaccess::Inventory::inventory(&store, &ctx, None).await.is_err());
        assert_eq!(root.exists(), place);
        assert!(
            !place || std::fs::read_dir(&root).unwrap().next().is_none(),
            "nothing is put into what took its place"
        );
    }
    std::fs::remove_dir(&root).unwrap();
    std::fs::rename(&aside, &root).unwrap();
    read(&store, &contents).await.unwrap();
}
