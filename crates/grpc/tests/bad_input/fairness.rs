//! Clients that are slow, silent or do not read: nobody else waits for them, and they end.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Cas, MemoryStore};
use blobaccess_grpc::ServiceOptions;
use blobaccess_proto::bytestream as bs;
use blobaccess_proto::remote_execution as re;
use blobaccess_testkit::ManualClock;
use blobaccess_testkit::fakes::PausedStore;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future, stream};
use http_body_util::{BodyExt, StreamBody};
use prost::Message;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use crate::raw::{self, framed, methods};
use crate::stack::{
    AcClient, CasClient, Server, StreamClient, messages, noise, read, services, services_over, sha256, size, to_proto,
    write, write_name, zstd_name,
};

const MINUTE: Duration = Duration::from_mins(1);

/// Begins a call with these bytes of its body, and leaves it there.
fn begin(mut channel: Channel, path: &str, begun: Vec<u8>) -> JoinHandle<(Status, usize)> {
    let begun = stream::iter([Ok::<_, Status>(http_body::Frame::data(Bytes::from(begun)))]);
    let body = Body::new(StreamBody::new(begun.chain(stream::pending())));
    let request = http::Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    let request = request.body(body).unwrap();
    tokio::spawn(async move { raw::call(&mut channel, request).await })
}

fn storage_path(method: &str) -> String {
    methods().into_iter().find(|path| path.ends_with(&format!("/{method}"))).unwrap()
}

fn batch_of(contents: &[u8]) -> re::BatchUpdateBlobsRequest {
    let entry = re::batch_update_blobs_request::Request {
        digest: Some(to_proto(&sha256(contents))),
        data: Bytes::copy_from_slice(contents),
        ..Default::default()
    };
    re::BatchUpdateBlobsRequest { requests: vec![entry], ..Default::default() }
}

fn batch_read_of(contents: &[u8]) -> re::BatchReadBlobsRequest {
    re::BatchReadBlobsRequest { digests: vec![to_proto(&sha256(contents))], ..Default::default() }
}

async fn store(channel: &Channel, contents: &[u8]) {
    let mut client = StreamClient::new(channel.clone());
    write(&mut client, messages(&write_name(&sha256(contents)), contents, 64 << 10)).await.unwrap();
}

/// Uploads, reads and inlines, in small calls and in batches.
async fn all_goes_on(channel: &Channel, number: usize) {
    let contents = noise(600 + number);
    let (mut storage, mut cache) = (CasClient::new(channel.clone()), AcClient::new(channel.clone()));
    store(channel, &contents).await;
    storage.batch_update_blobs(batch_of(&noise(1000 + number))).await.unwrap();
    let answer = storage.batch_read_blobs(batch_read_of(&contents)).await.unwrap().into_inner();
    assert_eq!(answer.responses.first().unwrap().data, contents);
    let action = to_proto(&sha256(&number.to_le_bytes()));
    let result = re::ActionResult { stdout_digest: Some(to_proto(&sha256(&contents))), ..Default::default() };
    let update = re::UpdateActionResultRequest {
        action_digest: Some(action.clone()),
        action_result: Some(result),
        ..Default::default()
    };
    cache.update_action_result(update).await.unwrap();
    let get = re::GetActionResultRequest { action_digest: Some(action), inline_stdout: true, ..Default::default() };
    assert_eq!(cache.get_action_result(get).await.unwrap().into_inner().stdout_raw, contents);
}

#[tokio::test]
async fn slow_uploads_of_large_blobs_hold_nobody_up() {
    let server = Server::start(ServiceOptions::default()).await;
    let mut slow = Vec::new();
    for number in 0..40 {
        let hash = format!("{number:064}");
        let first = bs::WriteRequest {
            resource_name: format!("uploads/u/blobs/{hash}/{}", 200 << 20),
            data: Bytes::from_static(b"x"),
            ..Default::default()
        };
        let mut client = StreamClient::new(server.connect().await);
        slow.push(tokio::spawn(async move { client.write(stream::iter([first]).chain(stream::pending())).await }));
    }
    server.until("uploads", |services| services.snapshot().open_calls == 40).await;
    assert_eq!(server.services.snapshot().in_flight_bytes, 0, "what is announced is not there");
    all_goes_on(&server.connect().await, 0).await;
    assert!(slow.iter().all(|upload| !upload.is_finished()));
    slow.iter().for_each(JoinHandle::abort);
    server.until_quiet().await;
    server.stop().await;
}

