//! Large blobs are read as streams, which are gone on with where they break.

use std::time::Duration;

use blobaccess::{Blob, BlobAccess as _, Clock as _, Compressor, Context, ErrorKind, SystemClock};
use blobaccess_proto::bytestream::ReadResponse;
use futures::StreamExt as _;
use tonic::{Response, Status};

use crate::fake::{Fake, Log, digest, noise, options, poll_settled, reads};

const SIZE: usize = 300_000;

async fn whole(blob: Blob) -> blobaccess::Result<Vec<u8>> {
    blob.into_bytes(1 << 20).await.map(|bytes| bytes.to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_large_blob_comes_in_pieces_under_its_resource_name() {
    let fake = Fake::new();
    let asked = Log::new();
    let log = asked.clone();
    fake.on_read(move |request| {
        let header = request.metadata().get("build.bazel.remote.execution.v2.resource-name").cloned();
        log.add((request.get_ref().clone(), header.unwrap().to_str().unwrap().to_owned()));
        async move { reads(noise(SIZE).chunks(70_000).map(|piece| Ok(piece.to_vec()))) }
    });
    let digest = digest(&noise(SIZE));
    let blob = fake.remote().cas().get(&Context::background(), &digest).await.unwrap();
    assert_eq!(whole(blob).await.unwrap(), noise(SIZE));
    let (request, header) = asked.take().pop().unwrap();
    assert_eq!(request.resource_name, format!("main/blobs/{}/{SIZE}", digest.hash()));
    assert_eq!((request.read_offset, request.read_limit), (0, 0));
    assert_eq!(header, request.resource_name);
}

#[tokio::test(start_paused = true)]
async fn absence_is_told_by_the_get_even_if_it_comes_within_the_stream() {
    let fake = Fake::new();
    let cas = fake.remote().cas();
    let ctx = Context::background();
    fake.on_read(|_| async { Err(Status::not_found("none")) });
    assert!(cas.get(&ctx, &digest(&noise(SIZE))).await.unwrap_err().is_not_found());
    fake.on_read(|_| async { reads([Err(Status::not_found("none"))]) });
    assert!(cas.get(&ctx, &digest(&noise(SIZE))).await.unwrap_err().is_not_found());
}

#[tokio::test(start_paused = true)]
async fn what_vanishes_while_it_is_read_is_not_absent() {
    let fake = Fake::new();
    fake.on_read(|_| async { reads([Ok(noise(1000)), Err(Status::not_found("evicted"))]) });
    let blob = fake.remote().cas().get(&Context::background(), &digest(&noise(SIZE))).await.unwrap();
    assert_eq!(whole(blob).await.unwrap_err().kind(), ErrorKind::Aborted);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_is_gone_on_with_where_it_broke() {
    let fake = Fake::new();
    let offsets = Log::new();
    let log = offsets.clone();
    fake.on_read(move |request| {
        let offset = usize::try_from(request.get_ref().read_offset).unwrap();
        let attempt = log.add(offset);
        async move {
            match attempt {
                1 | 3 => reads([Ok(noise(SIZE)[offset..offset + 100_000].to_vec()), Err(Status::unavailable("gone"))]),
                2 => Err(Status::unavailable("still gone")),
                _ => reads([Ok(noise(SIZE)[offset..].to_vec())]),
            }
        }
    });
    let remote = fake.remote();
    let blob = remote.cas().get(&Context::background(), &digest(&noise(SIZE))).await.unwrap();
    assert_eq!(whole(blob).await.unwrap(), noise(SIZE));
    assert_eq!(offsets.take(), [0, 100_000, 100_000, 200_000]);
    assert_eq!(remote.snapshot().resumed_reads, 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stays_broken_fails_after_the_attempts_that_were_granted() {
    let fake = Fake::new();
    let attempts = Log::new();
    let log = attempts.clone();
    fake.on_read(move |request| {
        log.add(());
        let begins = request.get_ref().read_offset == 0;
        async move {
            if begins {
                reads([Ok(noise(1000)), Err(Status::unavailable("gone"))])
            } else {
                Err(Status::unavailable("gone"))
            }
        }
    });
    let blob = fake.remote().cas().get(&Context::background(), &digest(&noise(SIZE))).await.unwrap();
    assert_eq!(whole(blob).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(attempts.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn other_failures_within_a_stream_are_passed_on() {
    let fake = Fake::new();
    fake.on_read(|_| async { reads([Ok(noise(1000)), Err(Status::data_loss("rotten"))]) });
    let blob = fake.remote().cas().get(&Context::background(), &digest(&noise(SIZE))).await.unwrap();
    let error = whole(blob).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::DataLoss, "rotten"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_early_or_says_something_else_is_data_loss() {
    for wrong in [noise(SIZE - 1), vec![0; SIZE], noise(SIZE + 1)] {
        let fake = Fake::new();
        fake.on_read(move |_| {
            let wrong = wrong.clone();
            async move { reads([Ok(wrong)]) }
        });
        let blob = fake.remote().cas().get(&Context::background(), &digest(&noise(SIZE))).await.unwrap();
        assert_eq!(whole(blob).await.unwrap_err().kind(), ErrorKind::DataLoss);
    }
}

#[tokio::test(start_paused = true)]
async fn a_compressed_stream_is_asked_for_where_offered_and_can_be_passed_on() {
    let fake = Fake::new();
    fake.offer_zstd();
    let names = Log::new();
    let log = names.clone();
    let frame = zstd::bulk::compress(&noise(SIZE), 1).unwrap();
    let sent = frame.clone();
    fake.on_read(move |request| {
        log.add(request.get_ref().resource_name.clone());
        let pieces: Vec<_> = sent.chunks(1000).map(|piece| Ok(piece.to_vec())).collect();
        async move { reads(pieces) }
    });
    let cas = fake.remote().cas();
    let ctx = Context::background();
    let digest = digest(&noise(SIZE));
    let blob = cas.get(&ctx, &digest).await.unwrap();
    assert_eq!(whole(blob).await.unwrap(), noise(SIZE));
    let encoded = cas.get(&ctx, &digest).await.unwrap().into_encoded(&[Compressor::Zstd]).unwrap();
    let pieces: Vec<_> = encoded.map(|piece| piece.unwrap().to_vec()).collect().await;
    assert!(pieces.concat() == frame);
    assert!(names.take().iter().all(|name| name.starts_with("main/compressed-blobs/zstd/")));

    let (plain, _) = fake.connect(options().with_compression_level(None));
    fake.on_read(|request| async move {
        assert!(request.get_ref().resource_name.starts_with("main/blobs/"));
        reads([Ok(noise(SIZE))])
    });
    assert_eq!(whole(plain.cas().get(&ctx, &digest).await.unwrap()).await.unwrap(), noise(SIZE));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_say_what_it_can_do_is_streamed_from_as_it_is() {
    let fake = Fake::new();
    let asked = Log::new();
    let log = asked.clone();
    fake.on_capabilities(move |_| {
        log.add(());
        async { Err(Status::unimplemented("what?")) }
    });
    fake.on_read(|request| async move {
        assert!(request.get_ref().resource_name.starts_with("main/blobs/"));
        reads([Ok(b"hello".to_vec())])
    });
    let cas = fake.remote().cas();
    let ctx = Context::background();
    for _ in 0..3 {
        assert_eq!(whole(cas.get(&ctx, &digest(b"hello")).await.unwrap()).await.unwrap(), b"hello");
    }
    assert_eq!(asked.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_server_is_asked_again_after_its_lifetime() {
    let fake = Fake::new();
    let asked = Log::new();
    let log = asked.clone();
    fake.on_capabilities(move |_| {
        log.add(());
        let cache_capabilities = Some(blobaccess_proto::remote_execution::CacheCapabilities::default());
        async move {
            Ok(Response::new(blobaccess_proto::remote_execution::ServerCapabilities {
                cache_capabilities,
                ..Default::default()
            }))
        }
    });
    fake.on_read(|_| async { reads([Ok(noise(SIZE))]) });
    let (remote, _) = fake.connect(options().with_capabilities_lifetime(Duration::from_secs(10)));
    let cas = remote.cas();
    let (ctx, digest) = (Context::background(), digest(&noise(SIZE)));
    let (a, b) = futures::join!(cas.get(&ctx, &digest), cas.get(&ctx, &digest));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(asked.len(), 1);
    tokio::time::advance(Duration::from_secs(11)).await;
    cas.get(&ctx, &digest).await.unwrap();
    assert_eq!(asked.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_is_given_up() {
    let fake = Fake::new();
    let (remote, _) = fake.connect(options().with_silence_timeout(Duration::from_secs(3)));
    fake.on_read(|_| async {
        let first = futures::stream::iter([Ok(ReadResponse { data: noise(1000).into() })]);
        Ok(Response::new(first.chain(futures::stream::pending()).boxed()))
    });
    let ctx = Context::background();
    let blob = remote.cas().get(&ctx, &digest(&noise(SIZE))).await.unwrap();
    let start = SystemClock.monotonic();
    assert_eq!(whole(blob).await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(SystemClock.monotonic().duration_since(start).as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_dropped_ends_at_the_server() {
    let fake = Fake::new();
    let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
    let alive = std::sync::Mutex::new(Some(alive));
    fake.on_read(move |_| {
        let held = alive.lock().unwrap().take();
        async move {
            let first = futures::stream::iter([Ok(ReadResponse { data: noise(1000).into() })]);
            let rest = futures::stream::pending().map(move |never: Result<_, _>| {
                let _held = &held;
                never
            });
            Ok(Response::new(first.chain(rest).boxed()))
        }
    });
    let blob = fake.remote().cas().get(&Context::background(), &digest(&noise(SIZE))).await.unwrap();
    assert!(poll_settled(&mut Box::pin(gone.recv())).await.is_none());
    drop(blob);
    assert_eq!(poll_settled(&mut Box::pin(gone.recv())).await, Some(None));
}
