//! The contents of a file before a store is opened in it: none, a store of ours, or something else, such as state of
//! `bb_storage` itself.
//!
//! Files are only read here. A store must not be opened in a file of somebody else: even a size that is set damages it.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

/// The beginnings of superblocks and of labels; `docs/format.md` has them.
const MAGICS: [&[u8]; 2] = [b"BLOBLOC1", b"BLOBLBL1"];

/// The distance at which superblocks and labels may begin, in bytes.
const SECTOR_BYTES: usize = 4096;

/// The number of bytes that are read from the beginning of a file.
const HEAD_BYTES: u64 = 1 << 20;

/// The largest part of the head that is searched for superblocks: with up to 100 blocks, two take less.
const SEARCHED_BYTES: usize = 256 << 10;

/// The contents of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// There is no file, or it begins with zeros.
    None,
    /// A persistent store of ours, perhaps a damaged one.
    Ours,
    /// The state of a persistent store of Buildbarn's own `bb_storage`.
    BuildbarnState,
    /// Anything else.
    Other,
}

/// Looks at the beginning of the file or block device at `path`, without changing anything.
pub(super) fn inspect(path: &Path) -> io::Result<Contents> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contents::None),
        Err(error) => return Err(error),
    };
    let mut head = Vec::new();
    file.take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(classify(&head))
}

fn classify(head: &[u8]) -> Contents {
    let mut sectors = head.get(..SEARCHED_BYTES).unwrap_or(head).chunks(SECTOR_BYTES);
    if sectors.any(|sector| MAGICS.iter().any(|magic| sector.starts_with(magic))) {
        Contents::Ours
    } else if head.iter().all(|byte| *byte == 0) {
        Contents::None
    } else if is_buildbarn_state(head) {
        Contents::BuildbarnState
    } else {
        Contents::Other
    }
}

/// Returns whether `bytes` are Buildbarn's message `PersistentState`: number 1 of the oldest epoch, blocks as messages
/// under the number 2, and a number under the number 3.
fn is_buildbarn_state(mut bytes: &[u8]) -> bool {
    let mut has_seed = false;
    while !bytes.is_empty() {
        let Some(tag) = take_varint(&mut bytes) else { return false };
        let value = take_varint(&mut bytes);
        match (tag, value) {
            (0x08, Some(_)) => {}
            (0x18, Some(_)) => has_seed = true,
            (0x12, Some(length)) => {
                let rest = usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length));
                let Some((_, rest)) = rest else { return false };
                bytes = rest;
            }
            _ => return false,
        }
    }
    has_seed
}

/// Takes a variable-length number of protobuf from the beginning of `bytes`.
fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state of one block with two epochs, written by hand after the format: oldest epoch 5; a block at offset 4096 of
    /// 8192 bytes, written up to 77, with the seeds 1 and 300; seed 7 of the map.
    const STATE: [u8; 23] = [
        0x08, 5, 0x12, 17, 0x10, 77, 0x1a, 3, 1, 0xac, 2, 0x22, 6, 0x08, 0x80, 0x20, 0x10, 0x80, 0x40, 0x20, 0, 0x18, 7,
    ];

    #[test]
    fn the_state_of_buildbarn_is_told_from_ours_and_from_anything_else() {
        assert_eq!(classify(&STATE), Contents::BuildbarnState);
        // A fresh one: no block.
        assert_eq!(classify(&[0x08, 1, 0x18, 0xff, 0xff, 3]), Contents::BuildbarnState);
        assert_eq!(classify(&STATE[..15]), Contents::Other);
        assert_eq!(classify(b"hello"), Contents::Other);
        assert_eq!(classify(&[]), Contents::None);
        assert_eq!(classify(&vec![0; 100_000]), Contents::None);
        let mut ours = vec![0; 1 << 16];
        ours[57_344..57_352].copy_from_slice(b"BLOBLOC1");
        assert_eq!(classify(&ours), Contents::Ours, "the second slot is written first");
        ours[0] = 9;
        assert_eq!(classify(&ours), Contents::Ours, "the first slot is damaged");
        assert_eq!(classify(b"BLOBLBL1..."), Contents::Ours);
    }

    #[test]
    fn a_file_that_is_not_there_has_no_contents_and_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blocks");
        assert_eq!(inspect(&path).unwrap(), Contents::None);
        assert!(!path.exists());
        std::fs::write(&path, STATE).unwrap();
        assert_eq!(inspect(&path).unwrap(), Contents::BuildbarnState);
        assert!(inspect(directory.path()).is_err());
    }
}
