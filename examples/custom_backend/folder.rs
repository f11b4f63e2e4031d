//! A store of contents in a folder, with a file for each blob.

use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, PutOutcome,
    RandomAccess, Result, Slicer, get_and_slice,
};
use bytes::Bytes;
use futures::TryStreamExt;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};

/// A [`BlobAccess`] over a folder.
///
/// A blob is written to a file of its own, which is linked under the name of the blob once it is whole and verified.
/// The file system lets exactly one of several writers link. So a blob is whole or absent, and one of equal puts is
/// `Created`.
#[derive(Debug)]
pub(crate) struct FolderStore {
    folder: PathBuf,
    uploads: AtomicU64,
}

/// The file of an upload, which is removed when this value is dropped.
#[derive(Debug)]
struct Upload(PathBuf);

impl Drop for Upload {
    fn drop(&mut self) {
        // A file that is already gone is as good as removed.
        drop(std::fs::remove_file(&self.0));
    }
}

impl FolderStore {
    /// Opens the store in `folder`, and makes the folder if there is none. Removes uploads that an earlier process
    /// left.
    pub(crate) fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_owned();
        let uploads = folder.join("uploads");
        match std::fs::remove_dir_all(&uploads) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(broken(error)),
            Ok(()) | Err(_) => {}
        }
        std::fs::create_dir_all(uploads).map_err(broken)?;
        Ok(Self { folder, uploads: AtomicU64::new(0) })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.key(KeyFormat::WithoutInstanceName))
    }

    async fn write(&self, digest: &Digest, blob: Blob) -> Result<Upload> {
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        let upload = Upload(self.folder.join("uploads").join(number.to_string()));
        let mut file = File::create_new(&upload.0).await.map_err(broken)?;
        // `with_expected_digest` makes the blob fail before its last bytes if the contents do not match the digest.
        let mut contents = blob.with_expected_digest(digest).into_stream(..)?;
        while let Some(piece) = contents.try_next().await? {
            file.write_all(&piece).await.map_err(broken)?;
        }
        file.flush().await.map_err(broken)?;
        Ok(upload)
    }
}

/// Turns a failure of the disk into an error, which is never `NotFound`.
fn broken(error: io::Error) -> Error {
    Error::internal("folder cannot be used").with_source(error)
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl BlobAccess for FolderStore {
    type Kind = Cas;

    async fn get(&self, _ctx: &Context, digest: &Digest) -> Result<Blob> {
        match File::open(self.path(digest)).await {
            Ok(file) => Ok(Blob::from_random_access(digest, Arc::new(OpenFile(tokio::sync::Mutex::new(file))))),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(Error::not_found(format!("blob {digest} is not stored")))
            }
            Err(error) => Err(broken(error)),
        }
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        get_and_slice(self, ctx, parent, child, slicer).await
    }

    async fn put(&self, _ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let (path, stored_bytes) = (self.path(digest), digest.size_bytes());
        if fs::try_exists(&path).await.map_err(broken)? {
            return Ok(PutOutcome::AlreadyExists { stored_bytes });
        }
        let upload = self.write(digest, blob).await?;
        match fs::hard_link(&upload.0, &path).await {
            Ok(()) => Ok(PutOutcome::Created { stored_bytes }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(PutOutcome::AlreadyExists { stored_bytes }),
            Err(error) => Err(broken(error)),
        }
    }

    async fn find_missing(&self, _ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let mut missing = Vec::new();
        for digest in digests {
            if !fs::try_exists(self.path(digest)).await.map_err(broken)? {
                missing.push(digest.clone());
            }
        }
        Ok(missing.into())
    }

    async fn capabilities(&self, _ctx: &Context, _instance_name: &InstanceName) -> Result<Capabilities> {
        Ok(Capabilities::unlimited())
    }

    fn key_format(&self) -> KeyFormat {
        KeyFormat::WithoutInstanceName
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl Display for FolderStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("folder")
    }
}

/// A file that can be read at any offset. Its contents were verified when they were put.
#[derive(Debug)]
struct OpenFile(tokio::sync::Mutex<File>);

#[async_trait]
impl RandomAccess for OpenFile {
    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        let mut file = self.0.lock().await;
        file.seek(SeekFrom::Start(offset)).await.map_err(broken)?;
        let mut piece = vec![0; length];
        let read = file.read(&mut piece).await.map_err(broken)?;
        piece.truncate(read);
        Ok(piece.into())
    }
}
