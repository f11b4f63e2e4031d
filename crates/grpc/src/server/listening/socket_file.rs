//! UNIX sockets, with the file that is their address.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use blobaccess::{Error, Result};
use tokio::net::UnixListener;

use super::listen_error::cannot_listen;

/// The file of a socket that is listened on. Dropping it removes the file, unless another one has taken its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// The device and the number of the file.
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens on `path`, in place of the socket that an earlier process has left there.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if something else than a socket is there, or the folder does not exist.
    pub(super) fn bind(path: &Path) -> Result<(UnixListener, Self)> {
        let failed = |error| cannot_listen(format!("socket {}", path.display()), error);
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(path).map_err(failed)?,
            Ok(_) => {
                let message = format!("cannot listen on socket {}: a file that is no socket is there", path.display());
                return Err(Error::failed_precondition(message));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let identity = identity(path).map_err(failed)?;
        Ok((listener, Self { path: path.to_owned(), identity }))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "socket cannot be removed");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use blobaccess::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn a_socket_that_was_left_is_replaced_and_a_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "it was left");
        let (_listener, file) = SocketFile::bind(&path).unwrap();
        tokio::net::UnixStream::connect(&path).await.unwrap();
        drop(file);
        assert!(!path.exists());

        fs::write(&path, "precious").unwrap();
        let error = SocketFile::bind(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let error = SocketFile::bind(&folder.path().join("absent/cache.sock")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    }

    #[tokio::test]
    async fn a_socket_that_another_has_replaced_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.sock");
        let (_first_listener, first) = SocketFile::bind(&path).unwrap();
        let (_second_listener, second) = SocketFile::bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }
}
