//! The way from the whole of a configuration down to a value, as cheap as a call.

use super::MAX_DEPTH;
use crate::field_path::FieldPath;

/// The way to a value. It becomes a path only where there is a fault.
#[derive(Clone, Copy)]
pub(super) struct Trail<'t> {
    above: Option<&'t Self>,
    step: Step<'t>,
    /// The number of messages on the way.
    depth: usize,
}

#[derive(Clone, Copy)]
enum Step<'t> {
    /// Into a message, which has no path of its own.
    Message,
    Field(&'t str),
    Index(usize),
    Key(&'t str),
}

impl<'t> Trail<'t> {
    pub(super) const ROOT: Self = Self { above: None, step: Step::Message, depth: 0 };

    pub(super) fn field(&'t self, name: &'t str) -> Self {
        Self { above: Some(self), step: Step::Field(name), depth: self.depth }
    }

    pub(super) fn index(&'t self, index: usize) -> Self {
        Self { above: Some(self), step: Step::Index(index), depth: self.depth }
    }

    pub(super) fn key(&'t self, key: &'t str) -> Self {
        Self { above: Some(self), step: Step::Key(key), depth: self.depth }
    }

    /// Goes into a message, unless too many lie in each other.
    pub(super) fn message(&'t self) -> Option<Self> {
        let depth = self.depth + 1;
        (depth <= MAX_DEPTH).then_some(Self { above: Some(self), step: Step::Message, depth })
    }

    pub(super) fn path(&self) -> FieldPath {
        let mut steps = vec![self.step];
        let mut above = self.above;
        while let Some(trail) = above {
            steps.push(trail.step);
            above = trail.above;
        }
        steps.into_iter().rev().fold(FieldPath::default(), |path, step| match step {
            Step::Message => path,
            Step::Field(name) => path.field(name),
            Step::Index(index) => path.index(index),
            Step::Key(key) => path.key(key),
        })
    }
}
