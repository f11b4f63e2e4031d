//! Which blocks there are, and how far they vouch for what they hold.

use xxhash_rust::xxh3::xxh3_64;

use blobaccess::{Error, Result, StorageType};

use crate::sizes::{SECTOR_BYTES, Sizes};
use crate::width;

const MAGIC: [u8; 8] = *b"BLOBLOC1";
const VERSION: u32 = 1;
const HEADER_BYTES: u64 = 160;
const LIVE_BYTES: u64 = 48;
const QUARANTINED_BYTES: u64 = 24;
const CHECKSUM_BYTES: u64 = 8;

/// How many records are kept from being found again after they proved wrong. Those that are more are found wrong anew
/// after a restart.
pub(crate) const MAX_QUARANTINED: usize = 1024;

/// The size of a slot.
pub(crate) fn size_bytes(blocks: u32) -> u64 {
    let quarantined = QUARANTINED_BYTES * width::on_device(MAX_QUARANTINED);
    let all = HEADER_BYTES + LIVE_BYTES * u64::from(blocks) + quarantined + CHECKSUM_BYTES;
    all.next_multiple_of(SECTOR_BYTES)
}

/// What stays the same as long as a store is gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) storage_type: StorageType,
    pub(crate) store_id: [u8; 16],
    pub(crate) secret: [u8; 32],
    pub(crate) data_bytes: u64,
    pub(crate) blocks: u32,
    pub(crate) log_sectors: u32,
    pub(crate) touch_sectors: u32,
    pub(crate) chunk_bytes: u32,
}

/// Which blocks there are, and how far they vouch for what they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) identity: Identity,
    /// Of this superblock, from 1.
    pub(crate) sequence: u64,
    /// That the next record gets at least.
    pub(crate) next_record: u64,
    /// That the next block gets at least.
    pub(crate) next_generation: u32,
    pub(crate) old: u32,
    pub(crate) current: u32,
    pub(crate) is_closed: bool,
    /// Oldest first.
    pub(crate) live: Vec<LiveBlock>,
    pub(crate) quarantined: Vec<Quarantined>,
}

/// A block that is old, current or new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LiveBlock {
    pub(crate) block: u16,
    pub(crate) generation: u32,
    pub(crate) seed: u64,
    pub(crate) data_bytes: u64,
    pub(crate) log_sectors: u32,
    pub(crate) is_sealed: bool,
    pub(crate) begun_at: u64,
    pub(crate) touch_sectors: u32,
}

/// A record that proved wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Quarantined {
    pub(crate) generation: u32,
    pub(crate) offset: u64,
    pub(crate) sequence: u64,
}

/// The number of a kind in the format.
fn number(storage_type: StorageType) -> u32 {
    match storage_type {
        StorageType::Cas => 1,
        StorageType::Ac => 2,
        StorageType::Icas => 3,
        StorageType::Iscc => 4,
        StorageType::Fsac => 5,
    }
}

impl Identity {
    /// Refuses a state that is not of a store of these sizes, and says in what it differs.
    pub(crate) fn check(&self, storage_type: StorageType, sizes: &Sizes) -> Result<()> {
        if self.storage_type != storage_type {
            return Err(Error::failed_precondition(format!(
                "the device holds a store of {}, while one of {} is to be opened",
                self.storage_type.name(),
                storage_type.name()
            )));
        }
        let pairs = [
            ("blocks", u64::from(self.blocks), u64::from(sizes.blocks)),
            ("data bytes a block", self.data_bytes, sizes.data_bytes),
            ("log sectors a block", u64::from(self.log_sectors), u64::from(sizes.log_sectors)),
            ("touch sectors a block", u64::from(self.touch_sectors), u64::from(sizes.touch_sectors)),
            ("bytes a chunk", u64::from(self.chunk_bytes), sizes.chunk_bytes),
        ];
        match pairs.into_iter().find(|(_, there, here)| there != here) {
            Some((what, there, here)) => Err(Error::failed_precondition(format!(
                "the device holds a store with {there} {what}, while the options make it {here}: open it with the \
                 options that it was made with, or discard it"
            ))),
            None => Ok(()),
        }
    }
}

/// Reads fields one after another.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

/// Whether this looks like the head of a store of ours, whole or damaged.
pub(crate) fn bears_magic(slot: &[u8]) -> bool {
    slot.starts_with(&MAGIC)
}