#[tokio::test]
async fn uploads_over_one_connection_do_not_wait_for_each_other() {
    // Far more is announced than may be in memory, by as many uploads as fill the window of a connection several times.
    let server = Server::start(ServiceOptions::default().with_max_in_flight_bytes(4 << 20)).await;
    let channel = server.connect().await;
    let uploads = (0..16).map(|number| {
        let mut client = StreamClient::new(channel.clone());
        async move {
            let contents = noise((6 << 20) + number).split_off(number);
            write(&mut client, messages(&write_name(&sha256(&contents)), &contents, 64 << 10)).await
        }
    });
    for committed in future::join_all(uploads).await {
        assert_eq!(committed.unwrap(), 6 << 20);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_call_whose_message_does_not_come_ends() {
    let clock = ManualClock::new();
    let server = Server::serve(services(ServiceOptions::default()).with_clock(Arc::new(clock.clone()))).await;
    let channel = server.connect().await;
    let paths = methods().into_iter().chain(["/grpc.health.v1.Health/Check".to_owned()]);
    for path in paths {
        for begun in [vec![], vec![0, 0, 0, 4, 0, 1, 2, 3]] {
            let before = clock.sleepers();
            let mut call = begin(channel.clone(), &path, begun);
            // Half a message may come as soon as the call itself, so that there is an alarm in any case.
            clock.until_sleepers(before + 1).await;
            let mut waited = Duration::ZERO;
            let (status, _) = loop {
                if let Some(ended) = (&mut call).now_or_never() {
                    break ended.unwrap();
                }
                assert!(waited < MINUTE * 1000, "{path} goes on");
                clock.advance(MINUTE / 2);
                waited += MINUTE / 2;
                tokio::task::yield_now().await;
            };
            assert!(waited >= MINUTE, "{path}: {status}");
            assert_eq!(status.code(), Code::DeadlineExceeded, "{path}: {status}");
        }
    }
    server.until_quiet().await;
    server.stop().await;
}

#[tokio::test]
async fn a_stream_of_questions_stays_open_without_one() {
    let clock = ManualClock::new();
    let server = Server::serve(services(ServiceOptions::default()).with_clock(Arc::new(clock.clone()))).await;
    let (ask, asked) = tokio::sync::mpsc::channel(1);
    let questions = stream::unfold(asked, |mut asked| async move { Some((asked.recv().await?, asked)) });
    let question = || ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    ask.send(question()).await.unwrap();
    let mut client = ServerReflectionClient::new(server.connect().await);
    let mut answers = client.server_reflection_info(questions).await.unwrap().into_inner();
    for _ in 0..3 {
        assert!(answers.message().await.unwrap().is_some());
        for _ in 0..10 {
            clock.advance(MINUTE);
            tokio::task::yield_now().await;
        }
        all_goes_on(&server.connect().await, 0).await;
        ask.send(question()).await.unwrap();
    }
    assert!(answers.message().await.unwrap().is_some());
    drop(ask);
    assert!(answers.message().await.unwrap().is_none());
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_comes_slowly_arrives() {
    let clock = ManualClock::new();
    let server = Server::serve(services(ServiceOptions::default()).with_clock(Arc::new(clock.clone()))).await;
    let contents = noise(500_000);
    let message = framed(&batch_of(&contents).encode_to_vec());
    let time = clock.clone();
    let pieces = stream::iter(message.chunks(100_000).map(Bytes::copy_from_slice).collect::<Vec<_>>());
    let pieces = pieces.then(move |piece| {
        let time = time.clone();
        async move {
            time.until_sleepers(1).await;
            time.advance(MINUTE * 9 / 10);
            Ok::<_, Status>(http_body::Frame::data(piece))
        }
    });
    let request = raw::request(&storage_path("BatchUpdateBlobs"), Bytes::new());
    let request = request.map(|_| Body::new(StreamBody::new(pieces)));
    let (status, _) = raw::call(&mut server.connect().await, request).await;
    assert_eq!(status.code(), Code::Ok, "{status}");
    server.stop().await;
}

#[tokio::test]
async fn requests_that_are_begun_count_and_do_not_take_the_memory_of_others() {
    let clock = ManualClock::new();
    let max = 8 << 20;
    let services =
        services(ServiceOptions::default().with_max_in_flight_bytes(max)).with_clock(Arc::new(clock.clone()));
    let server = Server::serve(services).await;
    let mut message = framed(&batch_of(&noise(1 << 20)).encode_to_vec());
    message.truncate(message.len() - 100);
    let mut half = Vec::new();
    for _ in 0..40 {
        half.push(begin(server.connect().await, &storage_path("BatchUpdateBlobs"), message.clone()));
        let upload = bs::WriteRequest { data: noise(1 << 20).into(), ..Default::default() };
        let mut upload = framed(&upload.encode_to_vec());
        upload.truncate(upload.len() - 100);
        half.push(begin(server.connect().await, &storage_path("Write"), upload));
    }
    server.until("pressure", |services| services.snapshot().in_flight_bytes > max / 2 / 4 * 3).await;
    assert!(server.services.snapshot().in_flight_bytes <= max / 2, "{:?}", server.services.snapshot());
    // What is small goes on, and so do reads.
    let channel = server.connect().await;
    all_goes_on(&channel, 0).await;
    // What is large goes on as soon as those who do not go on have been ended.
    let mut client = CasClient::new(channel.clone());
    let uploading = tokio::spawn(async move {
        while let Err(status) = client.batch_update_blobs(batch_of(&noise(1 << 20))).await {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        }
    });
    let mut waited = Duration::ZERO;
    while !uploading.is_finished() {
        assert!(waited < MINUTE, "{:?}", server.services.snapshot());
        clock.advance(Duration::from_millis(500));
        waited += Duration::from_millis(500);
        all_goes_on(&channel, 1).await;
    }
    uploading.await.unwrap();
    half.iter().for_each(JoinHandle::abort);
    server.until_quiet().await;
    server.stop().await;
}

/// Connects with a window of one byte for each answer.
async fn connect_without_window(server: &Server) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    endpoint.initial_stream_window_size(1).connect().await.unwrap()
}

/// Makes a call and does not read its answer.
async fn leave_unread(channel: &Channel, path: &str, request: Vec<u8>) -> http::Response<Body> {
    let mut channel = channel.clone();
    std::future::poll_fn(|poller| channel.poll_ready(poller)).await.unwrap();
    channel.call(raw::request(path, framed(&request))).await.unwrap()
}

#[tokio::test]
async fn answers_that_nobody_reads_count_and_end() {
    let clock = ManualClock::new();
    let max = 64 << 20;
    let services =
        services(ServiceOptions::default().with_max_in_flight_bytes(max)).with_clock(Arc::new(clock.clone()));
    let server = Server::serve(services).await;
    let contents = noise(3 << 20);
    let channel = server.connect().await;
    store(&channel, &contents).await;
    let mut unread = Vec::new();
    for method in ["BatchReadBlobs", "Read"] {
        let request = match method {
            "Read" => {
                bs::ReadRequest { resource_name: crate::stack::read_name(&sha256(&contents)), ..Default::default() }
                    .encode_to_vec()
            }
            _ => batch_read_of(&contents).encode_to_vec(),
        };
        let connection = connect_without_window(&server).await;
        for _ in 0..4 {
            unread.push(leave_unread(&connection, &storage_path(method), request.clone()).await);
        }
    }
    server.until("answers", |services| services.snapshot().open_calls == 8).await;
    assert_eq!(server.services.snapshot().in_flight_bytes, 4 * (3 << 20));
    all_goes_on(&channel, 0).await;
    let mut waited = Duration::ZERO;
    while server.services.snapshot().open_calls > 0 {
        assert!(waited < MINUTE * 1000, "{:?}", server.services.snapshot());
        clock.advance(MINUTE / 2);
        waited += MINUTE / 2;
        tokio::task::yield_now().await;
        drop(read(&mut StreamClient::new(channel.clone()), &sha256(b"none")).await);
    }
    assert!(waited >= MINUTE);
    for answer in unread {
        assert!(answer.into_body().collect().await.is_err(), "it is cut");
    }
    server.until_quiet().await;
    server.stop().await;
}

#[tokio::test]
async fn answers_that_nobody_reads_do_not_keep_others_from_reading() {
    let clock = ManualClock::new();
    let options = ServiceOptions::default().with_max_in_flight_bytes(16 << 20);
    let server = Server::serve(services(options).with_clock(Arc::new(clock.clone()))).await;
    let contents = noise(3 << 20);
    let channel = server.connect().await;
    store(&channel, &contents).await;
    let mut unread = Vec::new();
    for _ in 0..2 {
        let connection = connect_without_window(&server).await;
        let request = batch_read_of(&contents).encode_to_vec();
        unread.push(leave_unread(&connection, &storage_path("BatchReadBlobs"), request).await);
    }
    let (mut client, request) = (CasClient::new(channel.clone()), batch_read_of(&contents));
    let mut reading = tokio::spawn(async move { client.batch_read_blobs(request).await.unwrap() });
    let mut waited = Duration::ZERO;
    let answer = loop {
        if let Some(answer) = (&mut reading).now_or_never() {
            break answer.unwrap().into_inner();
        }
        assert!(waited < MINUTE * 1000, "{:?}", server.services.snapshot());
        all_goes_on(&channel, 1).await;
        clock.advance(Duration::from_millis(500));
        waited += Duration::from_millis(500);
    };
    assert_eq!(answer.responses.first().unwrap().data, contents);
    drop((unread, answer));
    server.until_quiet().await;
    server.stop().await;
}

#[tokio::test]
async fn more_results_with_inlined_contents_than_there_is_memory_for_all_end() {
    let server = Server::start(ServiceOptions::default().with_max_in_flight_bytes(8 << 20)).await;
    let channel = server.connect().await;
    let contents = noise(1 << 20);
    store(&channel, &contents).await;
    let action = Some(to_proto(&sha256(b"action")));
    let result = re::ActionResult {
        stdout_raw: contents.clone().into(),
        stderr_digest: Some(to_proto(&sha256(&contents))),
        ..Default::default()
    };
    let update = re::UpdateActionResultRequest {
        action_digest: action.clone(),
        action_result: Some(result),
        ..Default::default()
    };
    AcClient::new(channel.clone()).update_action_result(update).await.unwrap();
    let get = re::GetActionResultRequest { action_digest: action, inline_stderr: true, ..Default::default() };
    let channels = [channel, server.connect().await, server.connect().await];
    let calls = channels.iter().cycle().take(30).map(|channel| {
        let (mut cache, get) = (AcClient::new(channel.clone()).max_decoding_message_size(8 << 20), get.clone());
        async move { cache.get_action_result(get).await.unwrap().into_inner() }
    });
    for answer in future::join_all(calls).await {
        assert_eq!(answer.stdout_raw, contents);
        assert!(answer.stderr_raw.is_empty() || answer.stderr_raw == contents, "it is whole or left out");
    }
    server.until_quiet().await;
    server.stop().await;
}

#[tokio::test]
async fn roots_of_trees_that_nobody_reads_count() {
    let max = 16 << 20;
    let server = Server::start(ServiceOptions::default().with_max_in_flight_bytes(max)).await;
    let channel = server.connect().await;
    let file = re::FileNode { name: "x".repeat(3 << 20), ..Default::default() };
    let root = re::Directory { files: vec![file], ..Default::default() }.encode_to_vec();
    let empty = re::Directory { files: vec![re::FileNode::default(); 1 << 20], ..Default::default() }.encode_to_vec();
    let tree_of = |root: &[u8]| re::GetTreeRequest { root_digest: Some(to_proto(&sha256(root))), ..Default::default() };
    for root in [&root, &empty] {
        store(&channel, root).await;
    }
    // A million entries of two bytes are more than all there is.
    let status = CasClient::new(channel.clone()).get_tree(tree_of(&empty)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let unread = connect_without_window(&server).await;
    let unread = leave_unread(&unread, &storage_path("GetTree"), tree_of(&root).encode_to_vec()).await;
    let held = server.services.snapshot().in_flight_bytes;
    assert!(held >= 3 << 20, "{held} bytes are held");
    all_goes_on(&channel, 0).await;
    let mut pages = CasClient::new(channel).get_tree(tree_of(&root)).await.unwrap().into_inner();
    let page = pages.message().await.unwrap().unwrap();
    assert_eq!(page.directories.first().unwrap().files.len(), 1);
    drop((unread, pages));
    server.until_quiet().await;
    server.stop().await;
}

#[tokio::test]
async fn a_connection_does_not_take_all_calls() {
    let server = Server::start(ServiceOptions::default().with_max_open_calls(64)).await;
    let greedy = server.connect().await;
    let calls: Vec<_> = (0..100).map(|_| begin(greedy.clone(), &storage_path("Write"), Vec::new())).collect();
    server.until("calls", |services| services.snapshot().refused_calls >= 100 - 32).await;
    assert_eq!(server.services.snapshot().open_calls, 32, "half of what there is");
    all_goes_on(&server.connect().await, 0).await;
    calls.iter().for_each(JoinHandle::abort);
    server.until_quiet().await;
    server.stop().await;
}

#[tokio::test]
async fn an_upload_ends_as_soon_as_another_has_stored_the_blob() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    for kib in [1, 3000] {
        let contents = noise(kib << 10);
        let digest = sha256(&contents);
        let frame = zstd::bulk::compress(&contents, 1).unwrap();
        let plain = messages(&write_name(&digest), &contents, 300);
        let compressed = messages(&zstd_name(&digest), &frame, 200);
        let mut slow = Vec::new();
        for uploaded in [&plain, &plain, &plain, &compressed] {
            let begun = stream::iter(uploaded.get(..2).unwrap().to_vec());
            let rest = uploaded.get(2..).unwrap().to_vec();
            let (go, told) = tokio::sync::oneshot::channel::<()>();
            let rest = async move { told.await.map_or_else(|_| Vec::new(), |()| rest) };
            let uploaded = begun.chain(rest.into_stream().flat_map(stream::iter));
            let mut client = StreamClient::new(server.connect().await);
            slow.push((go, tokio::spawn(async move { client.write(uploaded).await })));
        }
        server.until("uploads", |services| services.snapshot().open_calls == 4).await;
        write(&mut StreamClient::new(channel.clone()), plain.clone()).await.unwrap();
        let (go, compressed) = slow.pop().unwrap();
        for (_go, upload) in slow {
            assert_eq!(upload.await.unwrap().unwrap().into_inner().committed_size, size(&digest));
        }
        assert!(!compressed.is_finished(), "it is read to its end first");
        go.send(()).unwrap();
        let committed = compressed.await.unwrap().unwrap().into_inner().committed_size;
        assert_eq!(usize::try_from(committed).unwrap(), frame.len());
    }
    server.until_quiet().await;
    server.stop().await;
}

#[tokio::test]
async fn a_store_that_is_slow_is_no_silence_of_the_client() {
    let clock = ManualClock::new();
    let paused = Arc::new(PausedStore::new(MemoryStore::<Cas>::new(1 << 20)));
    let services = services_over(Arc::<PausedStore<_>>::clone(&paused), ServiceOptions::default());
    let server = Server::serve(services.with_clock(Arc::new(clock.clone()))).await;
    let channel = server.connect().await;
    let contents = noise(100_000);
    let mut client = CasClient::new(channel.clone());
    let upload = batch_of(&contents);
    let storing = tokio::spawn(async move { client.batch_update_blobs(upload).await });
    paused.until_waiting(1).await;
    for _ in 0..10 {
        clock.advance(MINUTE);
        tokio::task::yield_now().await;
    }
    paused.release_all();
    let answer = storing.await.unwrap().unwrap().into_inner();
    assert_eq!(answer.responses.first().unwrap().status.as_ref().map(|status| status.code), Some(0));
    server.stop().await;
}
