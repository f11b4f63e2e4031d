//! The label at the head of a device without state: its store, and the latest superblock up to which it was written.

use xxhash_rust::xxh3::xxh3_64;

use crate::device::SECTOR_BYTES;
use crate::machine::casts;
use crate::persistence::Superblock;

const MAGIC: [u8; 8] = *b"BLOBLBL1";
const VERSION: u32 = 1;

/// The bytes that labels take at the head of a device: two sectors, written in turn.
pub(crate) const LABELS_BYTES: u64 = 2 * SECTOR_BYTES;

/// The contents of a device that holds no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Blocks, and perhaps logs.
    Blocks,
    /// Logs and nothing else.
    Logs,
}

impl Role {
    fn number(self) -> u32 {
        match self {
            Self::Blocks => 1,
            Self::Logs => 2,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Logs => "logs",
        }
    }
}

/// Which store a device is of, and up to which superblock it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) role: Role,
    pub(crate) store_id: [u8; 16],
    /// The number of the superblock that was to be written next at the time of this label.
    pub(crate) sequence: u64,
}

impl Label {
    pub(crate) fn of(superblock: &Superblock, role: Role) -> Self {
        Self { role, store_id: superblock.identity.store_id, sequence: superblock.sequence }
    }

    /// Returns the offset on the device at which the label is written.
    pub(crate) fn offset(&self) -> u64 {
        self.sequence % 2 * SECTOR_BYTES
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(casts::in_memory(SECTOR_BYTES));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.role.number().to_le_bytes());
        bytes.extend_from_slice(&self.store_id);
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.resize(casts::in_memory(SECTOR_BYTES), 0);
        bytes
    }

    fn decode(sector: &[u8]) -> Option<Self> {
        let (covered, rest) = sector.split_at_checked(40)?;
        if xxh3_64(covered) != u64::from_le_bytes(*rest.first_chunk()?) {
            return None;
        }
        let (head, rest) = covered.split_first_chunk::<16>()?;
        let (store_id, sequence) = rest.split_first_chunk()?;
        let role = [Role::Blocks, Role::Logs].into_iter().find(|role| {
            let mut expected = MAGIC.to_vec();
            expected.extend_from_slice(&VERSION.to_le_bytes());
            expected.extend_from_slice(&role.number().to_le_bytes());
            *head == *expected
        })?;
        Some(Self { role, store_id: *store_id, sequence: u64::from_le_bytes(*sequence.first_chunk()?) })
    }

    /// Returns the later label of those at the head of a device.
    pub(crate) fn latest(head: &[u8]) -> Option<Self> {
        let sectors = head.chunks(casts::in_memory(SECTOR_BYTES)).take(2);
        sectors.filter_map(Self::decode).max_by_key(|label| label.sequence)
    }
}

/// Returns whether this looks like a label, whole or damaged.
pub(crate) fn bears_magic(sector: &[u8]) -> bool {
    sector.starts_with(&MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_label_counts_if_it_proves_right() {
        let label = |sequence| Label { role: Role::Logs, store_id: [3; 16], sequence };
        let mut head = [label(8).encode(), label(7).encode()].concat();
        assert_eq!(label(8).offset(), 0);
        assert_eq!(label(7).offset(), 4096);
        assert_eq!(Label::latest(&head), Some(label(8)));
        for byte in 0..48 {
            head[byte] ^= 1;
            assert_eq!(Label::latest(&head), Some(label(7)));
            head[byte] ^= 1;
        }
        assert_eq!(Label::latest(&[0; 8192]), None);
        assert!(bears_magic(&head));
    }
}
