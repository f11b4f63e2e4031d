//! Facts about a bucket that puts rely on.

use std::fmt::{self, Display, Formatter};

use crate::bucket::{Bucket, Provider};

/// The observed behaviour of a bucket with conditional writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each was found out on its own")]
pub struct Findings {
    /// Whether the bucket was probed. If not, these are the facts that the provider documents.
    pub probed: bool,
    /// Whether a put that requires that there be no object keeps an existing one, also if several puts run
    /// concurrently.
    pub conditional_put: bool,
    /// Whether a put that requires an `ETag` keeps an object that has another one.
    pub conditional_update: bool,
    /// Whether the completion of a multipart upload that requires that there be no object keeps an existing one.
    pub conditional_completion: bool,
    /// Whether the server matches an `ETag` only without its quotation marks, as Ceph RGW 16 does.
    pub bare_e_tags: bool,
    /// Whether objects keep the metadata that they were put with.
    pub keeps_tokens: bool,
    /// Whether listings are in the order of keys, and begin after the key that they are asked for. Directory buckets of S3
    /// (Express One Zone) list in another order.
    pub lists_in_order: bool,
}

impl Display for Findings {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kept = |kept: bool| if kept { "kept" } else { "ignored" };
        write!(
            f,
            "conditions of puts {}, of updates {}, of completions {}; tokens {}; listings {}",
            kept(self.conditional_put),
            kept(self.conditional_update),
            kept(self.conditional_completion),
            kept(self.keeps_tokens),
            if self.lists_in_order { "in order" } else { "in any order" }
        )
    }
}

impl Findings {
    /// Returns the facts that the provider documents.
    pub(crate) fn documented(bucket: &Bucket) -> Self {
        let provider = bucket.provider();
        Self {
            probed: false,
            conditional_put: true,
            conditional_update: !matches!(provider, Provider::Directory),
            conditional_completion: bucket.conditional_parts().is_some() || !provider.is_remote(),
            bare_e_tags: false,
            keeps_tokens: bucket.keeps_tokens(),
            lists_in_order: bucket.lists_in_order(),
        }
    }
}
