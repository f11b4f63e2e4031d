//! Servers that answer something else than what was asked: no panic, no memory without bound, and never an absence.

use blobaccess::{Blob, BlobAccess, Context, Digest, DigestSet, Error, ErrorKind, InstanceName, PutOutcome};
use blobaccess_grpc::OUTCOME_RESPONSE;
use blobaccess_proto::bytestream::{ReadResponse, WriteResponse};
use blobaccess_proto::remote_execution::{
    self as re, batch_read_blobs_response::Response as ReadEntry, batch_update_blobs_response::Response as UpdateEntry,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tonic::metadata::MetadataValue;
use tonic::{Code, Response};

use crate::fake::{Fake, digest, noise, options, proto, reads, status};

const SIZE: usize = 300_000;

async fn got(fake: &std::sync::Arc<Fake>, digest: &Digest) -> Result<Bytes, Error> {
    let blob = fake.remote().cas().get(&Context::background(), digest).await?;
    blob.into_bytes(1 << 20).await
}

fn read_entry(digest: Option<re::Digest>, data: impl Into<Bytes>) -> ReadEntry {
    ReadEntry { digest, data: data.into(), ..Default::default() }
}

/// Returns the result of getting `hello` when a batch is answered with these entries.
async fn answered(responses: Vec<ReadEntry>) -> Result<Bytes, Error> {
    let fake = Fake::new();
    fake.offer_zstd();
    fake.on_batch_read(move |_| {
        let responses = responses.clone();
        async { Ok(Response::new(re::BatchReadBlobsResponse { responses })) }
    });
    got(&fake, &digest(b"hello")).await
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_anything_but_what_was_asked_for_is_broken_or_data_loss() {
    let asked = Some(proto(&digest(b"hello")));
    let other = Some(proto(&digest(b"other")));
    let odd = |size_bytes| Some(re::Digest { size_bytes, ..proto(&digest(b"hello")) });
    let failed = |code: Code| ReadEntry { digest: asked.clone(), status: Some(status(code)), ..Default::default() };
    let strange = |code: i32| {
        let mut entry = failed(Code::Unknown);
        entry.status.as_mut().unwrap().code = code;
        entry
    };
    let compressed = |compressor, data: Vec<u8>| ReadEntry { compressor, ..read_entry(asked.clone(), data) };
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    let good = || read_entry(asked.clone(), "hello");
    for (what, responses, expected) in [
        ("nothing", vec![], ErrorKind::Internal),
        ("an entry without a digest", vec![read_entry(None, "hello")], ErrorKind::Internal),
        ("another blob", vec![read_entry(other.clone(), "other")], ErrorKind::Internal),
        ("another absence", vec![ReadEntry { digest: other.clone(), ..failed(Code::NotFound) }], ErrorKind::Internal),
        ("another size", vec![read_entry(odd(4), "hell")], ErrorKind::Internal),
        ("a negative size", vec![read_entry(odd(-5), "hello")], ErrorKind::Internal),
        ("many others", vec![read_entry(other, ""); 10_000], ErrorKind::Internal),
        ("too much", vec![read_entry(asked.clone(), noise(SIZE))], ErrorKind::DataLoss),
        ("too little", vec![read_entry(asked.clone(), "hell")], ErrorKind::DataLoss),
        ("no contents", vec![read_entry(asked.clone(), "")], ErrorKind::DataLoss),
        ("another hash", vec![read_entry(asked.clone(), "hellO")], ErrorKind::DataLoss),
        ("a compressor not asked for", vec![compressed(2, b"hello".to_vec())], ErrorKind::Internal),
        ("a compressor that is none", vec![compressed(-7, b"hello".to_vec())], ErrorKind::Internal),
        ("no zstd", vec![compressed(1, b"hello".to_vec())], ErrorKind::DataLoss),
        ("a bomb", vec![compressed(1, bomb)], ErrorKind::DataLoss),
        ("a code that is none", vec![strange(999)], ErrorKind::Unknown),
        ("a negative code", vec![strange(-1)], ErrorKind::Unknown),
        ("two answers, good first", vec![good(), read_entry(asked.clone(), "hellO")], ErrorKind::Internal),
        ("two answers, bad first", vec![failed(Code::Unknown), good()], ErrorKind::Internal),
        ("it and its absence", vec![good(), failed(Code::NotFound)], ErrorKind::Internal),
    ] {
        let error = answered(responses).await.expect_err(what);
        assert_eq!(error.kind(), expected, "{what}: {error}");
    }
    assert_eq!(answered(vec![good(), good()]).await.unwrap(), "hello", "the same twice does no harm");
}

#[tokio::test(start_paused = true)]
async fn an_endless_stream_is_read_as_far_as_the_blob_goes() {
    let digest = digest(&noise(SIZE));
    let zeros = zstd::bulk::compress(&vec![0; 1 << 20], 1).unwrap();
    let empty = zstd::bulk::compress(b"", 1).unwrap();
    for (what, zstd, piece) in [
        ("zeros", false, vec![0; 10_000]),
        ("bytes", false, vec![1]),
        ("empty messages", false, Vec::new()),
        ("zeros that are compressed", true, zeros),
        ("empty frames", true, empty),
        ("empty compressed messages", true, Vec::new()),
    ] {
        let fake = Fake::new();
        if zstd {
            fake.offer_zstd();
        }
        let piece = Bytes::from(piece);
        fake.on_read(move |_| {
            let data = piece.clone();
            async { Ok(Response::new(stream::repeat_with(move || Ok(ReadResponse { data: data.clone() })).boxed())) }
        });
        let error = got(&fake, &digest).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{what}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_beyond_the_limit_is_refused_and_is_no_absence() {
    let fake = Fake::new();
    fake.on_read(|_| async { reads([Ok(vec![0; 5 << 20])]) });
    let error = got(&fake, &digest(&noise(SIZE))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    fake.on_batch_read(|_| async {
        let responses = vec![read_entry(None, vec![0; 5 << 20])];
        Ok(Response::new(re::BatchReadBlobsResponse { responses }))
    });
    let error = got(&fake, &digest(b"hello")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_read_leaves_the_put_unclassified() {
    for value in [&b""[..], b"\xff\xff\xff", b"\x0a", b"\x0a\xff\xff\xff\xff\x0f", &[0; 5000]] {
        let fake = Fake::new();
        let malformed = value.to_vec();
        fake.on_write(move |request| {
            let value = MetadataValue::from_bytes(&malformed);
            async move {
                let all: Vec<_> = request.into_inner().try_collect().await?;
                assert!(all.last().unwrap().finish_write);
                let mut answer = Response::new(WriteResponse { committed_size: i64::try_from(SIZE).unwrap() });
                answer.metadata_mut().insert_bin(OUTCOME_RESPONSE, value);
                Ok(answer)
            }
        });
        let blob = Blob::from_bytes(noise(SIZE));
        let put = fake.remote().cas().put(&Context::background(), &digest(&noise(SIZE)), blob).await;
        assert_eq!(put.unwrap(), PutOutcome::Unclassified { stored_bytes: None }, "{value:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_put_is_never_told_of_an_absence_and_of_no_other_blob() {
    let asked = Some(proto(&digest(b"hello")));
    let entry = |digest, code: Code| UpdateEntry { digest, status: Some(status(code)), ..Default::default() };
    for (what, responses) in [
        ("nothing", vec![]),
        ("no digest", vec![entry(None, Code::Ok)]),
        ("another blob", vec![entry(Some(proto(&digest(b"other"))), Code::Ok)]),
        ("an absence", vec![entry(asked.clone(), Code::NotFound)]),
        ("two answers", vec![entry(asked.clone(), Code::Ok), entry(asked.clone(), Code::DataLoss)]),
        (
            "two answers, bad first",
            vec![entry(asked, Code::InvalidArgument), entry(Some(proto(&digest(b"hello"))), Code::Ok)],
        ),
    ] {
        let fake = Fake::new();
        fake.on_batch_update(move |_| {
            let responses = responses.clone();
            async { Ok(Response::new(re::BatchUpdateBlobsResponse { responses })) }
        });
        let put = fake.remote().cas().put(&Context::background(), &digest(b"hello"), Blob::from_bytes("hello")).await;
        assert_eq!(put.expect_err(what).kind(), ErrorKind::Internal, "{what}");
    }
    for committed_size in [i64::MIN, i64::MAX, -2] {
        let fake = Fake::new();
        fake.on_write(move |_| async move { Ok(Response::new(WriteResponse { committed_size })) });
        let blob = Blob::from_bytes(noise(SIZE));
        let put = fake.remote().cas().put(&Context::background(), &digest(&noise(SIZE)), blob).await;
        assert_eq!(put.unwrap_err().kind(), ErrorKind::Internal, "{committed_size}");
    }
}

#[tokio::test(start_paused = true)]
async fn capabilities_of_any_size_are_taken_for_what_they_are() {
    let ctx = Context::background();
    for (what, cache, known) in [
        ("many", vec![1; 1 << 20], true),
        ("many that are none", vec![-5; 100_000], true),
        ("more than a message", vec![i32::MIN; 1 << 20], false),
    ] {
        for limit in [i64::MIN, -1, 1, i64::MAX] {
            let fake = Fake::new();
            fake.offer(re::CacheCapabilities {
                digest_functions: cache.clone(),
                supported_compressors: cache.clone(),
                supported_batch_update_compressors: vec![-1, 77],
                max_batch_total_size_bytes: limit,
                max_cas_blob_size_bytes: limit,
                ..Default::default()
            });
            let serve = |contents: &'static [u8]| {
                fake.on_batch_read(move |_| async move {
                    let responses = vec![read_entry(Some(proto(&digest(contents))), contents)];
                    Ok(Response::new(re::BatchReadBlobsResponse { responses }))
                });
                fake.on_read(move |request| async move {
                    let compressed = request.into_inner().resource_name.contains("compressed-blobs");
                    let frame = || zstd::bulk::compress(contents, 1).unwrap();
                    reads([Ok(if compressed { frame() } else { contents.to_vec() })])
                });
            };
            serve(b"hello");
            assert_eq!(got(&fake, &digest(b"hello")).await.unwrap(), "hello", "{what}, {limit}");
            let (remote, _wire) = fake.connect(options());
            let capabilities = remote.cas().capabilities(&ctx, &InstanceName::empty()).await;
            assert_eq!(capabilities.is_ok(), known, "{what}, {limit}");
            assert!(capabilities.map_or(0, |known| known.digest_functions.len()) <= 8, "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_many_times_is_missing_once() {
    let fake = Fake::new();
    fake.on_find_missing(|_| async {
        let missing_blob_digests = vec![proto(&digest(b"hello")); 50_000];
        Ok(Response::new(re::FindMissingBlobsResponse { missing_blob_digests }))
    });
    let asked = DigestSet::from_iter([digest(b"hello"), digest(b"other")]);
    let missing = fake.remote().cas().find_missing(&Context::background(), &asked).await.unwrap();
    assert_eq!(missing, DigestSet::from(digest(b"hello")));
}
