//! What the tests of crashes and faults share: a device that records.

#![expect(clippy::indexing_slicing, reason = "a step that fails is a failed test")]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test uses a part of it")]

pub mod versions;

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use blobaccess_testkit::{Numbers, seed};

use blobaccess_local_store::{Device, MemoryDevice};

pub const SECTOR: usize = 4096;

/// What was done to a device.
#[derive(Clone, Debug)]
pub enum Step {
    Write {
        offset: usize,
        bytes: Vec<u8>,
    },
    /// Of this range.
    Sync(Range<usize>),
}

/// A device in memory that records what is done to it.
#[derive(Debug)]
pub struct Recorder {
    inner: MemoryDevice,
    steps: Mutex<Vec<Step>>,
}

impl Recorder {
    pub fn new(size_bytes: u64) -> Self {
        Self { inner: MemoryDevice::new(size_bytes), steps: Mutex::default() }
    }

    pub fn from_image(image: Vec<u8>) -> Self {
        Self { inner: MemoryDevice::from_image(image), steps: Mutex::default() }
    }

    /// How many steps there were.
    pub fn position(&self) -> usize {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, step: Step) {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }
}

impl Device for Recorder {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn read_at_once(&self, offset: u64, buffer: &mut [u8]) -> io::Result<bool> {
        self.inner.read_at_once(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.record(Step::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.record(Step::Sync(0..usize::MAX));
        Ok(())
    }
}

/// A part of a recorder, as a device of its own: what is synced of it is synced alone.
#[derive(Debug)]
pub struct Part {
    of: Arc<Recorder>,
    begin: u64,
    size_bytes: u64,
}

impl Part {
    pub fn new(of: &Arc<Recorder>, range: &Range<u64>) -> Arc<Self> {
        Arc::new(Self { of: Arc::clone(of), begin: range.start, size_bytes: range.end - range.start })
    }
}

impl Device for Part {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.of.read_at(self.begin + offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let length = u64::try_from(bytes.len()).map_err(io::Error::other)?;
        assert!(offset + length <= self.size_bytes, "a write beyond the end of a device");
        self.of.write_at(self.begin + offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        let at = |offset: u64| usize::try_from(offset).map_err(io::Error::other);
        self.of.record(Step::Sync(at(self.begin)?..at(self.begin + self.size_bytes)?));
        Ok(())
    }
}

/// How much of what was not synced a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of it was written.
    Nothing,
    /// None of it was.
    Everything,
    /// Of each sector that was written, or not.
    Some,
    /// The same, and some sectors came out as garbage, what lay in them before included.
    Torn,
}

impl Loss {
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Everything, Self::Some, Self::Torn];
}

/// The images that crashes leave, one after another at later and later steps.
#[derive(Debug)]
pub struct Crashes {
    steps: Vec<Step>,
    /// The steps before this one were done.
    at: usize,
    durable: Vec<u8>,
    /// What was written and not synced.
    pending: Vec<(usize, Vec<u8>)>,
}

impl Crashes {
    pub fn new(initial: Vec<u8>, steps: Vec<Step>) -> Self {
        Self { steps, at: 0, durable: initial, pending: Vec::new() }
    }

    /// What a crash right before step `position` leaves. Positions must not go back.
    pub fn image(&mut self, position: usize, loss: Loss, numbers: &mut Numbers) -> Vec<u8> {
        for step in &self.steps[self.at..position] {
            match step {
                Step::Write { offset, bytes } => self.pending.push((*offset, bytes.clone())),
                Step::Sync(range) => {
                    for (offset, bytes) in self.pending.extract_if(.., |(offset, _)| range.contains(offset)) {
                        self.durable[offset..][..bytes.len()].copy_from_slice(&bytes);
                    }
                }
            }
        }
        self.at = position;
        let mut image = self.durable.clone();
        if loss == Loss::Everything {
            return image;
        }
        let mut written = Vec::new();
        for (offset, bytes) in &self.pending {
            let mut at = 0;
            while at < bytes.len() {
                let sector = (offset + at) / SECTOR;
                let end = bytes.len().min((sector + 1) * SECTOR - offset);
                if loss == Loss::Nothing || numbers.below(2) == 0 {
                    image[offset + at..offset + end].copy_from_slice(&bytes[at..end]);
                }
                written.push(sector);
                at = end;
            }
        }
        if loss == Loss::Torn && !written.is_empty() {
            for _ in 0..=numbers.below(3) {
                let sector = written[numbers.below(written.len())];
                let begin = sector * SECTOR + numbers.below(SECTOR);
                let end = begin + 1 + numbers.below((sector + 1) * SECTOR - begin);
                let garbage = if numbers.below(3) == 0 { vec![0; end - begin] } else { numbers.bytes(end - begin) };
                let end = end.min(image.len());
                image[begin..end].copy_from_slice(&garbage[..end - begin]);
            }
        }
        image
    }
}

/// Damages the younger of two superblocks, as `docs/format.md` has them for eight blocks.
pub fn rot_younger_superblock(image: &mut [u8], begin: usize) {
    const SLOT: usize = (160 + 48 * 8 + 24 * 1024 + 96 * 8 + 8_usize).next_multiple_of(4096);
    let sequence =
        |slot: usize| u64::from_le_bytes(*image[begin + slot * SLOT + 32..].first_chunk().unwrap_or(&[0; 8]));
    let younger = usize::from(sequence(0) <= sequence(1));
    image[begin + younger * SLOT + 200] ^= 1;
}

/// How long randomised tests may take, all together.
pub fn budget() -> Duration {
    let seconds = std::env::var("BLOBACCESS_RANDOMISED_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(30))
}
