//! Files of a directory with the metadata of objects, in extended attributes.

use std::fmt::{self, Display, Formatter};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

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

use super::{ACCOUNT, TOKEN};

/// The names of metadata that files keep.
const KEPT: [&str; 2] = [TOKEN, ACCOUNT];

/// The longest value of metadata, in bytes. File systems allow 4 KiB for all attributes of a file, or more.
const MAX_VALUE_BYTES: usize = 2048;

/// Files of a directory with the metadata of objects, in extended attributes (`user.blobaccess.*`).
///
/// The client library writes files without metadata, and refuses to write any with some. So a put that has metadata is
/// written here, in the same two steps: a file beside the final one, whose name listings skip, and then a link or a rename.
/// An object appears together with its metadata.
#[derive(Debug)]
pub(super) struct AttributedFiles {
    inner: LocalFileSystem,
    root: Arc<FilePath>,
    durable: bool,
}

impl AttributedFiles {
    pub(super) fn new(inner: LocalFileSystem, root: Arc<FilePath>, durable: bool) -> Self {
        Self { inner, root, durable }
    }
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
fn put(
    file: &FilePath,
    payload: &PutPayload,
    metadata: &Attributes,
    replaces: bool,
    durable: bool,
) -> io::Result<bool> {
    let staged = staged(file, &number());
    let folder = file.parent();
    if let Some(folder) = folder {
        fs::create_dir_all(folder)?;
    }
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
    if durable && let (Ok(true), Some(folder)) = (&created, folder) {
        File::open(folder)?.sync_all()?;
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
        if options.attributes.is_empty() {
            return self.inner.put_opts(location, payload, options).await;
        }
        let file = location.parts().fold(self.root.to_path_buf(), |file, part| file.join(part.as_ref()));
        let (metadata, durable) = (options.attributes, self.durable);
        let done = spawn_blocking(move || put(&file, &payload, &metadata, replaces, durable)).await.map_err(failed)?;
        match done {
            // Its entity tag is made of the file's number, size and time, in the client library only.
            Ok(true) => {
                let e_tag = self.inner.head(location).await.ok().and_then(|meta| meta.e_tag);
                Ok(PutResult { e_tag, version: None, extensions: options.extensions })
            }
            Ok(false) => {
                let source = Box::new(io::Error::from(io::ErrorKind::AlreadyExists));
                Err(Error::AlreadyExists { path: location.to_string(), source })
            }
            Err(error) => Err(failed(error)),
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
        let mut found = self.inner.get_opts(location, options).await?;
        if let GetResultPayload::File(file, _) = &found.payload {
            found.attributes = read_all(file).map_err(failed)?;
        }
        Ok(found)
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
    use super::*;

    fn files(root: &FilePath) -> AttributedFiles {
        AttributedFiles::new(LocalFileSystem::new_with_prefix(root).unwrap(), Arc::from(root), false)
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
}
