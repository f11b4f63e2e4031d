//! Archives in files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use blobaccess_zip_store::ZipOptions;

use super::claims::Claims;
use super::existence_cache::ExistenceCachePlan;
use crate::section::Section;

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
        let path = section.required_text("path");
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
                ExistenceCachePlan::read(&cache).map(|cache| cache.duration)
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
            ArchiveUse::Writing => {
                if fs::metadata(&self.path).is_ok_and(|found| !found.is_file()) {
                    return Err(format!("{} is no file", self.path.display()));
                }
                let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
                match fs::metadata(directory.unwrap_or(Path::new("."))) {
                    Ok(found) if found.is_dir() => Ok(()),
                    Ok(_) => Err(format!("{}: the directory is none", self.path.display())),
                    Err(error) => Err(format!("{}: the directory: {error}", self.path.display())),
                }
            }
        }
    }
}
