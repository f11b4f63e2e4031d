//! Callbacks for how reading ended.

use futures::FutureExt;

use super::*;

#[tokio::test]
async fn reading_to_the_end_is_complete() {
    for at in 0..7 {
        for range in [0..12, 2..9, 12..12] {
            let (blob, told) = watched(every_form(HELLO).swap_remove(at));
            read(blob, range).await.1.unwrap();
            assert_eq!(told.all(), [Finish::Complete]);
        }
        let (blob, told) = watched(every_form(HELLO).swap_remove(at));
        blob.into_bytes(12).await.unwrap();
        assert_eq!(told.all(), [Finish::Complete]);
        let (blob, told) = watched(every_form(b"").swap_remove(at));
        blob.into_bytes(12).await.unwrap();
        assert_eq!(told.all(), [Finish::Complete]);
        let (blob, told) = watched(every_form(HELLO).swap_remove(at));
        blob.verify().await.unwrap();
        assert_eq!(told.all(), [Finish::Complete]);
    }
}

#[tokio::test]
async fn a_reader_that_stops_right_after_the_last_byte_has_read_all() {
    for blob in every_form(HELLO) {
        let (blob, told) = watched(blob);
        let mut stream = blob.into_stream(2..9).unwrap();
        while stream.remaining_bytes() > 0 {
            stream.next().await.unwrap().unwrap();
        }
        drop(stream);
        assert_eq!(told.all(), [Finish::Complete]);
    }
}

#[tokio::test]
async fn a_failure_is_told_with_its_kind() {
    let (blob, told) = watched(untrusted(HELLO, failing(b"hello", 2, down())));
    assert!(blob.into_bytes(12).await.is_err());
    assert_eq!(told.all(), [Finish::Failed(ErrorKind::Unavailable)]);
    for wrong in [b"hello, worlD".as_slice(), b"hello", b"hello, world!"] {
        let (blob, told) = watched(untrusted(HELLO, pieces(wrong, 5)));
        assert!(read(blob, 3..4).await.1.is_err());
        assert_eq!(told.all(), [Finish::Failed(ErrorKind::DataLoss)]);
    }
    for wrong in [b"hello".as_slice(), b"hello, world!"] {
        let (blob, told) = watched(verified(HELLO, pieces(wrong, 5)));
        assert!(blob.into_bytes(12).await.is_err());
        assert_eq!(told.all(), [Finish::Failed(ErrorKind::DataLoss)]);
    }
    let (blob, told) = watched(Blob::from_bytes(HELLO).with_task(async { Err(down()) }));
    assert!(blob.into_bytes(12).await.is_err());
    assert_eq!(told.all(), [Finish::Failed(ErrorKind::Unavailable)]);
}

#[tokio::test]
async fn what_is_not_read_to_its_end_was_dropped() {
    for at in 0..7 {
        let form = || watched(every_form(HELLO).swap_remove(at));
        let (blob, told) = form();
        drop(blob);
        assert_eq!(told.all(), [Finish::Dropped]);
        let (blob, told) = form();
        drop(blob.into_bytes(12));
        assert_eq!(told.all(), [Finish::Dropped]);
        let (blob, told) = form();
        assert!(blob.into_bytes(11).await.is_err());
        assert_eq!(told.all(), [Finish::Dropped]);
        let (blob, told) = form();
        assert!(blob.into_stream(13..).is_err());
        assert_eq!(told.all(), [Finish::Dropped]);
    }
    let (blob, told) = watched(untrusted(HELLO, pieces(HELLO, 4)));
    let mut stream = blob.into_stream(..).unwrap();
    stream.next().await.unwrap().unwrap();
    assert!(told.all().is_empty());
    drop(stream);
    assert_eq!(told.all(), [Finish::Dropped]);
    let (blob, told) = watched(Blob::from_untrusted_stream(&digest_of(HELLO), silent(), Provenance::store()));
    let mut whole = Box::pin(blob.into_bytes(12));
    assert!((&mut whole).now_or_never().is_none());
    drop(whole);
    assert_eq!(told.all(), [Finish::Dropped]);
}

#[tokio::test]
async fn each_layer_is_told_what_it_sees() {
    let (blob, beneath) = watched(Blob::from_bytes(HELLO));
    let (blob, above) = watched(blob.with_task(async { Err(down()) }));
    assert!(blob.into_bytes(12).await.is_err());
    assert_eq!((beneath.all(), above.all()), (vec![Finish::Complete], vec![Finish::Failed(ErrorKind::Unavailable)]));
}

#[tokio::test]
async fn a_tee_finishes_once_for_both_halves() {
    let (blob, told) = watched(untrusted(HELLO, pieces(HELLO, 4)));
    let (first, second) = blob.tee(100);
    drop(first);
    assert!(told.all().is_empty());
    second.into_bytes(12).await.unwrap();
    assert_eq!(told.all(), [Finish::Complete]);
    let (blob, told) = watched(Blob::from_bytes(HELLO));
    let (first, second) = blob.tee(100);
    first.into_bytes(12).await.unwrap();
    second.into_bytes(12).await.unwrap();
    assert_eq!(told.all(), [Finish::Complete]);
    let (blob, told) = watched(Blob::from_bytes(HELLO));
    drop(blob.tee(100));
    assert_eq!(told.all(), [Finish::Dropped]);
}
