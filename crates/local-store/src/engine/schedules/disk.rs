//! A disk in memory that tells what a crash at this moment would leave of it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use shuttle::rand::{Rng as _, thread_rng};
use shuttle::sync::{Mutex, MutexGuard};

use crate::Device;
use crate::machine::casts;

const SECTOR: usize = 4096;

/// Sectors; those that were never written are zeros.
pub(super) type Image = Vec<Option<Arc<[u8; SECTOR]>>>;

/// A disk in memory that tells what a crash at this moment would leave of it. Before each access another thread may run.
#[derive(Debug)]
pub(super) struct CrashingDisk(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The bytes that are read.
    written: Image,
    durable: Image,
    /// Sectors as they were written since, oldest first, by their numbers.
    pending: Vec<(usize, Arc<[u8; SECTOR]>)>,
    crash: Option<Crash>,
}

/// A crash to come.
#[derive(Debug)]
struct Crash {
    /// The number of steps until the crash.
    steps: u32,
    /// The acknowledgements until the crash.
    told: Arc<AtomicU32>,
    /// The acknowledgements and the image, once the crash has come.
    left: Option<(u32, Image)>,
}

impl State {
    /// Returns what a crash leaves now: of each sector that was written and not synced, this write or an earlier one,
    /// and of one of these sectors perhaps garbage, its earlier contents included.
    fn left(&self) -> Image {
        let mut image = self.durable.clone();
        let mut numbers = thread_rng();
        // All of it, nothing of it, or whatever comes.
        let kept = [0.0, 0.5, 1.0][numbers.gen_range(0..3)];
        for (sector, bytes) in &self.pending {
            if numbers.gen_bool(kept) {
                image[*sector] = Some(Arc::clone(bytes));
            }
        }
        if numbers.gen_bool(0.5) && !self.pending.is_empty() {
            let (sector, _) = self.pending[numbers.gen_range(0..self.pending.len())];
            image[sector] = Some(Arc::new([0xa5; SECTOR]));
        }
        image
    }

    fn crash_if_it_is_time(&mut self) {
        let is_time = self.crash.as_mut().is_some_and(|crash| match crash.steps.checked_sub(1) {
            Some(steps) => {
                crash.steps = steps;
                false
            }
            None => crash.left.is_none(),
        });
        if is_time {
            let image = self.left();
            if let Some(crash) = &mut self.crash {
                crash.left = Some((crash.told.load(Ordering::SeqCst), image));
            }
        }
    }
}

impl CrashingDisk {
    pub(super) fn new(size_bytes: u64) -> Self {
        Self::with(vec![None; casts::in_memory(size_bytes) / SECTOR])
    }

    /// Opens a disk with this image.
    pub(super) fn with(image: Image) -> Self {
        Self(Mutex::new(State { written: image.clone(), durable: image, pending: Vec::new(), crash: None }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Returns what a crash leaves now.
    pub(super) fn crash(&self) -> Image {
        self.state().left()
    }

    /// Crashes at some step to come, for whoever asks later: here, all goes on.
    pub(super) fn crash_some_time(&self, told: &Arc<AtomicU32>) {
        let mut numbers = thread_rng();
        let max_steps = [20, 60, 200][numbers.gen_range(0..3)];
        let steps = numbers.gen_range(0..max_steps);
        self.state().crash = Some(Crash { steps, told: Arc::clone(told), left: None });
    }

    /// Returns the acknowledgements before the crash, and the image it left. The crash comes now at the latest.
    pub(super) fn crashed(&self) -> (u32, Image) {
        let mut state = self.state();
        let crash = state.crash.take().unwrap();
        crash.left.unwrap_or_else(|| (crash.told.load(Ordering::SeqCst), state.left()))
    }
}

impl Device for CrashingDisk {
    fn size_bytes(&self) -> u64 {
        casts::on_device(self.state().written.len() * SECTOR)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (state, mut at, mut rest) = (self.state(), casts::in_memory(offset), buffer);
        while !rest.is_empty() {
            let within = at % SECTOR;
            let length = rest.len().min(SECTOR - within);
            let (now, later) = rest.split_at_mut(length);
            match &state.written[at / SECTOR] {
                Some(sector) => now.copy_from_slice(&sector[within..within + now.len()]),
                None => now.fill(0),
            }
            at += now.len();
            rest = later;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut at, mut rest) = (casts::in_memory(offset), bytes);
        // In two steps, so that it is read and lost in halves as well.
        for is_last in [false, true] {
            let mut state = self.state();
            state.crash_if_it_is_time();
            let mut left = if is_last { rest.len() } else { rest.len() / 2 };
            while left > 0 {
                let (number, within) = (at / SECTOR, at % SECTOR);
                let (now, later) = rest.split_at(left.min(SECTOR - within));
                let mut sector = state.written[number].as_deref().copied().unwrap_or([0; SECTOR]);
                sector[within..within + now.len()].copy_from_slice(now);
                let sector = Arc::new(sector);
                state.pending.push((number, Arc::clone(&sector)));
                state.written[number] = Some(sector);
                (at, rest, left) = (at + now.len(), later, left - now.len());
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let before = self.state().pending.len();
        // What is written from here on may be durable after it, or not.
        let mut state = self.state();
        state.crash_if_it_is_time();
        let State { durable, pending, .. } = &mut *state;
        for (number, sector) in pending.drain(..before.min(pending.len())) {
            durable[number] = Some(sector);
        }
        Ok(())
    }
}
