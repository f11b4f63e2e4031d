//! Files of a directory with the metadata of objects, in extended attributes.

use std::fmt::{self, Display, Formatter};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attribute, AttributeValue, Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};
use tokio::task::spawn_blocking;

use super::folders::Folders;
use super::{ACCOUNT, TOKEN};

/// The names of metadata that files keep.
const KEPT: [&str; 2] = [TOKEN, ACCOUNT];

/// The longest value of metadata, in bytes. File systems allow 4 KiB for all attributes of a file, or more.
const MAX_VALUE_BYTES: usize = 2048;

/// Files of a directory with the metadata of objects, in extended attributes (`user.blobaccess.*`).
///
/// The client library writes files without metadata, and refuses to write any with some. So each put is written here, in the
/// same two steps: a file beside the final one, whose name listings skip, and then a link or a rename. An object appears
/// together with its metadata.
#[derive(Debug)]
pub(super) struct AttributedFiles {
    inner: LocalFileSystem,
    folders: Folders,
    durable: bool,
    /// Whether the file system keeps attributes.
    keeps_metadata: bool,
}

impl AttributedFiles {
    pub(super) fn new(inner: LocalFileSystem, folders: Folders, durable: bool) -> Self {
        Self { inner, folders, durable, keeps_metadata: true }
    }

    /// Sets whether objects have metadata.
    pub(super) fn with_metadata(self, keeps_metadata: bool) -> Self {
        Self { keeps_metadata, ..self }
    }
}

/// The failure to sync the folder of an object that is there: after a power cut it may be gone.
#[derive(Debug)]
struct Unsynced(io::Error);

impl Display for Unsynced {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "the object is there, but its folder was not synced: {}", self.0)
    }
}

impl std::error::Error for Unsynced {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Returns whether a put failed after the object was there.
pub(crate) fn is_unsynced(error: &Error) -> bool {
    matches!(error, Error::Generic { source, .. } if source.is::<Unsynced>())
}

/// Returns whether the file system of `file` keeps attributes. One is written to find out.
pub(super) fn are_kept(file: &File) -> bool {
    let kept = attributes::write(file, "probe", b"1").and_then(|()| attributes::read(file, "probe"));
    matches!(kept, Ok(Some(value)) if value == b"1")
}

/// Writes the metadata of an object to its file.
pub(super) fn write_all(file: &File, metadata: &Attributes) -> io::Result<()> {
    for (name, value) in metadata {
        if let Attribute::Metadata(name) = name
            && KEPT.contains(&&**name)
        {
            attributes::write(file, name, value.as_bytes())?;
        }
    }
    Ok(())
}

/// Reads the metadata of an object from its file.
fn read_all(file: &File) -> io::Result<Attributes> {
    let mut metadata = Attributes::new();
    for name in KEPT {
        if let Some(value) = attributes::read(file, name)?
            && let Ok(value) = String::from_utf8(value)
        {
            metadata.insert(Attribute::Metadata(name.into()), AttributeValue::from(value));
        }
    }
    Ok(metadata)
}

/// Writes a file beside `file`, and then links or renames it. Returns `false` if there is a file that must not be replaced.
/// The folder has the file then, but was not synced.
fn put(
    file: &FilePath,
    payload: &PutPayload,
    metadata: &Attributes,
    replaces: bool,
    durable: bool,
) -> io::Result<bool> {
    let staged = staged(file, &number());
    let written = (|| {
        let mut writing = OpenOptions::new().create_new(true).write(true).open(&staged)?;
        payload.iter().try_for_each(|piece| writing.write_all(piece))?;
        write_all(&writing, metadata)?;
        if durable { writing.sync_all() } else { Ok(()) }
    })();
    let created = match written {
        Ok(()) if replaces => fs::rename(&staged, file).map(|()| true),
        // Unlike a rename, a link does not replace what is there.
        Ok(()) => match fs::hard_link(&staged, file) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            linked => linked.map(|()| true),
        },
        Err(error) => Err(error),
    };
    if !(replaces && created.is_ok()) {
        // What is left of it is no object: listings skip it.
        drop(fs::remove_file(&staged));
    }
    created
}

