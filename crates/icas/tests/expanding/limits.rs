//! Limits of time and of size.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{BlobAccess, BlobAccessExt, Clock, Compressor, Context, ErrorKind};
use blobaccess_icas::Reference;
use blobaccess_testkit::{ManualClock, Numbers, digest_of};
use futures::TryStreamExt;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::server::{Answer, Server};
use crate::{deflated, options, read_by, refer, store, zstd_compressed};

const SECOND: Duration = Duration::from_secs(1);

/// Advances the time by `step` and does `then` whenever somebody waits, until `task` has finished.
async fn advance_until_finished<T>(clock: &ManualClock, task: &JoinHandle<T>, step: Duration, then: impl Fn()) {
    while !task.is_finished() {
        if clock.sleepers() > 0 {
            clock.advance(step);
            then();
        }
        // What was sent meanwhile may arrive.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_after_the_timeout() {
    let server = Server::answering(Answer::default().hang()).await;
    let clock = ManualClock::new();
    let store = Arc::new(store(options(&server).with_answer_timeout(5 * SECOND)).with_clock(Arc::new(clock.clone())));
    let digest = digest_of("hello");
    refer(&store, &digest, &Reference::http(server.url("/a"))).await;
    let get = tokio::spawn({
        let (store, digest) = (Arc::clone(&store), digest.clone());
        async move { store.get(&Context::background(), &digest).await.map(drop) }
    });
    clock.until_sleepers(1).await;
    clock.advance(4 * SECOND);
    assert!(!get.is_finished());
    clock.advance(SECOND);
    let error = get.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    assert!(error.to_string().contains("did not answer for 5s"), "{error}");
    assert_eq!(clock.sleepers(), 0);
}

#[tokio::test]
async fn the_deadline_of_the_call_ends_it_earlier() {
    let server = Server::answering(Answer::default().hang()).await;
    let clock = ManualClock::new();
    let store = Arc::new(store(options(&server)).with_clock(Arc::new(clock.clone())));
    let digest = digest_of("hello");
    refer(&store, &digest, &Reference::http(server.url("/a"))).await;
    let ctx = Context::background().with_deadline(clock.monotonic() + 3 * SECOND);
    let get = tokio::spawn({
        let (store, digest) = (Arc::clone(&store), digest.clone());
        async move { store.get(&ctx, &digest).await.map(drop) }
    });
    clock.until_sleepers(1).await;
    clock.advance(3 * SECOND);
    let error = get.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    assert!(error.to_string().contains("deadline of the call"), "{error}");
}

#[tokio::test]
async fn a_server_that_stops_sending_is_given_up_and_a_slow_reader_is_not() {
    let contents = Numbers::new(1).bytes(100_000);
    let gate = Arc::new(Semaphore::new(0));
    let (first, second) = contents.split_at(50_000);
    let answer = Answer::head("200 OK\nContent-Length: 100000").send(first.to_vec()).wait(&gate).send(second.to_vec());
    let server = Server::answering(answer).await;
    let clock = ManualClock::new();
    let store = store(options(&server).with_idle_timeout(5 * SECOND)).with_clock(Arc::new(clock.clone()));
    let digest = digest_of(&contents);
    refer(&store, &digest, &Reference::http(server.url("/a"))).await;

    // The reader takes its time, which does not count.
    let mut stream = store.get(&Context::background(), &digest).await.unwrap().into_stream(..).unwrap();
    let mut read = stream.try_next().await.unwrap().unwrap().len();
    clock.advance(Duration::from_hours(24));
    gate.add_permits(1);
    while let Some(piece) = stream.try_next().await.unwrap() {
        read += piece.len();
    }
    assert_eq!(read, 100_000);

    let reading = tokio::spawn(store.get(&Context::background(), &digest).await.unwrap().into_bytes(u64::MAX));
    advance_until_finished(&clock, &reading, 5 * SECOND, || ()).await;
    let error = reading.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    assert!(error.to_string().contains("sent nothing for 5s"), "{error}");
}

#[tokio::test]
async fn a_server_that_sends_a_byte_now_and_then_is_given_up_at_last() {
    let gate = Arc::new(Semaphore::new(0));
    let answer = Answer::head("200 OK\nContent-Length: 11");
    let answer = b"hello world".iter().fold(answer, |answer, byte| answer.wait(&gate).send(vec![*byte]));
    let server = Server::answering(answer).await;
    let clock = ManualClock::new();
    let options = options(&server).with_idle_timeout(5 * SECOND).with_total_timeout(10 * SECOND);
    let store = store(options).with_clock(Arc::new(clock.clone()));
    let digest = digest_of("hello world");
    refer(&store, &digest, &Reference::http(server.url("/a"))).await;
    let reading = tokio::spawn(store.get(&Context::background(), &digest).await.unwrap().into_bytes(u64::MAX));
    advance_until_finished(&clock, &reading, 4 * SECOND, || gate.add_permits(1)).await;
    let error = reading.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    assert!(error.to_string().contains("waited for 10s altogether"), "{error}");
}

#[tokio::test]
async fn a_dropped_get_and_a_dropped_blob_close_their_connections() {
    let gate = Arc::new(Semaphore::new(0));
    let answer = Answer::head("200 OK\nContent-Length: 5").send("he").wait(&gate).send("llo");
    let server = Server::answering(answer).await;
    let store = store(options(&server));
    let digest = digest_of("hello");
    refer(&store, &digest, &Reference::http(server.url("/a"))).await;
    let blob = store.get(&Context::background(), &digest).await.unwrap();
    drop(blob);
    // The next get needs a connection of its own.
    gate.add_permits(2);
    assert_eq!(store.get_bytes(&Context::background(), &digest, 5).await.unwrap(), "hello");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_bomb_is_found_out_at_the_first_byte_too_many() {
    for (compressor, packed) in
        [(Compressor::Zstd, zstd_compressed(&vec![0; 64 << 20])), (Compressor::Deflate, deflated(&vec![0; 64 << 20]))]
    {
        let server = Server::having(packed).await;
        let reference = Reference::http(server.url("/a")).with_compressor(compressor);
        let error = read_by(&store(options(&server)), "hello", reference).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
        assert!(error.to_string().contains("at least"), "{error}");
    }
}

#[tokio::test]
async fn compressed_streams_without_contents_end_at_the_limit() {
    // Skippable frames, whose contents no decoder returns, for ever.
    let frame = [vec![0x50, 0x2a, 0x4d, 0x18, 0, 0, 1, 0], vec![0; 1 << 16]].concat();
    let chunk = [format!("{:x}\r\n", frame.len()).into_bytes(), frame, b"\r\n".to_vec()].concat();
    let answer =
        (0..100).fold(Answer::head("200 OK\nTransfer-Encoding: chunked"), |answer, _| answer.send(chunk.clone()));
    let server = Server::answering(answer).await;
    let reference = Reference::http(server.url("/a")).with_compressor(Compressor::Zstd);
    let error = read_by(&store(options(&server)), "hello", reference).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
    assert!(error.to_string().contains("more than 1048656 bytes"), "{error}");
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let server = Server::having("hello").await;
    let limited = store(options(&server).with_max_source_bytes(4));
    let reference = Reference::http(server.url("/a"));
    let error = read_by(&limited, "hello", reference.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
    assert!(error.to_string().contains("source is 5 bytes; the maximum is 4"), "{error}");
    assert_eq!(server.requests().len(), 0);
    // Of a compressed source, the reference or the server says how large it is.
    for window in [(0, 5), (0, 0)] {
        let reference = reference.clone().with_range(window.0, window.1).with_compressor(Compressor::Zstd);
        let error = read_by(&limited, format!("{window:?}"), reference).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
    }
    assert_eq!(server.requests().len(), 1);

    let small = store(options(&server).with_max_reference_bytes(10));
    let error = read_by(&small, "hello", reference).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
}

#[tokio::test]
async fn a_server_is_read_no_faster_than_its_reader() {
    const PIECE: usize = 1 << 20;
    let sent = Arc::new(Semaphore::new(0));
    let (pieces, counted) = (64, Arc::clone(&sent));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", pieces * PIECE);
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..pieces {
            if stream.write_all(&vec![7; PIECE]).await.is_err() {
                return;
            }
            counted.add_permits(1);
        }
    });
    let hosts = blobaccess_icas::AllowedHosts::none().with_host(&address.to_string()).unwrap();
    let store = store(blobaccess_icas::ExpandingOptions::new(hosts));
    let digest = digest_of(vec![7; pieces * PIECE]);
    refer(&store, &digest, &Reference::http(format!("http://{address}/a"))).await;
    let mut stream = store.get(&Context::background(), &digest).await.unwrap().into_stream(..).unwrap();
    let first = stream.try_next().await.unwrap().unwrap().len();
    // The server goes on for as long as the kernel's buffers take it, however often it is polled.
    let mut last = usize::MAX;
    let mut rounds = 0;
    while last != sent.available_permits() && rounds < 1000 {
        last = sent.available_permits();
        rounds += 1;
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }
    assert!(last < pieces / 2, "{last} MiB of {pieces} were sent to a reader of {first} bytes");
    drop(stream);
    serving.await.unwrap();
}
