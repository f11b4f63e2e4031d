//! Large blobs are stored as streams, which end only if the blob does.

use std::time::Duration;

use blobaccess::{
    Blob, BlobAccess as _, Clock as _, Compressor, Context, Digest, Error, ErrorKind, Provenance, PutCertainty,
    PutOutcome, SystemClock,
};
use blobaccess_proto::bytestream::{WriteRequest, WriteResponse};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;
use tonic::metadata::MetadataValue;
use tonic::{Response, Status};

use crate::fake::{Fake, Log, digest, noise, options, outcome, poll_settled};

const SIZE: usize = 700_000;
const CREATED: PutOutcome = PutOutcome::Created { stored_bytes: 7 };

fn committed(size: usize) -> Response<WriteResponse> {
    let mut response = Response::new(WriteResponse { committed_size: i64::try_from(size).unwrap() });
    let value = MetadataValue::from_bytes(&outcome(CREATED).encode_to_vec());
    response.metadata_mut().insert_bin("blobaccess-outcome-bin", value);
    response
}

/// Takes uploads that are never finished, and records when each of them ends.
fn refuses(fake: &Fake) -> Log<()> {
    let ends = Log::new();
    let log = ends.clone();
    fake.on_write(move |request| {
        let log = log.clone();
        async move {
            let mut stream = request.into_inner();
            while let Ok(Some(message)) = stream.message().await {
                assert!(!message.finish_write);
            }
            log.add(());
            Err(Status::invalid_argument("the upload is not whole"))
        }
    });
    ends
}

/// Takes whole uploads, and records them.
fn takes(fake: &Fake) -> Log<Vec<WriteRequest>> {
    let log = Log::new();
    let uploads = log.clone();
    fake.on_write(move |request| {
        let uploads = uploads.clone();
        async move {
            let messages: Vec<WriteRequest> = request.into_inner().try_collect().await?;
            // A server of tonic sees a reset stream end.
            if !messages.last().is_some_and(|last| last.finish_write) {
                return Err(Status::invalid_argument("the upload is not whole"));
            }
            let size = messages.iter().map(|message| message.data.len()).sum();
            uploads.add(messages);
            Ok(committed(size))
        }
    });
    log
}

fn in_pieces(digest: &Digest, contents: &[u8], size: usize) -> Blob {
    let pieces: Vec<_> = contents.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Blob::from_untrusted_stream(digest, stream::iter(pieces), Provenance::client())
}