/// Returns a number for the name of a file that is not an object yet.
pub(super) fn number() -> String {
    (uuid::Uuid::new_v4().as_u128() >> 64).to_string()
}

/// Returns the file of an incomplete object. Listings skip names with this suffix.
pub(super) fn staged(file: &FilePath, number: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push("#");
    name.push(number);
    name.into()
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: "directory", source: Box::new(error) }
}

#[async_trait]
impl ObjectStore for AttributedFiles {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let replaces = match options.mode {
            PutMode::Create => false,
            PutMode::Overwrite => true,
            PutMode::Update(_) => return self.inner.put_opts(location, payload, options).await,
        };
        let file = location.parts().fold(self.folders.root().to_path_buf(), |file, part| file.join(part.as_ref()));
        let (metadata, folders, durable) = (options.attributes, self.folders.clone(), self.durable);
        let done = spawn_blocking(move || {
            folders.make_for(&file).map_err(failed)?;
            let created = put(&file, &payload, &metadata, replaces, durable).map_err(failed)?;
            // Also if the object is another's, or an earlier attempt's, who may not have synced it.
            folders.sync_entry(&file).map_err(|error| failed(Unsynced(error)))?;
            Ok(created)
        });
        match done.await.map_err(failed)? {
            // Its entity tag is made of the file's number, size and time, in the client library only.
            Ok(true) => {
                let e_tag = self.inner.head(location).await.ok().and_then(|meta| meta.e_tag);
                Ok(PutResult { e_tag, version: None, extensions: options.extensions })
            }
            Ok(false) => {
                let source = Box::new(io::Error::from(io::ErrorKind::AlreadyExists));
                Err(Error::AlreadyExists { path: location.to_string(), source })
            }
            Err(error) => Err(error),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        // Whoever reads ranges of an object has asked for its metadata before.
        let with_metadata = self.keeps_metadata && (options.head || options.range.is_none());
        let mut found = self.inner.get_opts(location, options).await?;
        if !with_metadata {
            return Ok(found);
        }
        let read = spawn_blocking(move || {
            if let GetResultPayload::File(file, _) = &found.payload {
                found.attributes = read_all(file)?;
            }
            Ok::<_, io::Error>(found)
        });
        read.await.map_err(failed)?.map_err(failed)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl Display for AttributedFiles {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.inner, f)
    }
}

/// Extended attributes of files, by the names that follow `user.blobaccess.`.
#[cfg(any(target_os = "linux", target_os = "macos"))]
mod attributes {
    use std::fs::File;
    use std::io;

    use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
    use rustix::io::Errno;

    use super::MAX_VALUE_BYTES;

    /// The error for an attribute that a file does not have.
    #[cfg(target_os = "linux")]
    const ABSENT: Errno = Errno::NODATA;
    #[cfg(not(target_os = "linux"))]
    const ABSENT: Errno = Errno::NOATTR;

