//! Writes metadata into requests.

use blobaccess::{Error, Metadata, Result};
use tonic::metadata::{AsciiMetadataKey, BinaryMetadataKey, KeyAndValueRef, MetadataMap, MetadataValue};

/// Sets all of `metadata`.
pub(super) fn insert(map: &mut MetadataMap, metadata: &Metadata) -> Result<()> {
    metadata.iter().try_for_each(|(name, value)| insert_one(map, name, value))
}

/// Sets one value. Errors name it, and never show it.
pub(super) fn insert_one(map: &mut MetadataMap, name: &str, value: &[u8]) -> Result<()> {
    let invalid = |what| Error::invalid_argument(format!("metadata {name:?} has {what} that cannot be sent"));
    if name.ends_with("-bin") {
        let key = BinaryMetadataKey::from_bytes(name.as_bytes()).map_err(|_| invalid("a name"))?;
        map.insert_bin(key, MetadataValue::from_bytes(value));
    } else {
        let key = AsciiMetadataKey::from_bytes(name.as_bytes()).map_err(|_| invalid("a name"))?;
        map.insert(key, MetadataValue::try_from(value).map_err(|_| invalid("a value"))?);
    }
    Ok(())
}

/// Adds one value to those of its name. Errors name it, and never show it.
pub(super) fn append_one(map: &mut MetadataMap, name: &str, value: &[u8]) -> Result<()> {
    let mut one = MetadataMap::new();
    insert_one(&mut one, name, value)?;
    for entry in one.iter() {
        match entry {
            KeyAndValueRef::Ascii(name, value) => drop(map.append(name.clone(), value.clone())),
            KeyAndValueRef::Binary(name, value) => drop(map.append_bin(name.clone(), value.clone())),
        }
    }
    Ok(())
}

/// Adds all of `metadata` to the values of its names.
pub(super) fn append(map: &mut MetadataMap, metadata: &Metadata) -> Result<()> {
    metadata.iter().try_for_each(|(name, value)| append_one(map, name, value))
}
