//! What the tests of crashes and faults share: a device that records, and numbers that repeat.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a step that fails is a failed test; seeds are printed"
)]
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

pub mod versions;

use std::io;
use std::sync::{Mutex, PoisonError};

use blobaccess_local_store::{Device, MemoryDevice};

pub const SECTOR: usize = 4096;

/// Random numbers from a seed (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap_or(1)).unwrap_or_default()
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// A seed from the environment, or a new one; printed, so that a failure can be repeated.
pub fn seed(name: &str) -> u64 {
    let given = std::env::var(name).ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| {
        use std::hash::BuildHasher as _;
        std::hash::RandomState::new().hash_one(name)
    });
    println!("{name}={seed}");
    seed
}

/// What was done to a device.
#[derive(Clone, Debug)]
pub enum Step {
    Write { offset: usize, bytes: Vec<u8> },
    Sync,
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
        self.record(Step::Sync);
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
    /// As of the last sync before `position`.
    durable: Vec<u8>,
    durable_position: usize,
}

impl Crashes {
    pub fn new(initial: Vec<u8>, steps: Vec<Step>) -> Self {
        Self { steps, durable: initial, durable_position: 0 }
    }

    /// What a crash right before step `position` leaves. Positions must not go back.
    pub fn image(&mut self, position: usize, loss: Loss, numbers: &mut Numbers) -> Vec<u8> {
        let synced = self.steps[..position].iter().rposition(|step| matches!(step, Step::Sync));
        if let Some(synced) = synced.filter(|synced| *synced >= self.durable_position) {
            for step in &self.steps[self.durable_position..synced] {
                if let Step::Write { offset, bytes } = step {
                    self.durable[*offset..][..bytes.len()].copy_from_slice(bytes);
                }
            }
            self.durable_position = synced + 1;
        }
        let mut image = self.durable.clone();
        if loss == Loss::Everything {
            return image;
        }
        let mut written = Vec::new();
        for step in &self.steps[self.durable_position..position] {
            let Step::Write { offset, bytes } = step else { continue };
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
