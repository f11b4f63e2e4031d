//! Contents that the source has in a compressed form.

use futures::{FutureExt, TryStreamExt};

use super::super::Body;
use super::*;
use crate::Compressor;

/// Makes a blob whose compressed form has every byte changed.
pub(super) fn mirrored(claimed: &[u8], contents: &[u8]) -> Blob {
    from_pieces(claimed, pieces(&flip(contents), 5))
}

fn flip(contents: &[u8]) -> Vec<u8> {
    contents.iter().map(|byte| !byte).collect()
}

/// Removes the size of the compressed form.
fn of_any_size(mut blob: Blob) -> Blob {
    if let Body::Encoded { size_bytes, .. } = &mut blob.body {
        *size_bytes = None;
    }
    blob
}

fn from_pieces(claimed: &[u8], pieces: Vec<Result<Bytes>>) -> Blob {
    let size = pieces.iter().flatten().map(|piece| piece.len() as u64).sum();
    Blob::from_encoded(
        &digest_of(claimed),
        Compressor::Zstd,
        Some(size),
        stream::iter(pieces),
        |stream| stream.map_ok(|piece| flip(&piece).into()).boxed(),
        Provenance::store(),
    )
}

#[tokio::test]
async fn the_compressed_form_is_handed_out_as_it_is() {
    let blob = mirrored(HELLO, HELLO);
    assert_eq!(blob.encoding(), Some(Compressor::Zstd));
    let encoded = blob.into_encoded(&[Compressor::Zstd]).unwrap();
    assert_eq!((encoded.compressor(), encoded.size_bytes()), (Compressor::Zstd, Some(12)));
    let all: Vec<Bytes> = encoded.try_collect().await.unwrap();
    assert_eq!(all.concat(), flip(HELLO));
    // The compressed form is not verified: that is up to the reader that decodes it.
    let encoded = mirrored(b"something else", HELLO).into_encoded(&[Compressor::Zstd]).unwrap();
    assert_eq!(encoded.try_collect::<Vec<_>>().await.unwrap().concat(), flip(HELLO));
}

#[tokio::test]
async fn a_blob_without_the_wanted_form_is_handed_back() {
    let blob = mirrored(HELLO, HELLO).into_encoded(&[]).unwrap_err();
    assert_eq!(blob.into_bytes(12).await.unwrap(), HELLO);
    for blob in every_form(HELLO).into_iter().take(6) {
        assert_eq!(blob.encoding(), None);
        let blob = blob.into_encoded(&[Compressor::Zstd]).unwrap_err();
        assert_eq!(blob.into_bytes(12).await.unwrap(), HELLO);
    }
}

#[tokio::test]
async fn the_decoded_form_is_verified() {
    assert_eq!(kind_of(mirrored(HELLO, b"hello, worlD").into_bytes(12).await), Some(ErrorKind::DataLoss));
    assert_eq!(kind_of(read(mirrored(HELLO, b"hello"), 1..3).await.1), Some(ErrorKind::DataLoss));
}

#[tokio::test]
async fn a_bomb_is_noticed_at_the_first_byte_too_many() {
    let decoded = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&decoded);
    let blob = Blob::from_encoded(
        &digest_of(HELLO),
        Compressor::Zstd,
        None,
        stream::iter(pieces(b"x", 1)),
        move |_| {
            stream::repeat_with(move || {
                *counted.lock().unwrap() += 1;
                Ok(Bytes::from_static(b"x"))
            })
            .boxed()
        },
        Provenance::client(),
    );
    assert_eq!(kind_of(blob.into_bytes(12).await), Some(ErrorKind::InvalidArgument));
    assert_eq!(*decoded.lock().unwrap(), 13);
}

/// Reads the compressed form of `blob`, and returns the bytes handed out and how reading ended.
async fn read_encoded(blob: Blob) -> (Vec<u8>, Result<()>) {
    let mut encoded = blob.into_encoded(&[Compressor::Zstd]).unwrap();
    let mut all = Vec::new();
    while let Some(piece) = encoded.next().await {
        match piece {
            Ok(piece) => all.extend_from_slice(&piece),
            Err(error) => return (all, Err(error)),
        }
    }
    (all, Ok(()))
}

#[tokio::test]
async fn the_compressed_form_is_offered_under_a_handler() {
    let (handler, log) = Replacing::by([]);
    let blob = mirrored(HELLO, HELLO).with_error_handler(handler);
    assert_eq!(blob.encoding(), Some(Compressor::Zstd));
    let (all, ended) = read_encoded(blob).await;
    ended.unwrap();
    assert_eq!((all, counts(&log)), (flip(HELLO), (0, 1)));
}

#[tokio::test]
async fn a_compressed_form_that_fails_before_its_first_bytes_is_replaced() {
    // The size of the compressed form was announced, and is not that of the replacement.
    let (handler, log) = Replacing::by([mirrored(HELLO, HELLO)]);
    let (all, ended) = read_encoded(from_pieces(HELLO, vec![Err(down())]).with_error_handler(handler)).await;
    assert_eq!((all, kind_of(ended), counts(&log)), (Vec::new(), Some(ErrorKind::Unavailable), (1, 1)));

    let unsized_and_down = || of_any_size(from_pieces(HELLO, vec![Ok(Bytes::new()), Err(down())]));
    let (handler, log) = Replacing::by([unsized_and_down(), mirrored(HELLO, HELLO)]);
    let (all, ended) = read_encoded(unsized_and_down().with_error_handler(handler)).await;
    ended.unwrap();
    assert_eq!((all, counts(&log)), (flip(HELLO), (2, 1)));
}

