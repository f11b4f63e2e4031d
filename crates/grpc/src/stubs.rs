//! The generated clients and servers of all services. Their messages are those of `blobaccess-proto`.

/// Content-addressable storage, action cache and capabilities.
pub mod remote_execution {
    tonic::include_proto!("build.bazel.remote.execution.v2");
}

/// The byte stream.
pub mod bytestream {
    tonic::include_proto!("google.bytestream");
}

/// Buildbarn's indirect content-addressable storage (ICAS).
pub mod icas {
    tonic::include_proto!("buildbarn.icas");
}

/// Buildbarn's initial size class cache (ISCC).
pub mod iscc {
    tonic::include_proto!("buildbarn.iscc");
}

/// Buildbarn's file system access cache (FSAC).
pub mod fsac {
    tonic::include_proto!("buildbarn.fsac");
}

/// Buildbarn's replicator.
pub mod replicator {
    tonic::include_proto!("buildbarn.replicator");
}
