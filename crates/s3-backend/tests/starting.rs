//! The start of a store: without its bucket, without rights, and at a server that lists in another order.
#![expect(clippy::disallowed_methods, reason = "the time is that of a paused runtime")]

use std::time::Duration;

use blobaccess::{
    Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, ErrorKind, InstanceName, Inventory, PutCertainty,
};
use blobaccess_s3_backend::sim::{ForeignAnswer, SimS3};
use blobaccess_s3_backend::{BucketOptions, BucketStore, DigestSizes, Layout, OnUnreachable};
use futures::{StreamExt, poll};

fn digest_of(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

fn waiting() -> BucketOptions {
    BucketOptions::default().with_on_unreachable(OnUnreachable::Wait)
}

#[tokio::test(start_paused = true)]
async fn a_store_that_waits_for_its_bucket_serves_once_it_answers() {
    let (sim, ctx) = (SimS3::new(1), Context::background());
    sim.set_broken(true);
    assert!(BucketStore::<Cas>::open(sim.bucket().unwrap(), BucketOptions::default()).await.is_err());
    let store = BucketStore::<Cas>::open(sim.bucket().unwrap(), waiting()).await.unwrap();
    assert!(!store.has_answered());
    let put = async || store.put(&ctx, &digest_of(b"hello"), Blob::from_bytes("hello")).await;
    let error = put().await.unwrap_err();
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::Unavailable, PutCertainty::NotStored));
    assert_eq!(store.get(&ctx, &digest_of(b"hello")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.find_missing(&ctx, &digest_of(b"hello").into()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(store.find_missing(&ctx, &DigestSet::new()).await.unwrap().is_empty());
    let mut running = std::pin::pin!(store.run());
    for broken in [true, false] {
        sim.set_broken(broken);
        tokio::select! {
            () = &mut running => unreachable!("it never ends"),
            () = tokio::time::sleep(Duration::from_mins(2)) => {}
        }
        assert_eq!(store.has_answered(), !broken);
    }
    assert!(put().await.is_ok() && store.snapshot().findings.conditional_put);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_refuses_is_told_at_the_start() {
    for (status, code) in [(403, "InvalidAccessKeyId"), (404, "NoSuchBucket")] {
        let sim = SimS3::new(1);
        let document = format!("<Error><Code>{code}</Code></Error>");
        sim.set_foreign_answer(Some(ForeignAnswer::new(status).with_body(document)));
        let error = BucketStore::<Cas>::open(sim.bucket().unwrap(), waiting()).await.unwrap_err();
        assert!(error.to_string().contains(code), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_cannot_say_what_is_missing_is_told_at_the_start() {
    let sim = SimS3::new(1).hiding_absence();
    let error = BucketStore::<Cas>::open(sim.bucket().unwrap(), waiting()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert!(error.message().contains("s3:ListBucket"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lists_in_another_order_is_asked_otherwise() {
    let (sim, ctx) = (SimS3::new(1).listing_backwards(), Context::background());
    let store = BucketStore::<Cas>::open(sim.bucket().unwrap(), BucketOptions::default()).await.unwrap();
    assert!(!store.snapshot().findings.lists_in_order);
    assert!(sim.objects().is_empty(), "{:?}", sim.objects());
    let blobs: Vec<Vec<u8>> = (0..200_u8).map(|number| vec![number; 10]).collect();
    for contents in &blobs {
        store.put(&ctx, &digest_of(contents), Blob::from_bytes(contents.clone())).await.unwrap();
    }
    let asked = blobs.iter().map(|contents| digest_of(contents)).collect();
    assert!(store.find_missing(&ctx, &asked).await.unwrap().is_empty());
    let (mut listed, mut cursor) = (0, None);
    loop {
        let page = store.inventory(&ctx, cursor.as_ref()).await.unwrap();
        listed += page.entries.len();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, 200);
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_needs_no_sizes_reads_no_object() {
    let (sim, ctx) = (SimS3::new(1), Context::background());
    let options = BucketOptions::default().with_layout(Layout::bazel_remote());
    let store = BucketStore::<Cas>::open(sim.bucket().unwrap(), options).await.unwrap();
    for number in 0..50_u8 {
        let contents = vec![number; 100];
        store.put(&ctx, &digest_of(&contents), Blob::from_bytes(contents)).await.unwrap();
    }
    for (sizes, gets) in [(DigestSizes::Omit, 0), (DigestSizes::Read, 50)] {
        let before = store.snapshot().requests;
        let (mut entries, mut bytes) = (0, 0);
        for shard in store.shard_inventories(sizes) {
            let page = shard.inventory(&ctx, None).await.unwrap();
            entries += page.entries.len();
            bytes += page.entries.iter().map(|entry| entry.stored_bytes).sum::<u64>();
        }
        assert_eq!((entries, bytes), (50, sim.objects().values().sum()));
        assert_eq!(store.snapshot().requests.get - before.get, gets);
    }
}

#[tokio::test(start_paused = true)]
async fn aborts_that_are_refused_hold_up_no_put_and_end() {
    let (sim, ctx) = (SimS3::new(1).refusing_aborts(), Context::background());
    let options = BucketOptions::default().with_single_put_max_bytes(0).with_part_size_bytes(0);
    let store = BucketStore::<Cas>::open(sim.bucket().unwrap(), options).await.unwrap();
    let large = |byte: u8| vec![byte; 9 << 20];
    for byte in 0..20 {
        let contents = large(byte);
        let (digest, first) = (digest_of(&contents), contents.iter().copied().take(6 << 20).collect::<Vec<_>>());
        let stream = futures::stream::iter([Ok(first.into())]).chain(futures::stream::pending());
        let blob = Blob::from_untrusted_stream(&digest, stream, blobaccess::Provenance::client());
        let mut put = store.put(&ctx, &digest, blob);
        for _ in 0..20 {
            assert!(poll!(&mut put).is_pending());
            tokio::task::yield_now().await;
        }
    }
    let waiting = store.snapshot().uploads_to_abort;
    assert!(waiting > 10, "{waiting}");
    let contents = large(99);
    let before = store.snapshot().requests.abort_multipart;
    store.put(&ctx, &digest_of(&contents), Blob::from_bytes(contents.clone())).await.unwrap();
    assert!(store.snapshot().requests.abort_multipart - before <= 2);
    let mut running = std::pin::pin!(store.run());
    tokio::select! {
        () = &mut running => unreachable!("it never ends"),
        () = tokio::time::sleep(Duration::from_mins(10)) => {}
    }
    let snapshot = store.snapshot();
    assert_eq!(snapshot.uploads_to_abort, 0);
    assert!(snapshot.uploads_left > 10);
}
