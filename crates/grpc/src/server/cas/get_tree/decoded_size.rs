//! The memory that a directory takes once it is decoded.

use blobaccess_proto::remote_execution as re;
use bytes::{Buf, Bytes};
use prost::DecodeError;
use prost::encoding::{self, DecodeContext, WireType};

/// The times of its encoded size that a directory takes at most, if its entries have names and digests of usual lengths.
const USUAL_TIMES: u64 = 8;

/// A message with fields that are lists, or have such fields.
#[derive(Clone, Copy, Debug)]
enum Level {
    Directory,
    File,
    Symlink,
    Properties,
}

/// Returns the bytes beyond [`USUAL_TIMES`] of its size that the directory `message` takes once it is decoded.
///
/// An entry without a name and a digest is two bytes, which become more than a hundred.
///
/// # Errors
///
/// Fails if `message` is none.
pub(super) fn unusual_bytes(message: &Bytes) -> Result<u64, DecodeError> {
    let encoded = u64::try_from(message.len()).unwrap_or(u64::MAX);
    // A list that has grown may have room for twice its entries.
    let decoded = list_bytes(message.clone(), Level::Directory)?.saturating_mul(2);
    Ok(decoded.saturating_sub(encoded.saturating_mul(USUAL_TIMES)))
}

/// Returns the bytes of all entries of lists in `message`.
fn list_bytes(mut message: Bytes, level: Level) -> Result<u64, DecodeError> {
    let mut total: u64 = 0;
    while message.has_remaining() {
        let (number, wire_type) = encoding::decode_key(&mut message)?;
        if wire_type != WireType::LengthDelimited {
            encoding::skip_field(wire_type, number, &mut message, DecodeContext::default())?;
            continue;
        }
        let mut value = Bytes::new();
        encoding::bytes::merge(wire_type, &mut value, &mut message, DecodeContext::default())?;
        let (entry, inner) = match (level, number) {
            (Level::Directory, 1) => (size_of::<re::FileNode>(), Some(Level::File)),
            (Level::Directory, 2) => (size_of::<re::DirectoryNode>(), None),
            (Level::Directory, 3) => (size_of::<re::SymlinkNode>(), Some(Level::Symlink)),
            (Level::Directory, 5) | (Level::File, 6) | (Level::Symlink, 4) => (0, Some(Level::Properties)),
            (Level::Properties, 1) => (size_of::<re::NodeProperty>(), None),
            _ => (0, None),
        };
        total = total.saturating_add(u64::try_from(entry).unwrap_or(u64::MAX));
        if let Some(inner) = inner {
            total = total.saturating_add(list_bytes(value, inner)?);
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn unusual(directory: &re::Directory) -> u64 {
        unusual_bytes(&directory.encode_to_vec().into()).unwrap()
    }

    #[test]
    fn entries_with_names_and_digests_are_usual() {
        let digest = Some(re::Digest { hash: "0".repeat(64), size_bytes: 1 });
        let file = re::FileNode { name: "a".to_owned(), digest: digest.clone(), ..Default::default() };
        let child = re::DirectoryNode { name: "b".to_owned(), digest };
        let link =
            re::SymlinkNode { name: "a name".to_owned(), target: "../a/target/of/it".to_owned(), ..Default::default() };
        let directory = re::Directory {
            files: vec![file; 1000],
            directories: vec![child; 1000],
            symlinks: vec![link; 1000],
            ..Default::default()
        };
        assert_eq!(unusual(&directory), 0);
    }

    #[test]
    fn empty_entries_of_any_list_are_not() {
        let count = 1000;
        let properties =
            Some(re::NodeProperties { properties: vec![re::NodeProperty::default(); count], ..Default::default() });
        let file = re::FileNode { node_properties: properties.clone(), ..Default::default() };
        let link = re::SymlinkNode { node_properties: properties.clone(), ..Default::default() };
        for directory in [
            re::Directory { files: vec![re::FileNode::default(); count], ..Default::default() },
            re::Directory { directories: vec![re::DirectoryNode::default(); count], ..Default::default() },
            re::Directory { symlinks: vec![re::SymlinkNode::default(); count], ..Default::default() },
            re::Directory { node_properties: properties, ..Default::default() },
            re::Directory { files: vec![file], ..Default::default() },
            re::Directory { symlinks: vec![link], ..Default::default() },
        ] {
            assert!(unusual(&directory) >= 2000 * 48 - 8 * 2100, "{}", unusual(&directory));
        }
        assert!(unusual_bytes(&Bytes::from_static(&[10, 9])).is_err());
    }
}
