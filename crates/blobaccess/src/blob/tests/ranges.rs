//! Reading a part of a blob.

use std::ops::Bound;

use futures::FutureExt;

use super::*;

#[tokio::test]
async fn every_kind_of_bound_means_what_it_means_of_a_slice() {
    for blob in 0..7 {
        let form = || every_form(HELLO).swap_remove(blob);
        assert_eq!(read(form(), ..).await.0, HELLO);
        assert_eq!(read(form(), 7..).await.0, b"world");
        assert_eq!(read(form(), ..5).await.0, b"hello");
        assert_eq!(read(form(), ..=4).await.0, b"hello");
        assert_eq!(read(form(), 3..8).await.0, b"lo, w");
        assert_eq!(read(form(), 3..=7).await.0, b"lo, w");
        assert_eq!(read(form(), (Bound::Excluded(2), Bound::Excluded(8))).await.0, b"lo, w");
        assert_eq!(read(form(), 4..4).await.0, b"");
    }
}

#[tokio::test]
async fn a_range_ends_where_the_contents_end() {
    for blob in every_form(HELLO) {
        let stream = blob.into_stream(7..=u64::MAX).unwrap();
        assert_eq!(stream.remaining_bytes(), 5);
        assert_eq!(drain(stream).await.0, b"world");
    }
}

#[tokio::test]
async fn a_range_may_begin_at_the_end_and_not_beyond() {
    for blob in every_form(HELLO) {
        let (all, ended) = read(blob, 12..).await;
        assert_eq!((all.len(), kind_of(ended)), (0, None));
    }
    for blob in every_form(HELLO) {
        let error = read(blob, 13..).await.1.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfRange);
        assert_eq!(error.message(), "blob is 12 bytes, while a read at offset 13 was requested");
    }
    for blob in every_form(HELLO) {
        assert_eq!(
            kind_of(read(blob, (Bound::Excluded(u64::MAX), Bound::Unbounded)).await.1),
            Some(ErrorKind::OutOfRange)
        );
    }
}

#[tokio::test]
#[expect(clippy::reversed_empty_ranges, reason = "callers may compute such")]
async fn a_range_that_ends_before_it_begins_is_empty() {
    for blob in every_form(HELLO) {
        let (all, ended) = read(blob, 8..3).await;
        assert_eq!((all.len(), kind_of(ended)), (0, None));
    }
}

#[tokio::test]
async fn a_range_of_contents_that_are_not_trusted_is_as_wrong_as_the_whole() {
    for range in [0..4, 4..8, 8..12, 0..12, 12..12, 5..5] {
        for wrong in [b"hello, worlD".as_slice(), b"hello, wor", b"hello, world!"] {
            let (blob, verdict) = judged(HELLO, pieces(wrong, 3));
            let (all, ended) = read(blob, range.clone()).await;
            assert_eq!(kind_of(ended), Some(ErrorKind::DataLoss));
            assert!(range.is_empty() || all.len() < usize::try_from(range.end - range.start).unwrap());
            assert_eq!(verdict.all(), [false]);
            let blob = Blob::from_untrusted_bytes(&digest_of(HELLO), wrong.into(), Provenance::store());
            assert_eq!(kind_of(read(blob, range.clone()).await.1), Some(ErrorKind::DataLoss));
        }
        let (blob, verdict) = judged(HELLO, pieces(HELLO, 3));
        assert_eq!(kind_of(read(blob, range).await.1), None);
        assert_eq!(verdict.all(), [true]);
    }
}

#[tokio::test]
async fn the_last_bytes_of_a_range_wait_until_the_whole_was_verified() {
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let blob = Blob::from_untrusted_stream(&digest_of(HELLO), receiver, Provenance::store());
    let mut stream = blob.into_stream(2..5).unwrap();
    sender.unbounded_send(Ok(Bytes::from_static(b"hel"))).unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "l");
    sender.unbounded_send(Ok(Bytes::from_static(b"lo, world"))).unwrap();
    assert!(stream.next().now_or_never().is_none());
    drop(sender);
    assert_eq!(stream.next().await.unwrap().unwrap(), "lo");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn random_access_reads_the_range_and_nothing_else() {
    let contents = vec![7; 1 << 20];
    let archive = Arc::new(Archive::of(&contents));
    let blob = Blob::from_random_access(&digest_of(&contents), Arc::clone(&archive) as Arc<dyn RandomAccess>);
    assert_eq!(read(blob, 1000..300_000).await.0.len(), 299_000);
    assert_eq!(*archive.reads.lock().unwrap(), [(1000, 256 << 10), (1000 + (256 << 10), 299_000 - (256 << 10))]);
    let blob = Blob::from_random_access(&digest_of(&contents), Arc::clone(&archive) as Arc<dyn RandomAccess>);
    archive.reads.lock().unwrap().clear();
    assert_eq!(read(blob, 5..5).await.0.len(), 0);
    assert!(archive.reads.lock().unwrap().is_empty());
}

/// A source that returns more than it was asked for, or nothing.
struct Odd(&'static [u8]);

#[async_trait]
impl RandomAccess for Odd {
    async fn read_at(&self, _offset: u64, _length: usize) -> Result<Bytes> {
        Ok(Bytes::from_static(self.0))
    }
}

#[tokio::test]
async fn random_access_hands_out_no_more_than_it_was_asked_for_and_notices_an_early_end() {
    let blob = Blob::from_random_access(&digest_of(HELLO), Arc::new(Odd(b"hello, world and more")));
    assert_eq!(read(blob, ..).await.0, HELLO);
    let blob = Blob::from_random_access(&digest_of(HELLO), Arc::new(Odd(b"")));
    assert_eq!(kind_of(read(blob, ..).await.1), Some(ErrorKind::DataLoss));
}

#[tokio::test]
async fn a_part_is_read_from_the_source_of_ranges_and_the_whole_is_not() {
    let blob = || {
        let archive = Archive::of(HELLO);
        let reads = Arc::clone(&archive.reads);
        let failing = stream::once(async { Err(down()) });
        let blob = Blob::from_untrusted_stream(&digest_of(HELLO), failing, Provenance::store());
        (blob.with_ranges(Arc::new(archive)), reads)
    };
    let (part, reads) = blob();
    assert_eq!(read(part, 7..).await.0, b"world");
    assert_eq!(reads.lock().unwrap().first(), Some(&(7, 5)));
    let (whole, reads) = blob();
    assert!(read(whole, ..).await.1.is_err());
    assert!(reads.lock().unwrap().is_empty());
}
