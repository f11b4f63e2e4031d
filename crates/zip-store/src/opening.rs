//! An archive as it is found when it is opened.

use blobaccess::{Error, Kind, Result};

use crate::directory;
use crate::entries::Entries;
use crate::file::ArchiveFile;
use crate::options::ZipOptions;
use crate::records::Directory;
use crate::salvage::{Salvaged, salvage};

/// An archive as it is found when it is opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) entries: Entries,
    pub(crate) directory: Option<Directory>,
    /// The result of salvaging, if the archive has no directory.
    pub(crate) salvaged: Option<Salvaged>,
}

impl Opened {
    /// Reads the directory of an archive, or salvages the entries if there is none and the options allow it.
    ///
    /// # Errors
    ///
    /// `DataLoss` if there is no directory, or a damaged one. `Unimplemented` if the archive is split over several files.
    /// `ResourceExhausted` if the directory takes too much memory.
    pub(crate) fn read<K: Kind>(file: &ArchiveFile, options: ZipOptions) -> Result<Self> {
        Self::read_unnamed::<K>(file, options).map_err(|error| error.at(format!("archive {}", file.path().display())))
    }

    fn read_unnamed<K: Kind>(file: &ArchiveFile, options: ZipOptions) -> Result<Self> {
        let mut entries = Entries::new(options.max_directory_memory_bytes);
        if let Some(directory) = directory::find(file)? {
            directory::read(file, &directory, &mut entries)?;
            return Ok(Self { entries, directory: Some(directory), salvaged: None });
        }
        if !options.salvages {
            let message = "there is no directory at the end: it was cut, not finished, or is no ZIP archive";
            return Err(Error::data_loss(message));
        }
        let salvaged = salvage::<K>(file, &mut entries)?;
        tracing::warn!(
            path = %file.path().display(),
            entries = entries.len(),
            end = salvaged.end,
            gap_bytes = salvaged.gap_bytes,
            "salvaged an archive that has no directory"
        );
        Ok(Self { entries, directory: None, salvaged: Some(salvaged) })
    }
}
