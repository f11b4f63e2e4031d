//! Sorts digests by moving each of them about once.

use super::Digest;

/// Sorts digests, and drops duplicates.
///
/// A digest has 96 bytes, so a plain sort would spend its time on moving them. Instead, this sorts numbers whose high
/// bits are the beginning of a digest and whose low bits are its position. Then each digest moves to its final place.
/// Different hashes hardly ever have the same beginning.
pub(super) fn sort_and_deduplicate(digests: &mut Vec<Digest>) {
    if digests.is_sorted_by(|a, b| a < b) {
        return;
    }
    // The bits needed to count the digests: 14 for 10,000.
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
        // The digest of an earlier place was swapped with the one that belongs there, to the place that it came from.
        while origin < place {
            origin = origin_of(origin);
        }
        if let Some(known) = origins.get_mut(place) {
            *known = origin;
        }
        digests.swap(place, origin);
    }
}

// These numbers count digests in memory, so they fit both types.

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn narrow(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
