//! Generates the messages from the files below `proto`: one Rust file a package, and the descriptors of all.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;

/// The packages, with the modules of this crate that they become.
const PACKAGES: [(&str, &str); 9] = [
    ("blobaccess.v1", "outcome"),
    ("build.bazel.remote.execution.v2", "remote_execution"),
    ("build.bazel.semver", "semver"),
    ("buildbarn.fsac", "fsac"),
    ("buildbarn.icas", "icas"),
    ("buildbarn.iscc", "iscc"),
    ("buildbarn.replicator", "replicator"),
    ("google.bytestream", "bytestream"),
    ("google.rpc", "rpc"),
];

const FILES: [&str; 9] = [
    "blobaccess/v1/outcome.proto",
    "build/bazel/remote/execution/v2/remote_execution.proto",
    "build/bazel/semver/semver.proto",
    "buildbarn/fsac/fsac.proto",
    "buildbarn/icas/icas.proto",
    "buildbarn/iscc/iscc.proto",
    "buildbarn/replicator/replicator.proto",
    "google/bytestream/bytestream.proto",
    "google/rpc/status.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);

    let descriptors = protox::compile(FILES, ["proto"])?;
    fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec())?;

    // A run for each package, to which all others are foreign: so each is a module with a short path, and none needs to
    // be nested as deep as its package's name is long.
    for (package, module) in PACKAGES {
        let module_dir = out_dir.join(module);
        fs::create_dir_all(&module_dir)?;
        let mut config = prost_build::Config::new();
        config.out_dir(module_dir).bytes(["."]).enable_type_names();
        for (other, path) in PACKAGES {
            if other != package {
                config.extern_path(format!(".{other}"), format!("crate::{path}"));
            }
        }
        config.compile_fds(descriptors.clone())?;
    }
    Ok(())
}
