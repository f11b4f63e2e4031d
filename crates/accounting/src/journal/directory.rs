//! The folder of a journal, made so that it outlives a power cut.

use std::fs::File;
use std::io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
use std::io::Result;
use std::path::Path;

/// Makes a folder and its parents if they are missing, and syncs them.
pub(super) fn make(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    // The process that made a folder may have been killed before its sync, so all are synced in any case.
    for above in directory.canonicalize()?.ancestors().skip(1) {
        match File::open(above).and_then(|above| above.sync_all()) {
            Ok(()) => {}
            // A folder that cannot be read was not made here; some file systems sync no directories.
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
