//! The files that a configuration writes, each of which has one writer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::field_path::FieldPath;

/// The files that a configuration reads and writes.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    claims: HashMap<PathBuf, Claim>,
}

#[derive(Debug)]
struct Claim {
    by: FieldPath,
    is_writer: bool,
}

impl Claims {
    /// Claims a file that is only read.
    ///
    /// # Errors
    ///
    /// The path of the field that writes the file.
    pub(crate) fn read(&mut self, file: impl AsRef<Path>, by: &FieldPath) -> Result<(), FieldPath> {
        self.claim(file.as_ref(), by, false)
    }

    /// Claims a file that is written.
    ///
    /// # Errors
    ///
    /// The path of the field that reads or writes the file too.
    pub(crate) fn write(&mut self, file: impl AsRef<Path>, by: &FieldPath) -> Result<(), FieldPath> {
        self.claim(file.as_ref(), by, true)
    }

    fn claim(&mut self, file: &Path, by: &FieldPath, is_writer: bool) -> Result<(), FieldPath> {
        // Components, so that `a//b` and `./a/b` are `a/b`.
        let file: PathBuf = file.components().skip_while(is_here).collect();
        match self.claims.get(&file) {
            Some(known) if known.is_writer || is_writer => Err(known.by.clone()),
            Some(_) => Ok(()),
            None => {
                self.claims.insert(file, Claim { by: by.clone(), is_writer });
                Ok(())
            }
        }
    }
}

/// Returns whether a component is the `.` at the start of a path. Others do not appear.
fn is_here(component: &std::path::Component<'_>) -> bool {
    matches!(component, std::path::Component::CurDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_writer_and_no_reader_beside_it() {
        let (mut claims, a, b) = (Claims::default(), FieldPath::default().field("a"), FieldPath::default().field("b"));
        assert_eq!(claims.read("x/y.zip", &a), Ok(()));
        assert_eq!(claims.read("./x//y.zip", &b), Ok(()));
        assert_eq!(claims.write("x/./y.zip", &b), Err(a.clone()));
        assert_eq!(claims.write("/x/y.zip", &b), Ok(()));
        assert_eq!(claims.write("/x/y.zip", &a), Err(b.clone()));
        assert_eq!(claims.read("/x/y.zip", &a), Err(b));
    }
}
