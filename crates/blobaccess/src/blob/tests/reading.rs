//! Reading all of a blob: verification, sizes, errors.

use futures::io::AsyncReadExt;
use futures::{FutureExt, TryStreamExt};

use super::*;

#[tokio::test]
async fn every_form_is_read_whole_in_every_way() {
    for (at, blob) in every_form(HELLO).into_iter().enumerate() {
        assert_eq!(blob.size_bytes(), 12, "form {at}");
        assert_eq!(blob.into_bytes(12).await.unwrap(), HELLO, "form {at}");
    }
    for blob in every_form(HELLO) {
        assert_eq!(read(blob, ..).await.0, HELLO);
    }
    for blob in every_form(HELLO) {
        let mut all = Vec::new();
        blob.into_async_read().read_to_end(&mut all).await.unwrap();
        assert_eq!(all, HELLO);
    }
    for blob in every_form(HELLO) {
        blob.verify().await.unwrap();
    }
}

#[tokio::test]
async fn the_empty_blob_is_read_in_every_form() {
    for blob in every_form(b"") {
        assert_eq!(blob.into_bytes(0).await.unwrap(), "");
    }
    for blob in every_form(b"").into_iter().chain([Blob::empty()]) {
        let (all, ended) = read(blob, 0..).await;
        assert_eq!((all.len(), kind_of(ended)), (0, None));
    }
    for blob in every_form(b"") {
        blob.verify().await.unwrap();
    }
}

#[tokio::test]
async fn an_empty_blob_of_the_wrong_hash_is_found_out() {
    let digest = Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &[7; 32], 0).unwrap();
    let blob = Blob::from_untrusted_bytes(&digest, Bytes::new(), Provenance::client());
    assert_eq!(kind_of(blob.into_bytes(9).await), Some(ErrorKind::InvalidArgument));
    let blob = Blob::from_untrusted_stream(&digest, stream::empty(), Provenance::store());
    assert_eq!(kind_of(read(blob, ..).await.1), Some(ErrorKind::DataLoss));
}

