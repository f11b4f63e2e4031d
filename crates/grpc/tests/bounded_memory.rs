//! Bombs: what is small on its way and large when it is unpacked takes no more memory than what it was announced as.
//!
//! The peak of a process is that of all its threads, so that this is a program of its own with one test.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
#![cfg(target_os = "linux")]

#[path = "bad_input/stack.rs"]
#[expect(dead_code, reason = "it is shared")]
mod stack;

use blobaccess::Digest;
use blobaccess_grpc::ServiceOptions;
use blobaccess_proto::bytestream as bs;
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use futures::{StreamExt, stream};
use tonic::Code;
use tonic::transport::Channel;

use stack::{CasClient, Server, StreamClient, sha256, to_proto, write_name, zstd_name};

/// Both ends run in this process.
const MAX_GROWTH_BYTES: u64 = 32 << 20;

/// Returns the peak memory of this process so far, in bytes. Some kernels that call themselves Linux do not report it.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10)
}

/// Makes a frame of `bytes` zeros with a window of `log` bits: blocks of 4 bytes that each decode to 128 KiB. The frame
/// is assembled here, since an encoder would itself take the memory that is to be measured.
fn bomb(bytes: u64, log: u8) -> Bytes {
    const BLOCK_BYTES: u32 = 128 << 10;
    const REPEATED: u32 = 1 << 1;
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3];
    let blocks = bytes / u64::from(BLOCK_BYTES);
    for block in 1..=blocks {
        let header = u32::from(block == blocks) | REPEATED | BLOCK_BYTES << 3;
        let [low, middle, high, _] = header.to_le_bytes();
        frame.extend_from_slice(&[low, middle, high, 0]);
    }
    frame.into()
}

async fn upload(channel: &Channel, name: String, contents: Bytes) -> Code {
    let mut offset = 0;
    let uploaded = stream::unfold((contents, name), move |(mut rest, name)| async move {
        if rest.is_empty() {
            return None;
        }
        let data = rest.split_to(rest.len().min(64 << 10));
        Some(((data, name, rest.is_empty()), (rest, String::new())))
    });
    let uploaded = uploaded.map(move |(data, resource_name, finish_write)| {
        let write_offset = offset;
        offset += i64::try_from(data.len()).unwrap();
        bs::WriteRequest { resource_name, write_offset, finish_write, data }
    });
    StreamClient::new(channel.clone()).write(uploaded).await.err().map_or(Code::Ok, |status| status.code())
}

async fn batch(channel: &Channel, digest: &Digest, data: Bytes) -> Code {
    let digest = Some(to_proto(digest));
    let entry = re::batch_update_blobs_request::Request { digest, data, compressor: 1, ..Default::default() };
    let request = re::BatchUpdateBlobsRequest { requests: vec![entry], ..Default::default() };
    let answer = CasClient::new(channel.clone()).batch_update_blobs(request).await.unwrap().into_inner();
    Code::from_i32(answer.responses.first().unwrap().status.as_ref().unwrap().code)
}

#[tokio::test]
async fn a_bomb_takes_no_more_memory_than_what_it_was_announced_as() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    let announced = vec![1; 1 << 10];
    let digest = sha256(&announced);
    let bombs = [bomb(1 << 30, 17), bomb(1 << 30, 23), bomb(1 << 30, 27)];
    assert!(zstd::stream::decode_all(&*bomb(1 << 20, 23)).unwrap() == vec![0; 1 << 20]);
    assert!(bombs.iter().all(|bomb| bomb.len() < 1 << 20));
    let good = zstd::bulk::compress(&announced, 1).unwrap();
    let behind: Vec<Bytes> = bombs.iter().map(|bomb| [&*good, bomb].concat().into()).collect();
    // What a good call takes is not counted.
    server.is_unharmed(&channel, &[&digest]).await;
    let before = peak_bytes();

    for frame in bombs.iter().chain(&behind) {
        assert_eq!(upload(&channel, zstd_name(&digest), frame.clone()).await, Code::InvalidArgument);
        assert_eq!(batch(&channel, &digest, frame.clone()).await, Code::InvalidArgument);
        server.is_unharmed(&channel, &[&digest]).await;
    }

    // Several at once.
    let calls = bombs.iter().cycle().take(12).map(|frame| upload(&channel, zstd_name(&digest), frame.clone()));
    for code in futures::future::join_all(calls).await {
        assert_eq!(code, Code::InvalidArgument);
    }
    server.is_unharmed(&channel, &[&digest]).await;

    // A gigabyte of frames without contents, as far as they are taken.
    let empty: Bytes = zstd::bulk::compress(b"", 1).unwrap().repeat(8000).into();
    let mut offset = 0;
    let first = zstd_name(&digest);
    let endless = stream::repeat(empty).take(16_000).map(move |data| {
        let write_offset = offset;
        offset += i64::try_from(data.len()).unwrap();
        let resource_name = if write_offset == 0 { first.clone() } else { String::new() };
        bs::WriteRequest { resource_name, write_offset, data, ..Default::default() }
    });
    let status = StreamClient::new(channel.clone()).write(endless).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    server.is_unharmed(&channel, &[&digest]).await;

    // What is announced and never sent is not reserved.
    let large = write_name(&digest).replace("/1024", "/200000000");
    let mut hanging = Vec::new();
    for _ in 0..2 {
        let first =
            bs::WriteRequest { resource_name: large.clone(), data: Bytes::from_static(b"x"), ..Default::default() };
        let mut client = StreamClient::new(channel.clone());
        let begun = stream::iter([first]).chain(stream::pending());
        hanging.push(tokio::spawn(async move { client.write(begun).await }));
    }
    server.until("uploads", |services| services.snapshot().open_calls == 2).await;
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
    server.is_unharmed(&channel, &[&digest]).await;

    match (before, peak_bytes()) {
        (Some(before), Some(after)) => {
            let growth = after - before;
            assert!(growth < MAX_GROWTH_BYTES, "the peak has grown by {growth} bytes");
        }
        _ => eprintln!("SKIPPED: this kernel does not tell the peak, so only the answers were checked"),
    }
    drop(channel);
    server.stop().await;
}
