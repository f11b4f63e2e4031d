//! Arbitrary input: every call ends, and with a status.

use std::time::Duration;

use blobaccess::{Clock, SystemClock};
use blobaccess_grpc::ServiceOptions;
use blobaccess_proto::bytestream as bs;
use blobaccess_proto::remote_execution as re;
use futures::future::{self, Either};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use prost::Message;
use tokio::runtime::{Builder, Runtime};
use tonic::service::Routes;
use tonic::{Code, Status};

use crate::raw::{call, framed, methods, request};
use crate::stack::{services, sha256};

const CONTENTS: &[u8] = b"some contents that are stored";

/// The services in process. Time stands still unless nothing can happen any more, and then it runs out.
struct InProcess {
    runtime: Runtime,
    routes: Routes,
}

impl InProcess {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let mut routes = services(ServiceOptions::default()).routes().unwrap();
        let digest = sha256(CONTENTS);
        let stored = bs::WriteRequest {
            resource_name: format!("uploads/u/blobs/{}/{}", digest.hash(), digest.size_bytes()),
            finish_write: true,
            data: CONTENTS.into(),
            ..Default::default()
        };
        let store = request("/google.bytestream.ByteStream/Write", framed(&stored.encode_to_vec()));
        assert_eq!(runtime.block_on(call(&mut routes, store)).0.code(), Code::Ok);
        Self { runtime, routes }
    }

    /// Makes a call; `None` if it does not end.
    fn call(&self, path: &str, body: Vec<u8>) -> Option<Status> {
        self.runtime.block_on(async {
            let mut routes = self.routes.clone();
            let day = SystemClock.sleep_until(SystemClock.monotonic() + Duration::from_hours(24));
            match future::select(Box::pin(call(&mut routes, request(path, body))), day).await {
                Either::Left(((status, _), _)) => Some(status),
                Either::Right(((), _)) => None,
            }
        })
    }
}

fn hash() -> BoxedStrategy<String> {
    let stored = sha256(CONTENTS).hash().to_string();
    prop_oneof![
        Just(stored.clone()),
        Just(stored),
        "[0-9a-f]{64}",
        "[0-9a-f]{40}",
        "[0-9a-fA-Fg]{0,130}",
        any::<String>(),
    ]
    .boxed()
}

fn digest() -> BoxedStrategy<re::Digest> {
    let size = prop_oneof![Just(29), 0..100_i64, any::<i64>()];
    (hash(), size).prop_map(|(hash, size_bytes)| re::Digest { hash, size_bytes }).boxed()
}

fn name() -> BoxedStrategy<String> {
    prop_oneof![3 => Just(String::new()), 1 => "[a-z/]{0,20}", 1 => any::<String>()].boxed()
}

fn function() -> BoxedStrategy<i32> {
    prop_oneof![3 => Just(0), 2 => 0..11_i32, 1 => any::<i32>()].boxed()
}

fn data() -> BoxedStrategy<Vec<u8>> {
    let frame = zstd::bulk::compress(CONTENTS, 1).unwrap();
    let damaged = (Just(frame.clone()), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut frame, at, byte)| {
        let at = at.index(frame.len());
        *frame.get_mut(at).unwrap() = byte;
        frame
    });
    prop_oneof![Just(CONTENTS.to_vec()), Just(frame), damaged, prop::collection::vec(any::<u8>(), 0..200)].boxed()
}

fn resource_name() -> BoxedStrategy<String> {
    let upload = prop_oneof![Just(""), Just("uploads/u/"), Just("a/uploads/u/"), Just("uploads/")];
    let form = prop_oneof![Just("blobs"), Just("compressed-blobs/zstd"), Just("compressed-blobs/identity")];
    let named = (upload, form, digest())
        .prop_map(|(upload, form, digest)| format!("{upload}{form}/{}/{}", digest.hash, digest.size_bytes));
    prop_oneof![4 => named, 1 => any::<String>()].boxed()
}

