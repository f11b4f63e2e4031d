//! The last checks before stores are opened, which look at files without changing any.

use blobaccess::{Ac, Cas, Fsac, Icas, Iscc, Kind, Result, StorageType};
use blobaccess_zip_store::ZipReadingStore;

use super::archive::{ArchivePlan, ArchiveUse};
use super::node::{Node, PlannedNode};
use super::plan::StoresPlan;
use crate::Faults;

impl StoresPlan {
    /// Looks at the files that the stores are to be in. Nothing is created, changed or opened to be written.
    ///
    /// # Errors
    ///
    /// All that is wrong with them.
    pub(crate) async fn inspect(&self) -> Result<(), Faults> {
        let mut faults = Vec::new();
        for id in self.order() {
            let Some(planned) = self.node(id) else { continue };
            if let Err(message) = inspect(planned).await {
                faults.push(planned.fault(message));
            }
        }
        Faults::of(faults).map_or(Ok(()), Err)
    }
}

async fn inspect(planned: &PlannedNode) -> Result<(), String> {
    if let Node::Local(plan) = &planned.node {
        return plan.check_files(planned.kind).await.map_err(|error| error.to_string());
    }
    if let Node::ZipWriting(archive) = &planned.node {
        return archive.inspect(ArchiveUse::Writing);
    }
    let Node::ZipReading(archive) = &planned.node else { return Ok(()) };
    archive.inspect(ArchiveUse::Reading)?;
    let read = match planned.kind {
        StorageType::Cas => read::<Cas>(archive).await,
        StorageType::Ac => read::<Ac>(archive).await,
        StorageType::Icas => read::<Icas>(archive).await,
        StorageType::Iscc => read::<Iscc>(archive).await,
        StorageType::Fsac => read::<Fsac>(archive).await,
    };
    read.map_err(|error| error.to_string())
}

/// Reads the directory of an archive.
async fn read<K: Kind>(archive: &ArchivePlan) -> Result<()> {
    ZipReadingStore::<K>::open(archive.path.clone(), archive.options).await.map(drop)
}
