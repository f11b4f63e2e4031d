//! The folder of a journal, which is there after a power cut as well.

use std::fs::File;
use std::io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
use std::io::Result;
use std::path::Path;

/// Makes a folder, and those above it, if it is not there, and makes durable that it is.
pub(super) fn make(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    // Whoever made it may have been killed before this, so they are synced in any case.
    for above in directory.canonicalize()?.ancestors().skip(1) {
        match File::open(above).and_then(|above| above.sync_all()) {
            Ok(()) => {}
            // One that is not to be read is not one that was made here; some file systems sync no directories.
            Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_above_one_another_and_may_be_there() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("one/two");
        for _ in 0..2 {
            make(&directory).unwrap();
            assert!(directory.is_dir());
        }
        let file = parent.path().join("file");
        File::create(&file).unwrap();
        make(&file).unwrap_err();
        make(&file.join("below")).unwrap_err();
    }
}
