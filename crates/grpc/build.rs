//! Generates the clients and servers of all services, over the messages of `blobaccess-proto`.

use std::error::Error;

use prost::Message as _;
use prost_types::FileDescriptorSet;

/// The packages, with the modules of `blobaccess-proto` that have their messages.
const PACKAGES: [(&str, &str); 9] = [
    (".blobaccess.v1", "::blobaccess_proto::outcome"),
    (".build.bazel.remote.execution.v2", "::blobaccess_proto::remote_execution"),
    (".build.bazel.semver", "::blobaccess_proto::semver"),
    (".buildbarn.fsac", "::blobaccess_proto::fsac"),
    (".buildbarn.icas", "::blobaccess_proto::icas"),
    (".buildbarn.iscc", "::blobaccess_proto::iscc"),
    (".buildbarn.replicator", "::blobaccess_proto::replicator"),
    (".google.bytestream", "::blobaccess_proto::bytestream"),
    (".google.rpc", "::blobaccess_proto::rpc"),
];

fn main() -> Result<(), Box<dyn Error>> {
    // The descriptors are part of a build dependency, so that Cargo runs this again when they change.
    println!("cargo::rerun-if-changed=build.rs");
    let descriptors = FileDescriptorSet::decode(blobaccess_proto::FILE_DESCRIPTOR_SET)?;
    let configured =
        tonic_prost_build::configure().build_client(cfg!(feature = "client")).build_server(cfg!(feature = "server"));
    PACKAGES
        .into_iter()
        .fold(configured, |builder, (package, module)| builder.extern_path(package, module))
        .compile_fds(descriptors)?;
    Ok(())
}
