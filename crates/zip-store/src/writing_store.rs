//! A ZIP archive that is written, as a store.

use std::fmt::{self, Display, Formatter};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Clock, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, Kind,
    PutOutcome, Result, Slicer, SystemClock, blocking, get_and_slice,
};
use bytes::Bytes;
use futures::TryStreamExt;
use tokio::sync::Mutex;

use crate::archive::{Archive, Phase};
use crate::contents::Contents;
use crate::entries::Entries;
use crate::file::ArchiveFile;
use crate::large_uploads::{LargeUploads, Stored};
use crate::names;
use crate::opening::Opened;
use crate::options::ZipOptions;
use crate::records::count;

/// The size up to which a blob is read whole before space is reserved for it, in bytes: 1 MiB.
///
/// A put that fails before that leaves no gap, and a slow one holds no space. Larger blobs are written as they arrive.
const READ_WHOLE_BYTES: u64 = 1 << 20;

/// The number of bytes of a larger blob that are written together.
const PIECE_BYTES: u64 = 256 << 10;

/// The number of digests looked up before other callers get the lock.
const DIGESTS_PER_LOCK: usize = 512;

/// A store that writes a ZIP archive, and reads back what it wrote.
///
/// The archive is laid out as Buildbarn's: entries are named by digests, and their contents are not compressed, so that
/// they can be read from anywhere. [`finish`](Self::finish) ends it with a directory. From then on it is a ZIP archive,
/// which [`ZipReadingStore`](crate::ZipReadingStore), Buildbarn and any ZIP tool can read. [`append`](Self::append)
/// opens it again for more entries.
///
/// # Contract
///
/// * Equal blobs are stored once, also if they are put at the same time. They take the space of one then, and none waits
///   for another: whichever is complete first is stored. An equal message is not stored again.
/// * A message that replaces another is written behind it. The space of the former is lost, as is that of a blob of more
///   than 1 MiB whose put failed: an archive only grows.
/// * One writer has an archive open at a time, by a lock of the file.
/// * A store that is dropped without `finish` leaves a file without a directory, which is refused when it is opened. If
///   the process ends, all that was put can be salvaged ([`ZipOptions::with_salvaging`]). If the power is cut, the file
///   may lack whatever the system had not written: contents are not synced before `finish`.
///
/// # Memory
///
/// The directory: 144 bytes for each entry, and its name, up to a maximum
/// ([`with_max_directory_memory_bytes`](ZipOptions::with_max_directory_memory_bytes)). A put takes up to 1 MiB, or the
/// size of a message, and a reader of a blob 256 KiB.
///
/// # Cancel safety
///
/// A put that is dropped stores all of the blob or nothing. A `finish` that is dropped goes on.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName};
/// use blobaccess_zip_store::{ZipOptions, ZipWritingStore};
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("outputs.zip");
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// let store = ZipWritingStore::<Cas>::create(&path, ZipOptions::new()).await?;
/// store.put_bytes(&ctx, &digest, "hello").await?;
/// store.finish().await?;
///
/// let store = ZipWritingStore::<Cas>::append(&path, ZipOptions::new()).await?;
/// assert!(store.contains(&ctx, &digest).await?);
/// assert_eq!(store.snapshot().entries, 1);
/// # store.finish().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ZipWritingStore<K: Kind> {
    contents: Arc<Contents>,
    archive: Arc<Archive>,
    /// Held by the one call that writes blobs at hand, or the directory. Callers wait here rather than on threads.
    appending: Arc<Mutex<()>>,
    uploads: LargeUploads,
    kind: PhantomData<K>,
}

/// The state of a [`ZipWritingStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZipWritingSnapshot {
    /// The number of entries, of any name.
    pub entries: usize,
    /// The memory that the directory takes, in bytes.
    pub directory_memory_bytes: u64,
    /// The size of the archive without its directory, in bytes.
    pub archive_bytes: u64,
    /// The bytes within the archive that no entry uses: those of failed puts, of messages that were replaced since it
    /// was opened, and of its former directory.
    pub gap_bytes: u64,
    /// The number of blobs of more than 1 MiB that are being written. Equal ones count once.
    pub uploads: u64,
    /// Whether the directory is written.
    pub is_finished: bool,
}

