//! Messages from clients, and the digests in them.
#![no_main]

use blobaccess::{Digest, DigestFunction, DigestSet, InstanceName};
use blobaccess_proto::bytestream::{ReadRequest, WriteRequest};
use blobaccess_proto::remote_execution as re;
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = re::FindMissingBlobsRequest::decode(bytes) {
        let name = InstanceName::new(&request.instance_name).unwrap_or_default();
        let length = request.blob_digests.first().map_or(0, |digest| digest.hash.len());
        if let Ok(function) = DigestFunction::resolve(request.digest_function, length) {
            let parsed = request.blob_digests.iter();
            let parsed = parsed.filter_map(|d| Digest::parse(name.clone(), function, &d.hash, d.size_bytes).ok());
            let set: DigestSet = parsed.collect();
            for digest in &set {
                assert!(set.contains(digest));
                let mut compact = Vec::new();
                digest.to_compact(&mut compact);
                assert_eq!(Digest::from_compact(name.clone(), &mut compact.as_slice()).ok().as_ref(), Some(digest));
            }
        }
    }
    drop(re::BatchUpdateBlobsRequest::decode(bytes));
    drop(re::BatchReadBlobsRequest::decode(bytes));
    drop(re::UpdateActionResultRequest::decode(bytes));
    drop(re::GetActionResultRequest::decode(bytes));
    drop(re::GetTreeRequest::decode(bytes));
    drop(re::Directory::decode(bytes));
    drop(re::Tree::decode(bytes));
    drop(ReadRequest::decode(bytes));
    drop(WriteRequest::decode(bytes));
    drop(Digest::from_compact(InstanceName::empty(), &mut &bytes[..]));
});
