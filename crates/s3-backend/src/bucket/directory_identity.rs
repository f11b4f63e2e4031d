//! The identity of an opened directory: what is found under its path later may be another one.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path as FilePath;
use std::sync::Arc;

use blobaccess::{Error, Result};
use tokio::task::spawn_blocking;

/// The identity of an opened directory. A file system that was unmounted leaves an empty directory under the same path.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryIdentity {
    root: Arc<FilePath>,
    device: u64,
    inode: u64,
}

impl DirectoryIdentity {
    /// Notes which directory `root` is.
    pub(super) fn note(root: &FilePath) -> io::Result<Self> {
        let metadata = fs::metadata(root)?;
        Ok(Self { root: Arc::from(root), device: metadata.dev(), inode: metadata.ino() })
    }

    fn is(&self, metadata: &Metadata) -> bool {
        (metadata.dev(), metadata.ino()) == (self.device, self.inode)
    }

    /// Fails with `Unavailable` unless the directory under the path is the one that was opened.
    pub(super) fn check_blocking(&self) -> io::Result<()> {
        match fs::metadata(&self.root) {
            Ok(metadata) if self.is(&metadata) => Ok(()),
            Ok(_) => Err(io::Error::new(io::ErrorKind::NotFound, "the directory is not the one that was opened")),
            Err(error) => Err(error),
        }
    }

    /// Does so off the executor, as a file system may hang.
    pub(super) async fn check(&self) -> Result<()> {
        let this = self.clone();
        match spawn_blocking(move || this.check_blocking()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let message = "the directory of the bucket is gone, or another one is in its place";
                Err(Error::unavailable(message).with_retryable(true).with_source(error))
            }
            Err(error) => Err(Error::cancelled(format!("work on the directory did not end: {error}"))),
        }
    }
}
