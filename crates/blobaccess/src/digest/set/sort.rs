//! Sorts digests by moving each of them about once.

use super::Digest;

/// Sorts, and drops duplicates.
///
/// A digest has 96 bytes, so a sort would be busy moving them. Instead, numbers are sorted that begin as the digests do
/// and end with where these are, and then the digests are moved to where their numbers went. Hashes hardly ever begin
/// alike, unless they are alike.
pub(super) fn sort_and_deduplicate(digests: &mut Vec<Digest>) {
    if digests.is_sorted_by(|a, b| a < b) {
        return;
    }
    // The bits that it takes to count them: 14 for 10,000.
    let index_bits = wide(digests.len().next_power_of_two() - 1);
    let beginning = |digest: &Digest| digest.sort_prefix() & !index_bits;
    let numbers = digests.iter().zip(0..).map(|(digest, index)| beginning(digest) | index);
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    arrange(digests, numbers.iter().map(|number| narrow(number & index_bits)).collect());
    let mut duplicates = false;
    for alike in digests.chunk_by_mut(|a, b| beginning(a) == beginning(b)) {
        if alike.len() > 1 {
            alike.sort_unstable();
            duplicates |= !alike.is_sorted_by(|a, b| a < b);
        }
    }
    if duplicates {
        digests.dedup();
    }
}

/// Moves to each place the digest that is at its origin.
fn arrange(digests: &mut [Digest], mut origins: Vec<usize>) {
    for place in 0..origins.len() {
        let origin_of = |place: usize| origins.get(place).copied().unwrap_or(place);
        let mut origin = origin_of(place);
        // What was at an earlier place has been swapped for what belongs there, to where that came from.
        while origin < place {
            origin = origin_of(origin);
        }
        if let Some(known) = origins.get_mut(place) {
            *known = origin;
        }
        digests.swap(place, origin);
    }
}

// Numbers of digests in memory, which fit both.

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn narrow(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
