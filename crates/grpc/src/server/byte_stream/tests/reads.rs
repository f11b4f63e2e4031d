use blobaccess::{Context, ErrorKind};
use proptest::prelude::*;
use tonic::Code;

use super::*;
use crate::server::recorded_frames as frames;
use crate::server::watched_store::sha256;

async fn refused(name: &str, offset: i64, limit: i64) -> (Code, usize) {
    let store = WatchedStore::new();
    store.add("hello").await;
    let error = read(&mut client(&store), name.into(), offset, limit).await.unwrap_err();
    (error.code(), store.gets())
}

#[tokio::test]
async fn names_that_are_none_are_refused_before_the_store_is_asked() {
    let hash = "0".repeat(64);
    for name in [
        String::new(),
        "This is an incorrect resource name".into(),
        "blobs/cafebabe/12".into(),
        format!("blobs/{}/12", "F".repeat(64)),
        format!("blobs/{hash}/-12"),
        format!("blobs/{hash}/twelve"),
        format!("blobs/{hash}/12/more"),
        format!("uploads/u/{hash}/12/x"),
        format!("a/operations/b/blobs/{hash}/12"),
    ] {
        assert_eq!(refused(&name, 0, 0).await, (Code::InvalidArgument, 0), "{name}");
    }
    for compressor in ["deflate", "brotli", "xyzzy"] {
        let name = format!("compressed-blobs/{compressor}/{hash}/12");
        assert_eq!(refused(&name, 0, 0).await, (Code::Unimplemented, 0), "{name}");
    }
}

#[tokio::test]
async fn ranges_that_are_none_are_refused_before_the_store_is_asked() {
    let digest = sha256(b"hello");
    let (plain, zstd) = (read_name(&digest), format!("compressed-{}", read_name(&digest)));
    let zstd = zstd.replace("blobs/", "blobs/zstd/");
    for (name, offset, limit, code) in [
        (&plain, -1, 0, Code::OutOfRange),
        (&plain, 6, 0, Code::OutOfRange),
        (&plain, i64::MIN, 0, Code::OutOfRange),
        (&plain, 0, -1, Code::InvalidArgument),
        (&zstd, 6, 0, Code::OutOfRange),
        (&zstd, 0, 1, Code::InvalidArgument),
        (&zstd, 0, -1, Code::InvalidArgument),
    ] {
        assert_eq!(refused(name, offset, limit).await, (code, 0), "{name} {offset} {limit}");
    }
}

#[tokio::test]
async fn any_range_of_a_blob_is_sent() {
    let store = WatchedStore::new();
    let digest = store.add("hello").await;
    let mut client = client(&store);
    for (offset, limit, expected) in [
        (0, 0, "hello"),
        (0, 5, "hello"),
        (0, 100, "hello"),
        (0, i64::MAX, "hello"),
        (4, 0, "o"),
        (1, 2, "el"),
        (5, 0, ""),
        (5, 1, ""),
        (2, i64::MAX, "llo"),
    ] {
        let sent = read(&mut client, read_name(&digest), offset, limit).await.unwrap();
        assert_eq!(sent, expected.as_bytes(), "{offset} {limit}");
    }
}

#[tokio::test]
async fn a_blob_is_sent_in_any_instance_name_in_pieces_of_128_kib() {
    let store = WatchedStore::new();
    let contents: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let digest = store.add(contents.clone()).await;
    let name = format!("debian8/x86//{}", read_name(&digest));
    let pieces = read_pieces(&mut client(&store), name, 0, 0).await.unwrap();
    assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [131_072, 131_072, 37_856]);
    assert_eq!(pieces.concat(), contents);
}

#[tokio::test]
async fn absence_and_outage_fail_the_call_and_not_the_stream() {
    let store = WatchedStore::new();
    let broken = store.add("broken").await;
    store.fail(&broken, ErrorKind::Unavailable);
    let mut client = client(&store);
    for (digest, code) in [(sha256(b"absent"), Code::NotFound), (broken, Code::Unavailable)] {
        let request = bs::ReadRequest { resource_name: read_name(&digest), ..Default::default() };
        assert_eq!(client.read(request).await.unwrap_err().code(), code);
    }
}

fn compressed_name(digest: &Digest) -> String {
    read_name(digest).replace("blobs/", "compressed-blobs/zstd/")
}

