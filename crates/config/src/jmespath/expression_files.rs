//! The files whose contents an expression sees.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use ::jmespath::Variable;

use super::expression::Node;
use crate::small_file::read_small_file;

/// The time after which files are read again.
pub(super) const REFRESH_INTERVAL: Duration = Duration::from_mins(1);

/// The contents of files, by the keys that an expression knows them by.
pub(super) struct ExpressionFiles {
    paths: BTreeMap<String, String>,
    contents: RwLock<Node>,
}

impl ExpressionFiles {
    /// Makes the files at `paths`, with their contents as they have been read.
    pub(super) fn new(paths: BTreeMap<String, String>, contents: &BTreeMap<String, String>) -> Self {
        Self { paths, contents: RwLock::new(object_of(contents)) }
    }

    /// Returns the contents as an object.
    pub(super) fn contents(&self) -> Node {
        self.contents.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads all files again. One that cannot be read keeps the contents that it had.
    pub(super) fn refresh(&self) {
        let before = self.contents();
        let mut contents = BTreeMap::new();
        for (key, path) in &self.paths {
            let read = read_small_file(path).unwrap_or_else(|error| {
                tracing::warn!(path, error, "file of an expression cannot be read again");
                before.get_field(key).as_string().cloned().unwrap_or_default()
            });
            contents.insert(key.clone(), read);
        }
        *self.contents.write().unwrap_or_else(PoisonError::into_inner) = object_of(&contents);
    }
}

fn object_of(contents: &BTreeMap<String, String>) -> Node {
    let fields = contents.iter().map(|(key, text)| (key.clone(), Node::new(Variable::String(text.clone()))));
    Node::new(Variable::Object(fields.collect()))
}

impl Debug for ExpressionFiles {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Contents may be secrets.
        f.debug_struct("ExpressionFiles").field("paths", &self.paths).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_again_keeps_its_contents() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let of = |a: &str, b: &str| BTreeMap::from([("a".to_owned(), a.to_owned()), ("b".to_owned(), b.to_owned())]);
        let files = ExpressionFiles::new(of(&path("a"), &path("b")), &of("old a", "old b"));
        fs::write(path("a"), "new a").unwrap();
        files.refresh();
        assert_eq!(files.contents(), object_of(&of("new a", "old b")));
        let shown = format!("{files:?}");
        assert!(!shown.contains("old b"), "{shown}");
    }
}