#[tokio::test]
async fn a_compressed_form_is_not_replaced_by_contents_in_another_form() {
    for replacement in every_form(HELLO).into_iter().take(6) {
        let (handler, log) = Replacing::by([replacement]);
        let blob = of_any_size(from_pieces(HELLO, vec![Err(down())])).with_error_handler(handler);
        let (all, ended) = read_encoded(blob).await;
        assert_eq!((all, ended.unwrap_err().to_string()), (Vec::new(), down().to_string()));
        assert_eq!(counts(&log), (1, 1));
    }
    let (handler, _) = Replacing::by([mirrored(b"hello", b"hello")]);
    let blob = of_any_size(from_pieces(HELLO, vec![Err(down())])).with_error_handler(handler);
    assert_eq!(kind_of(read_encoded(blob).await.1), Some(ErrorKind::Unavailable), "it is another blob");
}

#[tokio::test]
async fn a_compressed_form_that_was_begun_is_not_replaced() {
    let (handler, log) = Replacing::by([mirrored(HELLO, HELLO)]);
    let blob = from_pieces(HELLO, failing(b"abc", 3, down())).with_error_handler(handler);
    let (_, ended) = read_encoded(blob).await;
    assert_eq!(kind_of(ended), Some(ErrorKind::Unavailable));
    assert_eq!(counts(&log), (0, 1));
}

#[tokio::test]
async fn a_handler_that_gives_up_on_a_compressed_form_says_what_the_reader_sees() {
    let (handler, _) = Replacing::by([]);
    let (_, ended) = read_encoded(from_pieces(HELLO, vec![Err(down())]).with_error_handler(handler)).await;
    assert_eq!(ended.unwrap_err().to_string(), "gave up: store is down");
}

#[tokio::test]
async fn the_compressed_form_keeps_what_is_attached() {
    let guard = Arc::new(());
    let (blob, told) = watched(mirrored(HELLO, HELLO).with_guard(Arc::clone(&guard)).with_task(async { Ok(()) }));
    let encoded = blob.into_encoded(&[Compressor::Zstd]).unwrap();
    assert_eq!(Arc::strong_count(&guard), 2);
    assert_eq!(encoded.try_collect::<Vec<_>>().await.unwrap().concat(), flip(HELLO));
    assert_eq!((told.all(), Arc::strong_count(&guard)), (vec![Finish::Complete], 1));

    let (blob, told) =
        watched(mirrored(HELLO, HELLO).with_interruption(async { Error::deadline_exceeded("too slow") }));
    let mut encoded = blob.into_encoded(&[Compressor::Zstd]).unwrap();
    assert_eq!(kind_of(encoded.try_next().await), Some(ErrorKind::DeadlineExceeded));
    assert_eq!(told.all(), [Finish::Failed(ErrorKind::DeadlineExceeded)]);

    let (blob, told) = watched(mirrored(HELLO, HELLO));
    drop(blob.into_encoded(&[Compressor::Zstd]).unwrap());
    assert_eq!(told.all(), [Finish::Dropped]);
}

#[tokio::test]
async fn the_last_bytes_of_the_compressed_form_wait_for_the_task() {
    let mut encoded =
        mirrored(HELLO, HELLO).with_task(async { Err(down()) }).into_encoded(&[Compressor::Zstd]).unwrap();
    let mut all = 0;
    let error = loop {
        match encoded.next().await.unwrap() {
            Ok(piece) => all += piece.len(),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), all < 12), (ErrorKind::Unavailable, true));
    let (blob, told) = watched(mirrored(HELLO, HELLO));
    let mut encoded = blob.into_encoded(&[Compressor::Zstd]).unwrap();
    let mut left = 12;
    while left > 0 {
        left -= encoded.next().await.unwrap().unwrap().len();
    }
    drop(encoded);
    assert_eq!(told.all(), [Finish::Complete]);
}

#[tokio::test]
async fn errors_and_the_end_of_the_compressed_form_are_returned_again() {
    let blob = from_pieces(HELLO, failing(b"abc", 1, down()));
    let mut encoded = blob.into_encoded(&[Compressor::Zstd]).unwrap();
    while encoded.next().await.unwrap().is_ok() {}
    assert_eq!(kind_of(encoded.next().now_or_never().unwrap().unwrap()), Some(ErrorKind::Unavailable));
    for task in [false, true] {
        let blob = mirrored(HELLO, HELLO);
        let (blob, _told) = if task { watched(blob) } else { watched(blob.with_guard(())) };
        let mut encoded = blob.into_encoded(&[Compressor::Zstd]).unwrap();
        while encoded.next().await.is_some() {}
        assert!(encoded.next().await.is_none());
    }
}

#[tokio::test]
async fn the_compressed_form_survives_being_held_to_its_own_digest_and_no_other() {
    let blob = mirrored(HELLO, HELLO).with_expected_digest(&digest_of(HELLO));
    assert_eq!(blob.encoding(), Some(Compressor::Zstd));
    let blob = mirrored(HELLO, HELLO).with_expected_digest(&digest_of(b"hello, worlD"));
    assert_eq!(blob.encoding(), None);
}

#[tokio::test]
async fn a_broken_compressed_form_is_the_error_of_its_decoder() {
    let blob = from_pieces(HELLO, failing(&flip(b"hello"), 5, Error::data_loss("frame is damaged")));
    assert_eq!(blob.into_bytes(12).await.unwrap_err().to_string(), "frame is damaged");
}