    pub(super) fn write(file: &File, name: &str, value: &[u8]) -> io::Result<()> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(fsetxattr(file, format!("user.blobaccess.{name}"), value, XattrFlags::empty())?)
    }

    pub(super) fn read(file: &File, name: &str) -> io::Result<Option<Vec<u8>>> {
        let mut value = vec![0; MAX_VALUE_BYTES];
        match fgetxattr(file, format!("user.blobaccess.{name}"), &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                Ok(Some(value))
            }
            // Another program's, or none.
            Err(ABSENT | Errno::RANGE) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Other systems have such attributes in another way, or none.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod attributes {
    use std::fs::File;
    use std::io;

    pub(super) fn write(_file: &File, _name: &str, _value: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn read(_file: &File, _name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use blobaccess::PutCertainty;

    use super::*;
    use crate::bucket::Provider;
    use crate::verdict::{self, Verdict};

    fn files(root: &FilePath) -> AttributedFiles {
        let files = LocalFileSystem::new_with_prefix(root).unwrap();
        AttributedFiles::new(files, Folders::new(Arc::from(root), false), false)
    }

    fn options(mode: PutMode, token: &str) -> PutOptions {
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::Metadata(TOKEN.into()), AttributeValue::from(token.to_owned()));
        PutOptions { mode, attributes, ..PutOptions::default() }
    }

    async fn token(files: &AttributedFiles, path: &Path) -> Option<String> {
        let found = files.get_opts(path, GetOptions::default()).await.unwrap();
        found.attributes.get(&Attribute::Metadata(TOKEN.into())).map(|value| value.to_string())
    }

    #[tokio::test]
    async fn an_object_has_the_metadata_of_the_put_that_made_it() {
        let root = tempfile::tempdir().unwrap();
        if !are_kept(&File::create(root.path().join("probe")).unwrap()) {
            return;
        }
        let (files, path) = (files(root.path()), Path::from("a/b/object"));
        let done = files.put_opts(&path, "first".into(), options(PutMode::Create, "1")).await.unwrap();
        assert_eq!(done.e_tag, files.head(&path).await.unwrap().e_tag);
        assert_eq!(token(&files, &path).await.as_deref(), Some("1"));
        let refused = files.put_opts(&path, "second".into(), options(PutMode::Create, "2")).await.unwrap_err();
        assert!(matches!(refused, Error::AlreadyExists { .. }), "{refused:?}");
        assert_eq!(token(&files, &path).await.as_deref(), Some("1"));
        files.put_opts(&path, "third".into(), options(PutMode::Overwrite, "3")).await.unwrap();
        assert_eq!(token(&files, &path).await.as_deref(), Some("3"));
        let left: Vec<_> = fs::read_dir(root.path().join("a/b")).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(left.len(), 1, "{left:?}");
        files.put_opts(&path, "without".into(), PutMode::Overwrite.into()).await.unwrap();
        assert_eq!(token(&files, &path).await, None);
    }

    #[tokio::test]
    async fn an_object_whose_folder_cannot_be_synced_may_be_stored() {
        let root = tempfile::tempdir().unwrap();
        let inner = LocalFileSystem::new_with_prefix(root.path()).unwrap();
        let folders = Folders::new(Arc::from(root.path()), true).with_sync(|folder| {
            if folder.join("object").exists() { Err(io::Error::other("a broken disk")) } else { Ok(()) }
        });
        let (files, path) = (AttributedFiles::new(inner, folders, true), Path::from("a/object"));
        for mode in [PutMode::Create, PutMode::Create, PutMode::Overwrite] {
            let error = files.put_opts(&path, "contents".into(), mode.into()).await.unwrap_err();
            let verdict = verdict::judge(error, None, Provider::Directory);
            let Verdict::Maybe(error) = verdict else { panic!("{verdict:?}") };
            assert_eq!(error.put_certainty(), PutCertainty::MaybeStored);
        }
        assert_eq!(files.head(&path).await.unwrap().size, 8);
        fs::write(root.path().join("b"), "no folder").unwrap();
        let error = files.put_opts(&"b/object".into(), "contents".into(), PutMode::Create.into()).await.unwrap_err();
        let verdict = verdict::judge(error, None, Provider::Directory);
        assert!(matches!(verdict, Verdict::Refused(_)), "{verdict:?}");
    }

    #[tokio::test]
    async fn metadata_is_read_with_the_whole_object_or_with_nothing_of_it() {
        let root = tempfile::tempdir().unwrap();
        if !are_kept(&File::create(root.path().join("probe")).unwrap()) {
            return;
        }
        let (files, path) = (files(root.path()), Path::from("object"));
        files.put_opts(&path, "contents".into(), options(PutMode::Create, "1")).await.unwrap();
        for (head, range, is_read) in
            [(false, None, true), (true, None, true), (true, Some(0..1), true), (false, Some(0..1), false)]
        {
            let options = GetOptions { head, range: range.map(Into::into), ..GetOptions::default() };
            let found = files.get_opts(&path, options).await.unwrap();
            assert_eq!(found.attributes.len(), usize::from(is_read));
        }
    }
}
