//! Sorts digests by moving each of them about once.

use super::Digest;

/// Sorts, and drops duplicates.
///
/// A digest has 96 bytes, so a sort would be busy moving them. Instead, numbers that begin as the digests do are
/// sorted, and then the digests are moved to where their numbers went. Hashes hardly ever begin alike, unless they are
/// alike.
pub(super) fn sort_and_deduplicate(digests: &mut Vec<Digest>) {
    if digests.is_sorted_by(|a, b| a < b) {
        return;
    }
    digests.sort_by_cached_key(Digest::sort_prefix);
    let mut duplicates = false;
    for alike in digests.chunk_by_mut(|a, b| a.sort_prefix() == b.sort_prefix()) {
        if alike.len() > 1 {
            alike.sort_unstable();
            duplicates |= !alike.is_sorted_by(|a, b| a < b);
        }
    }
    if duplicates {
        digests.dedup();
    }
}
