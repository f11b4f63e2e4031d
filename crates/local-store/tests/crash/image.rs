//! The images of a device that crashes leave.

use blobaccess_testkit::Numbers;

use crate::recorder::Step;

const SECTOR: usize = 4096;

/// How much of what was not synced a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All of it was written.
    Nothing,
    /// None of it was.
    Everything,
    /// The outcome of each sector: whether it was written.
    Some,
    /// The same, and some sectors came out as garbage, what lay in them before included.
    Torn,
}

impl Loss {
    pub(crate) const ALL: [Self; 4] = [Self::Nothing, Self::Everything, Self::Some, Self::Torn];
}

/// The images that crashes leave, one after another at later and later steps.
#[derive(Debug)]
pub(crate) struct Crashes {
    steps: Vec<Step>,
    /// The steps before this one were done.
    at: usize,
    durable: Vec<u8>,
    /// The writes that were not synced.
    pending: Vec<(usize, Vec<u8>)>,
}

impl Crashes {
    pub(crate) fn new(initial: Vec<u8>, steps: Vec<Step>) -> Self {
        Self { steps, at: 0, durable: initial, pending: Vec::new() }
    }

    /// Returns the image that a crash right before step `position` leaves. Positions must not go back.
    pub(crate) fn image(&mut self, position: usize, loss: Loss, numbers: &mut Numbers) -> Vec<u8> {
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
