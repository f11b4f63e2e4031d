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
    /// Whether creates with large bodies were raced, now or at an earlier start, as far as races tell of this provider. Some
    /// servers look first and store later.
    pub raced: bool,
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
    /// Whether an object can be created under a key below which another lies. No layout needs that.
    pub keys_below_keys: bool,
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
    /// Returns what the server lacks, as short sentences: nothing if it was not [probed](Self::probed).
    ///
    /// `docs/servers.md` explains each. One line of the log has them when a store is opened, and so should a status page.
    #[must_use]
    pub fn shortcomings(&self) -> Vec<&'static str> {
        let all = [
            (self.conditional_put, "several creates of a key may succeed"),
            (self.conditional_update, "updates ignore their condition"),
            (self.conditional_completion, "completions ignore their condition"),
            (self.keeps_tokens, "metadata is not kept"),
            (self.lists_in_order, "listings are in no order"),
            (self.keys_below_keys, "keys below keys are refused"),
            (self.raced, "large creates were not raced"),
        ];
        all.into_iter().filter(|(there, _)| self.probed && !there).map(|(_, lack)| lack).collect()
    }

    /// Returns the findings of a server that lacks everything that is asked about, for tests and for texts.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            probed: true,
            raced: false,
            conditional_put: false,
            conditional_update: false,
            conditional_completion: false,
            bare_e_tags: true,
            keeps_tokens: false,
            lists_in_order: false,
            keys_below_keys: false,
        }
    }

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
            keys_below_keys: !matches!(provider, Provider::Directory),
            raced: false,
        }
    }
}
