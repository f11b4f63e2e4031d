//! Contents at web servers.

use blobaccess::{BlobAccess, Compressor, Context, ErrorKind};
use blobaccess_icas::Reference;
use blobaccess_testkit::{Numbers, digest_of};
use futures::TryStreamExt;

use crate::server::{Answer, Server};
use crate::{deflated, options, read, read_by, refer, store, zstd_compressed};

#[tokio::test]
async fn the_whole_is_read_without_asking_for_a_range() {
    let server = Server::having("hello").await;
    let store = store(options(&server));
    assert_eq!(read_by(&store, "hello", Reference::http(server.url("/a?b=c"))).await.unwrap(), "hello");
    let [request] = <[_; 1]>::try_from(server.requests()).unwrap();
    assert_eq!(request.path, "/a?b=c");
    assert_eq!(request.header("range"), None);
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert_eq!(request.header("referer").or(request.header("cookie")).or(request.header("authorization")), None);
    assert_eq!(store.snapshot().http_requests, 1);
}

#[tokio::test]
async fn a_part_is_asked_for_as_the_reference_says() {
    let server = Server::having("PK..hello..").await;
    let store = store(options(&server));
    let reference = Reference::http(server.url("/a"));
    assert_eq!(read_by(&store, "hello", reference.clone().with_range(4, 5)).await.unwrap(), "hello");
    assert_eq!(read_by(&store, "hello..", reference.with_range(4, 0)).await.unwrap(), "hello..");
    let ranges: Vec<_> = server.requests().iter().map(|request| request.header("range").unwrap().to_owned()).collect();
    assert_eq!(ranges, ["bytes=4-8", "bytes=4-"]);
    assert_eq!(server.connections(), 1, "a connection whose answer was read is used again");
}

