//! Compressed contents that are none, and those that only look so.

use blobaccess::Digest;
use blobaccess_grpc::ServiceOptions;
use blobaccess_proto::remote_execution as re;
use tonic::Code;
use tonic::transport::Channel;
use zstd::stream::raw::{CParameter, Encoder, Operation, OutBuffer};

use crate::stack::{CasClient, Server, StreamClient, messages, noise, read, sha256, to_proto, write, zstd_name};

/// Makes a frame without content size, whose window is of `log` bits if that is given.
fn unsized_frame(contents: &[u8], log: Option<u32>) -> Vec<u8> {
    let mut encoder = Encoder::new(1).unwrap();
    if let Some(log) = log {
        encoder.set_parameter(CParameter::WindowLog(log)).unwrap();
    }
    let mut frame = vec![0; contents.len() + 1000];
    let begun = encoder.run_on_buffers(contents, &mut frame).unwrap();
    assert_eq!(begun.bytes_read, contents.len());
    let (_, rest) = frame.split_at_mut(begun.bytes_written);
    let mut rest = OutBuffer::around(rest);
    encoder.finish(&mut rest, true).unwrap();
    let size = begun.bytes_written + rest.pos();
    frame.truncate(size);
    frame
}

/// Returns the results of uploading the contents as a stream and in a batch.
async fn store(channel: &Channel, digest: &Digest, frame: &[u8]) -> Vec<(Code, String)> {
    let mut stream = StreamClient::new(channel.clone());
    let mut results = Vec::new();
    let entry = re::batch_update_blobs_request::Request {
        digest: Some(to_proto(digest)),
        data: frame.to_vec().into(),
        compressor: 1,
        ..Default::default()
    };
    let request = re::BatchUpdateBlobsRequest { requests: vec![entry], ..Default::default() };
    let answer = CasClient::new(channel.clone()).batch_update_blobs(request).await.unwrap().into_inner();
    let status = answer.responses.into_iter().next().unwrap().status.unwrap();
    results.push((Code::from_i32(status.code), status.message));
    for piece in [13, 1 << 20] {
        let written = write(&mut stream, messages(&zstd_name(digest), frame, piece)).await;
        results.push(match written {
            Ok(_) => (Code::Ok, String::new()),
            Err(status) => (status.code(), status.message().to_owned()),
        });
    }
    results
}

#[tokio::test]
async fn contents_that_do_not_decode_to_the_blob_are_an_invalid_argument() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    let contents = noise(20_000);
    let digest = sha256(&contents);
    let good = zstd::bulk::compress(&contents, 3).unwrap();
    let cut = |at: usize| good.get(..at).unwrap().to_vec();
    let mut damaged = good.clone();
    *damaged.get_mut(good.len() / 2).unwrap() ^= 0x55;
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0x7f][..], b"and so on"].concat();
    for (what, frame) in [
        ("nothing", Vec::new()),
        ("one byte", cut(1)),
        ("the magic number", cut(4)),
        ("half a header", cut(6)),
        ("half", cut(good.len() / 2)),
        ("all but a byte", cut(good.len() - 1)),
        ("damage", damaged),
        ("no zstd", contents.clone()),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0".to_vec()),
        ("an end that is none", [&*good, b"!"].concat()),
        ("another beginning", [&*good, &*cut(5)].concat()),
        ("the blob twice", [&*good, &*good].concat()),
        ("a bomb", zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap()),
        ("a bomb behind the blob", [&*good, &*zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap()].concat()),
        ("a window of 16 MiB", unsized_frame(&contents, Some(24))),
        ("a window of 128 MiB", unsized_frame(&contents, Some(27))),
        ("a frame to skip of 2 GiB", skippable),
        ("another blob", zstd::bulk::compress(&noise(20_001)[1..], 1).unwrap()),
    ] {
        for (code, message) in store(&channel, &digest, &frame).await {
            assert_eq!(code, Code::InvalidArgument, "{what}: {message}");
        }
        server.is_unharmed(&channel, &[&digest]).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn frames_without_content_size_are_as_good_as_any() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"skip"].concat();
    for (n, size) in [0, 1, 20_000, 500_000].into_iter().enumerate() {
        let contents: Vec<u8> = noise(size + n).split_off(n);
        let digest = sha256(&contents);
        let (head, tail) = contents.split_at(size / 3);
        let whole = unsized_frame(&contents, None);
        assert_eq!(zstd::zstd_safe::get_frame_content_size(&whole).unwrap(), None);
        let parts = [unsized_frame(head, None), skipped.clone(), unsized_frame(tail, Some(23))].concat();
        for frame in [whole, parts] {
            for (code, message) in store(&channel, &digest, &frame).await {
                assert_eq!(code, Code::Ok, "{size}: {message}");
            }
        }
        assert_eq!(read(&mut StreamClient::new(channel.clone()), &digest).await.unwrap(), contents);
    }
    server.is_unharmed(&channel, &[]).await;
    server.stop().await;
}