#[tokio::test]
async fn a_random_access_source_of_nothing_is_not_read() {
    let archive = Archive::of(b"");
    let reads = Arc::clone(&archive.reads);
    Blob::from_random_access(&digest_of(b""), Arc::new(archive)).into_bytes(1).await.unwrap();
    assert!(reads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_last_bytes_of_wrong_contents_are_never_handed_out() {
    for claimed in [b"hello, worlD".as_slice(), b"hello, wor", b"hello, world!"] {
        for size in [1, 4, 5, 12] {
            let (blob, verdict) = judged(claimed, pieces(HELLO, size));
            let (all, ended) = read(blob, ..).await;
            assert_eq!(kind_of(ended), Some(ErrorKind::DataLoss));
            assert!(all.len() < claimed.len(), "{} bytes in pieces of {size}", all.len());
            assert_eq!(verdict.all(), [false]);
        }
        let blob = Blob::from_untrusted_bytes(&digest_of(claimed), HELLO.into(), Provenance::client());
        let (all, ended) = read(blob, ..).await;
        assert_eq!((all.len() < claimed.len(), kind_of(ended)), (true, Some(ErrorKind::InvalidArgument)));
        let blob = Blob::from_untrusted_bytes(&digest_of(claimed), HELLO.into(), Provenance::client());
        assert_eq!(kind_of(blob.into_bytes(99).await), Some(ErrorKind::InvalidArgument));
        let blob = Blob::from_untrusted_bytes(&digest_of(claimed), HELLO.into(), Provenance::client());
        assert_eq!(kind_of(blob.verify().await), Some(ErrorKind::InvalidArgument));
    }
}

#[tokio::test]
async fn errors_name_the_digest_and_the_numbers() {
    let message = |result: Result<Bytes>| result.unwrap_err().to_string();
    let digest = digest_of(b"hello");
    let long = untrusted(b"hello", pieces(HELLO, 4)).into_bytes(99).await;
    assert_eq!(message(long), format!("blob {digest} is at least 8 bytes, while 5 bytes were expected"));
    let short = untrusted(b"hello", pieces(b"hell", 4)).into_bytes(99).await;
    assert_eq!(message(short), format!("blob {digest} is 4 bytes, while 5 bytes were expected"));
    let other = untrusted(b"hello", pieces(b"hellO", 4)).into_bytes(99).await;
    let hash = *digest_of(b"hellO").hash();
    assert_eq!(message(other), format!("blob {digest} has hash {hash}"));
    let large = untrusted(b"hello", Vec::new()).into_bytes(4).await;
    assert_eq!(message(large), "blob is 5 bytes, while at most 4 are permitted");
}

#[tokio::test]
async fn every_read_after_an_error_returns_it() {
    let mut stream = untrusted(HELLO, failing(b"hell", 4, down())).into_stream(..).unwrap();
    assert_eq!(stream.try_next().await.unwrap().unwrap(), "hell");
    for _ in 0..3 {
        assert_eq!(stream.try_next().await.unwrap_err().to_string(), "store is down");
    }
    let mut stream = untrusted(HELLO, pieces(b"hello, worlD", 4)).into_stream(..).unwrap();
    while stream.next().await.unwrap().is_ok() {}
    assert_eq!(kind_of(stream.try_next().await), Some(ErrorKind::DataLoss));
}

#[tokio::test]
async fn the_end_is_returned_as_often_as_it_is_asked_for() {
    for blob in every_form(HELLO) {
        let mut stream = blob.into_stream(..).unwrap();
        while stream.next().await.is_some() {}
        assert!(stream.next().await.is_none() && stream.next().await.is_none());
        assert_eq!(stream.remaining_bytes(), 0);
    }
}

#[tokio::test]
async fn an_error_of_the_source_is_returned_as_it_is_and_without_a_verdict() {
    let (blob, verdict) = judged(HELLO, failing(HELLO, 12, down()));
    assert_eq!(blob.into_bytes(99).await.unwrap_err().to_string(), "store is down");
    assert!(verdict.all().is_empty());
    let mut reader = untrusted(HELLO, failing(b"hell", 4, down())).into_async_read();
    let error = reader.read_to_end(&mut Vec::new()).await.unwrap_err();
    let ours = error.get_ref().and_then(|error| error.downcast_ref::<Error>()).unwrap();
    assert_eq!(ours.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn the_verdict_is_told_once_and_only_of_what_was_read_to_its_end() {
    let (blob, verdict) = judged(HELLO, pieces(HELLO, 4));
    assert!(verdict.all().is_empty());
    blob.into_bytes(12).await.unwrap();
    assert_eq!(verdict.all(), [true]);
    let (blob, verdict) = judged(HELLO, pieces(HELLO, 4));
    drop(blob);
    assert!(verdict.all().is_empty());
    let (blob, verdict) = judged(HELLO, pieces(HELLO, 4));
    let mut stream = blob.into_stream(..).unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    assert!(verdict.all().is_empty());
}

#[tokio::test]
async fn a_blob_larger_than_permitted_is_not_read() {
    let touched = stream::poll_fn(|_| -> std::task::Poll<Option<Result<Bytes>>> { panic!("it was polled") });
    let blob = Blob::from_untrusted_stream(&digest_of(HELLO), touched, Provenance::store());
    assert_eq!(kind_of(blob.into_bytes(11).await), Some(ErrorKind::InvalidArgument));
}

#[tokio::test]
async fn empty_pieces_are_passed_over() {
    let mut with_holes = Vec::new();
    for piece in pieces(HELLO, 3) {
        with_holes.extend([Ok(Bytes::new()), piece, Ok(Bytes::new())]);
    }
    assert_eq!(read(untrusted(HELLO, with_holes.clone()), ..).await.0, HELLO);
    assert_eq!(read(verified(HELLO, with_holes.clone()), 4..7).await.0, b"o, ");
    assert_eq!(untrusted(HELLO, with_holes).into_bytes(12).await.unwrap(), HELLO);
}

#[tokio::test]
async fn a_piece_too_many_ends_reading_before_the_source_ends() {
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(b"0123456789")));
    let blob = Blob::from_untrusted_stream(&digest_of(HELLO), endless, Provenance::client());
    let error = blob.into_bytes(99).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("at least 20 bytes"), "{error}");
}

#[tokio::test]
async fn a_source_that_verifies_itself_is_held_to_its_size() {
    for range in [0..12, 0..4, 12..12] {
        for wrong in [b"hello".as_slice(), b"hello, world!"] {
            let (all, ended) = read(verified(HELLO, pieces(wrong, 3)), range.clone()).await;
            assert_eq!(kind_of(ended), Some(ErrorKind::DataLoss), "{range:?} of {} bytes", wrong.len());
            assert!(range.is_empty() || all.len() < usize::try_from(range.end).unwrap());
        }
    }
}

#[tokio::test]
async fn the_last_bytes_wait_for_the_end_of_the_source() {
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let blob = Blob::from_untrusted_stream(&digest_of(HELLO), receiver, Provenance::client());
    let mut stream = blob.into_stream(..).unwrap();
    sender.unbounded_send(Ok(Bytes::from_static(HELLO))).unwrap();
    assert!(stream.next().now_or_never().is_none());
    drop(sender);
    assert_eq!(stream.next().await.unwrap().unwrap(), HELLO);
}

#[tokio::test]
async fn what_is_known_to_be_the_contents_is_not_verified_again() {
    // The bytes are wrong on purpose: a verification would fail.
    let digest = digest_of(HELLO);
    let blob = Blob::from_verified_bytes(&digest, "hello, worlD".into());
    let elsewhere = digest.with_instance_name(InstanceName::new("elsewhere").unwrap());
    assert_eq!(blob.with_expected_digest(&elsewhere).into_bytes(12).await.unwrap(), "hello, worlD");
    let blob = verified(HELLO, pieces(b"hello, worlD", 5)).with_expected_digest(&digest);
    assert_eq!(blob.into_bytes(12).await.unwrap(), "hello, worlD");
}

#[tokio::test]
async fn what_is_expected_to_be_something_else_is_verified() {
    for wrong in [b"hello, worlD".as_slice(), b"hello, wor", b"hello, world and more"] {
        for blob in every_form(HELLO) {
            let shown = format!("{blob:?}");
            let (all, ended) = read(blob.with_expected_digest(&digest_of(wrong)), ..).await;
            assert_eq!(kind_of(ended), Some(ErrorKind::InvalidArgument), "{shown} as {} bytes", wrong.len());
            assert!(all.len() < wrong.len());
        }
    }
    let sha1 = Digest::of(InstanceName::empty(), DigestFunction::Sha1, HELLO);
    for blob in every_form(HELLO) {
        assert_eq!(blob.with_expected_digest(&sha1).into_bytes(12).await.unwrap(), HELLO);
    }
}

#[tokio::test]
async fn what_is_attached_sees_what_came_of_the_verification_it_was_later_held_to() {
    for blob in every_form(HELLO) {
        let (blob, told) = watched(blob);
        assert!(blob.with_expected_digest(&digest_of(b"hello, worlD")).into_bytes(12).await.is_err());
        assert_eq!(told.all(), [Finish::Failed(ErrorKind::InvalidArgument)]);
    }
}

#[tokio::test]
async fn bytes_without_a_digest_are_known_to_be_right_only_once_they_are_held_to_one() {
    let blob = Blob::from_bytes("hello, worlD");
    assert_eq!(blob.into_bytes(12).await.unwrap(), "hello, worlD");
    let blob = Blob::from_bytes("hello, worlD").with_expected_digest(&digest_of(HELLO));
    assert_eq!(kind_of(blob.into_bytes(12).await), Some(ErrorKind::InvalidArgument));
}

#[tokio::test]
async fn a_size_is_not_believed_before_its_bytes_arrive() {
    let huge = Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &[7; 32], 1 << 62).unwrap();
    let blob = Blob::from_untrusted_stream(&huge, stream::iter(pieces(HELLO, 5)), Provenance::client());
    assert_eq!(kind_of(blob.into_bytes(u64::MAX).await), Some(ErrorKind::InvalidArgument));
}

