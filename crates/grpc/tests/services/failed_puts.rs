//! Puts that are refused are counted by kind, and their clients are told why.

use std::sync::Arc;

use blobaccess::{Ac, Cas, DigestFunction, ErrorKind, InstanceName, MemoryStore};
use blobaccess_grpc::services::bytestream::byte_stream_client::ByteStreamClient;
use blobaccess_grpc::services::remote_execution::action_cache_client::ActionCacheClient;
use blobaccess_grpc::services::remote_execution::capabilities_client::CapabilitiesClient;
use blobaccess_grpc::services::remote_execution::content_addressable_storage_client::ContentAddressableStorageClient;
use blobaccess_grpc::{ServiceOptions, Services};
use blobaccess_proto::bytestream::WriteRequest;
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use futures::stream;
use tonic::Code;

use crate::wired::{to_proto, update};

const MAX_BYTES: u64 = 1000;

#[tokio::test]
async fn a_blob_that_is_too_large_for_the_store_is_refused_with_both_sizes_and_counted() {
    let services = Services::new(ServiceOptions::default())
        .with_cas(Arc::new(MemoryStore::<Cas>::new(MAX_BYTES)))
        .with_ac(Arc::new(MemoryStore::<Ac>::new(MAX_BYTES)));
    let routes = || services.routes().unwrap();
    let told = CapabilitiesClient::new(routes()).get_capabilities(re::GetCapabilitiesRequest::default()).await.unwrap();
    let max = told.into_inner().cache_capabilities.unwrap().max_cas_blob_size_bytes;
    assert!(max > 0, "the largest blob is announced");
    assert_eq!(services.snapshot().failed_puts.total(), 0);

    let contents = Bytes::from(vec![7; usize::try_from(max).unwrap() + 1]);
    let digest = blobaccess::Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents);
    let message = WriteRequest {
        resource_name: format!("uploads/1-2-3/blobs/{}/{}", digest.hash(), digest.size_bytes()),
        data: contents.clone(),
        finish_write: true,
        ..WriteRequest::default()
    };
    let refused = ByteStreamClient::new(routes()).write(stream::iter([message])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    for number in [contents.len().to_string(), max.to_string()] {
        assert!(refused.message().contains(&number), "{refused}");
    }
    let batch = re::BatchUpdateBlobsRequest {
        requests: vec![re::batch_update_blobs_request::Request {
            digest: Some(to_proto(&digest)),
            data: contents,
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = ContentAddressableStorageClient::new(routes()).batch_update_blobs(batch).await.unwrap();
    let status = answer.into_inner().responses.remove(0).status.unwrap();
    assert_eq!(status.code, ErrorKind::InvalidArgument.grpc_code());
    assert!(status.message.contains(&max.to_string()), "{status:?}");
    assert_eq!(services.snapshot().failed_puts.count(ErrorKind::InvalidArgument), 2);

    let result = re::ActionResult { stdout_raw: vec![7; 2000].into(), ..Default::default() };
    ActionCacheClient::new(routes()).update_action_result(update(result)).await.unwrap_err();
    let failed = services.snapshot().failed_puts;
    assert_eq!((failed.total(), failed.count(ErrorKind::Unavailable)), (3, 0));
    assert_eq!(format!("{failed:?}"), "{InvalidArgument: 3}");
    assert_eq!(services.snapshot().refused_calls, 0, "no call was refused for the number of calls");
}
