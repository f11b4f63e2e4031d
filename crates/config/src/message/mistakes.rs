//! The mistakes in a text, with their places.

use super::trail::Trail;
use crate::fault::MAX_FAULTS;
use crate::field_path::FieldPath;
use crate::{Fault, Position};

/// Collects the mistakes of one document, in their order.
#[derive(Default)]
pub(super) struct Mistakes {
    faults: Vec<(FieldPath, Fault)>,
    left_out: usize,
}

impl Mistakes {
    /// Notes a mistake in the value at `trail`.
    pub(super) fn note(&mut self, trail: &Trail<'_>, position: Option<&Position>, message: impl Into<String>) {
        if self.faults.len() >= MAX_FAULTS {
            self.left_out += 1;
            return;
        }
        let path = trail.path();
        let fault = Fault { path: path.to_string(), position: position.cloned(), message: message.into() };
        self.faults.push((path, fault));
    }

    /// Returns the faults.
    pub(super) fn into_faults(mut self) -> Vec<(FieldPath, Fault)> {
        self.faults.extend(Fault::of_left_out(self.left_out).map(|fault| (FieldPath::default(), fault)));
        self.faults
    }
}
