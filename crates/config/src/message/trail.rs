//! The way from the whole of a configuration down to a value, as cheap as a call.

use crate::field_path::FieldPath;

/// The way to a value. It becomes a path only where there is a fault.
#[derive(Clone, Copy)]
pub(super) struct Trail<'t> {
    above: Option<&'t Self>,
    step: Step<'t>,
}

#[derive(Clone, Copy)]
enum Step<'t> {
    Root,
    Field(&'t str),
    Index(usize),
    Key(&'t str),
}

impl<'t> Trail<'t> {
    pub(super) const ROOT: Self = Self { above: None, step: Step::Root };

    pub(super) fn field(&'t self, name: &'t str) -> Self {
        Self { above: Some(self), step: Step::Field(name) }
    }

    pub(super) fn index(&'t self, index: usize) -> Self {
        Self { above: Some(self), step: Step::Index(index) }
    }

    pub(super) fn key(&'t self, key: &'t str) -> Self {
        Self { above: Some(self), step: Step::Key(key) }
    }

    pub(super) fn path(&self) -> FieldPath {
        let mut steps = vec![self.step];
        let mut above = self.above;
        while let Some(trail) = above {
            steps.push(trail.step);
            above = trail.above;
        }
        steps.into_iter().rev().fold(FieldPath::default(), |path, step| match step {
            Step::Root => path,
            Step::Field(name) => path.field(name),
            Step::Index(index) => path.index(index),
            Step::Key(key) => path.key(key),
        })
    }
}
