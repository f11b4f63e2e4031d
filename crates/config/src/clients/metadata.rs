//! Metadata that a client of gRPC adds to its calls.

use async_trait::async_trait;
use blobaccess::{Context, Error, Result};
use blobaccess_grpc::CallMetadata;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, BinaryMetadataKey, BinaryMetadataValue, MetadataMap};

use super::forwarded_metadata::ForwardedMetadata;
use super::token_source::TokenSource;
use crate::section::Section;

/// Metadata that every call has.
#[derive(Clone, Debug, Default)]
pub(super) struct FixedMetadata {
    metadata: MetadataMap,
}

impl FixedMetadata {
    /// Reads the field `add_metadata`. Returns `None` if a fault was noted.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let mut metadata = MetadataMap::new();
        let mut is_right = true;
        for header in section.messages("add_metadata") {
            let name = header.text("header").to_ascii_lowercase();
            let values = header.texts("values");
            if let Err(reason) = check_name(&name) {
                header.fault_at("header", reason);
                is_right = false;
                continue;
            }
            for (index, value) in values.into_iter().enumerate() {
                if let Err(reason) = append(&mut metadata, &name, value.as_bytes()) {
                    let path = header.path_of_element("values", index);
                    header.reading().note_fault(&path, header.position_of("values"), reason.to_owned());
                    is_right = false;
                }
            }
        }
        is_right.then_some(Self { metadata })
    }

    /// Returns whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.metadata.is_empty()
    }
}

/// Checks the name of metadata. The error completes a sentence that begins with the field.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.starts_with("grpc-") || ["te", "content-type", "user-agent"].contains(&name) {
        return Err("is reserved for gRPC itself");
    }
    let is_valid = if name.ends_with("-bin") {
        BinaryMetadataKey::from_bytes(name.as_bytes()).is_ok()
    } else {
        AsciiMetadataKey::from_bytes(name.as_bytes()).is_ok()
    };
    if is_valid { Ok(()) } else { Err("is no name of metadata") }
}

/// Adds a value to those of `name`, which is valid. The error completes a sentence that begins with the field.
pub(super) fn append(metadata: &mut MetadataMap, name: &str, value: &[u8]) -> Result<(), &'static str> {
    if name.ends_with("-bin") {
        let key = BinaryMetadataKey::from_bytes(name.as_bytes()).map_err(|_| "is no name of metadata")?;
        let mut value = BinaryMetadataValue::from_bytes(value);
        value.set_sensitive(true);
        metadata.append_bin(key, value);
    } else {
        let key = AsciiMetadataKey::from_bytes(name.as_bytes()).map_err(|_| "is no name of metadata")?;
        let value = AsciiMetadataValue::try_from(value).map_err(|_| "has characters that metadata cannot have");
        let mut value = value?;
        value.set_sensitive(true);
        metadata.append(key, value);
    }
    Ok(())
}

/// Removes all values of `name`.
pub(super) fn remove(metadata: &mut MetadataMap, name: &str) {
    if name.ends_with("-bin") {
        metadata.remove_bin(name);
    } else {
        metadata.remove(name);
    }
}

/// Metadata that a client adds to its calls: fixed one, a token, and what an expression makes of the call.
#[derive(Debug)]
pub(crate) struct ClientMetadata {
    pub(super) fixed: FixedMetadata,
    pub(super) tokens: Option<TokenSource>,
    pub(super) forwarded: Option<ForwardedMetadata>,
}

#[async_trait]
impl CallMetadata for ClientMetadata {
    async fn add_to(&self, ctx: &Context, metadata: &mut MetadataMap) -> Result<()> {
        self.add(ctx, metadata).await
    }
}

impl ClientMetadata {
    async fn add(&self, ctx: &Context, metadata: &mut MetadataMap) -> Result<()> {
        for entry in self.fixed.metadata.iter() {
            match entry {
                tonic::metadata::KeyAndValueRef::Ascii(key, value) => {
                    metadata.append(key, value.clone());
                }
                tonic::metadata::KeyAndValueRef::Binary(key, value) => {
                    metadata.append_bin(key, value.clone());
                }
            }
        }
        if let Some(tokens) = &self.tokens {
            let value = tokens.authorization().await?;
            let mut value = AsciiMetadataValue::try_from(value.as_bytes())
                .map_err(|_| Error::internal("a token has characters that cannot be sent"))?;
            value.set_sensitive(true);
            metadata.insert("authorization", value);
        }
        match &self.forwarded {
            None => Ok(()),
            Some(forwarded) => forwarded.add_to(ctx, metadata),
        }
    }

    /// Returns whether nothing is ever added.
    pub(crate) fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.tokens.is_none() && self.forwarded.is_none()
    }
}
