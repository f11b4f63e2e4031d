//! A disk in memory that tells what a crash at this moment would leave of it.

use std::io;
use std::ops::Range;

use shuttle::rand::{Rng as _, thread_rng};
use shuttle::sync::{Mutex, MutexGuard};

use crate::{Device, width};

const SECTOR: usize = 4096;

/// A disk in memory that tells what a crash at this moment would leave of it. Before each access another thread may run.
#[derive(Debug)]
pub(super) struct CrashingDisk(Mutex<State>);

struct State {
    /// What is read.
    written: Vec<u8>,
    durable: Vec<u8>,
    /// What was written since it was durable, oldest first: each lies in one sector.
    pending: Vec<(Range<usize>, Vec<u8>)>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

impl CrashingDisk {
    pub(super) fn new(size_bytes: u64) -> Self {
        Self::with(vec![0; width::in_memory(size_bytes)])
    }

    /// One that was left so.
    pub(super) fn with(image: Vec<u8>) -> Self {
        Self(Mutex::new(State { written: image.clone(), durable: image, pending: Vec::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What a crash leaves now: of each sector that was written and not synced, this write or an earlier one, and of one
    /// of these sectors perhaps garbage, what lay in it before included.
    pub(super) fn crash(&self) -> Vec<u8> {
        let state = self.state();
        let mut image = state.durable.clone();
        let mut numbers = thread_rng();
        // All of it, nothing of it, or whatever comes.
        let kept = [0.0, 0.5, 1.0][numbers.gen_range(0..3)];
        for (range, bytes) in &state.pending {
            if numbers.gen_bool(kept) {
                image[range.clone()].copy_from_slice(bytes);
            }
        }
        if numbers.gen_bool(0.3)
            && let Some((range, _)) = state.pending.get(numbers.gen_range(0..=state.pending.len()))
        {
            let begin = range.start / SECTOR * SECTOR;
            image[begin..begin + SECTOR].fill(0xa5);
        }
        image
    }
}

impl Device for CrashingDisk {
    fn size_bytes(&self) -> u64 {
        width::on_device(self.state().written.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let at = width::in_memory(offset);
        buffer.copy_from_slice(&self.state().written[at..at + buffer.len()]);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut at, mut rest) = (width::in_memory(offset), bytes);
        // In two steps, so that it is read and lost in halves as well.
        for is_last in [false, true] {
            let mut state = self.state();
            let mut left = if is_last { rest.len() } else { rest.len() / 2 };
            while left > 0 {
                let (now, later) = rest.split_at(left.min((at / SECTOR + 1) * SECTOR - at));
                let range = at..at + now.len();
                state.written[range.clone()].copy_from_slice(now);
                state.pending.push((range, now.to_vec()));
                (at, rest, left) = (at + now.len(), later, left - now.len());
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let before = self.state().pending.len();
        // What is written from here on may be durable after it, or not.
        let mut state = self.state();
        let State { durable, pending, .. } = &mut *state;
        for (range, bytes) in pending.drain(..before.min(pending.len())) {
            durable[range].copy_from_slice(&bytes);
        }
        Ok(())
    }
}
