//! The messages against those of the `bazel-remote-apis` crate, which are generated from the published definitions; and
//! what that crate has not, against a table.
//!
//! Messages are filled by their descriptors, so that no field is forgotten.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use bazel_remote_apis::build::bazel::remote::execution::v2 as their_execution;
use bazel_remote_apis::build::bazel::semver as their_semver;
use bazel_remote_apis::google::{bytestream as their_bytestream, rpc as their_rpc};
use blobaccess_proto::outcome::PutOutcome;
use blobaccess_proto::outcome::put_outcome::{AlreadyExists, Created, Outcome, Replaced, Unclassified};
use blobaccess_proto::remote_execution::batch_update_blobs_response::Response;
use blobaccess_proto::{bytestream, fsac, icas, iscc, remote_execution, replicator, rpc, semver};
use blobaccess_testkit::Numbers;
use bytes::Bytes;
use proptest::prelude::*;
use prost::{Message, Name};
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    Value,
};

/// What remains of encoded bytes once they were decoded and encoded again.
type Reencoded = Result<Vec<u8>, prost::DecodeError>;

fn reencode<M: Message + Default>(bytes: &[u8]) -> Reencoded {
    Ok(M::decode(Bytes::copy_from_slice(bytes))?.encode_to_vec())
}

/// A message of ours beside theirs of the same name.
struct Pair {
    name: String,
    ours: fn(&[u8]) -> Reencoded,
    theirs: fn(&[u8]) -> Reencoded,
}

/// Pairs the messages of modules of ours with those of modules of theirs.
macro_rules! pairs {
    ($($ours:ident, $theirs:ident { $($($part:ident)::+),* $(,)? })*) => {
        fn pairs() -> Vec<Pair> {
            vec![$($(Pair {
                name: <$ours::$($part)::+ as Name>::full_name(),
                ours: reencode::<$ours::$($part)::+>,
                theirs: reencode::<$theirs::$($part)::+>,
            }),*),*]
        }
    };
}

pairs! {
    remote_execution, their_execution {
        Action,
        ActionCacheUpdateCapabilities,
        ActionResult,
        BatchReadBlobsRequest,
        BatchReadBlobsResponse,
        batch_read_blobs_response::Response,
        BatchUpdateBlobsRequest,
        batch_update_blobs_request::Request,
        BatchUpdateBlobsResponse,
        batch_update_blobs_response::Response,
        CacheCapabilities,
        ChunkingFunction,
        Command,
        command::EnvironmentVariable,
        Compressor,
        Digest,
        DigestFunction,
        Directory,
        DirectoryNode,
        ExecutedActionMetadata,
        ExecutionCapabilities,
        FastCdc2020Params,
        FileNode,
        FindMissingBlobsRequest,
        FindMissingBlobsResponse,
        GetActionResultRequest,
        GetCapabilitiesRequest,
        GetChunkMappingRequest,
        GetChunkMappingResponse,
        GetTreeRequest,
        GetTreeResponse,
        NodeProperties,
        NodeProperty,
        OutputDirectory,
        OutputFile,
        OutputSymlink,
        Platform,
        platform::Property,
        PriorityCapabilities,
        priority_capabilities::PriorityRange,
        RegisterChunkMappingRequest,
        RegisterChunkMappingResponse,
        RepMaxCdcParams,
        RequestMetadata,
        ResultsCachePolicy,
        ServerCapabilities,
        SpliceBlobRequest,
        SpliceBlobResponse,
        SplitBlobRequest,
        SplitBlobResponse,
        SymlinkAbsolutePathStrategy,
        SymlinkNode,
        ToolDetails,
        Tree,
        UpdateActionResultRequest,
    }
    semver, their_semver { SemVer }
    rpc, their_rpc { Status }
    bytestream, their_bytestream {
        QueryWriteStatusRequest,
        QueryWriteStatusResponse,
        ReadRequest,
        ReadResponse,
        WriteRequest,
        WriteResponse,
    }
}

static DESCRIPTORS: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(blobaccess_proto::FILE_DESCRIPTOR_SET).expect("descriptors"));

fn described(name: &str) -> MessageDescriptor {
    DESCRIPTORS.get_message_by_name(name).expect("a message of that name")
}

/// Our own field, which theirs cannot know.
const OUTCOME: u32 = 59001;

/// Fills messages with values that are never the default; the same seed, the same values.
struct Filler {
    numbers: Numbers,
    /// Whether every field is to be set, rather than most.
    full: bool,
}

