//! A finished ZIP archive as a store that takes no puts.

use std::fmt::{self, Display, Formatter};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Clock, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, Kind,
    PutOutcome, Result, Slicer, SystemClock, blocking, get_and_slice,
};

use crate::contents::Contents;
use crate::entries::Entries;
use crate::file::ArchiveFile;
use crate::names;
use crate::opening::Opened;
use crate::options::ZipOptions;

/// A store over a finished ZIP archive, which takes no puts.
///
/// Archives of Buildbarn, of [`ZipWritingStore`](crate::ZipWritingStore) and of any ZIP tool are read, if their entries
/// are named by digests: `1-185f8db3…-5` for blobs, `1-185f8db3…-5-instance/name` for messages. Of several entries of
/// one name, the last counts. Entries may be compressed by deflate. Those with other names are not seen.
///
/// # Contract
///
/// * The archive is read as it is when it is opened. It must not be changed meanwhile, except by appending.
/// * Blobs are verified by their digests, and remembered as verified
///   ([`with_verification_lifetime`](ZipOptions::with_verification_lifetime)). Messages are verified by their checksums.
/// * An entry that fails verification is `DataLoss` once and absent from then on.
/// * An archive from elsewhere can do no harm: its directory takes bounded memory, entries that overlap or lie outside
///   of it are refused, and decompression ends at the announced size.
///
/// # Memory
///
/// The directory: 144 bytes for each entry, and its name, up to a maximum
/// ([`with_max_directory_memory_bytes`](ZipOptions::with_max_directory_memory_bytes)). A reader of a blob takes 256 KiB.
///
/// # Cancel safety
///
/// Reading changes nothing.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName};
/// use blobaccess_zip_store::{ZipOptions, ZipReadingStore, ZipWritingStore};
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("outputs.zip");
/// # let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// # let written = ZipWritingStore::<Cas>::create(&path, ZipOptions::new()).await?;
/// # written.put_bytes(&ctx, &digest, "hello").await?;
/// # written.finish().await?;
/// let store = ZipReadingStore::<Cas>::open(&path, ZipOptions::new()).await?;
/// assert_eq!(store.get_bytes(&ctx, &digest, 1024).await?, "hello");
/// assert!(store.put_bytes(&ctx, &digest, "hello").await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ZipReadingStore<K: Kind> {
    contents: Arc<Contents>,
    entries: Arc<Entries>,
    salvaged_gap_bytes: Option<u64>,
    kind: PhantomData<K>,
}

/// The state of a [`ZipReadingStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZipReadingSnapshot {
    /// The number of entries, of any name.
    pub entries: usize,
    /// The memory that the directory takes, in bytes.
    pub directory_memory_bytes: u64,
    /// The bytes between the entries of an archive that was salvaged; `None` for one that has a directory.
    pub salvaged_gap_bytes: Option<u64>,
}

impl<K: Kind> ZipReadingStore<K> {
    /// Opens the archive at `path`.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the file cannot be opened. `DataLoss` if it has no directory at its end, unless the options
    /// allow [salvaging](ZipOptions::with_salvaging), or if the directory is damaged. `Unimplemented` if the archive is
    /// split over several files. `ResourceExhausted` if the directory takes too much memory.
    pub async fn open(path: impl Into<PathBuf>, options: ZipOptions) -> Result<Self> {
        let path = path.into();
        blocking(move || {
            let file = ArchiveFile::open(&path)?;
            let Opened { entries, salvaged, .. } = Opened::read::<K>(&file, options)?;
            Ok(Self {
                contents: Arc::new(Contents::new(file, options, Arc::new(SystemClock))),
                entries: Arc::new(entries),
                salvaged_gap_bytes: salvaged.map(|salvaged| salvaged.gap_bytes),
                kind: PhantomData,
            })
        })
        .await
    }

    /// Takes the time from `clock`, by which verifications expire.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.contents = Arc::new(self.contents.with_clock(clock));
        self
    }

    /// Returns the present state.
    #[must_use]
    pub fn snapshot(&self) -> ZipReadingSnapshot {
        ZipReadingSnapshot {
            entries: self.entries.len(),
            directory_memory_bytes: self.entries.taken_bytes(),
            salvaged_gap_bytes: self.salvaged_gap_bytes,
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for ZipReadingStore<K> {
    type Kind = K;

    async fn get(&self, _ctx: &Context, digest: &Digest) -> Result<Blob> {
        let name = names::entry_name::<K>(digest);
        match self.entries.find(&name) {
            None => Err(names::not_found(&name)),
            Some(known) => {
                let blob = self.contents.get::<K>(digest, known).await;
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

    /// Refuses the blob unread, with `InvalidArgument`.
    async fn put(&self, _ctx: &Context, _digest: &Digest, _blob: Blob) -> Result<PutOutcome> {
        let message = "the archive was opened for reading, and takes no puts";
        Err(Error::invalid_argument(message).not_stored())
    }

    async fn find_missing(&self, _ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        Ok(digests.filter(|digest| self.entries.find(&names::entry_name::<K>(digest)).is_none()))
    }

    async fn capabilities(&self, _ctx: &Context, _instance_name: &InstanceName) -> Result<Capabilities> {
        Ok(self.contents.options.capabilities::<K>().with_updates_allowed(false))
    }

    fn key_format(&self) -> KeyFormat {
        K::STORAGE_TYPE.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl<K: Kind> Display for ZipReadingStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "zip_reading({})", self.contents.file.path().display())
    }
}
