//! What became of uploads whose answer was lost: the store is asked, under their token.

use std::sync::Arc;

use blobaccess::{Context, Digest, ResolveUpload, Result, StorageType, UploadResolution, UploadToken};

use crate::{Account, ErrorReason, Outcome};

/// Whom to ask about uploads, for each kind of store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolvers {
    by_code: [Option<Arc<dyn ResolveUpload>>; 5],
}

impl Resolvers {
    pub(crate) fn set(&mut self, storage_type: StorageType, resolver: Arc<dyn ResolveUpload>) {
        let code = usize::from(Account::storage_code(storage_type));
        if let Some(place) = self.by_code.get_mut(code) {
            *place = Some(resolver);
        }
    }

    pub(crate) fn of(&self, storage_type: StorageType) -> Option<&Arc<dyn ResolveUpload>> {
        self.by_code.get(usize::from(Account::storage_code(storage_type)))?.as_ref()
    }

    /// What became of an upload. Nothing to ask counts as not known.
    pub(crate) async fn ask(
        &self,
        storage_type: StorageType,
        digest: &Digest,
        token: &UploadToken,
    ) -> Result<UploadResolution> {
        match self.of(storage_type) {
            None => Ok(UploadResolution::Unknown),
            Some(resolver) => resolver.resolve_upload(&Context::background(), digest, token).await,
        }
    }
}

/// The outcome of an upload of which the store says this; `absent` is why it failed if nothing is stored.
///
/// Contents never change, so that of those the token says all. An entry of a mutable kind that is ours may have replaced
/// another, and one that is another's may have replaced ours: neither is guessed.
pub(crate) const fn outcome_of(
    resolution: UploadResolution,
    storage_type: StorageType,
    absent: ErrorReason,
) -> Outcome {
    match (resolution, storage_type.is_mutable()) {
        (UploadResolution::Mine { stored_bytes }, false) => Outcome::Created { stored_bytes },
        (UploadResolution::Mine { stored_bytes }, true) => Outcome::Unclassified { stored_bytes: Some(stored_bytes) },
        (UploadResolution::Anothers { stored_bytes }, false) => Outcome::AlreadyExists { stored_bytes },
        (UploadResolution::Absent, _) => Outcome::Error(absent),
        (UploadResolution::Anothers { .. }, true) | (UploadResolution::Unknown, _) => {
            Outcome::Error(ErrorReason::Ambiguous)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_told_by_their_token_and_entries_are_not_guessed() {
        let of = |resolution, storage_type| outcome_of(resolution, storage_type, ErrorReason::Cancelled);
        let (mine, anothers) =
            (UploadResolution::Mine { stored_bytes: 3 }, UploadResolution::Anothers { stored_bytes: 4 });
        let ambiguous = Outcome::Error(ErrorReason::Ambiguous);
        assert_eq!(of(mine, StorageType::Cas), Outcome::Created { stored_bytes: 3 });
        assert_eq!(of(anothers, StorageType::Cas), Outcome::AlreadyExists { stored_bytes: 4 });
        assert_eq!(of(mine, StorageType::Ac), Outcome::Unclassified { stored_bytes: Some(3) });
        assert_eq!(of(anothers, StorageType::Ac), ambiguous);
        for storage_type in [StorageType::Cas, StorageType::Ac] {
            assert_eq!(of(UploadResolution::Absent, storage_type), Outcome::Error(ErrorReason::Cancelled));
            assert_eq!(of(UploadResolution::Unknown, storage_type), ambiguous);
        }
    }
}
