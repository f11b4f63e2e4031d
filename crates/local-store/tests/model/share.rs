//! The share of copies: what puts earned, as far as it can be known from outside.

use blobaccess_local_store::Sizes;

use crate::bytes_of;
use crate::shape::Shape;

/// Bounds of what is left to copies.
pub(crate) struct Share {
    /// At least and at most.
    pub(crate) left: (i128, i128),
    /// The maximum that may be saved up.
    most: i128,
    /// The part of the maximum that is for promised blobs only.
    kept: i128,
    percent: i128,
}

impl Share {
    /// Returns the saved share.
    pub(crate) fn new(shape: Shape, sizes: &Sizes) -> Self {
        let of_block = sizes.data_bytes() / bytes_of(shape.blocks()) / 100 * u64::from(shape.copied_percent);
        let most = of_block * bytes_of((shape.promised_blocks() / 2).clamp(1, 4));
        let percent = shape.copied_percent.into();
        Self { left: (most.into(), most.into()), most: most.into(), kept: (most - of_block).into(), percent }
    }

    /// Makes the share of a store that was just opened.
    pub(crate) fn fill(&mut self) {
        self.left = (self.most, self.most);
    }

    /// Adds what a put earns, which is known within `unknown` bytes; a put that broke off may earn nothing.
    pub(crate) fn earn(&mut self, counted: i128, unknown: i128, is_certain: bool) {
        let earned = |counted: i128| counted.max(0) * self.percent / (100 - self.percent);
        let (low, high) = self.left;
        let low = if is_certain { low + earned(counted - unknown) } else { low };
        self.left = (low.min(self.most), (high + earned(counted + unknown)).min(self.most));
    }

    /// Copies took at least `least` and at most `most`. What was only read leaves alone what is for what was promised.
    pub(crate) fn take(&mut self, least: i128, most: i128, is_any_read: bool) {
        let (low, high) = self.left;
        self.left = (low - most, high - least);
        assert!(self.left.1 >= 0, "copies took {least} of {high}");
        let is_kept = !is_any_read || self.left.1 >= self.kept;
        assert!(is_kept, "what was read took what is for what is promised: {high} less {least}, of {}", self.kept);
    }
}
