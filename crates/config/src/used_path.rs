//! Paths of files that a configuration names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::field_path::FieldPath;
use crate::{Fault, Position};

/// A path that is written to, and the field that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsedPath {
    pub(crate) path: PathBuf,
    pub(crate) field: FieldPath,
    pub(crate) position: Option<Position>,
}

impl UsedPath {
    /// Makes a fault of the field.
    pub(crate) fn fault(&self, message: String) -> Fault {
        Fault { path: self.field.to_string(), position: self.position.clone(), message }
    }
}

/// Looks whether there is a directory for a file to be made in.
///
/// # Errors
///
/// A description of what is wrong.
pub(crate) fn check_directory_of(file: &Path) -> Result<(), String> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    match fs::metadata(directory.unwrap_or(Path::new("."))) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(format!("{}: the directory is none", file.display())),
        Err(error) => Err(format!("{}: the directory: {error}", file.display())),
    }
}