impl<K: Kind> ZipWritingStore<K> {
    /// Creates an archive at `path`, where there must not be a file.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if there is a file, `Unavailable` if one cannot be created.
    pub async fn create(path: impl Into<PathBuf>, options: ZipOptions) -> Result<Self> {
        let path = path.into();
        blocking(move || {
            let file = ArchiveFile::create(&path)?;
            let entries = Entries::new(options.max_directory_memory_bytes);
            let archive = Archive::new(file.clone(), entries, 0, None);
            Ok(Self::new(file, archive, options))
        })
        .await
    }

    /// Opens the archive at `path` for more entries.
    ///
    /// They are written behind the end of the archive, and the former directory stays in it as a gap. From the first put
    /// to the end of [`finish`](Self::finish), the file is an archive without a directory. If the options allow
    /// [salvaging](ZipOptions::with_salvaging) and the archive was cut, the file is cut behind its last entry.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if another writer has the archive open. Otherwise as
    /// [`ZipReadingStore::open`](crate::ZipReadingStore::open).
    pub async fn append(path: impl Into<PathBuf>, options: ZipOptions) -> Result<Self> {
        let path = path.into();
        blocking(move || {
            let file = ArchiveFile::open_to_write(&path)?;
            let Opened { entries, directory, salvaged } = Opened::read::<K>(&file, options)?;
            let end = match salvaged {
                None => file.size_bytes()?,
                Some(salvaged) => {
                    // What lies behind must not be taken for entries the next time.
                    file.set_size(salvaged.end)?;
                    salvaged.end
                }
            };
            let archive = Archive::new(file.clone(), entries, end, directory);
            Ok(Self::new(file, archive, options))
        })
        .await
    }

    fn new(file: ArchiveFile, archive: Archive, options: ZipOptions) -> Self {
        let archive = Arc::new(archive);
        Self {
            contents: Arc::new(Contents::new(file, options, Arc::new(SystemClock))),
            uploads: LargeUploads::new(Arc::clone(&archive)),
            archive,
            appending: Arc::default(),
            kind: PhantomData,
        }
    }

    /// Takes the time from `clock`, by which verifications expire.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.contents = Arc::new(self.contents.with_clock(clock));
        self
    }

    /// Writes the directory of the archive and syncs the file, so that it is a ZIP archive that survives a crash.
    ///
    /// Puts from then on are `Unavailable`, and so are those under way. What is stored can still be read. A second call
    /// does nothing, and other writers may open the archive.
    ///
    /// # Errors
    ///
    /// `ResourceExhausted` if the disk is full, `Internal` if it fails otherwise. `finish` may be called again then.
    ///
    /// # Cancel safety
    ///
    /// A call that has begun to write goes on to its end when it is dropped.
    pub async fn finish(&self) -> Result<()> {
        let appending = Arc::clone(&self.appending).lock_owned().await;
        let archive = Arc::clone(&self.archive);
        blocking(move || {
            let _appending = appending;
            archive.finish()
        })
        .await
    }

    /// Returns the present state.
    #[must_use]
    pub fn snapshot(&self) -> ZipWritingSnapshot {
        let totals = self.archive.totals();
        ZipWritingSnapshot {
            entries: totals.entries,
            directory_memory_bytes: totals.directory_memory_bytes,
            archive_bytes: totals.end,
            gap_bytes: totals.gap_bytes,
            uploads: self.uploads.copies(),
            is_finished: totals.phase == Phase::Finished,
        }
    }

    async fn put_contents(&self, digest: &Digest, name: String, blob: Blob) -> Result<PutOutcome> {
        if let Some(outcome) = self.archive.find_stored(&name) {
            return Ok(outcome);
        }
        let blob = blob.with_expected_digest(digest);
        if digest.size_bytes() <= READ_WHOLE_BYTES {
            let contents = blob.into_bytes(READ_WHOLE_BYTES).await?;
            return self.append_whole(name, contents).await;
        }
        self.put_large(digest, &name, blob).await
    }

    async fn put_message(&self, name: String, blob: Blob) -> Result<PutOutcome> {
        let message = blob.into_bytes(self.contents.options.max_message_size_bytes).await?;
        self.append_whole(name, message).await
    }

    /// Stores contents that are at hand.
    async fn append_whole(&self, name: String, contents: Bytes) -> Result<PutOutcome> {
        let crc32 = crc32fast::hash(&contents);
        let appending = Arc::clone(&self.appending).lock_owned().await;
        let archive = Arc::clone(&self.archive);
        let stored = blocking(move || {
            let _appending = appending;
            archive.append(&name, &contents, crc32, K::STORAGE_TYPE.is_mutable())
        });
        Ok(self.conclude(stored.await?))
    }

    /// Notes that the entry of a put is right.
    fn conclude(&self, (outcome, known): Stored) -> PutOutcome {
        if let Some(known) = known {
            self.contents.set_verified(&known);
        }
        outcome
    }

    /// Writes a blob as it arrives.
    async fn put_large(&self, digest: &Digest, name: &str, blob: Blob) -> Result<PutOutcome> {
        let mut upload = self.uploads.join(name, digest.size_bytes())?;
        let mut stream = blob.into_stream(..)?;
        let mut pieces = Vec::new();
        while let Some(piece) = stream.try_next().await? {
            pieces.push(piece);
            if pieces.iter().map(|piece| count(piece.len())).sum::<u64>() < PIECE_BYTES {
                continue;
            }
            let stored = upload.write(std::mem::take(&mut pieces)).await?;
            self.archive.check_writing()?;
            if let Some(outcome) = stored {
                // Another put was faster: the rest is read to be verified, and nothing more.
                drop(upload);
                while stream.try_next().await?.is_some() {}
                return Ok(outcome);
            }
        }
        if let Some(outcome) = upload.write(pieces).await? {
            return Ok(outcome);
        }
        Ok(self.conclude(upload.store().await?))
    }
}

