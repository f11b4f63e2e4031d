//! Resource and instance names that are none.

use blobaccess_grpc::ServiceOptions;
use blobaccess_grpc::services::remote_execution::capabilities_client::CapabilitiesClient;
use blobaccess_proto::bytestream as bs;
use blobaccess_proto::remote_execution as re;
use tonic::Code;

use crate::stack::{
    AcClient, CasClient, Server, StreamClient, messages, read_name, sha256, size, to_proto, write, write_name,
};

const CONTENTS: &[u8] = b"what nobody can name";

fn bad_for_both(path: &str) -> Vec<String> {
    let size = size(&sha256(CONTENTS));
    let hash = sha256(CONTENTS).hash().to_string();
    let end = format!("{hash}/{size}");
    let replaced = |by: &str| path.replace(&end, by);
    let mut names = vec![
        String::new(),
        "/".to_owned(),
        "////".to_owned(),
        "nonsense".to_owned(),
        end.clone(),
        path.to_uppercase(),
        replaced(""),
        replaced(&hash),
        replaced(&format!("{hash}/")),
        replaced(&size.to_string()),
        replaced(&format!("{size}/{hash}")),
        replaced(&format!("{hash}-{size}")),
        replaced(&format!("{hash}/-{size}")),
        replaced(&format!("{hash}/{size}x")),
        replaced(&format!("{hash}/ {size}")),
        replaced(&format!("{hash}/0x14")),
        replaced(&format!("{hash}/2e1")),
        replaced(&format!("{hash}/9223372036854775808")),
        replaced(&format!("{hash}/340282366920938463463374607431768211456")),
        replaced(&format!("{hash}/{}", "9".repeat(10_000))),
        replaced(&format!("sha256/{end}")),
        replaced(&format!("nonsense/{end}")),
        replaced(&format!("blake3/{hash}x/{size}")),
        replaced(&format!("zstd/{end}")),
        replaced(&format!("blobs/{end}")),
        path.replace("blobs/", "compressed-blobs/"),
        path.replace("blobs/", "blob/"),
        path.replace("blobs/", "../"),
        path.replace("blobs/", "blobs\0/"),
        path.replace("blobs/", "bl\u{f6}bs/"),
        path.replace("blobs/", "blobs\u{2028}/"),
        path.replace("blobs/", "blobs\r\ngrpc-status: 0\r\n/"),
        format!("operations/{path}"),
        format!("a/capabilities/{path}"),
        format!("actionResults/{path}"),
        "a/".repeat(500_000),
        "x".repeat(1_000_000),
        "\u{1f4a3}".repeat(100_000),
        format!("{}blobs", "blobs/".repeat(100_000)),
        "uploads/".repeat(100_000),
    ];
    names.retain(|name| name != path);
    names
}