fn offset() -> BoxedStrategy<i64> {
    prop_oneof![4 => Just(0), 1 => 0..100_i64, 1 => any::<i64>()].boxed()
}

/// Draws the body of a call: messages that are nearly valid.
fn nearly_right() -> BoxedStrategy<Vec<u8>> {
    let digests = || prop::collection::vec(digest(), 0..5);
    let find = (name(), digests(), function()).prop_map(|(instance_name, blob_digests, digest_function)| {
        framed(&re::FindMissingBlobsRequest { instance_name, blob_digests, digest_function }.encode_to_vec())
    });
    let compressors = prop::collection::vec(-1..4_i32, 0..3);
    let read = (name(), digests(), compressors, function()).prop_map(
        |(instance_name, digests, acceptable_compressors, digest_function)| {
            let request = re::BatchReadBlobsRequest { instance_name, digests, acceptable_compressors, digest_function };
            framed(&request.encode_to_vec())
        },
    );
    let entry = (prop::option::of(digest()), data(), -1..4_i32).prop_map(|(digest, data, compressor)| {
        re::batch_update_blobs_request::Request { digest, data: data.into(), compressor, ..Default::default() }
    });
    let update = (name(), prop::collection::vec(entry, 0..5), function()).prop_map(
        |(instance_name, requests, digest_function)| {
            framed(&re::BatchUpdateBlobsRequest { instance_name, requests, digest_function }.encode_to_vec())
        },
    );
    let tree = (name(), prop::option::of(digest()), any::<i32>(), any::<String>(), function()).prop_map(
        |(instance_name, root_digest, page_size, page_token, digest_function)| {
            let request = re::GetTreeRequest { instance_name, root_digest, page_size, page_token, digest_function };
            framed(&request.encode_to_vec())
        },
    );
    let stream_read = (resource_name(), offset(), offset()).prop_map(|(resource_name, read_offset, read_limit)| {
        framed(&bs::ReadRequest { resource_name, read_offset, read_limit }.encode_to_vec())
    });
    let message = (resource_name(), offset(), any::<bool>(), data()).prop_map(
        |(resource_name, write_offset, finish_write, data)| {
            let request = bs::WriteRequest { resource_name, write_offset, finish_write, data: data.into() };
            framed(&request.encode_to_vec())
        },
    );
    let stream_write = prop::collection::vec(message, 0..4).prop_map(|messages| messages.concat());
    prop_oneof![find, read, update, tree, stream_read, stream_write].boxed()
}

fn body() -> BoxedStrategy<Vec<u8>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..300);
    let messages = prop::collection::vec(bytes(), 0..4);
    prop_oneof![
        1 => bytes(),
        2 => messages.prop_map(|messages| messages.iter().flat_map(|message| framed(message)).collect()),
        4 => nearly_right(),
        1 => (nearly_right(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut body, at, byte)| {
            if !body.is_empty() {
                let at = at.index(body.len());
                *body.get_mut(at).unwrap() = byte;
            }
            body
        }),
    ]
    .boxed()
}

#[test]
fn every_call_ends_with_a_status_whatever_is_sent() {
    let services = InProcess::new();
    let config = ProptestConfig { cases: 1000, ..ProptestConfig::with_source_file(file!()) };
    let calls = (prop::sample::select(methods()), body());
    let held = TestRunner::new(config).run(&calls, |(path, body)| {
        let Some(status) = services.call(&path, body) else { return Err(TestCaseError::fail("it hangs")) };
        // What is no fault of ours is not reported as one. Requests that cannot be parsed are, by gRPC itself.
        let unparsed = ["decode", "protocol error", "Unexpected", "Missing request"];
        let parsed = !unparsed.iter().any(|words| status.message().contains(words));
        let ours = [Code::Unknown, Code::DataLoss, Code::Unavailable, Code::Cancelled].contains(&status.code());
        prop_assert!(!ours && (status.code() != Code::Internal || !parsed), "{}: {}", path, status);
        Ok(())
    });
    held.unwrap_or_else(|broken| panic!("{broken}"));
}