#[tokio::test(start_paused = true)]
async fn an_upload_names_its_blob_once_counts_its_bytes_and_ends_with_its_last_message() {
    let fake = Fake::new();
    let uploads = takes(&fake);
    let cas = fake.remote().cas();
    let digest = digest(&noise(SIZE));
    for size in [SIZE, 1000, 100_000, 16 << 10] {
        let blob = in_pieces(&digest, &noise(SIZE), size);
        assert_eq!(cas.put(&Context::background(), &digest, blob).await.unwrap(), CREATED);
        let messages = uploads.take().pop().unwrap();
        let name = &messages[0].resource_name;
        let parts: Vec<_> = name.split('/').collect();
        assert_eq!(parts[..2], ["main", "uploads"]);
        assert_eq!(parts[2].len(), 36);
        assert_eq!(parts[3..], ["blobs", &digest.hash().to_string(), &SIZE.to_string()]);
        let mut offset = 0;
        let last = messages.len() - 1;
        for (number, message) in messages.iter().enumerate() {
            assert_eq!(usize::try_from(message.write_offset).unwrap(), offset);
            assert_eq!(message.finish_write, number == last);
            assert!(number == 0 || message.resource_name.is_empty());
            assert!(message.data.len() <= 256 << 10, "{}", message.data.len());
            assert!(number == last || message.data.len() > 48 << 10, "{}", message.data.len());
            offset += message.data.len();
        }
        assert!(messages.iter().flat_map(|message| message.data.clone()).eq(noise(SIZE)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_resets_the_upload_and_its_error_is_returned() {
    for compressed in [false, true] {
        let fake = Fake::new();
        if compressed {
            fake.offer_zstd();
        }
        let ends = refuses(&fake);
        let digest = digest(&noise(SIZE));
        let pieces = vec![Ok(noise(SIZE)[..300_000].to_vec().into()), Err(Error::data_loss("source is rotten"))];
        let blob = Blob::from_untrusted_stream(&digest, stream::iter(pieces), Provenance::client());
        let error = fake.remote().cas().put(&Context::background(), &digest, blob).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::DataLoss, "source is rotten"));
        assert_eq!(error.put_certainty(), PutCertainty::NotStored);
        crate::fake::settle().await;
        assert_eq!(ends.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_contents_never_end_an_upload() {
    let fake = Fake::new();
    let uploads = takes(&fake);
    let digest = digest(&noise(SIZE));
    let cas = fake.remote().cas();
    for wrong in [vec![0; SIZE], noise(SIZE - 1), noise(SIZE + 1)] {
        let blob = in_pieces(&digest, &wrong, 50_000);
        let error = cas.put(&Context::background(), &digest, blob).await.unwrap_err();
        assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::InvalidArgument, PutCertainty::NotStored));
    }
    crate::fake::settle().await;
    assert_eq!(uploads.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_ends_the_sending() {
    let fake = Fake::new();
    fake.on_write(|request| async move {
        request.into_inner().message().await?;
        Ok(committed(SIZE))
    });
    let digest = digest(&noise(SIZE));
    let first: Bytes = noise(SIZE)[..300_000].to_vec().into();
    // The rest never comes.
    let pieces = stream::iter([Ok(first)]).chain(stream::pending());
    let blob = Blob::from_untrusted_stream(&digest, pieces, Provenance::client());
    assert_eq!(fake.remote().cas().put(&Context::background(), &digest, blob).await.unwrap(), CREATED);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_says_is_reported_rather_than_that_it_hung_up() {
    for (status, certainty) in [
        (Status::permission_denied("not you"), PutCertainty::NotStored),
        (Status::resource_exhausted("no room"), PutCertainty::NotStored),
    ] {
        let fake = Fake::new();
        let (code, message) = (status.code(), status.message().to_owned());
        fake.on_write(move |request| {
            let status = Status::new(code, message.clone());
            async move {
                request.into_inner().message().await?;
                Err(status)
            }
        });
        let digest = digest(&noise(SIZE * 10));
        let blob = Blob::from_bytes(noise(SIZE * 10));
        let error = fake.remote().cas().put(&Context::background(), &digest, blob).await.unwrap_err();
        assert_eq!((error.kind().grpc_code(), error.message()), (i32::from(code), status.message()));
        assert_eq!(error.put_certainty(), certainty, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_last_and_is_lost_leaves_it_open_whether_the_blob_is_stored() {
    let fake = Fake::new();
    let attempts = Log::new();
    let log = attempts.clone();
    fake.on_write(move |request| {
        log.add(());
        async move {
            let _all: Vec<_> = request.into_inner().try_collect().await?;
            Err(Status::unavailable("lost"))
        }
    });
    let digest = digest(&noise(SIZE));
    let blob = in_pieces(&digest, &noise(SIZE), 10_000);
    let error = fake.remote().cas().put(&Context::background(), &digest, blob).await.unwrap_err();
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::Unavailable, PutCertainty::MaybeStored));
    // What was read cannot be read again.
    assert_eq!(attempts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_which_nothing_was_read_is_sent_again() {
    let fake = Fake::new();
    let uploads = takes(&fake);
    let (remote, wire) = fake.connect(options());
    // One refusal for the capabilities, and two for the upload.
    wire.refusals.store(3, std::sync::atomic::Ordering::Relaxed);
    let digest = digest(&noise(SIZE));
    let blob = in_pieces(&digest, &noise(SIZE), 10_000);
    assert_eq!(remote.cas().put(&Context::background(), &digest, blob).await.unwrap(), CREATED);
    assert_eq!((uploads.len(), remote.snapshot().retries), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_commits_something_else_is_broken() {
    for (committed_size, good) in [(SIZE - 1, false), (0, false), (SIZE, true)] {
        let fake = Fake::new();
        fake.on_write(move |request| async move {
            let _all: Vec<_> = request.into_inner().try_collect().await?;
            Ok(committed(committed_size))
        });
        let digest = digest(&noise(SIZE));
        let put = fake.remote().cas().put(&Context::background(), &digest, Blob::from_bytes(noise(SIZE))).await;
        assert_eq!(put.map_err(|error| error.kind()), if good { Ok(CREATED) } else { Err(ErrorKind::Internal) });
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_of_the_outcome_leaves_it_unclassified() {
    let fake = Fake::new();
    fake.offer_zstd();
    // It has the blob already.
    fake.on_write(|_| async { Ok(Response::new(WriteResponse { committed_size: -1 })) });
    let digest = digest(&noise(SIZE));
    let put = fake.remote().cas().put(&Context::background(), &digest, Blob::from_bytes(noise(SIZE))).await;
    assert_eq!(put.unwrap(), PutOutcome::Unclassified { stored_bytes: None });
}

#[tokio::test(start_paused = true)]
async fn a_blob_is_sent_compressed_where_offered_and_as_it_is_if_it_is_so_already() {
    let fake = Fake::new();
    fake.offer_zstd();
    let uploads = takes(&fake);
    let cas = fake.remote().cas();
    let ctx = Context::background();
    let digest = digest(&noise(SIZE));
    assert_eq!(cas.put(&ctx, &digest, Blob::from_bytes(noise(SIZE))).await.unwrap(), CREATED);
    let messages = uploads.take().pop().unwrap();
    assert!(messages[0].resource_name.contains("/compressed-blobs/zstd/"));
    let frames: Vec<u8> = messages.iter().flat_map(|message| message.data.clone()).collect();
    assert!(frames.len() < SIZE);
    assert!(zstd::stream::decode_all(&*frames).unwrap() == noise(SIZE));

    let frame: Bytes = zstd::bulk::compress(&noise(SIZE), 9).unwrap().into();
    let pieces = stream::iter([Ok(frame.clone())]);
    let decode = |_| stream::iter([Err(Error::internal("nobody is to decode it"))]).boxed();
    let blob = Blob::from_encoded(&digest, Compressor::Zstd, None, pieces, decode, Provenance::client());
    assert_eq!(cas.put(&ctx, &digest, blob).await.unwrap(), CREATED);
    let messages = uploads.take().pop().unwrap();
    assert!(messages.iter().flat_map(|message| message.data.clone()).eq(frame));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_dropped_is_reset() {
    let fake = Fake::new();
    let ends = refuses(&fake);
    let cas = fake.remote().cas();
    let digest = digest(&noise(SIZE));
    let ctx = Context::background();
    let first: Bytes = noise(SIZE)[..300_000].to_vec().into();
    let (held, mut released) = tokio::sync::mpsc::channel::<()>(1);
    let pieces = stream::iter([Ok(first)]).chain(stream::pending().map(move |never: Result<_, _>| {
        let _held = &held;
        never
    }));
    let blob = Blob::from_untrusted_stream(&digest, pieces, Provenance::client());
    let mut put = cas.put(&ctx, &digest, blob).boxed();
    assert!(poll_settled(&mut put).await.is_none());
    drop(put);
    // The source is let go of, and the server hears of it.
    assert_eq!(poll_settled(&mut Box::pin(released.recv())).await, Some(None));
    crate::fake::settle().await;
    assert_eq!(ends.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_nothing_is_given_up_and_a_slow_source_is_waited_for() {
    let fake = Fake::new();
    let (remote, _) = fake.connect(options().with_silence_timeout(Duration::from_secs(5)));
    let cas = remote.cas();
    let ctx = Context::background();
    let large = noise(SIZE * 10);
    fake.on_write(|request| async move {
        let _taken = request;
        std::future::pending().await
    });
    let error = cas.put(&ctx, &digest(&large), Blob::from_bytes(large.clone())).await.unwrap_err();
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::DeadlineExceeded, PutCertainty::NotStored));

    let _uploads = takes(&fake);
    let digest = digest(&noise(SIZE));
    let pieces = stream::iter(noise(SIZE).chunks(100_000).map(Bytes::copy_from_slice).collect::<Vec<_>>());
    let slow = pieces.then(|piece| async {
        SystemClock.sleep_until(SystemClock.monotonic() + Duration::from_secs(12)).await;
        Ok(piece)
    });
    let blob = Blob::from_untrusted_stream(&digest, slow, Provenance::client());
    assert_eq!(cas.put(&ctx, &digest, blob).await.unwrap(), CREATED);
}
