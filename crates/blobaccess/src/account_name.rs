//! The account that a stored blob is charged to.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use crate::{Context, Digest, DigestFunction, InstanceName};

/// The name of an account, such as a tenant, a project or a repository, whose stored bytes are counted separately.
///
/// It is only a label. It decides neither who may read a blob nor whether two blobs are equal.
///
/// Names come from peers, and end in journals, databases and metrics. So every name has at most
/// [1,024 bytes](Self::MAX_BYTES) and no control characters, whatever it was made of: see [`new`](Self::new).
///
/// ```
/// use blobaccess::{Context, Digest, DigestFunction, InstanceName, AccountName};
///
/// let digest = Digest::of(InstanceName::new("acme/main")?, DigestFunction::Sha256, b"contents");
/// let ctx = Context::background();
/// assert_eq!(AccountName::for_call(&ctx, &digest).as_str(), "acme/main");
/// assert_eq!(AccountName::for_call(&ctx.with_account_name(AccountName::new("acme")), &digest).as_str(), "acme");
/// # Ok::<(), blobaccess::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(Arc<str>);

impl AccountName {
    /// The length of the longest name, in bytes of UTF-8.
    pub const MAX_BYTES: usize = InstanceName::MAX_BYTES;

    /// Makes the name of an account. Any text names one; the empty text names the account of callers that name none.
    ///
    /// A text that is longer than [`MAX_BYTES`](Self::MAX_BYTES) or has control characters names an account of its own
    /// too: its name is the beginning of the text, with `U+FFFD` for control characters, then `~` and a hash of the text.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        if Self::is_kept(&name) { Self(name) } else { Self(bounded(&name)) }
    }

    /// Returns whether an account of this name keeps it as it is.
    #[must_use]
    pub fn is_kept(name: &str) -> bool {
        name.len() <= Self::MAX_BYTES && !name.chars().any(char::is_control)
    }

    /// Returns the account that a call about `digest` is charged to: that of the context, or else the digest's instance
    /// name.
    #[must_use]
    pub fn for_call(ctx: &Context, digest: &Digest) -> Self {
        ctx.account_name().cloned().unwrap_or_else(|| Self::new(digest.instance_name().as_str()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns a name of bounded length without control characters, which differs for different texts.
fn bounded(name: &str) -> Arc<str> {
    /// The digits of the hash that are kept.
    const DIGITS: usize = 32;
    let hash = Digest::of(InstanceName::empty(), DigestFunction::Sha256, name.as_bytes()).hash().to_string();
    let room = AccountName::MAX_BYTES.saturating_sub(DIGITS + 1);
    let mut bounded = String::with_capacity(AccountName::MAX_BYTES);
    for character in name.chars() {
        let character = if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
        if bounded.len() + character.len_utf8() > room {
            break;
        }
        bounded.push(character);
    }
    bounded.push('~');
    bounded.push_str(hash.get(..DIGITS).unwrap_or(&hash));
    Arc::from(bounded)
}

impl Display for AccountName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_stay_apart() {
        let long = "ä".repeat(40_000);
        let hostile = ["a\0b", "a\u{1}b", "a\nb", &long, &format!("{long}c"), &"\0".repeat(9_999)];
        let names: std::collections::HashSet<_> = hostile.map(AccountName::new).into_iter().collect();
        assert_eq!(names.len(), hostile.len());
        for name in names {
            assert!(AccountName::is_kept(name.as_str()) && name.as_str().len() <= AccountName::MAX_BYTES);
            // A ledger that is read gives the same name back.
            assert_eq!(AccountName::new(name.as_str()), name);
        }
    }

    #[test]
    fn other_names_stay_as_they_are() {
        let longest = "x".repeat(AccountName::MAX_BYTES);
        for name in ["", "acme/main", "日本 \u{fffd}~", &longest] {
            assert_eq!(AccountName::new(name).as_str(), name);
        }
    }
}
