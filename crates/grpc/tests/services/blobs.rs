//! Blobs over a connection: with what a put came to, and open until they are read.

use blobaccess::{Digest, DigestFunction, InstanceName};
use blobaccess_grpc::services::bytestream::byte_stream_client::ByteStreamClient;
use blobaccess_grpc::services::remote_execution::content_addressable_storage_client::ContentAddressableStorageClient;
use blobaccess_grpc::{OUTCOME_REQUEST, OUTCOME_RESPONSE, ServiceOptions};
use blobaccess_proto::bytestream::{ReadRequest, WriteRequest};
use blobaccess_proto::outcome::PutOutcome;
use blobaccess_proto::outcome::put_outcome::{AlreadyExists, Created, Outcome};
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use futures::stream;
use prost::Message;
use tonic::{Code, Request};

use crate::wired::{Wired, to_proto};

const SIZE: usize = 16 << 20;

fn digest(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

#[tokio::test]
async fn an_upload_tells_what_it_came_to_and_is_found_and_read() {
    let wired = Wired::new(ServiceOptions::default());
    let server = wired.serve(None).await;
    let contents = Bytes::from_static(b"uploaded in one message");
    let (digest, stored_bytes) = (digest(&contents), 23);
    let mut byte_stream = ByteStreamClient::new(server.connect().await);
    for expected in [Outcome::Created(Created { stored_bytes }), Outcome::AlreadyExists(AlreadyExists { stored_bytes })]
    {
        let message = WriteRequest {
            resource_name: format!("uploads/1-2-3/blobs/{}/{}", digest.hash(), digest.size_bytes()),
            data: contents.clone(),
            finish_write: true,
            ..WriteRequest::default()
        };
        let mut request = Request::new(stream::iter([message]));
        request.metadata_mut().insert(OUTCOME_REQUEST, "1".parse().unwrap());
        let answer = byte_stream.write(request).await.unwrap();
        assert_eq!(answer.get_ref().committed_size, 23);
        let value = answer.metadata().get_bin(OUTCOME_RESPONSE).unwrap().to_bytes().unwrap();
        assert_eq!(PutOutcome::decode(value).unwrap().outcome, Some(expected));
    }
    let mut storage = ContentAddressableStorageClient::new(server.connect().await);
    let asked =
        re::FindMissingBlobsRequest { blob_digests: vec![to_proto(&digest)], ..re::FindMissingBlobsRequest::default() };
    assert!(storage.find_missing_blobs(asked).await.unwrap().into_inner().missing_blob_digests.is_empty());
    let asked = re::BatchReadBlobsRequest { digests: vec![to_proto(&digest)], ..re::BatchReadBlobsRequest::default() };
    let read = storage.batch_read_blobs(asked).await.unwrap().into_inner();
    assert_eq!(read.responses[0].data, contents);
    drop((byte_stream, storage));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_call_is_open_until_the_client_has_read_its_answer() {
    let wired = Wired::new(ServiceOptions::default().with_max_open_calls(1));
    let server = wired.serve(None).await;
    let contents = vec![7; SIZE];
    wired.store(&contents).await;
    let mut client = ByteStreamClient::new(server.connect().await);
    let request = || ReadRequest {
        resource_name: format!("blobs/{}/{SIZE}", digest(&contents).hash()),
        ..ReadRequest::default()
    };
    // More than the windows and buffers between both ends hold.
    let mut reading = client.read(request()).await.unwrap().into_inner();
    let refused = client.read(request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let mut read = 0;
    while let Some(piece) = reading.message().await.unwrap() {
        read += piece.data.len();
    }
    assert_eq!(read, SIZE);
    drop(client.read(request()).await.unwrap());
    drop(client);
    server.stop().await.unwrap();
}
