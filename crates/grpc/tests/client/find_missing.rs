//! Exact results of `find_missing`, in as many calls as the size of messages requires.

use blobaccess::{BlobAccess as _, Context, Digest, DigestFunction, DigestSet, ErrorKind, InstanceName};
use blobaccess_proto::remote_execution as re;
use tonic::{Response, Status};

use crate::fake::{Fake, Log, digest, options, proto};

fn numbered(count: u32) -> DigestSet {
    (0..count).map(|number| digest(&number.to_le_bytes())).collect()
}

/// Misses what has an odd size or a hash that begins with an odd digit.
fn missing(digest: &re::Digest) -> bool {
    digest.hash.as_bytes()[0] % 2 == 1
}

fn answers(fake: &Fake) -> Log<(String, i32, usize)> {
    let log = Log::new();
    let asked = log.clone();
    fake.on_find_missing(move |request| {
        let request = request.into_inner();
        asked.add((request.instance_name, request.digest_function, request.blob_digests.len()));
        let missing_blob_digests = request.blob_digests.into_iter().filter(missing).collect();
        async move { Ok(Response::new(re::FindMissingBlobsResponse { missing_blob_digests })) }
    });
    log
}

#[tokio::test(start_paused = true)]
async fn many_digests_are_split_by_size_and_answered_exactly() {
    let fake = Fake::new();
    let asked = answers(&fake);
    let (remote, _) = fake.connect(options().with_max_message_size_bytes(128 << 10));
    let all = numbered(3000);
    let found = remote.cas().find_missing(&Context::background(), &all).await.unwrap();
    assert_eq!(found, all.filter(|digest| missing(&proto(digest))));
    let sizes: Vec<_> = asked.take().into_iter().map(|(_, _, size)| size).collect();
    // 64 KiB beside what surrounds them, at 84 bytes each.
    assert!(sizes.len() == 4 && sizes.iter().all(|size| *size <= 780), "{sizes:?}");

    let asked = answers(&fake);
    fake.remote().cas().find_missing(&Context::background(), &numbered(10_001)).await.unwrap();
    assert_eq!(asked.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn every_instance_name_and_function_is_asked_by_itself() {
    let fake = Fake::new();
    let asked = answers(&fake);
    let main = digest(b"x");
    let other = main.with_instance_name(InstanceName::new("other").unwrap());
    let blake = Digest::of(main.instance_name().clone(), DigestFunction::Blake3, b"x");
    let all = DigestSet::from([main, other, blake]);
    let found = fake.remote().cas().find_missing(&Context::background(), &all).await.unwrap();
    assert_eq!(found, all.filter(|digest| missing(&proto(digest))));
    let mut asked = asked.take();
    asked.sort();
    assert_eq!(asked, [("main".to_owned(), 1, 1), ("main".to_owned(), 9, 1), ("other".to_owned(), 1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn no_digests_need_no_call() {
    let remote = Fake::new().remote();
    assert!(remote.cas().find_missing(&Context::background(), &DigestSet::new()).await.unwrap().is_empty());
    assert!(remote.ac().find_missing(&Context::background(), &DigestSet::new()).await.unwrap().is_empty());
    assert_eq!(remote.snapshot().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_asked_for_cannot_be_missing() {
    for hash in [proto(&digest(b"other")).hash, "no hash".to_owned()] {
        let fake = Fake::new();
        fake.on_find_missing(move |_| {
            let missing_blob_digests = vec![re::Digest { hash: hash.clone(), size_bytes: 5 }];
            async move { Ok(Response::new(re::FindMissingBlobsResponse { missing_blob_digests })) }
        });
        let error = fake.remote().cas().find_missing(&Context::background(), &numbered(3)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_one_call_fails_all_and_passing_ones_are_asked_again() {
    let fake = Fake::new();
    let calls = Log::new();
    fake.on_find_missing(move |_| {
        let call = calls.add(());
        async move {
            match call {
                1 => Err(Status::unavailable("busy")),
                2 => Ok(Response::new(re::FindMissingBlobsResponse::default())),
                _ => Err(Status::not_found("no such instance")),
            }
        }
    });
    let cas = fake.remote().cas();
    let ctx = Context::background();
    assert!(cas.find_missing(&ctx, &numbered(3)).await.unwrap().is_empty());
    assert_eq!(cas.find_missing(&ctx, &numbered(3)).await.unwrap_err().kind(), ErrorKind::Internal);
}
