//! Small blobs travel together, and nobody who leaves strands the others.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{
    Blob, BlobAccess as _, Context, Digest, DigestFunction, ErrorKind, InstanceName, Metadata, PutCertainty,
    PutOutcome, UploadToken,
};
use blobaccess_proto::remote_execution as re;
use futures::FutureExt as _;
use futures::future::join_all;
use tokio::sync::Semaphore;
use tonic::{Code, Response, Status};

use crate::fake::{Fake, Log, digest, options, outcome, poll_settled, proto, settle, status};

fn blob(number: usize) -> Vec<u8> {
    format!("blob {number}").into_bytes()
}

/// Answers a batch of the blobs above.
fn found(request: &re::BatchReadBlobsRequest) -> re::BatchReadBlobsResponse {
    let known: Vec<_> = (0..100).map(blob).collect();
    let responses = request.digests.iter().map(|asked| {
        let data = known.iter().find(|data| proto(&digest(data)).hash == asked.hash);
        re::batch_read_blobs_response::Response {
            digest: Some(asked.clone()),
            data: data.cloned().unwrap_or_default().into(),
            status: if data.is_some() { None } else { Some(status(Code::NotFound)) },
            ..Default::default()
        }
    });
    // The order is up to the server.
    re::BatchReadBlobsResponse { responses: responses.rev().collect() }
}

/// Makes the server's batches wait for a permit each, and returns the sizes of the batches.
fn gated(fake: &Fake) -> (Arc<Semaphore>, Log<usize>) {
    let (gate, sizes) = (Arc::new(Semaphore::new(0)), Log::new());
    let (waiting, log) = (Arc::clone(&gate), sizes.clone());
    fake.on_batch_read(move |request| {
        let (gate, log) = (Arc::clone(&waiting), log.clone());
        async move {
            let request = request.into_inner();
            log.add(request.digests.len());
            gate.acquire().await.unwrap().forget();
            Ok(Response::new(found(&request)))
        }
    });
    (gate, sizes)
}

#[tokio::test(start_paused = true)]
async fn the_first_goes_out_alone_and_what_arrives_meanwhile_forms_the_next_batch() {
    let fake = Fake::new();
    let (gate, sizes) = gated(&fake);
    let remote = fake.remote();
    let cas = remote.cas();
    let ctx = Context::background();
    let get = async |number| cas.get(&ctx, &digest(&blob(number))).await.unwrap().into_bytes(100).await.unwrap();
    let mut all = Box::pin(join_all((0..10).map(get)));
    assert!(poll_settled(&mut all).await.is_none());
    assert_eq!(sizes.take(), [1]);
    gate.add_permits(2);
    let read = all.await;
    assert_eq!(sizes.take(), [9]);
    for (number, contents) in read.iter().enumerate() {
        assert_eq!(*contents, blob(number));
    }
    let snapshot = remote.snapshot();
    assert_eq!((snapshot.read_batches, snapshot.batched_reads), (2, 10));
}

