//! The definitions compared with tables, and a check that all of them are described.

use blobaccess_proto::outcome::PutOutcome;
use blobaccess_proto::{fsac, icas, iscc, replicator};
use blobaccess_testkit::Numbers;
use prost::{Message, Name};
use prost_reflect::{Cardinality, DynamicMessage, EnumDescriptor, FieldDescriptor, MessageDescriptor};

use crate::filler::Filler;
use crate::{DESCRIPTORS, described, reencode};

/// Prints a field as the definitions write it.
fn as_written(field: &FieldDescriptor) -> String {
    let label = match (field.cardinality(), field.containing_oneof()) {
        (Cardinality::Repeated, _) => "repeated ",
        (_, Some(_)) => "oneof ",
        (Cardinality::Optional | Cardinality::Required, None) => "",
    };
    let kind = field.kind();
    let message = kind.as_message().map(MessageDescriptor::full_name);
    let kind = match message.or(kind.as_enum().map(EnumDescriptor::full_name)) {
        Some(name) => name.to_owned(),
        None => format!("{kind:?}"),
    };
    format!("{label}{kind} {}={}", field.name(), field.number())
}

/// Prints all fields of a package, one on each line.
fn package_as_written(package: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for message in DESCRIPTORS.all_messages().filter(|message| message.package_name() == package) {
        let name = message.full_name().trim_start_matches(package).trim_start_matches('.');
        for field in message.fields() {
            let line = format!("{name}: {}", as_written(&field));
            lines.push(line.replace("build.bazel.remote.execution.v2", "REv2"));
        }
    }
    lines.sort();
    lines
}

