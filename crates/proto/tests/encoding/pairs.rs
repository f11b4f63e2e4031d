//! Pairs of messages of the two implementations, by name.

use bazel_remote_apis::build::bazel::remote::execution::v2 as their_execution;
use bazel_remote_apis::build::bazel::semver as their_semver;
use bazel_remote_apis::google::{bytestream as their_bytestream, rpc as their_rpc};
use blobaccess_proto::{bytestream, remote_execution, rpc, semver};
use prost::Name;

use crate::{Reencoded, reencode};

/// A message of ours and theirs of the same name.
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) ours: fn(&[u8]) -> Reencoded,
    pub(crate) theirs: fn(&[u8]) -> Reencoded,
}

/// Pairs the messages of modules of ours with those of modules of theirs.
macro_rules! pairs {
    ($($ours:ident, $theirs:ident { $($($part:ident)::+),* $(,)? })*) => {
        pub(crate) fn pairs() -> Vec<Pair> {
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
