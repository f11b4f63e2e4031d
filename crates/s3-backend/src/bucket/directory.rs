//! A local directory as a bucket, for one process at a time.

use std::fs::{self, OpenOptions, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use blobaccess::{Error, Result};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Attributes, ObjectStore, PutPayload};
use tokio::task::spawn_blocking;

use super::attributed_files::{self, AttributedFiles};
use super::directory_identity::DirectoryIdentity;
use super::folders::{self, Folders};
use super::{Bucket, Parts, Provider};

/// The file whose lock says that the directory is in use. No key of ours has this name.
const LOCK: &str = ".in-use";

impl Bucket {
    /// Opens the directory `root`, and creates it if there is none. Each object is a file, named after its key.
    ///
    /// Objects appear whole or not at all. With `durable`, an object is on the disk once its put returns.
    ///
    /// The directory is made here and never again. If it is unmounted, moved or replaced later, every call fails with
    /// `Unavailable` until it is back.
    ///
    /// Upload tokens and accounts are kept in extended attributes of the files (`user.blobaccess.*`), where the file system
    /// has such: most of Linux and macOS do. So the outcome of a put is exact even if the process is killed. Whoever copies
    /// the files should copy their attributes. Elsewhere it is exact while the process lives: a process that is killed
    /// during a put may leave an object that its ledger does not have, and the put is reported as ambiguous.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if another process, or another bucket of this one, has the directory in use: replacing and
    /// counting rest on locks within a process. `Unavailable` if the directory cannot be made or opened.
    pub fn directory(root: impl AsRef<FilePath>, durable: bool) -> Result<Self> {
        let root = root.as_ref();
        let failed = |error: &dyn std::error::Error| {
            Error::unavailable(format!("directory {} cannot be opened: {error}", root.display())).with_retryable(false)
        };
        folders::make_root(root, durable).map_err(|error| failed(&error))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(root.join(LOCK));
        let lock = lock.map_err(|error| failed(&error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let root = root.display();
                return Err(Error::failed_precondition(format!("directory {root} is in use by another bucket")));
            }
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        let files = LocalFileSystem::new_with_prefix(root).map_err(|error| failed(&error))?.with_fsync(durable);
        let keeps_metadata = attributed_files::are_kept(&lock);
        let folders = Folders::new(Arc::from(root), durable);
        let store: Arc<dyn ObjectStore> =
            Arc::new(AttributedFiles::new(files, folders.clone(), durable).with_metadata(keeps_metadata));
        let directory = DirectoryIdentity::note(root).map_err(|error| failed(&error))?;
        let parts = Parts::Directory(DirectoryParts { folders, identity: directory.clone(), durable });
        let name = format!("directory({})", root.display());
        let bucket = Self::new(Provider::Directory, name, Arc::clone(&store), store, parts);
        Ok(Self { _exclusive: Some(Arc::new(lock)), directory: Some(directory), keeps_metadata, ..bucket })
    }
}

/// The receiver of objects in parts, which writes each to a file of its own until it is complete.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryParts {
    folders: Folders,
    identity: DirectoryIdentity,
    durable: bool,
}

impl DirectoryParts {
    fn file(&self, path: &Path) -> PathBuf {
        path.parts().fold(self.folders.root().to_path_buf(), |file, part| file.join(part.as_ref()))
    }

    fn staged(&self, path: &Path, id: &str) -> PathBuf {
        attributed_files::staged(&self.file(path), id)
    }

    pub(crate) async fn begin(&self, path: &Path) -> Result<String> {
        let id = attributed_files::number();
        let (staged, identity, folders) = (self.staged(path, &id), self.identity.clone(), self.folders.clone());
        blocking(move || {
            identity.check_blocking()?;
            folders.make_for(&staged)?;
            OpenOptions::new().create_new(true).write(true).open(&staged).map(drop)
        })
        .await?;
        Ok(id)
    }

    pub(crate) async fn put(&self, path: &Path, id: &str, offset: u64, payload: PutPayload) -> Result<()> {
        let staged = self.staged(path, id);
        blocking(move || {
            let mut file = OpenOptions::new().write(true).open(&staged)?;
            file.seek(SeekFrom::Start(offset))?;
            payload.iter().try_for_each(|piece| file.write_all(piece))
        })
        .await
    }

    /// Makes the file an object with this metadata, unless there is one already. Returns whether it did.
    pub(crate) async fn complete(&self, path: &Path, id: &str, metadata: Attributes) -> Result<bool> {
        let (staged, file, durable) = (self.staged(path, id), self.file(path), self.durable);
        let folders = self.folders.clone();
        blocking(move || {
            let complete = OpenOptions::new().write(true).open(&staged)?;
            attributed_files::write_all(&complete, &metadata)?;
            if durable {
                complete.sync_all()?;
            }
            // Unlike a rename, a link does not replace what is there.
            let created = match fs::hard_link(&staged, &file) {
                Ok(()) => true,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
                Err(error) => return Err(error),
            };
            fs::remove_file(&staged)?;
            // Also if the object is another's, who may not have synced it yet.
            folders.sync_entry(&file)?;
            Ok(created)
        })
        .await
    }

    pub(crate) async fn abort(&self, path: &Path, id: &str) -> Result<()> {
        let staged = self.staged(path, id);
        blocking(move || match fs::remove_file(&staged) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T> {
    match spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::StorageFull => {
            Err(Error::resource_exhausted("the directory of the bucket is full").with_source(error))
        }
        Ok(Err(error)) => {
            let message = format!("the directory of the bucket failed: {}", error.kind());
            Err(Error::unavailable(message).with_retryable(true).with_source(error))
        }
        Err(error) => Err(Error::cancelled(format!("work on the directory did not end: {error}"))),
    }
}
