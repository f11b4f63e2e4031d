mod loopback;
mod reads;
mod writes;

use std::sync::Arc;

use blobaccess::{BlobAccess, Cas, Digest, SystemClock};
use blobaccess_proto::bytestream as bs;
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use tonic::Status;

use super::ByteStreamService;
use crate::server::ServiceOptions;
use crate::server::failed_puts::PutFailures;
use crate::server::uploads_under_way::UploadsUnderWay;
use crate::server::watched_store::WatchedStore;
use crate::stubs::bytestream::byte_stream_client::ByteStreamClient;
use crate::stubs::bytestream::byte_stream_server::ByteStreamServer;

type Client = ByteStreamClient<ByteStreamServer<ByteStreamService>>;

fn service(store: &Arc<WatchedStore>, options: ServiceOptions) -> ByteStreamService {
    let store: Arc<dyn BlobAccess<Kind = Cas>> = Arc::<WatchedStore>::clone(store);
    let (clock, failures) = (Arc::new(SystemClock), PutFailures::default());
    ByteStreamService::new(store, Arc::new(options), clock, failures, UploadsUnderWay::default())
}

fn client(store: &Arc<WatchedStore>) -> Client {
    ByteStreamClient::new(ByteStreamServer::new(service(store, ServiceOptions::default())))
}

fn read_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.hash(), digest.size_bytes())
}

fn write_name(digest: &Digest) -> String {
    format!("uploads/6d1cc9a0-96f4-4d2e-8d2c-5a4c7a6f6a5e/blobs/{}/{}", digest.hash(), digest.size_bytes())
}

fn zstd_name(digest: &Digest) -> String {
    format!("uploads/u/compressed-blobs/zstd/{}/{}", digest.hash(), digest.size_bytes())
}

/// Cuts `contents` into messages of `size` bytes. The first has the name, and the last finishes the upload.
fn messages(name: &str, contents: &[u8], size: usize) -> Vec<bs::WriteRequest> {
    let mut write_offset = 0;
    let mut messages: Vec<_> = contents
        .chunks(size)
        .map(|data| {
            let message = bs::WriteRequest { write_offset, data: Bytes::copy_from_slice(data), ..Default::default() };
            write_offset += i64::try_from(data.len()).unwrap();
            message
        })
        .collect();
    if messages.is_empty() {
        messages.push(bs::WriteRequest::default());
    }
    messages.first_mut().unwrap().resource_name = name.into();
    messages.last_mut().unwrap().finish_write = true;
    messages
}

async fn write(client: &mut Client, messages: Vec<bs::WriteRequest>) -> Result<i64, Status> {
    Ok(client.write(stream::iter(messages)).await?.into_inner().committed_size)
}

async fn read_pieces(client: &mut Client, name: String, offset: i64, limit: i64) -> Result<Vec<Bytes>, Status> {
    let request = bs::ReadRequest { resource_name: name, read_offset: offset, read_limit: limit };
    client.read(request).await?.into_inner().map_ok(|piece| piece.data).try_collect().await
}

async fn read(client: &mut Client, name: String, offset: i64, limit: i64) -> Result<Vec<u8>, Status> {
    Ok(read_pieces(client, name, offset, limit).await?.concat())
}