#[test]
fn buildbarns_messages_and_our_own_have_the_fields_of_the_table() {
    let icas = [
        "BatchUpdateReferencesRequest.Request: REv2.Digest digest=1",
        "BatchUpdateReferencesRequest.Request: buildbarn.icas.Reference reference=2",
        "BatchUpdateReferencesRequest: REv2.DigestFunction.Value digest_function=3",
        "BatchUpdateReferencesRequest: repeated buildbarn.icas.BatchUpdateReferencesRequest.Request requests=2",
        "BatchUpdateReferencesRequest: string instance_name=1",
        "GetReferenceRequest: REv2.Digest digest=2",
        "GetReferenceRequest: REv2.DigestFunction.Value digest_function=3",
        "GetReferenceRequest: string instance_name=1",
        "Reference.ContentAddressableStorage: REv2.Digest blob_digest=3",
        "Reference.ContentAddressableStorage: REv2.DigestFunction.Value digest_function=2",
        "Reference.ContentAddressableStorage: string instance_name=1",
        "Reference.GCS: string bucket=1",
        "Reference.GCS: string object=2",
        "Reference.S3: string bucket=1",
        "Reference.S3: string key=2",
        "Reference: REv2.Compressor.Value decompressor=6",
        "Reference: int64 offset_bytes=3",
        "Reference: int64 size_bytes=4",
        "Reference: oneof buildbarn.icas.Reference.ContentAddressableStorage content_addressable_storage=8",
        "Reference: oneof buildbarn.icas.Reference.GCS gcs=7",
        "Reference: oneof buildbarn.icas.Reference.S3 s3=2",
        "Reference: oneof string http_url=1",
    ];
    let iscc = [
        "GetPreviousExecutionStatsRequest: REv2.Digest reduced_action_digest=2",
        "GetPreviousExecutionStatsRequest: REv2.DigestFunction.Value digest_function=3",
        "GetPreviousExecutionStatsRequest: string instance_name=1",
        "PerSizeClassStats: double initial_page_rank_probability=3",
        "PerSizeClassStats: repeated buildbarn.iscc.PreviousExecution previous_executions=1",
        "PreviousExecution: oneof google.protobuf.Duration succeeded=3",
        "PreviousExecution: oneof google.protobuf.Duration timed_out=2",
        "PreviousExecution: oneof google.protobuf.Empty failed=1",
        "PreviousExecutionStats.SizeClassesEntry: buildbarn.iscc.PerSizeClassStats value=2",
        "PreviousExecutionStats.SizeClassesEntry: uint32 key=1",
        "PreviousExecutionStats: google.protobuf.Timestamp last_seen_failure=2",
        "PreviousExecutionStats: repeated buildbarn.iscc.PreviousExecutionStats.SizeClassesEntry size_classes=1",
        "UpdatePreviousExecutionStatsRequest: REv2.Digest reduced_action_digest=2",
        "UpdatePreviousExecutionStatsRequest: REv2.DigestFunction.Value digest_function=4",
        "UpdatePreviousExecutionStatsRequest: buildbarn.iscc.PreviousExecutionStats previous_execution_stats=3",
        "UpdatePreviousExecutionStatsRequest: string instance_name=1",
    ];
    let fsac = [
        "FileSystemAccessProfile: bytes bloom_filter=1",
        "FileSystemAccessProfile: uint32 bloom_filter_hash_functions=2",
        "GetFileSystemAccessProfileRequest: REv2.Digest reduced_action_digest=3",
        "GetFileSystemAccessProfileRequest: REv2.DigestFunction.Value digest_function=2",
        "GetFileSystemAccessProfileRequest: string instance_name=1",
        "UpdateFileSystemAccessProfileRequest: REv2.Digest reduced_action_digest=3",
        "UpdateFileSystemAccessProfileRequest: REv2.DigestFunction.Value digest_function=2",
        "UpdateFileSystemAccessProfileRequest: buildbarn.fsac.FileSystemAccessProfile file_system_access_profile=4",
        "UpdateFileSystemAccessProfileRequest: string instance_name=1",
    ];
    let replicator = [
        "ReplicateBlobsRequest: REv2.DigestFunction.Value digest_function=3",
        "ReplicateBlobsRequest: repeated REv2.Digest blob_digests=2",
        "ReplicateBlobsRequest: string instance_name=1",
    ];
    let outcome = [
        "PutOutcome.AlreadyExists: uint64 stored_bytes=1",
        "PutOutcome.Created: uint64 stored_bytes=1",
        "PutOutcome.Replaced: uint64 old_bytes=2",
        "PutOutcome.Replaced: uint64 stored_bytes=1",
        // An optional field is a oneof by itself.
        "PutOutcome.Unclassified: oneof uint64 stored_bytes=1",
        "PutOutcome: oneof blobaccess.v1.PutOutcome.AlreadyExists already_exists=2",
        "PutOutcome: oneof blobaccess.v1.PutOutcome.Created created=1",
        "PutOutcome: oneof blobaccess.v1.PutOutcome.Replaced replaced=3",
        "PutOutcome: oneof blobaccess.v1.PutOutcome.Unclassified unclassified=4",
    ];
    assert_eq!(package_as_written("buildbarn.icas"), icas);
    assert_eq!(package_as_written("buildbarn.iscc"), iscc);
    assert_eq!(package_as_written("buildbarn.fsac"), fsac);
    assert_eq!(package_as_written("buildbarn.replicator"), replicator);
    assert_eq!(package_as_written("blobaccess.v1"), outcome);
}

#[test]
fn buildbarns_messages_survive_being_decoded_and_encoded() {
    fn assert_kept<M: Message + Name + Default>() {
        let descriptor = described(&M::full_name());
        for state in 0..100 {
            let message = Filler { numbers: Numbers::new(state), full: false }.message(&descriptor);
            let kept =
                DynamicMessage::decode(descriptor.clone(), &reencode::<M>(&message.encode_to_vec()).expect("ours")[..]);
            assert_eq!(kept.expect("what ours encoded"), message);
        }
    }
    assert_kept::<icas::BatchUpdateReferencesRequest>();
    assert_kept::<icas::GetReferenceRequest>();
    assert_kept::<icas::Reference>();
    assert_kept::<iscc::GetPreviousExecutionStatsRequest>();
    assert_kept::<iscc::UpdatePreviousExecutionStatsRequest>();
    assert_kept::<fsac::GetFileSystemAccessProfileRequest>();
    assert_kept::<fsac::UpdateFileSystemAccessProfileRequest>();
    assert_kept::<replicator::ReplicateBlobsRequest>();
    assert_kept::<PutOutcome>();
}

