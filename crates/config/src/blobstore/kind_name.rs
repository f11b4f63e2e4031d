//! The names of the kinds of stores, in sentences.

use blobaccess::StorageType;

/// Returns the name of what a store of this kind holds, such as `action results`.
pub(crate) const fn name_of_kind(kind: StorageType) -> &'static str {
    match kind {
        StorageType::Cas => "contents",
        StorageType::Ac => "action results",
        StorageType::Icas => "references",
        StorageType::Iscc => "size classes",
        StorageType::Fsac => "file system access profiles",
    }
}
