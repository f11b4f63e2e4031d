//! The log, on standard error and in files.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use tracing_subscriber::fmt::MakeWriter;

use crate::Result;

/// Standard error, and files that the same is appended to.
#[derive(Clone, Debug)]
pub(crate) struct LogFiles {
    files: Arc<[File]>,
}

impl LogFiles {
    /// Opens the files, and makes those that are not there.
    pub(crate) fn open<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<Self> {
        let files = paths.map(|path| {
            let file = OpenOptions::new().append(true).create(true).open(path);
            file.map_err(|error| format!("log {}: {error}", path.display()))
        });
        Ok(Self { files: files.collect::<Result<_, _>>()? })
    }
}

impl Write for LogFiles {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        for mut file in &*self.files {
            // A log that cannot be written must not keep the line from the others.
            drop(file.write_all(line));
        }
        io::stderr().write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'writer> MakeWriter<'writer> for LogFiles {
    type Writer = Self;

    fn make_writer(&'writer self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use std::path::PathBuf;

    use super::*;

    #[test]
    fn lines_are_appended_to_each_file() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        fs::write(&paths[0], "before\n").unwrap();
        let mut log = LogFiles::open(paths.iter().map(PathBuf::as_path)).unwrap();
        log.write_all(b"line\n").unwrap();
        assert_eq!(fs::read_to_string(&paths[0]).unwrap(), "before\nline\n");
        assert_eq!(fs::read_to_string(&paths[1]).unwrap(), "line\n");
        let refused = LogFiles::open([folder.path()].into_iter()).unwrap_err();
        assert!(refused.to_string().contains(&folder.path().display().to_string()), "{refused}");
    }
}
