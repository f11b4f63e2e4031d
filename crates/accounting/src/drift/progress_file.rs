//! The file of a watch's progress, which is replaced as a whole.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use super::progress::MAX_FILE_BYTES;

/// Replaces the file at `path`. A crash leaves the file as it was, or as it is to be. This blocks.
pub(super) fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(std::io::Error::other(format!("the progress has {} bytes, {MAX_FILE_BYTES} at most", bytes.len())));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    // Without that, a power cut leaves the file as it was before, which is older progress.
    path.parent().map_or(Ok(()), |folder| {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        match File::open(folder)?.sync_all() {
            // Some file systems sync no folders.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
            synced => synced,
        }
    })
}

/// Reads the file at `path`; `None` if there is none. This blocks.
pub(super) fn read(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    if file.metadata()?.len() > MAX_FILE_BYTES {
        return Err(std::io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_may_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drift.progress");
        assert_eq!(read(&path).unwrap(), None);
        for contents in [&b"one"[..], b"another"] {
            write(&path, contents).unwrap();
            assert_eq!(read(&path).unwrap().unwrap(), contents);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        write(&folder.path().join("no/folder"), b"").unwrap_err();
        // A sparse file of more than anybody wrote.
        File::create(&path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        read(&path).unwrap_err();
    }
}