#[test]
fn the_services_are_those_of_the_table() {
    let mut methods = Vec::new();
    for service in DESCRIPTORS.services() {
        for method in service.methods() {
            // Methods are called by this path.
            let path = format!("/{}/{}", service.full_name(), method.name());
            let path = path.replace("build.bazel.remote.execution.v2", "REv2");
            let (request, response) = (method.input(), method.output());
            let sent = if method.is_client_streaming() { "stream " } else { "" };
            let returned = if method.is_server_streaming() { "stream " } else { "" };
            methods.push(format!("{path}({sent}{}) {returned}{}", request.name(), response.name()));
        }
    }
    methods.sort();
    let table = [
        "/REv2.ActionCache/GetActionResult(GetActionResultRequest) ActionResult",
        "/REv2.ActionCache/UpdateActionResult(UpdateActionResultRequest) ActionResult",
        "/REv2.Capabilities/GetCapabilities(GetCapabilitiesRequest) ServerCapabilities",
        "/REv2.ContentAddressableStorage/BatchReadBlobs(BatchReadBlobsRequest) BatchReadBlobsResponse",
        "/REv2.ContentAddressableStorage/BatchUpdateBlobs(BatchUpdateBlobsRequest) BatchUpdateBlobsResponse",
        "/REv2.ContentAddressableStorage/FindMissingBlobs(FindMissingBlobsRequest) FindMissingBlobsResponse",
        "/REv2.ContentAddressableStorage/GetChunkMapping(GetChunkMappingRequest) stream GetChunkMappingResponse",
        "/REv2.ContentAddressableStorage/GetTree(GetTreeRequest) stream GetTreeResponse",
        "/REv2.ContentAddressableStorage/RegisterChunkMapping(stream RegisterChunkMappingRequest) \
         RegisterChunkMappingResponse",
        "/REv2.ContentAddressableStorage/SpliceBlob(SpliceBlobRequest) SpliceBlobResponse",
        "/REv2.ContentAddressableStorage/SplitBlob(SplitBlobRequest) SplitBlobResponse",
        "/buildbarn.fsac.FileSystemAccessCache/GetFileSystemAccessProfile(GetFileSystemAccessProfileRequest) \
         FileSystemAccessProfile",
        "/buildbarn.fsac.FileSystemAccessCache/UpdateFileSystemAccessProfile(UpdateFileSystemAccessProfileRequest) Empty",
        "/buildbarn.icas.IndirectContentAddressableStorage/BatchUpdateReferences(BatchUpdateReferencesRequest) \
         BatchUpdateBlobsResponse",
        "/buildbarn.icas.IndirectContentAddressableStorage/FindMissingReferences(FindMissingBlobsRequest) \
         FindMissingBlobsResponse",
        "/buildbarn.icas.IndirectContentAddressableStorage/GetReference(GetReferenceRequest) Reference",
        "/buildbarn.iscc.InitialSizeClassCache/GetPreviousExecutionStats(GetPreviousExecutionStatsRequest) \
         PreviousExecutionStats",
        "/buildbarn.iscc.InitialSizeClassCache/UpdatePreviousExecutionStats(UpdatePreviousExecutionStatsRequest) Empty",
        "/buildbarn.replicator.Replicator/ReplicateBlobs(ReplicateBlobsRequest) Empty",
        "/google.bytestream.ByteStream/QueryWriteStatus(QueryWriteStatusRequest) QueryWriteStatusResponse",
        "/google.bytestream.ByteStream/Read(ReadRequest) stream ReadResponse",
        "/google.bytestream.ByteStream/Write(stream WriteRequest) WriteResponse",
    ];
    assert_eq!(methods, table);
}

/// Checks that the descriptors carry the comments, which reflection shows.
#[test]
fn every_message_and_field_is_described() {
    for message in DESCRIPTORS.all_messages().filter(|message| !message.full_name().starts_with("google.protobuf.")) {
        let file = message.parent_file();
        let info = file.file_descriptor_proto().source_code_info.as_ref().expect("comments");
        let is_described = |path: &[i32]| {
            info.location.iter().any(|location| location.path == path && location.leading_comments.is_some())
        };
        if message.is_map_entry() {
            continue;
        }
        assert!(is_described(message.path()), "{message:?}");
        for field in message.fields() {
            assert!(is_described(field.path()), "{field:?}");
        }
    }
}
