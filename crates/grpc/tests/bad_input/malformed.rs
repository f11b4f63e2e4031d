//! Bytes that are no messages, no calls, or no HTTP.

use blobaccess_grpc::ServiceOptions;
use bytes::Bytes;
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::raw::{call, framed, methods, request, with_prefix};
use crate::stack::{Server, sha256};

#[tokio::test]
async fn a_message_that_is_none_is_refused_by_every_method() {
    let server = Server::start(ServiceOptions::default()).await;
    let mut channel = server.connect().await;
    let nested = [b"\x12\xff\xff\xff\xff\x0f".as_slice(), b"rest"].concat();
    let groups = b"\x0b".repeat(100_000);
    for path in methods() {
        for (what, message) in [
            ("no field", &b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..]),
            ("a field of number 0", b"\0\0"),
            ("a wire type that is none", b"\x0f"),
            ("a field that is cut off", b"\x0a\x05abc"),
            ("a field that is longer than all memory", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
            ("a string that is no text", b"\x0a\x02\xff\xfe"),
            ("an instance name that is a number", b"\x08\x01"),
            ("a message that is cut off", &nested),
            ("a depth of groups", &groups),
        ] {
            let (status, _) = call(&mut channel, request(&path, framed(message))).await;
            // gRPC has it so for requests that cannot be parsed; the action cache parses its own.
            let expected = if path.contains("ActionCache") { Code::InvalidArgument } else { Code::Internal };
            assert_eq!(status.code(), expected, "{path} with {what}: {status}");
        }
    }
    server.is_unharmed(&channel, &[&sha256(b"never")]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_no_sequence_of_messages_is_refused_by_every_method() {
    let server = Server::start(ServiceOptions::default()).await;
    let mut channel = server.connect().await;
    for path in methods() {
        for (what, body) in [
            ("nothing", Vec::new()),
            ("a flag only", vec![0]),
            ("half a length", vec![0, 0, 0]),
            ("a length that nothing follows", with_prefix(0, 100, b"")),
            ("a length that too little follows", with_prefix(0, 100, &[0; 99])),
            ("the largest length", with_prefix(0, u32::MAX, b"x")),
            ("a length beyond the limit", with_prefix(0, (4 << 20) + 1, b"x")),
            ("a flag for compression that is not named", with_prefix(1, 1, b"x")),
            ("a flag that is none", with_prefix(2, 1, b"x")),
            ("all flags", with_prefix(255, 1, b"x")),
            ("text", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ] {
            let (status, bytes) = call(&mut channel, request(&path, body)).await;
            assert_ne!(status.code(), Code::Ok, "{path} with {what}: {status}");
            assert_ne!(status.code(), Code::Unknown, "{path} with {what}: {status}");
            assert_eq!(bytes, 0);
        }
    }
    server.is_unharmed(&channel, &[&sha256(b"never")]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_is_no_call_is_answered_all_the_same() {
    let server = Server::start(ServiceOptions::default()).await;
    let mut channel = server.connect().await;
    for path in ["/", "/nonsense", "/a/b", "/google.bytestream.ByteStream/", "/google.bytestream.ByteStream/Reed"] {
        let (status, _) = call(&mut channel, request(path, framed(b""))).await;
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status}");
    }
    for path in methods() {
        let mut get = request(&path, Bytes::new());
        *get.method_mut() = Method::GET;
        assert_ne!(call(&mut channel, get).await.0.code(), Code::Ok, "{path}");
        let mut compressed = request(&path, with_prefix(1, 1, b"x"));
        compressed.headers_mut().insert("grpc-encoding", "br".parse().unwrap());
        assert_eq!(call(&mut channel, compressed).await.0.code(), Code::Unimplemented, "{path}");
        for coding in ["gzip", "zstd"] {
            let mut compressed = request(&path, with_prefix(1, 1, b"x"));
            compressed.headers_mut().insert("grpc-encoding", coding.parse().unwrap());
            assert_eq!(call(&mut channel, compressed).await.0.code(), Code::Internal, "{path} {coding}");
        }
        for timeout in ["", "S", "-1S", "1", "999999999S", "1x", "\u{e9}"] {
            let mut timed = request(&path, with_prefix(2, 1, b"x"));
            let value = http::HeaderValue::from_bytes(timeout.as_bytes()).unwrap();
            timed.headers_mut().insert("grpc-timeout", value);
            assert_ne!(call(&mut channel, timed).await.0.code(), Code::Ok, "{path} {timeout}");
        }
    }
    server.is_unharmed(&channel, &[]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_speaks_something_else_is_closed_and_others_go_on() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    for (what, bytes) in [
        ("HTTP/1.1", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".repeat(10)),
        ("noise", crate::stack::noise(10_000)),
        ("no settings", [&preface[..], b"\0\0\x01\0\0\0\0\0\x01x"].concat()),
        ("a frame that is too large", [&preface[..], settings, b"\xff\xff\xff\0\0\0\0\0\x01"].concat()),
        ("data on no stream", [&preface[..], settings, b"\0\0\x01\0\0\0\0\0\x07x"].concat()),
        ("headers that are none", [&preface[..], settings, b"\0\0\x04\x01\x05\0\0\0\x01\xff\xff\xff\xff"].concat()),
    ] {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        connection.write_all(&bytes).await.unwrap();
        connection.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Whether it is closed in peace or reset does not matter.
        let _closed: Result<usize, std::io::Error> = connection.read_to_end(&mut answer).await;
        assert!(answer.len() < 10_000, "{what}");
        server.is_unharmed(&channel, &[]).await;
    }
    server.stop().await;
}
