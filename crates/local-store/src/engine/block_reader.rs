//! Reads ranges of blocks, from memory or from the device, right or wrong.

use std::ops::Range;
use std::sync::Arc;

use blobaccess::Result;
use bytes::{Bytes, BytesMut};

use super::blocks::Blocks;
use super::disk::Disk;
use super::excerpt::Excerpt;
use crate::block::{One, ReadPart};
use crate::device::{ReadBuffer, ReadBuffers};
use crate::location::Location;
use crate::machine::casts;
use crate::machine::threads::groups;

/// Whether reading may wait for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Waiting,
    AtOnce,
}

/// The result of reading.
#[derive(Debug)]
pub(crate) enum Read<T = Bytes> {
    Bytes(T),
    /// The block is in another use: the contents are gone, or elsewhere.
    Gone,
    /// Reading would have to wait for a disk.
    NotAtOnce,
}

/// Reads ranges of blocks. It holds no lock while it reads a device.
#[derive(Debug)]
pub(super) struct BlockReader {
    blocks: Arc<Blocks>,
    /// `None` of a store in memory.
    disk: Option<Arc<Disk>>,
    buffers: ReadBuffers,
}

impl BlockReader {
    pub(super) fn new(blocks: Arc<Blocks>, disk: Option<Arc<Disk>>) -> Self {
        Self { blocks, disk, buffers: ReadBuffers::new(groups()) }
    }

    /// Returns whether contents may lie on a device.
    #[inline]
    pub(super) fn is_on_device(&self) -> bool {
        self.disk.is_some()
    }

    /// Returns all contents at `location`, if memory has them in one piece, and they may be lent.
    pub(super) fn lend_whole(&self, location: &Location) -> Option<Bytes> {
        if self.disk.is_some() || self.blocks.has_lent_enough() {
            return None;
        }
        let Location { block, generation, offset, size_bytes } = *location;
        let (block, within) = (self.blocks.get(block)?, offset..offset + size_bytes);
        let bytes = match block.read_one(generation, &within) {
            One::Bytes(bytes) => bytes,
            One::Written(written) => Bytes::from_owner(written),
            One::Several => block.read_stretch(generation, &within)?,
            One::OnDevice | One::Gone => return None,
        };
        block.is(generation).then_some(bytes)
    }

    /// Returns the bytes that were read, without a copy; or a copy, if readers alone already hold much memory.
    /// Otherwise a slow reader could keep a large piece of memory for each small object.
    #[inline]
    pub(super) fn hand_out(&self, excerpt: Excerpt) -> Bytes {
        if !excerpt.is_from_device() && self.blocks.has_lent_enough() {
            return Bytes::copy_from_slice(&excerpt);
        }
        excerpt.into_bytes()
    }

    /// Reads a range of an object, without verifying it. `range` begins with the contents and may reach into the
    /// trailer.
    ///
    /// # Errors
    ///
    /// `DataLoss` if the device cannot read this range, while it can read others. `Unavailable` if it fails.
    pub(super) fn lend(&self, location: &Location, range: Range<u64>, mode: Mode) -> Result<Read<Excerpt>> {
        let Some(block) = self.blocks.get(location.block) else { return Ok(Read::Gone) };
        let within = location.offset + range.start..location.offset + range.end;
        let read = match block.read_one(location.generation, &within) {
            One::Bytes(bytes) => return Ok(Read::Bytes(bytes.into())),
            One::Written(written) => return Ok(Read::Bytes(written.into())),
            One::Gone => return Ok(Read::Gone),
            One::OnDevice => self.read_device(location.block, within, mode).map(|read| read.map(Excerpt::from)),
            One::Several => {
                let Some(parts) = block.read(location.generation, within) else { return Ok(Read::Gone) };
                self.join(location.block, parts, mode)
            }
        };
        // Only now: the block may have been given another use while it was read.
        if !block.is(location.generation) {
            return Ok(Read::Gone);
        }
        Ok(read?.map_or(Read::NotAtOnce, Read::Bytes))
    }

    /// Joins the parts of a range; `None` if that would have to wait, and `mode` forbids it.
    fn join(&self, block: u16, mut parts: Vec<ReadPart>, mode: Mode) -> Result<Option<Excerpt>> {
        match &mut *parts {
            [] => return Ok(Some(Bytes::new().into())),
            [ReadPart::Bytes(only)] => return Ok(Some(std::mem::take(only).into())),
            [ReadPart::OnDevice(only)] => return Ok(self.read_device(block, only.clone(), mode)?.map(Excerpt::from)),
            _ => {}
        }
        let length = |part: &ReadPart| match part {
            ReadPart::Bytes(bytes) => bytes.len(),
            ReadPart::OnDevice(range) => casts::in_memory(range.end - range.start),
        };
        let mut whole = BytesMut::with_capacity(parts.iter().map(length).sum());
        let mut is_from_device = false;
        for part in parts {
            match part {
                ReadPart::Bytes(bytes) => whole.extend_from_slice(&bytes),
                ReadPart::OnDevice(range) => {
                    let Some(buffer) = self.read_device(block, range, mode)? else { return Ok(None) };
                    whole.extend_from_slice(buffer.as_ref());
                    is_from_device = true;
                }
            }
        }
        Ok(Some(Excerpt::joined(whole.freeze(), is_from_device)))
    }

    /// Reads a range of a block from the device; `None` if that would have to wait, and `mode` forbids it.
    fn read_device(&self, block: u16, range: Range<u64>, mode: Mode) -> Result<Option<ReadBuffer>> {
        let Some(disk) = &self.disk else { return Ok(None) };
        if mode == Mode::AtOnce && !disk.device.may_read_at_once() {
            return Ok(None);
        }
        let at = disk.layout.data(block) + range.start;
        let mut buffer = self.buffers.take(casts::in_memory(range.end - range.start));
        match mode {
            Mode::Waiting => disk.read_data(at, buffer.as_mut())?,
            Mode::AtOnce => {
                if !disk.device.read_at_once(at, buffer.as_mut()) {
                    return Ok(None);
                }
            }
        }
        Ok(Some(buffer))
    }
}
