//! Files that a configuration names and that are read whole.

use std::fs::File;
use std::io::Read;

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Reads a file of text. Bytes that are not UTF-8 become U+FFFD.
///
/// # Errors
///
/// A sentence about why it cannot be read, without the path.
pub(crate) fn read_small_file(path: &str) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err("cannot be read: it is not a file".to_owned());
    }
    let mut contents = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut contents).map_err(unreadable)?;
    if u64::try_from(contents.len()).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(format!("cannot be read: it is larger than {MAX_FILE_BYTES} bytes"));
    }
    Ok(String::from_utf8_lossy(&contents).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_files_of_a_sensible_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let path = path.to_str().unwrap();
        assert!(read_small_file(path).unwrap_err().contains("cannot be read"));
        assert!(read_small_file(folder.path().to_str().unwrap()).unwrap_err().contains("not a file"));
        fs::write(path, b"a\xff").unwrap();
        assert_eq!(read_small_file(path).unwrap(), "a\u{fffd}");
        File::create(path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(read_small_file(path).unwrap_err().contains("larger than"));
    }
}