#[tokio::test(start_paused = true)]
async fn one_blob_that_many_want_is_asked_for_once() {
    let fake = Fake::new();
    let (gate, sizes) = gated(&fake);
    let cas = fake.remote().cas();
    let ctx = Context::background();
    gate.add_permits(2);
    let all = join_all((0..20).map(|number| {
        let digest = digest(&blob(number.min(1)));
        let (cas, ctx) = (&cas, &ctx);
        async move { cas.get(ctx, &digest).await.unwrap().into_bytes(100).await.unwrap() }
    }));
    assert!(all.await.iter().skip(1).all(|contents| *contents == blob(1)));
    assert_eq!(sizes.take(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_dropped_is_left_out_and_the_others_go_on() {
    let fake = Fake::new();
    let (gate, sizes) = gated(&fake);
    let cas = fake.remote().cas();
    let ctx = Context::background();
    let digests: Vec<_> = (0..4).map(|number| digest(&blob(number))).collect();
    let mut calls: Vec<_> = digests.iter().map(|digest| cas.get(&ctx, digest).boxed()).collect();
    for call in &mut calls {
        assert!(poll_settled(call).await.is_none());
    }
    drop(calls.remove(2));
    gate.add_permits(2);
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(sizes.take(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_only_waiter_is_dropped_is_given_up_and_the_next_goes_out() {
    let fake = Fake::new();
    let (gate, sizes) = gated(&fake);
    let cas = fake.remote().cas();
    let ctx = Context::background();
    let (a, b) = (digest(&blob(0)), digest(&blob(1)));
    let mut first = cas.get(&ctx, &a).boxed();
    assert!(poll_settled(&mut first).await.is_none());
    drop(first);
    let mut second = cas.get(&ctx, &b).boxed();
    assert!(poll_settled(&mut second).await.is_none());
    assert_eq!(sizes.take(), [1, 1]);
    gate.add_permits(2);
    assert_eq!(second.await.unwrap().into_bytes(100).await.unwrap(), blob(1));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_not_polled_holds_nobody_up() {
    let fake = Fake::new();
    let (gate, _) = gated(&fake);
    let cas = fake.remote().cas();
    let ctx = Context::background();
    let (a, b) = (digest(&blob(0)), digest(&blob(1)));
    let mut idle = cas.get(&ctx, &a).boxed();
    assert!(poll_settled(&mut idle).await.is_none());
    gate.add_permits(2);
    // It is polled no more, but neither dropped; the next one drives its call.
    let mut next = cas.get(&ctx, &b).boxed();
    assert!(poll_settled(&mut next).await.is_some());
    assert_eq!(idle.await.unwrap().into_bytes(100).await.unwrap(), blob(0));
}

#[tokio::test(start_paused = true)]
async fn other_names_functions_and_rights_go_in_other_batches() {
    let fake = Fake::new();
    let asked = Log::new();
    let log = asked.clone();
    fake.on_batch_read(move |request| {
        let user = request.metadata().get("x-user").map(|user| user.to_str().unwrap().to_owned());
        let request = request.into_inner();
        log.add((request.instance_name.clone(), request.digest_function, user, request.digests.len()));
        async move { Err(Status::permission_denied("nobody")) }
    });
    let cas = fake.remote().cas();
    let ctx = Context::background();
    let user = ctx.clone().with_metadata(Metadata::new().with("x-user", b"a".as_slice()));
    let main = digest(b"x");
    let other = main.with_instance_name(InstanceName::new("other").unwrap());
    let blake = Digest::of(main.instance_name().clone(), DigestFunction::Blake3, b"x");
    let calls =
        [(&ctx, &main), (&ctx, &other), (&ctx, &blake), (&user, &main)].map(|(ctx, digest)| cas.get(ctx, digest));
    for result in join_all(calls).await {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    let mut asked = asked.take();
    asked.sort();
    let main = "main".to_owned();
    assert_eq!(
        asked,
        [
            (main.clone(), 1, None, 1),
            (main.clone(), 1, Some("a".to_owned()), 1),
            (main, 9, None, 1),
            ("other".to_owned(), 1, None, 1),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_no_larger_than_the_server_takes_and_a_full_one_does_not_wait() {
    let fake = Fake::new();
    fake.offer(re::CacheCapabilities { max_batch_total_size_bytes: 1000, ..Default::default() });
    let (gate, sizes) = gated(&fake);
    let cas = fake.remote().cas();
    let ctx = Context::background();
    let get = async |number| cas.get(&ctx, &digest(&blob(number))).await.map(drop);
    let mut all = Box::pin(join_all((0..13).map(get)));
    assert!(poll_settled(&mut all).await.is_none());
    // Each costs 6 or 7 bytes and 192 of names: five fit.
    assert_eq!(sizes.take(), [1, 5, 5]);
    gate.add_permits(100);
    assert!(all.await.iter().all(Result::is_ok));
    assert_eq!(sizes.take(), [2]);
}

#[tokio::test(start_paused = true)]
async fn what_is_absent_is_not_found_and_what_is_left_out_of_an_answer_is_not() {
    let fake = Fake::new();
    let (gate, _) = gated(&fake);
    gate.add_permits(100);
    let cas = fake.remote().cas();
    let ctx = Context::background();
    let error = cas.get(&ctx, &digest(b"unknown")).await.unwrap_err();
    assert!(error.is_not_found() && error.message().contains(&digest(b"unknown").to_string()), "{error}");
    fake.on_batch_read(|_| async { Ok(Response::new(re::BatchReadBlobsResponse::default())) });
    assert_eq!(cas.get(&ctx, &digest(b"x")).await.unwrap_err().kind(), ErrorKind::Internal);
    fake.on_batch_read(|_| async { Err(Status::not_found("no such instance")) });
    assert_eq!(cas.get(&ctx, &digest(b"x")).await.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test(start_paused = true)]
async fn wrong_contents_are_data_loss() {
    let fake = Fake::new();
    fake.on_batch_read(|request| async move {
        let digest = request.into_inner().digests.pop();
        let response = re::batch_read_blobs_response::Response { digest, data: "hellO".into(), ..Default::default() };
        Ok(Response::new(re::BatchReadBlobsResponse { responses: vec![response] }))
    });
    let blob = fake.remote().cas().get(&Context::background(), &digest(b"hello")).await.unwrap();
    assert_eq!(blob.into_bytes(100).await.unwrap_err().kind(), ErrorKind::DataLoss);
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_time_is_up_leaves_and_the_batch_goes_on() {
    let fake = Fake::new();
    let (gate, _) = gated(&fake);
    let cas = fake.remote().cas();
    let ctx = Context::background();
    let clock = blobaccess::SystemClock;
    let soon = ctx.clone().with_deadline(blobaccess::Clock::monotonic(&clock) + Duration::from_secs(1));
    let (a, b, c) = (digest(&blob(0)), digest(&blob(1)), digest(&blob(2)));
    let (first, second) = (cas.get(&soon, &a), cas.get(&ctx, &b));
    let release = async {
        settle().await;
        tokio::time::advance(Duration::from_secs(2)).await;
        gate.add_permits(10);
    };
    let (first, second, ()) = futures::join!(first, second, release);
    assert_eq!(first.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(second.unwrap().into_bytes(100).await.unwrap(), blob(1));
    cas.get(&ctx, &c).await.unwrap();
}

/// Answers a batch of puts with `result` for each.
fn stored(
    request: &re::BatchUpdateBlobsRequest,
    result: Result<PutOutcome, Code>,
) -> Response<re::BatchUpdateBlobsResponse> {
    let responses = request.requests.iter().map(|put| re::batch_update_blobs_response::Response {
        digest: put.digest.clone(),
        status: result.err().map(status),
        outcome: result.ok().map(outcome),
    });
    Response::new(re::BatchUpdateBlobsResponse { responses: responses.collect() })
}

const CREATED: PutOutcome = PutOutcome::Created { stored_bytes: 5 };
const EXISTS: PutOutcome = PutOutcome::AlreadyExists { stored_bytes: 5 };

#[tokio::test(start_paused = true)]
async fn of_equal_puts_in_one_batch_one_is_created() {
    let fake = Fake::new();
    let created = Log::new();
    fake.on_batch_update(move |request| {
        let first = created.add(()) == 1;
        let asked = request.metadata().get("blobaccess-outcome").is_some();
        assert!(asked);
        async move { Ok(stored(request.get_ref(), Ok(if first { EXISTS } else { CREATED }))) }
    });
    let cas = fake.remote().cas();
    let ctx = Context::background();
    let digest = digest(b"hello");
    let outcomes = join_all((0..9).map(|_| cas.put(&ctx, &digest, Blob::from_bytes("hello")))).await;
    let created = outcomes.iter().filter(|outcome| outcome.as_ref().is_ok_and(|outcome| *outcome == CREATED)).count();
    let existing = outcomes.iter().filter(|outcome| outcome.as_ref().is_ok_and(|outcome| *outcome == EXISTS)).count();
    assert_eq!((created, existing), (1, 8));
}

#[tokio::test(start_paused = true)]
async fn puts_with_tokens_of_their_own_travel_together_and_each_is_told_its_own_outcome() {
    let fake = Fake::new();
    let (calls, tokens) = (Log::new(), Log::new());
    let (counted, log) = (calls.clone(), tokens.clone());
    let names = std::sync::Mutex::new(std::collections::BTreeSet::new());
    fake.on_batch_update(move |request| {
        counted.add(());
        assert!(
            request.get_ref().requests.len() == 1 || !request.metadata().contains_key("blobaccess-upload-token-bin")
        );
        let responses = request.get_ref().requests.iter().map(|put| {
            // The first upload of a blob creates it.
            let name = put.digest.clone().unwrap().hash;
            let is_there = !names.lock().unwrap().insert(name);
            log.add(put.upload_token.to_vec());
            re::batch_update_blobs_response::Response {
                digest: put.digest.clone(),
                status: None,
                outcome: Some(outcome(if is_there { EXISTS } else { CREATED })),
            }
        });
        let answer = re::BatchUpdateBlobsResponse { responses: responses.collect() };
        async move { Ok(Response::new(answer)) }
    });
    let cas = fake.remote().cas();
    let puts = (0..1000_u32).map(|number| {
        // Every blob is put twice.
        let contents = (number / 2).to_le_bytes();
        let mut token = [1; 16];
        token[..4].copy_from_slice(&number.to_le_bytes());
        let ctx = Context::background().with_upload_token(UploadToken::from_bytes(token));
        let cas = &cas;
        async move { cas.put(&ctx, &digest(&contents), Blob::from_bytes(contents.to_vec())).await.unwrap() }
    });
    let outcomes = join_all(puts).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == CREATED).count(), 500);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == EXISTS).count(), 500);
    assert!(calls.len() <= 9, "{}", calls.len());
    let tokens: std::collections::BTreeSet<_> = tokens.take().into_iter().collect();
    assert_eq!(tokens.len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_answer_only_created_stands() {
    let cases = [
        (CREATED, CREATED),
        (EXISTS, PutOutcome::Unclassified { stored_bytes: Some(5) }),
        (PutOutcome::Unclassified { stored_bytes: None }, PutOutcome::Unclassified { stored_bytes: None }),
    ];
    for (said, expected) in cases {
        let fake = Fake::new();
        let calls = Log::new();
        fake.on_batch_update(move |request| {
            let first = calls.add(()) == 1;
            async move {
                if first { Err(Status::unavailable("lost")) } else { Ok(stored(request.get_ref(), Ok(said))) }
            }
        });
        let remote = fake.remote();
        let outcome = remote.cas().put(&Context::background(), &digest(b"hello"), Blob::from_bytes("hello")).await;
        assert_eq!(outcome.unwrap(), expected);
        assert_eq!(remote.snapshot().retries, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_refused_leaves_outcomes_as_they_are() {
    let fake = Fake::new();
    fake.on_batch_update(|request| async move { Ok(stored(request.get_ref(), Ok(EXISTS))) });
    let (remote, wire) = fake.connect(options());
    let cas = remote.cas();
    let ctx = Context::background();
    cas.capabilities(&ctx, &InstanceName::new("main").unwrap()).await.unwrap();
    assert_eq!(cas.put(&ctx, &digest(b"hello"), Blob::from_bytes("hello")).await.unwrap(), EXISTS);
    let (remote, wire2) = fake.connect(options());
    drop(wire);
    wire2.refusals.store(2, std::sync::atomic::Ordering::Relaxed);
    // The first asks for capabilities, the second puts, as a stream since nothing is known.
    fake.on_write(|_| async { Err(Status::invalid_argument("reached")) });
    let error = remote.cas().put(&ctx, &digest(b"hello"), Blob::from_bytes("hello")).await.unwrap_err();
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::InvalidArgument, PutCertainty::NotStored));
    assert_eq!(remote.snapshot().retries, 1);
}

#[tokio::test(start_paused = true)]
async fn a_put_of_wrong_contents_is_refused_before_anything_is_sent() {
    let fake = Fake::new();
    let remote = fake.remote();
    let error =
        remote.cas().put(&Context::background(), &digest(b"hello"), Blob::from_bytes("hellO")).await.unwrap_err();
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::InvalidArgument, PutCertainty::NotStored));
    assert_eq!(remote.snapshot().write_batches, 0);
}

#[tokio::test(start_paused = true)]
async fn small_blobs_travel_compressed_where_that_is_offered_and_smaller() {
    let fake = Fake::new();
    fake.offer_zstd();
    let sent = Log::new();
    let log = sent.clone();
    fake.on_batch_update(move |request| {
        for put in &request.get_ref().requests {
            log.add((put.compressor, put.data.clone()));
        }
        async move { Ok(stored(request.get_ref(), Ok(CREATED))) }
    });
    let cas = fake.remote().cas();
    let ctx = Context::background();
    let zeros = vec![0_u8; 10_000];
    cas.put(&ctx, &digest(&zeros), Blob::from_bytes(zeros.clone())).await.unwrap();
    cas.put(&ctx, &digest(b"tiny"), Blob::from_bytes("tiny")).await.unwrap();
    let sent = sent.take();
    assert_eq!(sent[0].0, 1);
    assert_eq!(zstd::bulk::decompress(&sent[0].1, 10_000).unwrap(), zeros);
    assert_eq!(sent[1], (0, "tiny".into()));

    let compressed = sent[0].1.clone();
    fake.on_batch_read(move |request| {
        let data = compressed.clone();
        async move {
            let mut request = request.into_inner();
            assert_eq!(request.acceptable_compressors, [0, 1]);
            let digest = request.digests.pop();
            let response = re::batch_read_blobs_response::Response { digest, data, compressor: 1, status: None };
            Ok(Response::new(re::BatchReadBlobsResponse { responses: vec![response] }))
        }
    });
    let blob = cas.get(&ctx, &digest(&zeros)).await.unwrap();
    assert!(blob.encoding().is_some());
    assert_eq!(blob.into_bytes(1 << 20).await.unwrap(), zeros);
}

#[tokio::test(start_paused = true)]
async fn a_refused_entry_is_refused_alone() {
    let fake = Fake::new();
    fake.on_batch_update(|request| async move {
        let mut response = stored(request.get_ref(), Ok(CREATED));
        let small = proto(&digest(b"bad"));
        for entry in &mut response.get_mut().responses {
            if entry.digest.as_ref() == Some(&small) {
                (entry.status, entry.outcome) = (Some(status(Code::InvalidArgument)), None);
            }
        }
        Ok(response)
    });
    let cas = fake.remote().cas();
    let ctx = Context::background();
    let put =
        async |contents: &'static str| cas.put(&ctx, &digest(contents.as_bytes()), Blob::from_bytes(contents)).await;
    let (_, good, bad) = futures::join!(put("first"), put("good"), put("bad"));
    assert_eq!(good.unwrap(), CREATED);
    let error = bad.unwrap_err();
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::InvalidArgument, PutCertainty::NotStored));
}
