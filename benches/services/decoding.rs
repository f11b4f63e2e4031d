//! What it takes to answer a request for 10,000 digests, beside what it takes to decode its message.

use std::time::{Duration, Instant};

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName, MemoryBlobAccess};
use blobaccess_proto::remote_execution as re;
use blobaccess_workbench::{blobs, digests, scaled};
use futures::executor::block_on;
use prost::Message;

use crate::load::message;

/// Prints both, and their ratio: decoding alone, and with digests, set, look-up and answer.
pub(crate) fn compare() {
    let count = scaled(10_000, 1_000);
    let store = MemoryBlobAccess::<Cas>::new(1 << 30);
    let ctx = Context::background();
    // Half of them are there.
    let there = blobs(8, count / 2, 16);
    for (digest, bytes) in &there {
        block_on(store.put(&ctx, digest, Blob::from_verified_bytes(digest, bytes.clone()))).expect("there is room");
    }
    let absent = digests(9, count - there.len());
    let mut asked: Vec<_> = there.iter().map(|(digest, _)| message(digest)).chain(absent.iter().map(message)).collect();
    asked.sort_by(|a, b| a.hash[8..].cmp(&b.hash[8..]));
    let request = re::FindMissingBlobsRequest { blob_digests: asked, ..Default::default() }.encode_to_vec();

    let decode = || re::FindMissingBlobsRequest::decode(request.as_slice()).expect("it was encoded");
    let decoding = best(|| drop(std::hint::black_box(decode())));
    let answering = best(|| {
        let request = decode();
        let name = InstanceName::empty();
        let parsed: Vec<Digest> = request
            .blob_digests
            .iter()
            .map(|d| Digest::parse(name.clone(), DigestFunction::Sha256, &d.hash, d.size_bytes).expect("a digest"))
            .collect();
        let missing = block_on(store.find_missing(&ctx, &DigestSet::from(parsed))).expect("memory can tell");
        assert_eq!(missing.len(), absent.len());
        let answer = re::FindMissingBlobsResponse { missing_blob_digests: missing.iter().map(message).collect() };
        std::hint::black_box(answer.encode_to_vec());
    });
    let ratio = answering.as_secs_f64() / decoding.as_secs_f64();
    println!(
        "find missing of {count} digests, half of them there: decoding {decoding:.1?}, all {answering:.1?}, {ratio:.2} times"
    );
}

/// The shortest of many runs.
fn best(mut work: impl FnMut()) -> Duration {
    let runs = scaled(200, 2);
    let time = |_| {
        let started = Instant::now();
        work();
        started.elapsed()
    };
    (0..runs).map(time).min().unwrap_or_default()
}
