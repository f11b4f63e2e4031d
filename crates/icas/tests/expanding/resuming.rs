//! Reading goes on where an answer was cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use blobaccess::{Compressor, ErrorKind};
use blobaccess_icas::Reference;
use blobaccess_testkit::Numbers;

use crate::server::{Answer, Request, Server};
use crate::{options, read_by, store, zstd_compressed};

/// Starts a server that cuts the first `cuts` answers after about a third, and has further `headers`.
async fn cutting_server(contents: Vec<u8>, cuts: usize, headers: &'static str) -> Server {
    let answered = AtomicUsize::new(0);
    Server::start(move |request| {
        if answered.fetch_add(1, Ordering::Relaxed) >= cuts {
            return Answer::file_with(request, &contents, headers);
        }
        cut(request, &contents, headers)
    })
    .await
}

/// Answers with the head that a good server sends, and a third of the body.
fn cut(request: &Request, contents: &[u8], headers: &str) -> Answer {
    let range = request.header("range").map(|range| range.strip_prefix("bytes=").unwrap().split_once('-').unwrap());
    let first: usize = range.map_or(0, |(first, _)| first.parse().unwrap());
    let end = range.and_then(|(_, last)| last.parse().ok()).map_or(contents.len(), |last: usize| last + 1);
    let status = match range {
        Some(_) => format!("206 Partial Content\nContent-Range: bytes {first}-{}/{}", end - 1, contents.len()),
        None => "200 OK".to_owned(),
    };
    let head = format!("{status}\nContent-Length: {}\n{headers}", end - first);
    Answer::head(&head).send(contents[first..first + (end - first) / 3].to_vec()).close()
}

#[tokio::test]
async fn an_answer_that_is_cut_goes_on_with_the_same_version() {
    let contents = Numbers::new(1).bytes(90_000);
    let server = cutting_server(contents.clone(), 2, "ETag: \"one\"").await;
    let store = store(options(&server));
    assert!(read_by(&store, &contents, Reference::http(server.url("/a"))).await.unwrap() == contents);
    let requests = server.requests();
    let asked: Vec<_> = requests.iter().map(|request| (request.header("range"), request.header("if-range"))).collect();
    let one = Some("\"one\"");
    assert_eq!(asked, [(None, None), (Some("bytes=30000-89999"), one), (Some("bytes=50000-89999"), one)]);
    assert_eq!(store.snapshot().resumed, 2);
}

#[tokio::test]
async fn a_part_and_compressed_contents_go_on_too() {
    let contents = Numbers::new(1).bytes(90_000);
    let archive = [b"head".to_vec(), contents.clone(), b"tail".to_vec()].concat();
    let server = cutting_server(archive, 1, "").await;
    let reference = Reference::http(server.url("/a")).with_range(4, 90_000);
    assert!(read_by(&store(options(&server)), &contents, reference).await.unwrap() == contents);
    assert_eq!(server.requests()[1].header("range"), Some("bytes=30004-90003"));

    let server = cutting_server(zstd_compressed(&contents), 2, "").await;
    let reference = Reference::http(server.url("/a")).with_compressor(Compressor::Zstd);
    assert!(read_by(&store(options(&server)), &contents, reference).await.unwrap() == contents);
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_skipped_to_where_reading_stopped() {
    let contents = Numbers::new(1).bytes(90_000);
    let (answered, whole) = (AtomicUsize::new(0), contents.clone());
    let server = Server::start(move |_| {
        let answer = Answer::head("200 OK\nContent-Length: 90000");
        match answered.fetch_add(1, Ordering::Relaxed) {
            0 => answer.send(whole[..40_000].to_vec()).close(),
            _ => answer.send(whole.clone()),
        }
    })
    .await;
    assert!(read_by(&store(options(&server)), &contents, Reference::http(server.url("/a"))).await.unwrap() == contents);
}

#[tokio::test]
async fn an_answer_that_is_cut_too_often_is_an_outage() {
    let contents = Numbers::new(1).bytes(90_000);
    for max in [0, 1, 2] {
        let server = cutting_server(contents.clone(), usize::MAX, "").await;
        let store = store(options(&server).with_max_resumptions(max));
        let error = read_by(&store, &contents, Reference::http(server.url("/a"))).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
        assert_eq!(server.requests().len(), usize::try_from(max).unwrap() + 1);
    }
}

#[tokio::test]
async fn an_answer_without_a_length_that_ends_early_goes_on() {
    let contents = Numbers::new(1).bytes(90_000);
    let (answered, whole) = (AtomicUsize::new(0), contents.clone());
    let server = Server::start(move |request| match answered.fetch_add(1, Ordering::Relaxed) {
        0 => {
            let head = "206 Partial Content\nContent-Range: bytes 0-89999/90000\nConnection: close";
            Answer::head(head).send(whole[..40_000].to_vec()).close()
        }
        _ => Answer::file(request, &whole),
    })
    .await;
    let reference = Reference::http(server.url("/a")).with_range(0, 90_000);
    assert!(read_by(&store(options(&server)), &contents, reference).await.unwrap() == contents);
    assert_eq!(server.requests()[1].header("range"), Some("bytes=40000-89999"));
}

#[tokio::test]
async fn a_source_that_changes_meanwhile_is_not_pieced_together() {
    let contents = Numbers::new(1).bytes(90_000);
    for later in ["206", "200", "404", "500"] {
        let (answered, whole) = (AtomicUsize::new(0), contents.clone());
        let server = Server::start(move |request| match answered.fetch_add(1, Ordering::Relaxed) {
            0 => cut(request, &whole, "ETag: \"one\""),
            _ if later == "206" => Answer::file_with(request, &vec![0; 90_000], "ETag: \"two\""),
            _ if later == "200" => Answer::head("200 OK\nContent-Length: 90000\nETag: \"two\"").send(vec![0; 90_000]),
            _ => Answer::status(later),
        })
        .await;
        let store = store(options(&server).with_gone_is_missing(true));
        let error = read_by(&store, &contents, Reference::http(server.url("/a"))).await.unwrap_err();
        let expected = match later {
            // Absence would come too late: the blob has begun.
            "404" => ErrorKind::DataLoss,
            "500" => ErrorKind::Unavailable,
            _ => ErrorKind::Aborted,
        };
        assert_eq!(error.kind(), expected, "{later}: {error}");
    }
}

#[tokio::test]
async fn a_weak_version_is_no_condition() {
    let contents = Numbers::new(1).bytes(90_000);
    let server = cutting_server(contents.clone(), 1, "ETag: W/\"one\"").await;
    assert!(read_by(&store(options(&server)), &contents, Reference::http(server.url("/a"))).await.unwrap() == contents);
    assert_eq!(server.requests()[1].header("if-range"), None);
}

#[tokio::test]
async fn many_readers_at_once_each_read_all() {
    let contents = Numbers::new(1).bytes(90_000);
    let server = cutting_server(contents.clone(), 5, "").await;
    let store = Arc::new(store(options(&server).with_max_resumptions(5)));
    let readers = (0..8).map(|_| {
        let (store, contents, url) = (Arc::clone(&store), contents.clone(), server.url("/a"));
        tokio::spawn(async move { read_by(&store, &contents, Reference::http(url)).await.unwrap() == contents })
    });
    for reader in futures::future::join_all(readers).await {
        assert!(reader.unwrap());
    }
}
