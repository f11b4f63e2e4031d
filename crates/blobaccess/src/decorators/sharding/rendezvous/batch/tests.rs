use proptest::prelude::*;

use super::super::candidates;
use super::super::score::{log2, mix};
use super::*;

fn rendezvous(weights: &[u32]) -> Rendezvous {
    Rendezvous::new(weights.iter().enumerate().map(|(index, weight)| (index.to_string(), *weight))).unwrap()
}

/// Returns the bound of the first line.
fn bound_of(lines: &Lines, number: u64) -> f32 {
    let line = lines.shards[0];
    bound(super::mix(number ^ line.key_hash), line.slope, line.offset)
}

/// Checks that no bound is above what it bounds.
fn check_bound(number: u64, weight: u32) {
    let candidate = Candidate { key_hash: 0, weight, index: 0 };
    let lines = Lines::new(&[candidate]);
    let bound = f64::from(bound_of(&lines, number));
    let distance = real((64 << 16) - log2(mix(number)));
    assert!(bound * f64::from(weight) <= distance, "{number}, {weight}: {bound} / {distance}");
}

/// Returns the number that `mix` turns into `mixed`.
fn unmix(mixed: u64) -> u64 {
    let unshift = |value: u64, by: u32| (0..64 / by).fold(value, |found, _| value ^ found >> by);
    let inverse = |factor: u64| (0..6).fold(factor, |x, _| x.wrapping_mul(2_u64.wrapping_sub(factor.wrapping_mul(x))));
    let number = unshift(mixed, 31).wrapping_mul(inverse(MULTIPLIERS[1]));
    unshift(unshift(number, 27).wrapping_mul(inverse(MULTIPLIERS[0])), 30)
}

#[test]
fn no_bound_is_above_what_it_bounds() {
    for exponent in 0..64 {
        for nearby in [-1_i64, 0, 1] {
            for mixed in [(1_u64 << exponent).wrapping_add_signed(nearby), u64::MAX - (1 << exponent)] {
                assert_eq!(mix(unmix(mixed)), mixed);
                for weight in [1, 7, u32::MAX] {
                    check_bound(unmix(mixed), weight);
                }
            }
        }
    }
}

#[test]
fn many_are_chosen_as_one_by_one() {
    let shared_weights = vec![1; 64];
    let skewed: Vec<_> = (1..=200).map(|weight| weight * weight).collect();
    let extreme = [1, u32::MAX, 1000, 1, u32::MAX / 2];
    for weights in [&[1][..], &[5, 5], &extreme, &shared_weights, &skewed] {
        let rendezvous = rendezvous(weights);
        let numbers: Vec<_> = (0..2_017).map(mix).collect();
        let one_by_one: Vec<_> = numbers.iter().map(|number| rendezvous.select_by_scores(*number)).collect();
        let vectors: Vec<_> = numbers.iter().map(|number| rendezvous.select(*number)).collect();
        assert_eq!(vectors, one_by_one, "{} shards", weights.len());
        assert_eq!(rendezvous.select_all(&numbers), one_by_one, "{} shards", weights.len());
    }
}

#[test]
fn of_equal_scores_the_smaller_hash_of_a_key_wins_in_a_batch_too() {
    let numbers = [7; 40];
    let keys: Vec<_> = (0..20).map(|key| key.to_string()).collect();
    let mut candidates = candidates(keys.iter().map(|key| (&**key, 1))).unwrap();
    // All have the same score.
    for candidate in &mut candidates {
        candidate.key_hash = 1;
    }
    let first = candidates[0].index;
    let rendezvous = Rendezvous::from_candidates(candidates);
    assert_eq!(rendezvous.select_all(&numbers), vec![first; 40]);
    assert_eq!(rendezvous.select(7), first);
}

#[test]
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "to try what another processor would take"))]
fn every_processor_chooses_alike() {
    let rendezvous = rendezvous(&(1..=64).collect::<Vec<_>>());
    for block in 0..20_u64 {
        let numbers: [u64; LANES] = std::array::from_fn(|lane| mix(block << 32 | u64::try_from(lane).unwrap()));
        let portable = compare_all(&rendezvous.lines, &numbers);
        assert_eq!(find_smallest(&rendezvous.lines, &numbers), portable);
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: The processor has the feature that the function is compiled for.
            assert_eq!(unsafe { find_smallest_avx2(&rendezvous.lines, &numbers) }, portable);
        }
    }
}

/// Checks that a distance is not further above its bound than the choice without a score allows.
#[test]
fn a_near_distance_is_close_to_its_bound() {
    let lines = Lines::new(&[Candidate { key_hash: 0, weight: 1, index: 0 }]);
    let mut checked = 0;
    // All leading bits at the coarse scale, and all at the fine scale near the top.
    for mixed in (0..1 << 20_u64).flat_map(|n| [n << 44 | 0xfff, u64::MAX - (n << 20)]) {
        let bound = bound_of(&lines, unmix(mixed));
        if bound <= 2.0 * NEAR * lines.shards[0].slope {
            let distance = real((64 << 16) - log2(mixed));
            // Without the room for positions and for scores that are rounded down.
            assert!(distance <= 1.034 * f64::from(bound) + APART - 0.8, "{mixed:x}: {bound} / {distance}");
            checked += 1;
        }
    }
    assert!(checked > 1 << 20, "{checked}");
}

proptest! {
    #[test]
    fn no_bound_is_above_what_it_bounds_at_random(number: u64, weight in 1..u32::MAX) {
        check_bound(number, weight);
    }

    #[test]
    fn many_are_chosen_as_one_by_one_at_random(
        weights in prop::collection::vec(1..100_u32, 1..200),
        numbers in prop::collection::vec(any::<u64>(), 0..70),
    ) {
        let rendezvous = rendezvous(&weights);
        let one_by_one: Vec<_> = numbers.iter().map(|number| rendezvous.select_by_scores(*number)).collect();
        let vectors: Vec<_> = numbers.iter().map(|number| rendezvous.select(*number)).collect();
        prop_assert_eq!(&vectors, &one_by_one);
        prop_assert_eq!(rendezvous.select_all(&numbers), one_by_one);
    }
}