#[tokio::test]
async fn headers_of_the_site_go_along() {
    let server = Server::having("hello").await;
    let store = store(options(&server)).with_http_header("X-Site", b"north").unwrap();
    let store = store.with_http_header("authorization", b"Bearer secret").unwrap();
    let store = store.with_http_header("user-agent", b"site").unwrap();
    assert_eq!(read_by(&store, "hello", Reference::http(server.url("/a"))).await.unwrap(), "hello");
    let [request] = <[_; 1]>::try_from(server.requests()).unwrap();
    assert_eq!(request.header("x-site"), Some("north"));
    assert_eq!(request.header("authorization"), Some("Bearer secret"));
    assert_eq!(request.header("user-agent"), Some("site"));
    assert!(!format!("{store:?}").contains("secret"));
    let refused = [("Range", &b"bytes=0-"[..]), ("accept-encoding", b"gzip"), ("a b", b"c"), ("a", b"c\n")];
    for (name, value) in refused {
        let error = crate::store(options(&server)).with_http_header(name, value).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_read_from_its_beginning() {
    let server = Server::answering(Answer::whole(b"PK..hello..")).await;
    let store = store(options(&server).with_max_skipped_bytes(4));
    let reference = Reference::http(server.url("/a"));
    assert_eq!(read_by(&store, "hello", reference.clone().with_range(4, 5)).await.unwrap(), "hello");
    assert_eq!(read_by(&store, "hello..", reference.clone().with_range(4, 0)).await.unwrap(), "hello..");
    let error = read_by(&store, "ello", reference.with_range(5, 4)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(error.to_string().contains("5 bytes must be skipped; the maximum is 4"), "{error}");
}

#[tokio::test]
async fn a_reader_gets_the_range_that_it_asks_for_of_verified_contents() {
    let contents = Numbers::new(7).bytes(300_000);
    let digest = digest_of(&contents);
    let (plain, packed) = (contents.clone(), zstd_compressed(&contents));
    let server =
        Server::start(move |request| Answer::file(request, if request.path == "/plain" { &plain } else { &packed }))
            .await;
    let store = store(options(&server));
    for reference in [
        Reference::http(server.url("/plain")),
        Reference::http(server.url("/packed")).with_compressor(Compressor::Zstd),
    ] {
        refer(&store, &digest, &reference).await;
        for range in [0..0, 0..1, 5..200_000, 299_999..300_000, 100..u64::MAX] {
            let blob = store.get(&Context::background(), &digest).await.unwrap();
            let pieces: Vec<_> = blob.into_stream(range.clone()).unwrap().try_collect().await.unwrap();
            let end = usize::try_from(range.end).unwrap().min(contents.len());
            assert!(pieces.concat() == contents[usize::try_from(range.start).unwrap()..end], "{range:?}");
        }
    }
}

#[tokio::test]
async fn contents_are_decompressed_as_the_reference_says() {
    let contents = Numbers::new(7).bytes(1000).repeat(100);
    let (zstd, deflate) = (zstd_compressed(&contents), deflated(&contents));
    let lengths = [&zstd, &deflate].map(|bytes| u64::try_from(bytes.len()).unwrap());
    let archive = [b"head".to_vec(), zstd, deflate, b"tail".to_vec()].concat();
    let server = Server::having(archive).await;
    let store = store(options(&server));
    let reference = Reference::http(server.url("/archive"));
    let zstd = reference.clone().with_range(4, lengths[0]).with_compressor(Compressor::Zstd);
    assert!(read_by(&store, &contents, zstd).await.unwrap() == contents);
    let deflate = reference.clone().with_range(4 + lengths[0], lengths[1]).with_compressor(Compressor::Deflate);
    assert!(read_by(&store, &contents, deflate).await.unwrap() == contents);
    // A stream of DEFLATE says where it ends.
    let deflate = reference.clone().with_range(4 + lengths[0], 0).with_compressor(Compressor::Deflate);
    let digest = digest_of(&contents);
    refer(&store, &digest, &deflate).await;
    assert!(read(&store, &digest).await.unwrap() == contents);
    let brotli = read_by(&store, "brotli", reference.with_compressor(Compressor::Brotli)).await.unwrap_err();
    assert_eq!(brotli.kind(), ErrorKind::Unimplemented, "{brotli}");
}

#[tokio::test]
async fn wrong_contents_are_found_out_before_their_last_byte() {
    let server = Server::having("hellO").await;
    let store = store(options(&server));
    let error = read_by(&store, "hello", Reference::http(server.url("/a"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
}

#[tokio::test]
async fn a_wrong_length_is_found_out_before_the_contents_are_read() {
    let server = Server::having("hello, world").await;
    let store = store(options(&server));
    let reference = Reference::http(server.url("/a"));
    for (reference, text) in [
        (reference.clone(), "source has 12 bytes, while the blob is 5 bytes"),
        (reference.clone().with_range(1, 0), "source has 11 bytes, while the blob is 5 bytes"),
        (reference.clone().with_range(8, 5), "source is 12 bytes, while the reference needs 13"),
        (reference.clone().with_range(12, 5), "status 416"),
    ] {
        let digest = digest_of("hello");
        refer(&store, &digest, &reference).await;
        let error = store.get(&Context::background(), &digest).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    let before = server.requests().len();
    let error = read_by(&store, "hello", reference.with_range(0, 4)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    assert!(error.to_string().contains("reference is to 4 bytes, while the blob is 5 bytes"), "{error}");
    assert_eq!(server.requests().len(), before, "nobody is asked for what cannot be right");
}

#[tokio::test]
async fn a_body_in_chunks_and_one_without_a_length_are_read() {
    let chunked =
        Answer::head("200 OK\nTransfer-Encoding: chunked").send("3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: x\r\n\r\n");
    let unbounded = Answer::head("200 OK\nConnection: close").send("hello").close();
    for answer in [chunked, unbounded] {
        let server = Server::answering(answer).await;
        let reference = Reference::http(server.url("/a"));
        assert_eq!(read_by(&store(options(&server)), "hello", reference).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_body_in_chunks_that_is_too_long_or_too_short_is_wrong() {
    for body in ["4\r\nhell\r\n0\r\n\r\n", "6\r\nhello!\r\n0\r\n\r\n"] {
        let server = Server::answering(Answer::head("200 OK\nTransfer-Encoding: chunked").send(body)).await;
        let error = read_by(&store(options(&server)), "hello", Reference::http(server.url("/a"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
    }
}

#[tokio::test]
async fn a_part_that_was_not_asked_for_is_refused() {
    for head in [
        "206 Partial Content\nContent-Length: 5",
        "206 Partial Content\nContent-Length: 5\nContent-Range: bytes 0-4/11",
        "206 Partial Content\nContent-Length: 5\nContent-Range: bytes 5-9/11",
        "206 Partial Content\nContent-Length: 5\nContent-Range: bytes x-y/z",
        "206 Partial Content\nContent-Length: 5\nContent-Type: multipart/byteranges; boundary=x",
    ] {
        let server = Server::answering(Answer::head(head).send("hello")).await;
        let reference = Reference::http(server.url("/a")).with_range(4, 5);
        let error = read_by(&store(options(&server)), "hello", reference).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{head}: {error}");
    }
}

#[tokio::test]
async fn a_part_of_a_source_whose_size_nobody_knows_is_read() {
    let head = "206 Partial Content\nContent-Length: 5\nContent-Range: bytes 4-8/*";
    let server = Server::answering(Answer::head(head).send("hello")).await;
    let store = store(options(&server));
    for size in [5, 0] {
        let reference = Reference::http(server.url(&format!("/{size}"))).with_range(4, size);
        assert_eq!(read_by(&store, "hello", reference).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_header_of_compression_does_not_matter_as_nothing_is_decoded_by_it() {
    // Some servers say of each .gz file that it is encoded.
    let named = Server::start(|request| Answer::file_with(request, b"hello", "Content-Encoding: x-gzip")).await;
    let reference = Reference::http(named.url("/a.tar.gz"));
    assert_eq!(read_by(&store(options(&named)), "hello", reference).await.unwrap(), "hello");
    // A server that compresses although it was told not to sends something else.
    let packed = Server::start(|request| Answer::file_with(request, b"\x1f\x8b\x08..", "Content-Encoding: gzip")).await;
    let error = read_by(&store(options(&packed)), "hello", Reference::http(packed.url("/a"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let elsewhere = Server::having("hello").await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let head = format!("{status}\nLocation: {}\nContent-Length: 0", elsewhere.url("/a"));
        let server = Server::answering(Answer::head(&head)).await;
        let hosts = options(&server);
        let error = read_by(&store(hosts), "hello", Reference::http(server.url("/a"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
        assert!(error.to_string().contains("redirects are not followed"), "{error}");
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn a_status_keeps_its_meaning_and_none_is_absence() {
    for (status, kind, retryable) in [
        ("204 No Content", ErrorKind::Internal, false),
        ("304 Not Modified", ErrorKind::FailedPrecondition, false),
        ("400 Bad Request", ErrorKind::FailedPrecondition, false),
        ("401 Unauthorized", ErrorKind::Unauthenticated, false),
        ("403 Forbidden", ErrorKind::PermissionDenied, false),
        ("404 Not Found", ErrorKind::DataLoss, false),
        ("408 Request Timeout", ErrorKind::DeadlineExceeded, true),
        ("410 Gone", ErrorKind::DataLoss, false),
        ("416 Range Not Satisfiable", ErrorKind::DataLoss, false),
        ("429 Too Many Requests", ErrorKind::ResourceExhausted, true),
        ("500 Internal Server Error", ErrorKind::Unavailable, true),
        ("501 Not Implemented", ErrorKind::Internal, false),
        ("503 Service Unavailable", ErrorKind::Unavailable, true),
        ("504 Gateway Timeout", ErrorKind::DeadlineExceeded, true),
    ] {
        let server = Server::answering(Answer::status(status)).await;
        for gone_is_missing in [false, true] {
            let is_gone = status.starts_with("404") || status.starts_with("410");
            let kind = if is_gone && gone_is_missing { ErrorKind::NotFound } else { kind };
            let store = store(options(&server).with_gone_is_missing(gone_is_missing));
            let digest = digest_of("hello");
            refer(&store, &digest, &Reference::http(server.url("/a?secret"))).await;
            let error = store.get(&Context::background(), &digest).await.unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{status}: {error}");
            assert!(error.to_string().contains(&digest.to_string()), "{error}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
            assert_eq!(store.snapshot().gone, u64::from(is_gone));
        }
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable() {
    let server = Server::having("hello").await;
    let store = store(options(&server).with_gone_is_missing(true));
    let url = server.url("/a?secret");
    drop(server);
    tokio::task::yield_now().await;
    let error = read_by(&store, "hello", Reference::http(url)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error:?}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn what_is_no_answer_of_http_is_an_outage() {
    let huge = format!("200 OK\nContent-Length: 5\nX: {}", "x".repeat(2 << 20));
    let many = format!("200 OK\nContent-Length: 5{}", "\nX: x".repeat(1000));
    for answer in [
        Answer::default().send("SSH-2.0-OpenSSH_9.7\r\n").close(),
        Answer::default().close(),
        Answer::head(&huge).send("hello"),
        Answer::head(&many).send("hello"),
    ] {
        let server = Server::answering(answer).await;
        let store = store(options(&server).with_gone_is_missing(true));
        let error = read_by(&store, "hello", Reference::http(server.url("/a"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
}

#[tokio::test]
async fn the_empty_blob_needs_no_request() {
    let server = Server::answering(Answer::status("500 Internal Server Error")).await;
    let store = store(options(&server));
    assert_eq!(read_by(&store, "", Reference::http(server.url("/a")).with_range(7, 0)).await.unwrap(), "");
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn an_invalid_url_is_a_fault_of_the_reference() {
    let server = Server::having("hello").await;
    let store = store(options(&server));
    for url in ["", "no url", "http://", "http://a b/", "//a/b"] {
        let error = read_by(&store, "hello", Reference::http(url)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{url}: {error}");
    }
}