#[tokio::test]
async fn a_compressed_read_decodes_to_the_blob_from_its_offset_on() {
    let store = WatchedStore::new();
    let mut state = 1_u32;
    let contents: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    })
    .take(700_000)
    .collect();
    let large = store.add(contents.clone()).await;
    let empty = store.add("").await;
    let mut client = client(&store);
    for offset in [0_u16, 1, 40_000] {
        let sent = read_pieces(&mut client, compressed_name(&large), offset.into(), 0).await.unwrap();
        assert!(sent.len() > 1);
        assert_eq!(zstd::bulk::decompress(&sent.concat(), 1 << 20).unwrap(), contents[usize::from(offset)..]);
    }
    let sent = read(&mut client, compressed_name(&empty), 0, 0).await.unwrap();
    assert_eq!(zstd::bulk::decompress(&sent, 10).unwrap(), b"");
}

#[tokio::test]
async fn what_the_store_has_compressed_is_passed_on_as_it_is() {
    let store = WatchedStore::new();
    let digest = store.add_encoded("first second\n", frames::TWO_FRAMES).await;
    let mut client = client(&store);
    assert_eq!(read(&mut client, compressed_name(&digest), 0, 0).await.unwrap(), frames::TWO_FRAMES);
    let tail = read(&mut client, compressed_name(&digest), 6, 0).await.unwrap();
    assert_eq!(zstd::bulk::decompress(&tail, 100).unwrap(), b"second\n");
    assert_eq!(read(&mut client, read_name(&digest), 6, 3).await.unwrap(), b"sec");
}

#[tokio::test]
async fn compression_that_is_not_offered_is_unimplemented_both_ways() {
    let store = WatchedStore::new();
    let digest = store.add(frames::CONTENTS).await;
    let options = ServiceOptions::default().with_compression_level(None);
    let mut client = ByteStreamClient::new(ByteStreamServer::new(service(&store, options)));
    let error = read(&mut client, compressed_name(&digest), 0, 0).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
    let error = write(&mut client, messages(&zstd_name(&digest), frames::PLAIN, 10)).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_failure_behind_the_beginning_ends_the_stream_with_its_status() {
    let store = WatchedStore::new();
    let cut = &frames::TWO_FRAMES[..frames::TWO_FRAMES.len() - 1];
    let digest = store.add_encoded("first second\n", cut).await;
    for name in [read_name(&digest), format!("compressed-{}", read_name(&digest)).replace("blobs/", "blobs/zstd/")] {
        let offset = i64::from(name.contains("zstd"));
        let request = bs::ReadRequest { resource_name: name, read_offset: offset, read_limit: 0 };
        let sent = client(&store).read(request).await.unwrap().into_inner().try_collect::<Vec<_>>().await;
        assert_eq!(sent.unwrap_err().code(), Code::DataLoss);
    }
}

#[tokio::test]
async fn a_status_is_complete_or_at_the_beginning() {
    let store = WatchedStore::new();
    let digest = store.add("hello").await;
    let broken = sha256(b"broken");
    store.fail(&broken, ErrorKind::Unavailable);
    let mut client = client(&store);
    let mut status = async |name: String| {
        let answer = client.query_write_status(bs::QueryWriteStatusRequest { resource_name: name }).await;
        answer.map(|answer| (answer.get_ref().committed_size, answer.get_ref().complete)).map_err(|error| error.code())
    };
    assert_eq!(status(write_name(&digest)).await, Ok((5, true)));
    assert_eq!(status(zstd_name(&digest)).await, Ok((5, true)));
    assert_eq!(status(write_name(&sha256(b"absent"))).await, Ok((0, false)));
    assert_eq!(status(write_name(&broken)).await, Err(Code::Unavailable));
    assert_eq!(status(read_name(&digest)).await, Err(Code::InvalidArgument));
}

proptest! {
    #[test]
    fn no_resource_name_panics(
        name in "((a|uploads|u|blobs|compressed-blobs|zstd|blake3|[0-9a-f]{64}|-?[0-9]{1,20}|\\PC{0,9})/){0,7}",
        offset in any::<i64>(),
        limit in any::<i64>(),
    ) {
        let store = WatchedStore::new();
        let service = service(&store, ServiceOptions::default());
        let ctx = Context::background();
        let request = bs::ReadRequest { resource_name: name.clone(), read_offset: offset, read_limit: limit };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            assert!(service.read_blob(&ctx, request).await.is_err());
            let first = bs::WriteRequest { resource_name: name.clone(), write_offset: offset, ..Default::default() };
            assert!(service.write_blob(&ctx, stream::iter([Ok(first)])).await.is_err());
            let name = bs::QueryWriteStatusRequest { resource_name: name };
            let store: &dyn BlobAccess<Kind = Cas> = &*store;
            drop(super::super::query::query(store, &ctx, &name).await);
        });
    }
}
