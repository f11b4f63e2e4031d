//! Which blocks there are, and how far they vouch for what they hold.

use std::sync::Arc;

use blobaccess::StorageType;
use xxhash_rust::xxh3::xxh3_64;

use crate::account_names;
use crate::account_totals::{Account, Amount};
use crate::device::SECTOR_BYTES;
use crate::machine::casts;
use crate::persistence::Identity;

const MAGIC: [u8; 8] = *b"BLOBLOC1";
const VERSION: u32 = 1;
const HEADER_BYTES: u64 = 160;
const LIVE_BYTES: u64 = 48;
const QUARANTINED_BYTES: u64 = 24;
const CHECKSUM_BYTES: u64 = 8;
/// Where a slot says how long it is.
const LENGTH_OFFSET: usize = 140;

/// How many records are kept from being found again after they proved wrong. Those that are more are found wrong anew
/// after a restart.
pub(crate) const MAX_QUARANTINED: usize = 1024;

/// The bytes of a slot for each possible account: its totals, and a name of 62 bytes.
const ACCOUNT_BYTES: u64 = 96;

/// Returns the bytes of a slot for `accounts` accounts with their names.
pub(crate) const fn account_names_bytes(account_names: u32) -> u64 {
    #[expect(clippy::as_conversions, reason = "`u64::from` is not const")]
    let account_names = account_names as u64;
    ACCOUNT_BYTES * account_names
}

/// Returns the size of a slot. A superblock is usually smaller.
pub(crate) fn size_bytes(blocks: u32, account_names: u32) -> u64 {
    let quarantined = QUARANTINED_BYTES * casts::on_device(MAX_QUARANTINED);
    let lists = LIVE_BYTES * u64::from(blocks) + quarantined + account_names_bytes(account_names);
    (HEADER_BYTES + lists + CHECKSUM_BYTES).next_multiple_of(SECTOR_BYTES)
}

/// Which blocks there are, and how far they vouch for what they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) identity: Identity,
    /// The number of this superblock, from 1.
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
    /// By number less one.
    pub(crate) accounts: Vec<NamedAccount>,
}

/// The totals of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedAccount {
    pub(crate) name: Arc<str>,
    pub(crate) account: Account,
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

/// Returns the number of a kind in the format.
fn number(storage_type: StorageType) -> u32 {
    match storage_type {
        StorageType::Cas => 1,
        StorageType::Ac => 2,
        StorageType::Icas => 3,
        StorageType::Iscc => 4,
        StorageType::Fsac => 5,
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

    fn account(&mut self) -> Option<NamedAccount> {
        let stored = Amount { objects: self.u64()?, bytes: self.u64()? };
        let released = Amount { objects: self.u64()?, bytes: self.u64()? };
        let length = u16::from_le_bytes(self.take()?);
        let (name, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        let name = Arc::from(std::str::from_utf8(name).ok()?);
        Some(NamedAccount { name, account: Account { stored, released } })
    }
}

/// Returns whether this looks like the head of a store of ours, whole or damaged.
pub(crate) fn bears_magic(slot: &[u8]) -> bool {
    slot.starts_with(&MAGIC)
}

impl Superblock {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let identity = &self.identity;
        let length = HEADER_BYTES
            + LIVE_BYTES * casts::on_device(self.live.len())
            + QUARANTINED_BYTES * casts::on_device(self.quarantined.len())
            + self.accounts.iter().map(|of| account_names::FIXED_BYTES + casts::on_device(of.name.len())).sum::<u64>()
            + CHECKSUM_BYTES;
        let size = casts::in_memory(length.next_multiple_of(SECTOR_BYTES));
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
        let live = casts::narrow(self.live.len());
        let new = live.saturating_sub(self.old + self.current);
        let quarantined = casts::narrow(self.quarantined.len());
        u32s(&mut bytes, &[live, self.old, self.current, new, quarantined]);
        u32s(&mut bytes, &[u32::from(self.is_closed), self.next_generation]);
        u32s(&mut bytes, &[identity.account_names, casts::narrow(self.accounts.len()), casts::narrow(size)]);
        let apart = u32::from(identity.has_own_logs) | u32::from(identity.has_own_state) << 1;
        u32s(&mut bytes, &[apart, u32::from(identity.is_hierarchical)]);
        bytes.resize(casts::in_memory(HEADER_BYTES), 0);
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
        for of in &self.accounts {
            let Account { stored, released } = of.account;
            for number in [stored.objects, stored.bytes, released.objects, released.bytes] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&u16::try_from(of.name.len()).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend_from_slice(of.name.as_bytes());
        }
        bytes.resize(size - casts::in_memory(CHECKSUM_BYTES), 0);
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a slot; `None` if it does not prove right.
    ///
    /// What is written of a slot says itself how long it is, so more may be read here.
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
        let size = u32::from_le_bytes(*bytes.get(LENGTH_OFFSET..)?.first_chunk()?);
        let (covered, checksum) = bytes.get(..casts::index(size))?.split_last_chunk()?;
        if xxh3_64(covered) != u64::from_le_bytes(*checksum) {
            return None;
        }
        let secret = reader.take()?;
        let [live_blocks, old, current, _new, quarantined] =
            [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
        let (is_closed, next_generation) = (reader.u32()? != 0, reader.u32()?);
        let [account_names, accounts, _length] = [reader.u32()?, reader.u32()?, reader.u32()?];
        let apart = reader.u32()?;
        let is_hierarchical = reader.u32()? != 0;
        reader.take::<8>()?;
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
        let accounts = (0..accounts).map(|_| reader.account()).collect::<Option<_>>()?;
        let identity = Identity {
            storage_type,
            store_id,
            secret,
            data_bytes,
            blocks,
            log_sectors,
            touch_sectors,
            chunk_bytes,
            account_names,
            is_hierarchical,
            has_own_logs: apart & 1 != 0,
            has_own_state: apart & 2 != 0,
        };
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
            accounts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account_names::AccountNames;

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
                account_names: 16,
                is_hierarchical: true,
                has_own_logs: true,
                has_own_state: false,
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
            accounts: ["__other__", "", "acme/main"]
                .map(|name| NamedAccount {
                    name: Arc::from(name),
                    account: Account {
                        stored: Amount { objects: 1, bytes: 2 },
                        released: Amount { objects: 3, bytes: u64::MAX },
                    },
                })
                .to_vec(),
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let bytes = superblock().encode();
        assert_eq!(bytes.len(), 4096);
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

    #[test]
    fn the_fullest_superblock_fits_its_slot() {
        let mut fullest = superblock();
        let Identity { blocks, account_names, .. } = fullest.identity;
        let [live, record] = [fullest.live[0], LiveBlock { block: 9, ..fullest.live[0] }];
        fullest.live = vec![live; casts::index(blocks)];
        fullest.live[1] = record;
        fullest.quarantined = vec![fullest.quarantined[0]; MAX_QUARANTINED];
        let mut names = AccountNames::new([], account_names, account_names_bytes(account_names));
        for number in 0..100 {
            names.number(&format!("{number:060}"));
        }
        let account = fullest.accounts[0].account;
        fullest.accounts = names.names().iter().map(|name| NamedAccount { name: Arc::clone(name), account }).collect();
        assert_eq!(fullest.accounts.len(), 16);
        let bytes = fullest.encode();
        assert!(casts::on_device(bytes.len()) <= size_bytes(blocks, account_names));
        assert_eq!(Superblock::decode(&bytes), Some(fullest));
    }
}
