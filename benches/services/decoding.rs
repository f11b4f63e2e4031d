//! The cost of a request for 10,000 digests, compared with that of decoding its message.
//!
//! The request is made in the process itself, in the form that HTTP has. Only the network is left out.

use std::hint::black_box;
use std::time::{Duration, Instant};

use blobaccess::decorators::EmptyBlobInjecting;
use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName, MemoryStore};
use blobaccess_grpc::{ServiceOptions, Services};
use blobaccess_proto::remote_execution as re;
use blobaccess_workbench::{blobs, digests, scaled};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use prost::Message;
use tokio::runtime::Runtime;
use tonic::codegen::{Service, http};
use tonic::service::Routes;

use crate::bare::Bare;
use crate::load::message;

const PATH: &str = "http://localhost/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs";

/// Prints the time of decoding alone, that of the whole call, their ratio, and where the time goes.
pub(crate) fn compare(runtime: &Runtime) {
    let count = scaled(10_000, 1_000);
    let store = MemoryStore::<Cas>::new(1 << 30);
    let ctx = Context::background();
    // Half of them are there.
    let there = blobs(8, count / 2, 16);
    for (digest, bytes) in &there {
        runtime
            .block_on(store.put(&ctx, digest, Blob::from_verified_bytes(digest, bytes.clone())))
            .expect("there is room");
    }
    let absent = digests(9, count - there.len());
    let mut asked: Vec<_> = there.iter().map(|(digest, _)| message(digest)).chain(absent.iter().map(message)).collect();
    asked.sort_by(|a, b| a.hash[8..].cmp(&b.hash[8..]));
    let request = re::FindMissingBlobsRequest { blob_digests: asked, ..Default::default() };
    let encoded = request.encode_to_vec();
    let parsed = parse(&request);
    let set = DigestSet::from(parsed.clone());
    let store = std::sync::Arc::new(EmptyBlobInjecting::new(store));
    let services = Services::new(ServiceOptions::default()).with_cas(std::sync::Arc::clone(&store));
    let mut routes = services.routes().expect("the services can be described");

    let whole = body(&encoded);
    let answer = runtime.block_on(call(&mut routes, whole.clone()));
    let missing =
        re::FindMissingBlobsResponse::decode(answer.slice(5..)).expect("it is an answer").missing_blob_digests;
    assert_eq!(missing.len(), absent.len());

    // In turns, so that a busy machine slows down all of them.
    let mut bare = Bare::routes();
    let mut best = [Duration::MAX; 6];
    for _ in 0..scaled(200, 2) {
        let decode =
            || drop(black_box(re::FindMissingBlobsRequest::decode(black_box(&*encoded)).expect("it was encoded")));
        let copy = parsed.clone();
        let times = [
            time(decode),
            time(|| drop(black_box(runtime.block_on(call(&mut bare, whole.clone()))))),
            time(|| drop(black_box(runtime.block_on(call(&mut routes, whole.clone()))))),
            time(|| drop(black_box(parse(black_box(&request))))),
            time(|| drop(black_box(DigestSet::from(copy)))),
            time(|| drop(black_box(runtime.block_on(store.find_missing(&ctx, &set)).expect("memory can tell")))),
        ];
        for (best, time) in best.iter_mut().zip(times) {
            *best = time.min(*best);
        }
    }
    let [decoding, bare, call, parsing, set, look_up] = best;
    let times = |limit: Duration| call.as_secs_f64() / limit.as_secs_f64();
    println!("find missing of {count} digests, half of them there, in the process: {call:.2?}");
    println!("  decoding alone {decoding:.2?}: {:.2} times", times(decoding));
    println!("  a bare tonic service, which decodes and answers nothing, {bare:.2?}: {:.2} times", times(bare));
    let rest = call.saturating_sub(parsing + set + look_up);
    println!(
        "  of the call: parsing {parsing:.2?}, set {set:.2?}, look-up {look_up:.2?}, request and answer {rest:.2?}"
    );
}

fn parse(request: &re::FindMissingBlobsRequest) -> Vec<Digest> {
    let name = InstanceName::empty();
    let parse = |digest: &re::Digest| {
        Digest::parse(name.clone(), DigestFunction::Sha256, &digest.hash, digest.size_bytes).expect("a digest")
    };
    request.blob_digests.iter().map(parse).collect()
}

/// Frames a message as gRPC does.
fn body(message: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(5 + message.len());
    body.put_u8(0);
    body.put_u32(message.len().try_into().expect("it fits into one message"));
    body.put_slice(message);
    body.freeze()
}

/// Returns the body of the answer, which is framed too.
async fn call(routes: &mut Routes, body: Bytes) -> Bytes {
    let request = http::Request::post(PATH).header("content-type", "application/grpc").body(Full::new(body));
    let answer = routes.call(request.expect("it is a request")).await.expect("services do not fail");
    answer.into_body().collect().await.expect("there is an answer").to_bytes()
}

fn time(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}
