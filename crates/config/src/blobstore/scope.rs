//! The labels that a backend may refer to.

use std::collections::HashMap;
use std::rc::Rc;

use blobaccess::StorageType;

use super::node::NodeId;

/// The labels that a backend may refer to: those of the backends around it.
///
/// Labels of one map do not see each other, so no label leads to itself. Those of one store are unknown in the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope<'a> {
    labels: Rc<HashMap<&'a str, Label>>,
    /// The labels of the map that the backend is in.
    siblings: Rc<Vec<&'a str>>,
}

/// A label that was declared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label {
    pub(crate) target: NodeId,
    pub(crate) kind: StorageType,
}

impl<'a> Scope<'a> {
    /// Returns the label with this name.
    pub(crate) fn get(&self, name: &str) -> Option<Label> {
        self.labels.get(name).copied()
    }

    /// Returns whether a label with this name is declared beside the backend, where it cannot be seen.
    pub(crate) fn is_sibling(&self, name: &str) -> bool {
        self.siblings.contains(&name)
    }

    /// Returns the scope of a backend that sees `labels` too.
    pub(crate) fn with(&self, labels: impl IntoIterator<Item = (&'a str, Label)>) -> Self {
        let mut all = HashMap::clone(&self.labels);
        all.extend(labels);
        Self { labels: Rc::new(all), siblings: Rc::clone(&self.siblings) }
    }

    /// Returns the scope of a backend that is given one of these names.
    pub(crate) fn beside(&self, siblings: impl IntoIterator<Item = &'a str>) -> Self {
        let siblings = self.siblings.iter().copied().chain(siblings).collect();
        Self { labels: Rc::clone(&self.labels), siblings: Rc::new(siblings) }
    }
}
