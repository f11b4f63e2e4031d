//! The messages compared with those of the `bazel-remote-apis` crate, which are generated from the published
//! definitions. Packages that the crate lacks are compared with a table.
//!
//! Messages are filled through their descriptors, so that no field is forgotten.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod decoding;
mod exchanged;
mod filler;
mod pairs;
mod tables;

use std::sync::LazyLock;

use blobaccess_proto::FILE_DESCRIPTOR_SET;
use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, MessageDescriptor};

/// The result of decoding bytes and encoding them again.
type Reencoded = Result<Vec<u8>, prost::DecodeError>;

fn reencode<M: Message + Default>(bytes: &[u8]) -> Reencoded {
    Ok(M::decode(Bytes::copy_from_slice(bytes))?.encode_to_vec())
}

static DESCRIPTORS: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("descriptors"));

fn described(name: &str) -> MessageDescriptor {
    DESCRIPTORS.get_message_by_name(name).expect("a message of that name")
}

/// Our own field, which theirs cannot know.
const OUTCOME: u32 = 59001;