impl<K: Kind> Drop for ZipWritingStore<K> {
    fn drop(&mut self) {
        let totals = self.archive.totals();
        if totals.phase != Phase::Finished && totals.entries > 0 {
            let (path, entries) = (self.contents.file.path().display(), totals.entries);
            tracing::warn!(%path, entries, "an archive is dropped without a directory: call `finish`, or salvage it");
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for ZipWritingStore<K> {
    type Kind = K;

    async fn get(&self, _ctx: &Context, digest: &Digest) -> Result<Blob> {
        let name = names::entry_name::<K>(digest);
        match self.archive.find(&name) {
            None => Err(names::not_found(&name)),
            Some(known) => {
                let blob = self.contents.get::<K>(digest, &known).await;
                blob.map_err(|error| error.at(format!("entry {name}")))
            }
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

    /// Stores the blob. Nothing is stored if this fails.
    ///
    /// # Errors
    ///
    /// `Unavailable` once the archive is finished. `ResourceExhausted` if the disk is full, or if the directory takes
    /// too much memory.
    async fn put(&self, _ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let name = names::entry_name::<K>(digest);
        let put = async {
            self.archive.check_writing()?;
            names::check_length(&name)?;
            if K::STORAGE_TYPE.is_mutable() {
                self.put_message(name, blob).await
            } else {
                self.put_contents(digest, name, blob).await
            }
        };
        put.await.map_err(Error::not_stored)
    }

    async fn find_missing(&self, _ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let mut is_found = Vec::with_capacity(digests.len());
        for some in digests.as_slice().chunks(DIGESTS_PER_LOCK) {
            let names: Vec<_> = some.iter().map(names::entry_name::<K>).collect();
            is_found.extend(self.archive.contains_each(&names));
        }
        let mut is_found = is_found.into_iter();
        Ok(digests.filter(|_| is_found.next() == Some(false)))
    }

    async fn capabilities(&self, _ctx: &Context, _instance_name: &InstanceName) -> Result<Capabilities> {
        Ok(self.contents.options.capabilities::<K>())
    }

    fn key_format(&self) -> KeyFormat {
        K::STORAGE_TYPE.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl<K: Kind> Display for ZipWritingStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "zip_writing({})", self.contents.file.path().display())
    }
}
