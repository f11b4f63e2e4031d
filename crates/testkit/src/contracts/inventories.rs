//! Contracts about listings: a listing has every stored blob, once.

use std::collections::BTreeMap;

use blobaccess::{
    BlobAccess, Digest, ErrorKind, InstanceName, Inventory, InventoryCursor, KeyFormat, Kind, Result, StorageType,
};

use crate::samples::Samples;
use crate::subject::{Subject, refused};
use crate::{Fixture, list_all};

async fn list<F: Fixture<Store: Inventory>>(subject: &Subject<'_, F>) -> Result<BTreeMap<Digest, u64>> {
    let mut by_digest = BTreeMap::new();
    let entries = list_all(&*subject.store, &subject.ctx).await.map_err(|error| error.at("listing"))?;
    for entry in entries {
        let twice = by_digest.insert(entry.digest.clone(), entry.stored_bytes);
        assert!(twice.is_none(), "{} is listed twice", entry.digest);
    }
    Ok(by_digest)
}

/// Checks that every blob is listed exactly once, with the bytes that its put counted, and that nothing else is listed.
pub async fn every_blob_is_listed_exactly_once<F: Fixture<Store: Inventory>>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    assert_eq!(list(&subject).await?, BTreeMap::new(), "an empty store");
    let mut expected = BTreeMap::new();
    for _ in 0..300 {
        let sample = samples.small(fixture);
        let stored_bytes = subject.put(&sample).await?.stored_bytes();
        let digest = match subject.store.key_format() {
            KeyFormat::WithInstanceName => sample.digest,
            KeyFormat::WithoutInstanceName => sample.digest.with_instance_name(InstanceName::empty()),
        };
        expected.insert(digest, stored_bytes);
    }
    let listed = list(&subject).await?;
    let storage_type: StorageType = <F::Store as BlobAccess>::Kind::STORAGE_TYPE;
    for (digest, stored_bytes) in &expected {
        let entry = listed.get(digest).copied();
        assert!(entry.is_some(), "{digest} is stored in {}, but not listed", storage_type.name());
        assert!(stored_bytes.is_none() || entry == *stored_bytes, "{digest} is listed with another number of bytes");
    }
    assert_eq!(listed.len(), expected.len(), "blobs listed");
    Ok(())
}

/// Checks that a cursor that the store did not return is refused.
pub async fn a_cursor_of_another_store_is_refused<F: Fixture<Store: Inventory>>(fixture: &F) -> Result<()> {
    let (subject, mut samples) = (Subject::open(fixture).await?, Samples::new());
    subject.put(&samples.small(fixture)).await?;
    let cursor = InventoryCursor::from_bytes(&b"\xff no store's cursor \x00"[..]);
    let error = refused(subject.store.inventory(&subject.ctx, Some(&cursor)).await, "a listing from a foreign cursor");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    Ok(())
}
