//! The facts about a bucket that puts rest on.

use std::fmt::{self, Display, Formatter};

use crate::bucket::{Bucket, Provider};

/// What a bucket was found to do with conditional writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each was found out on its own")]
pub struct Findings {
    /// Whether this was tried out; if not, it is what the provider documents.
    pub probed: bool,
    /// Whether a put that asks that there be no object leaves one that is there, also when many put at once.
    pub conditional_put: bool,
    /// Whether a put that asks for an `ETag` leaves an object that has another.
    pub conditional_update: bool,
    /// Whether the completion of a multipart upload that asks that there be no object leaves one that is there.
    pub conditional_completion: bool,
    /// Whether it knows an `ETag` only without its quotation marks, as Ceph RGW 16 does.
    pub bare_e_tags: bool,
    /// Whether an object comes back with the metadata that it was put with.
    pub keeps_tokens: bool,
}

impl Display for Findings {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kept = |kept: bool| if kept { "kept" } else { "ignored" };
        write!(
            f,
            "conditions of puts {}, of updates {}, of completions {}; tokens {}",
            kept(self.conditional_put),
            kept(self.conditional_update),
            kept(self.conditional_completion),
            kept(self.keeps_tokens)
        )
    }
}

impl Findings {
    /// What is known without asking.
    pub(crate) fn documented(bucket: &Bucket) -> Self {
        let provider = bucket.provider();
        Self {
            probed: false,
            conditional_put: true,
            conditional_update: !matches!(provider, Provider::Directory),
            conditional_completion: bucket.conditional_parts().is_some() || !provider.is_remote(),
            bare_e_tags: false,
            keeps_tokens: provider.keeps_tokens(),
        }
    }
}
