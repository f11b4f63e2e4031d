//! Archives in files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use blobaccess::Error;
use blobaccess_zip_store::ZipOptions;

use super::claims::Claims;
use super::existence_cache::ExistenceCachePlan;
use crate::section::Section;
use crate::used_path::check_directory_of;

/// The beginnings of archives: that of an entry, or of the directory of an archive without any.
const SIGNATURES: [&[u8]; 3] = [b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06"];

/// The bytes that are looked at to know an archive. The first contents begin in them, unless a name is very long.
const LOOKED_AT_BYTES: u64 = 512;

/// An archive that is read or written, from a `ZIPBlobAccessConfiguration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArchivePlan {
    pub(crate) path: PathBuf,
    pub(crate) options: ZipOptions,
}

/// The use of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArchiveUse {
    Reading,
    Writing,
}

impl ArchivePlan {
    /// Reads the plan of an archive.
    pub(crate) fn read(section: &Section<'_>, usage: ArchiveUse, claims: &mut Claims) -> Option<Self> {
        let path = section.required_file_path("path");
        let path = path.filter(|path| {
            let at = section.path_of("path");
            let claimed = match usage {
                ArchiveUse::Reading => claims.read(path, &at),
                ArchiveUse::Writing => claims.write(path, &at),
            };
            if let Err(other) = &claimed {
                section.fault_at("path", format!("is a file of {other} too: a file that is written is of one store"));
            }
            claimed.is_ok()
        });
        // Without the cache, Buildbarn verifies what it reads each time.
        let verified = match section.message("data_integrity_validation_cache") {
            None => Some(Duration::ZERO),
            Some(cache) => {
                cache.notice_at("cache_size", "has no effect: a verification takes 8 bytes of its entry");
                ExistenceCachePlan::read_duration(&cache)
            }
        };
        let options = ZipOptions::new().with_verification_lifetime(verified?);
        Some(Self { path: path?.into(), options })
    }

    /// Looks at the files, without opening any to write. Returns what is wrong.
    pub(crate) fn inspect(&self, usage: ArchiveUse) -> Result<(), String> {
        match usage {
            ArchiveUse::Reading => match fs::metadata(&self.path) {
                Ok(found) if found.is_file() => Ok(()),
                Ok(_) => Err(format!("{} is no file", self.path.display())),
                Err(error) => Err(format!("{}: {error}", self.path.display())),
            },
            ArchiveUse::Writing => match self.open_former(OpenOptions::new().read(true))? {
                Some(former) => self.check_former(&former),
                None => check_directory_of(&self.path),
            },
        }
    }

    /// Removes the archive that is there, as Buildbarn does, and returns its file if there was one.
    ///
    /// The file is locked. As long as it is kept, nobody else can remove what takes its place.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if another process writes it, or it is no archive; `Unavailable` if it cannot be removed.
    pub(crate) fn remove_former(&self) -> blobaccess::Result<Option<File>> {
        let shown = self.path.display();
        let failed =
            |error: io::Error| Error::unavailable(format!("{shown} cannot be replaced: {error}")).with_source(error);
        let in_use = || {
            let message = "is being written by another process: stop that one, or choose another path";
            Error::failed_precondition(format!("{shown} {message}"))
        };
        // Some file systems lock only what is open for writing.
        let former = self.open_former(OpenOptions::new().read(true).write(true));
        let former = former.or_else(|_| self.open_former(OpenOptions::new().read(true)));
        let Some(former) = former.map_err(Error::failed_precondition)? else { return Ok(None) };
        match former.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Another process may have replaced it before it was locked.
        let identity = |found: fs::Metadata| (found.dev(), found.ino());
        let locked = former.metadata().map(identity).map_err(failed)?;
        if !fs::metadata(&self.path).is_ok_and(|found| identity(found) == locked) {
            return Err(in_use());
        }
        self.check_former(&former).map_err(Error::failed_precondition)?;
        fs::remove_file(&self.path).map_err(failed)?;
        Ok(Some(former))
    }

    /// Opens the file that is there, if there is one.
    fn open_former(&self, options: &OpenOptions) -> Result<Option<File>, String> {
        let shown = self.path.display();
        // Opening something else, such as a pipe, might block.
        match fs::metadata(&self.path) {
            Ok(found) if found.is_file() => {}
            Ok(_) => return Err(format!("{shown} is no file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match fs::symlink_metadata(&self.path) {
                    Ok(_) => Err(format!("{shown} is a link to nothing: remove it, or choose another path")),
                    Err(_) => Ok(None),
                };
            }
            Err(error) => return Err(format!("{shown}: {error}")),
        }
        options.open(&self.path).map(Some).map_err(|error| format!("{shown} cannot be opened: {error}"))
    }

    /// Checks whether a file is an archive, and not one of somebody who made a mistake in a path.
    fn check_former(&self, former: &File) -> Result<(), String> {
        let (shown, mut begin) = (self.path.display(), Vec::new());
        let read = former.take(LOOKED_AT_BYTES).read_to_end(&mut begin);
        read.map_err(|error| format!("{shown} cannot be read: {error}"))?;
        if is_archive(&begin) {
            return Ok(());
        }
        Err(format!("{shown} would be replaced, but is no archive: choose another path, or remove the file"))
    }
}

/// Returns whether a file that begins like this is an archive, or the beginning of one.
fn is_archive(begin: &[u8]) -> bool {
    let is_begun = |signature: &[u8]| begin.starts_with(signature) || signature.starts_with(begin);
    // The header of an entry is written behind its contents. If that did not happen, there are zeros.
    let lacks_header = || begin.starts_with(&[0; 4]) && begin.iter().any(|byte| *byte != 0);
    SIGNATURES.iter().any(|signature| is_begun(signature)) || lacks_header()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_known_by_how_it_begins() {
        let mut unfinished = vec![0; 100];
        unfinished.extend(b"contents");
        for begin in [&b""[..], b"P", b"PK\x03", b"PK\x03\x04\x14", b"PK\x05\x06", b"PK\x06\x06", &unfinished] {
            assert!(is_archive(begin), "{begin:?}");
        }
        for begin in [&b"x"[..], b"PX", b"PKzip", b"PK\x01\x02", &[0; 3], &[0; 512], &[0, 0, 0, 9]] {
            assert!(!is_archive(begin), "{begin:?}");
        }
    }
}