impl Superblock {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let identity = &self.identity;
        let size = width::in_memory(size_bytes(identity.blocks));
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&MAGIC);
        let u32s = |bytes: &mut Vec<u8>, numbers: &[u32]| {
            for number in numbers {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        };
        u32s(&mut bytes, &[VERSION, number(identity.storage_type)]);
        bytes.extend_from_slice(&identity.store_id);
        for number in [self.sequence, self.next_record, identity.data_bytes] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        u32s(&mut bytes, &[identity.blocks, identity.log_sectors, identity.touch_sectors, identity.chunk_bytes]);
        bytes.extend_from_slice(&identity.secret);
        let live = width::narrow(self.live.len());
        let new = live.saturating_sub(self.old + self.current);
        let quarantined = width::narrow(self.quarantined.len());
        u32s(&mut bytes, &[live, self.old, self.current, new, quarantined]);
        u32s(&mut bytes, &[u32::from(self.is_closed), self.next_generation]);
        bytes.resize(width::in_memory(HEADER_BYTES), 0);
        for block in &self.live {
            u32s(&mut bytes, &[u32::from(block.block), block.generation]);
            bytes.extend_from_slice(&block.seed.to_le_bytes());
            bytes.extend_from_slice(&block.data_bytes.to_le_bytes());
            u32s(&mut bytes, &[block.log_sectors, u32::from(block.is_sealed)]);
            bytes.extend_from_slice(&block.begun_at.to_le_bytes());
            u32s(&mut bytes, &[block.touch_sectors, 0]);
        }
        for record in &self.quarantined {
            u32s(&mut bytes, &[record.generation, 0]);
            bytes.extend_from_slice(&record.offset.to_le_bytes());
            bytes.extend_from_slice(&record.sequence.to_le_bytes());
        }
        bytes.resize(size - width::in_memory(CHECKSUM_BYTES), 0);
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a slot; `None` if it does not prove right.
    ///
    /// The slot of a store with other sizes is as long as that store has it, so that more or less may be read here
    /// than it is: its own number of blocks says where it ends.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.take()? != MAGIC || reader.u32()? != VERSION {
            return None;
        }
        let kind = reader.u32()?;
        let all = [StorageType::Cas, StorageType::Ac, StorageType::Icas, StorageType::Iscc, StorageType::Fsac];
        let storage_type = all.into_iter().find(|storage_type| number(*storage_type) == kind)?;
        let store_id = reader.take()?;
        let [sequence, next_record, data_bytes] = [reader.u64()?, reader.u64()?, reader.u64()?];
        let [blocks, log_sectors, touch_sectors, chunk_bytes] =
            [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
        let size = width::in_memory(size_bytes(blocks));
        let (covered, checksum) = bytes.get(..size)?.split_last_chunk()?;
        if xxh3_64(covered) != u64::from_le_bytes(*checksum) {
            return None;
        }
        let secret = reader.take()?;
        let [live_blocks, old, current, _new, quarantined] =
            [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
        let (is_closed, next_generation) = (reader.u32()? != 0, reader.u32()?);
        reader.take::<28>()?;
        let mut live = Vec::new();
        for _ in 0..live_blocks {
            live.push(LiveBlock {
                block: u16::try_from(reader.u32()?).ok()?,
                generation: reader.u32()?,
                seed: reader.u64()?,
                data_bytes: reader.u64()?,
                log_sectors: reader.u32()?,
                is_sealed: reader.u32()? != 0,
                begun_at: reader.u64()?,
                touch_sectors: reader.u32()?,
            });
            reader.u32()?;
        }
        let mut records = Vec::new();
        for _ in 0..quarantined {
            let generation = reader.u32()?;
            reader.u32()?;
            records.push(Quarantined { generation, offset: reader.u64()?, sequence: reader.u64()? });
        }
        let identity =
            Identity { storage_type, store_id, secret, data_bytes, blocks, log_sectors, touch_sectors, chunk_bytes };
        Some(Self {
            identity,
            sequence,
            next_record,
            next_generation,
            old,
            current,
            is_closed,
            live,
            quarantined: records,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock() -> Superblock {
        Superblock {
            identity: Identity {
                storage_type: StorageType::Ac,
                store_id: [1; 16],
                secret: [2; 32],
                data_bytes: 1 << 30,
                blocks: 36,
                log_sectors: 5,
                touch_sectors: 1,
                chunk_bytes: 1 << 20,
            },
            sequence: 9,
            next_record: 1 << 50,
            next_generation: 77,
            old: 1,
            current: 1,
            is_closed: true,
            live: (0..3)
                .map(|block| LiveBlock {
                    block,
                    generation: 70 + u32::from(block),
                    seed: 5,
                    data_bytes: 8192,
                    log_sectors: 2,
                    is_sealed: block == 0,
                    begun_at: 1_700_000_000,
                    touch_sectors: 1,
                })
                .collect(),
            quarantined: vec![Quarantined { generation: 70, offset: 4096, sequence: 3 }],
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let bytes = superblock().encode();
        assert_eq!(width::on_device(bytes.len()), size_bytes(36));
        assert_eq!(Superblock::decode(&bytes), Some(superblock()));
        // The fixed fields stand where the format has them.
        assert_eq!(bytes[104..108], 3_u32.to_le_bytes());
        assert_eq!(bytes[128..132], 77_u32.to_le_bytes());
        assert_eq!(bytes[160..168], [0, 0, 0, 0, 70, 0, 0, 0]);
    }

    #[test]
    fn no_flipped_bit_and_no_torn_sector_proves_right() {
        let bytes = superblock().encode();
        for position in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1 << (position % 8);
            assert_eq!(Superblock::decode(&damaged), None);
        }
        for sector in 0..bytes.len() / 4096 {
            let mut torn = bytes.clone();
            torn[sector * 4096..][..4096].fill(0xaa);
            assert_eq!(Superblock::decode(&torn), None);
        }
        assert_eq!(Superblock::decode(&[]), None);
        assert_eq!(Superblock::decode(&vec![0; 65536]), None);
    }
}
