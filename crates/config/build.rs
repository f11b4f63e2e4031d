//! Compiles the descriptors of the configuration's messages, from the files below `proto`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = [
        "buildbarn/configuration/bb_storage.proto",
        // Messages that may lie in a `google.protobuf.Any`.
        "google/rpc/error_details.proto",
        "google/protobuf/wrappers.proto",
    ];
    let descriptors = protox::compile(files, ["proto"])?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec())?;
    Ok(())
}