#[tokio::test]
async fn a_name_that_is_none_is_an_invalid_argument() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    let mut stream = StreamClient::new(channel.clone());
    let digest = sha256(CONTENTS);
    let (read_name, write_name) = (read_name(&digest), write_name(&digest));
    let mut bad = bad_for_both(&read_name);
    bad.extend([write_name.clone(), format!("{read_name}/more")]);
    for resource_name in bad {
        let shown: String = resource_name.chars().take(100).collect();
        let request = bs::ReadRequest { resource_name, ..Default::default() };
        let status = stream.read(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "Read {shown:?}: {status}");
        assert!(status.message().len() < 4000, "{}", status.message().len());
    }
    let mut bad = bad_for_both(&write_name);
    bad.extend([
        read_name,
        write_name.replace("uploads/", ""),
        write_name.replace("uploads/", "upload/"),
        write_name.replace("6d1cc9a0-96f4-4d2e-8d2c-5a4c7a6f6a5e/", ""),
        "uploads".to_owned(),
        "uploads/u".to_owned(),
        "uploads/u/blobs".to_owned(),
    ]);
    for resource_name in bad {
        let shown: String = resource_name.chars().take(100).collect();
        let status = write(&mut stream, messages(&resource_name, CONTENTS, 10)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "Write {shown:?}: {status}");
        assert!(status.message().len() < 4000, "{}", status.message().len());
        let request = bs::QueryWriteStatusRequest { resource_name };
        let status = stream.query_write_status(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "QueryWriteStatus {shown:?}: {status}");
    }
    server.is_unharmed(&channel, &[&digest]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_compressor_that_is_not_offered_is_unimplemented() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    let mut stream = StreamClient::new(channel.clone());
    let digest = sha256(CONTENTS);
    for compressor in ["deflate", "brotli", "identity", "ZSTD", "zstd ", "xyzzy"] {
        let in_place = |name: String| name.replace("blobs/", &format!("compressed-blobs/{compressor}/"));
        let resource_name = in_place(write_name(&digest));
        let status = write(&mut stream, messages(&resource_name, CONTENTS, 10)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{compressor}: {status}");
        let request = bs::ReadRequest { resource_name: in_place(read_name(&digest)), ..Default::default() };
        let status = stream.read(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{compressor}: {status}");
    }
    for compressor in [2, 3, 99, -1] {
        let digest = Some(to_proto(&digest));
        let entry =
            re::batch_update_blobs_request::Request { digest, data: CONTENTS.into(), compressor, ..Default::default() };
        let request = re::BatchUpdateBlobsRequest { requests: vec![entry], ..Default::default() };
        let answer = CasClient::new(channel.clone()).batch_update_blobs(request).await.unwrap().into_inner();
        let code = answer.responses.first().unwrap().status.as_ref().unwrap().code;
        assert_eq!(Code::from_i32(code), Code::Unimplemented, "{compressor}");
    }
    server.is_unharmed(&channel, &[&digest]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_range_that_is_none_is_refused() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    let mut stream = StreamClient::new(channel.clone());
    let digest = sha256(b"ten bytes.");
    write(&mut stream, messages(&write_name(&digest), b"ten bytes.", 10)).await.unwrap();
    for (read_offset, read_limit, code) in [
        (11, 0, Code::OutOfRange),
        (-1, 0, Code::OutOfRange),
        (i64::MAX, 0, Code::OutOfRange),
        (i64::MIN, i64::MIN, Code::OutOfRange),
        (0, -1, Code::InvalidArgument),
        (0, i64::MIN, Code::InvalidArgument),
    ] {
        let request = bs::ReadRequest { resource_name: read_name(&digest), read_offset, read_limit };
        let status = stream.read(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{read_offset}, {read_limit}: {status}");
    }
    server.is_unharmed(&channel, &[]).await;
    server.stop().await;
}

#[tokio::test]
async fn an_instance_name_that_is_none_is_an_invalid_argument() {
    let server = Server::start(ServiceOptions::default()).await;
    let channel = server.connect().await;
    let mut storage = CasClient::new(channel.clone());
    let mut results = AcClient::new(channel.clone());
    let long = format!("{}blobs", "a/".repeat(100_000));
    for name in ["blobs", "a/uploads", "compressed-blobs/a", "a/operations/b", "/a", "a/", "a//b", "/", &long] {
        let digest = to_proto(&sha256(CONTENTS));
        let name = name.to_owned();
        let request = re::FindMissingBlobsRequest {
            instance_name: name.clone(),
            blob_digests: vec![digest.clone()],
            ..Default::default()
        };
        let status = storage.find_missing_blobs(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().len() < 1000);
        let request = re::UpdateActionResultRequest {
            instance_name: name.clone(),
            action_digest: Some(digest),
            action_result: Some(re::ActionResult::default()),
            ..Default::default()
        };
        assert_eq!(results.update_action_result(request).await.unwrap_err().code(), Code::InvalidArgument);
        let request = re::GetCapabilitiesRequest { instance_name: name };
        let status = CapabilitiesClient::new(channel.clone()).get_capabilities(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    server.is_unharmed(&channel, &[&sha256(CONTENTS)]).await;
    server.stop().await;
}