#[tokio::test]
async fn large_contents_are_read_whole() {
    let large: Vec<u8> = (0..5_000_000_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[2]).collect();
    let blob = untrusted(&large, pieces(&large, 300_000));
    assert!(blob.into_bytes(u64::MAX).await.unwrap() == large);
    let blob = Blob::from_random_access(&digest_of(&large), Arc::new(Archive::of(&large)));
    assert!(blob.into_bytes(u64::MAX).await.unwrap() == large);
}

#[tokio::test]
async fn what_is_at_hand_can_be_taken_at_once() {
    let mut stream = Blob::from_bytes(HELLO).into_stream(7..).unwrap();
    assert_eq!(stream.at_hand().unwrap(), "world");
    assert_eq!((stream.remaining_bytes(), stream.next().await.unwrap().unwrap()), (5, "world".into()));
    assert!(stream.at_hand().is_none());
    let stream = untrusted(HELLO, pieces(HELLO, 5)).into_stream(..).unwrap();
    assert!(stream.at_hand().is_none());
}

#[tokio::test]
async fn a_failed_blob_fails_in_every_way() {
    let failed = || Blob::new(&digest_of(HELLO), super::super::Body::Failed(down()), Provenance::store());
    assert_eq!(kind_of(failed().into_bytes(12).await), Some(ErrorKind::Unavailable));
    assert_eq!(kind_of(read(failed(), 3..).await.1), Some(ErrorKind::Unavailable));
    assert_eq!(kind_of(failed().verify().await), Some(ErrorKind::Unavailable));
    let (first, second) = failed().tee(0);
    assert_eq!(kind_of(first.into_bytes(12).await), Some(ErrorKind::Unavailable));
    assert_eq!(kind_of(second.into_bytes(12).await), Some(ErrorKind::Unavailable));
    let (handler, log) = Replacing::by([Blob::from_verified_bytes(&digest_of(HELLO), HELLO.into())]);
    assert_eq!(read(failed().with_error_handler(handler), 7..).await.0, b"world");
    assert_eq!(log.lock().unwrap().asked, [ErrorKind::Unavailable]);
}

#[test]
fn debug_tells_the_form_and_what_is_attached() {
    let blob = untrusted(HELLO, Vec::new()).with_guard(()).with_task(async { Ok(()) });
    let shown = format!("{blob:?}");
    assert!(shown.contains("untrusted stream") && shown.contains("[Guard, Task]"), "{shown}");
}