impl Filler {
    fn message(&mut self, descriptor: &MessageDescriptor) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields().filter(|field| field.number() != OUTCOME) {
            // Of a oneof, the last one set remains.
            if self.full || self.numbers.below(4) > 0 {
                let value = self.field(&field);
                message.set_field(&field, value);
            }
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        if field.is_map() {
            // A single entry: the order of several is free.
            let entry = field.kind().as_message().expect("a message").map_entry_value_field();
            Value::Map([(MapKey::U32(7), self.value(&entry.kind()))].into())
        } else if field.is_list() {
            let count = 1 + self.numbers.below(3);
            Value::List((0..count).map(|_| self.value(&field.kind())).collect())
        } else {
            self.value(&field.kind())
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::as_conversions,
        reason = "any bits do"
    )]
    fn value(&mut self, kind: &Kind) -> Value {
        let bits = self.numbers.draw() | 1;
        match kind {
            Kind::Bool => Value::Bool(true),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(bits as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(bits as i64),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(bits as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(bits),
            Kind::Float => Value::F32(0.25),
            Kind::Double => Value::F64(0.25),
            Kind::String => Value::String(format!("né-{bits:x}")),
            Kind::Bytes => Value::Bytes(bits.to_be_bytes().to_vec().into()),
            Kind::Enum(values) => {
                let named: Vec<_> = values.values().map(|value| value.number()).filter(|number| *number != 0).collect();
                Value::EnumNumber(named[self.numbers.below(named.len())])
            }
            Kind::Message(descriptor) => Value::Message(self.message(descriptor)),
        }
    }
}

/// Asserts that either side understands what the other makes of `message`.
fn assert_exchanged(pair: &Pair, message: &DynamicMessage) {
    let bytes = message.encode_to_vec();
    let ours = (pair.ours)(&bytes).expect("decoded by ours");
    assert_eq!(ours, bytes, "{}: ours, of {message:?}", pair.name);
    let theirs = (pair.theirs)(&ours).expect("ours decoded by theirs");
    assert_eq!(theirs, bytes, "{}: theirs, of {message:?}", pair.name);
    assert_eq!((pair.ours)(&theirs).expect("theirs decoded by ours"), bytes, "{}: ours again", pair.name);
}

#[test]
fn every_message_of_the_published_packages_is_compared() {
    let compared: BTreeSet<_> = pairs().into_iter().map(|pair| pair.name).collect();
    let defined: BTreeSet<_> = DESCRIPTORS
        .all_messages()
        .map(|message| message.full_name().to_owned())
        .filter(|name| !["google.protobuf.", "buildbarn.", "blobaccess."].iter().any(|other| name.starts_with(other)))
        .collect();
    assert_eq!(compared, defined);
}

#[test]
fn a_message_with_all_its_fields_is_exchanged_unchanged() {
    for pair in pairs() {
        let descriptor = described(&pair.name);
        let message = Filler { numbers: Numbers::new(1), full: true }.message(&descriptor);
        let defined = descriptor.fields().filter(|field| field.number() != OUTCOME).count();
        assert_eq!(message.fields().count(), defined, "{} is full", pair.name);
        assert_exchanged(&pair, &message);
    }
}

proptest! {
    #[test]
    fn a_message_with_some_of_its_fields_is_exchanged_unchanged(state: u64) {
        for pair in pairs() {
            assert_exchanged(&pair, &Filler { numbers: Numbers::new(state), full: false }.message(&described(&pair.name)));
        }
    }
}

/// Tries each field number with contents of each wire type, and compares what is left. It finds fields that only they
/// have, and differences of type that hide behind equal bytes.
#[test]
fn both_know_the_same_fields_with_the_same_types() {
    let varints: [&[u8]; 4] =
        [&[1], &[2], &[0x80, 0x80, 0x80, 0x80, 0x10], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]];
    let strings: [&[u8]; 6] = [b"", b"a", b"\xff", b"\x08\x02", b"\x0a\x01a", b"\x12\x02\x08\x07"];
    let mut contents = Vec::new();
    contents.extend(varints.map(|varint| (0, varint.to_vec())));
    contents.extend([(1, vec![3; 8]), (5, vec![3; 4])]);
    contents.extend(strings.map(|string| {
        let length = u8::try_from(string.len()).expect("short");
        (2, [&[length], string].concat())
    }));

    let mut known: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for pair in pairs() {
        for number in 1..=200 {
            for (wire_type, content) in &contents {
                let mut field = Vec::new();
                prost::encoding::encode_varint(u64::from((number << 3) | wire_type), &mut field);
                field.extend(content);
                // A field that comes twice tells a list from a single value.
                for bytes in [field.clone(), field.repeat(2)] {
                    let ours = (pair.ours)(&bytes).ok();
                    assert_eq!(ours, (pair.theirs)(&bytes).ok(), "{} field {number} as {bytes:x?}", pair.name);
                    // Unknown fields are passed over: what is refused or remains is known.
                    if ours.is_none_or(|ours| !ours.is_empty()) {
                        known.entry(pair.name.clone()).or_default().insert(number);
                    }
                }
            }
        }
    }

    // The attempts did reach every field.
    for pair in pairs() {
        let descriptor = described(&pair.name);
        let numbers = descriptor.fields().map(|field| field.number());
        let defined: BTreeSet<_> = numbers.filter(|number| *number != OUTCOME).collect();
        assert_eq!(known.remove(&pair.name).unwrap_or_default(), defined, "{}", pair.name);
    }
}

#[test]
fn both_know_the_same_enum_values() {
    macro_rules! assert_equal_names {
        ($($($part:ident)::+),* $(,)?) => {$(
            for number in -1..100 {
                let ours = remote_execution::$($part)::+::try_from(number).ok().map(|value| value.as_str_name());
                let theirs = their_execution::$($part)::+::try_from(number).ok().map(|value| value.as_str_name());
                assert_eq!(ours, theirs, "{} {number}", stringify!($($part)::+));
            }
        )*};
    }
    assert_equal_names! {
        chunking_function::Value,
        command::OutputDirectoryFormat,
        compressor::Value,
        digest_function::Value,
        symlink_absolute_path_strategy::Value,
    }
    let defined = DESCRIPTORS.all_enums().filter(|values| values.full_name().starts_with("build.")).count();
    assert_eq!(defined, 5, "all were compared");
}

/// A field as the definitions write it.
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

/// All fields of a package, a line each.
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

#[test]
fn an_outcome_is_on_the_wire_as_written_here() {
    fn assert_encoded(outcome: Outcome, expected: &[u8]) {
        let response = Response { outcome: Some(PutOutcome { outcome: Some(outcome) }), ..Response::default() };
        // 59001 as a varint with the wire type of a message.
        let field = [&[0xca, 0xe7, 0x1c, u8::try_from(expected.len()).expect("short")], expected].concat();
        assert_eq!(response.encode_to_vec(), field);
        assert_eq!(Response::decode(&field[..]).expect("decoded"), response);
    }
    assert_encoded(Outcome::Created(Created { stored_bytes: 5 }), b"\x0a\x02\x08\x05");
    assert_encoded(Outcome::AlreadyExists(AlreadyExists { stored_bytes: 5 }), b"\x12\x02\x08\x05");
    assert_encoded(Outcome::Replaced(Replaced { stored_bytes: 5, old_bytes: 6 }), b"\x1a\x04\x08\x05\x10\x06");
    assert_encoded(Outcome::Unclassified(Unclassified { stored_bytes: None }), b"\x22\x00");
    // Known to be nothing is more than not known.
    assert_encoded(Outcome::Unclassified(Unclassified { stored_bytes: Some(0) }), b"\x22\x02\x08\x00");
}

#[test]
fn who_does_not_know_outcomes_reads_the_rest() {
    let plain = Response {
        digest: Some(remote_execution::Digest { hash: "aa".to_owned(), size_bytes: 1 }),
        status: Some(rpc::Status { code: 8, ..rpc::Status::default() }),
        outcome: None,
    };
    let outcome = Some(PutOutcome { outcome: Some(Outcome::Created(Created { stored_bytes: 1 })) });
    let sent = Response { outcome, ..plain.clone() };
    let read = reencode::<their_execution::batch_update_blobs_response::Response>(&sent.encode_to_vec());
    assert_eq!(read.expect("decoded"), plain.encode_to_vec());
}

/// Why stores keep the bytes of messages and not the messages.
#[test]
fn unknown_fields_are_dropped() {
    let known = remote_execution::ActionResult { exit_code: 3, ..Default::default() };
    let mut stored = known.encode_to_vec();
    prost::encoding::string::encode(1000, &"of a later version".to_owned(), &mut stored);
    let decoded = remote_execution::ActionResult::decode(&stored[..]).expect("decoded");
    assert_eq!(decoded, known);
    assert_ne!(decoded.encode_to_vec(), stored);
}

#[test]
fn bytes_share_the_memory_that_they_were_decoded_from() {
    let sent = bytestream::ReadResponse { data: Bytes::from(vec![7; 100]) };
    let message = Bytes::from(sent.encode_to_vec());
    let received = bytestream::ReadResponse::decode(message.clone()).expect("decoded");
    assert_eq!(received, sent);
    assert_eq!(received.data.as_ptr_range().end, message.as_ptr_range().end);
}

/// The descriptors carry the comments, for clients that ask a server for a description.
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
