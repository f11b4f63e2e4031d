use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::digest::tests::any_digest;
use crate::{DigestFunction, InstanceName};

/// Draws digests of few different values, so that sets overlap, and several of one hash.
fn few_digests() -> impl Strategy<Value = Vec<Digest>> {
    let digest = (0_u8..12, 0_u64..3, "[ab]?", any::<bool>()).prop_map(|(byte, size_bytes, name, sha1)| {
        let function = if sha1 { DigestFunction::Sha1 } else { DigestFunction::Sha256 };
        let mut hash = vec![0x77; function.hash_size_bytes()];
        // The sort treats hashes that differ in the front and in the back differently.
        hash[if byte < 6 { 0 } else { 19 }] = byte;
        Digest::from_hash(InstanceName::new(&name).unwrap(), function, &hash, size_bytes).unwrap()
    });
    prop::collection::vec(digest, 0..60)
}

fn digest(instance_name: &str, byte: u8, size_bytes: u64) -> Digest {
    let name = InstanceName::new(instance_name).unwrap();
    Digest::from_hash(name, DigestFunction::Sha256, &[byte; 32], size_bytes).unwrap()
}

fn numbered(bytes: impl IntoIterator<Item = u8>) -> DigestSet {
    bytes.into_iter().map(|byte| digest("", byte, 1)).collect()
}

fn model(digests: &[Digest]) -> BTreeSet<Digest> {
    digests.iter().cloned().collect()
}

fn is_model(set: &DigestSet, model: &BTreeSet<Digest>) -> bool {
    set.iter().eq(model)
}

#[test]
fn the_empty_set_takes_no_memory() {
    for empty in [DigestSet::new(), DigestSet::default(), DigestSet::from(Vec::with_capacity(10)), DigestSet::from([])]
    {
        assert!(empty.0.is_none());
        assert!(empty.is_empty());
        assert_eq!(empty.len(), 0);
        assert_eq!(empty.first(), None);
        assert_eq!(empty, DigestSet::new());
    }
    let set = numbered([1, 2]);
    let (only_self, both, only_other) = set.split(&set);
    assert_eq!((only_self.0.is_none(), both, only_other.0.is_none()), (true, set.clone(), true));
    assert!(set.filter(|_| false).0.is_none());
}

#[test]
fn a_set_of_one_is_not_empty() {
    let set = DigestSet::from(digest("hello", 1, 5));
    assert!(!set.is_empty());
    assert_eq!(set.len(), 1);
    assert_eq!(set.first(), Some(&digest("hello", 1, 5)));
    assert_eq!(set.as_slice(), [digest("hello", 1, 5)]);
}

#[test]
fn how_a_set_is_built_does_not_matter() {
    let sorted: Vec<_> = (0..100).map(|byte| digest("", byte, 1)).collect();
    let set = DigestSet::from(sorted.clone());
    assert_eq!(set.as_slice(), sorted);
    let reversed: Vec<_> = sorted.iter().rev().cloned().collect();
    let shuffled: Vec<_> = (0..100_usize).map(|index| sorted[index * 37 % 100].clone()).collect();
    let duplicates: Vec<_> = shuffled.iter().chain(&reversed).cloned().collect();
    let mut roomy = Vec::with_capacity(1000);
    roomy.extend(shuffled.iter().cloned());
    for digests in [reversed, shuffled, duplicates, roomy] {
        assert_eq!(DigestSet::from(digests.clone()), set);
        assert_eq!(digests.into_iter().collect::<DigestSet>(), set);
    }
}

#[test]
fn a_sorted_vector_is_taken_over() {
    let digests: Vec<_> = (0..10).map(|byte| digest("", byte, 1)).collect();
    let address = digests.as_ptr();
    assert_eq!(DigestSet::from(digests).as_slice().as_ptr(), address);
}

#[test]
fn empty_blobs_are_left_out_by_their_size_alone() {
    let set = DigestSet::from([digest("", 1, 0), digest("", 1, 5), digest("a", 2, 0), digest("a", 3, 7)]);
    assert_eq!(set.without_empty_blobs(), DigestSet::from([digest("", 1, 5), digest("a", 3, 7)]));
    let without = numbered([1, 2]);
    assert!(without.without_empty_blobs().is_same(&without));
}

#[test]
fn parts_by_instance_name_are_in_the_order_of_first_occurrence() {
    let set = DigestSet::from([digest("b", 1, 1), digest("a", 2, 1), digest("", 3, 1), digest("b", 4, 1)]);
    let expected =
        [[digest("b", 1, 1), digest("b", 4, 1)].into(), digest("a", 2, 1).into(), DigestSet::from(digest("", 3, 1))];
    assert_eq!(set.partition_by_instance_name(), expected);
    assert_eq!(DigestSet::new().partition_by_instance_name(), []);
    let one_name = numbered([1, 2, 3]);
    let parts = one_name.partition_by_instance_name();
    assert!(matches!(&*parts, [part] if part.is_same(&one_name)));
}

#[test]
fn a_split_tells_what_either_set_has_and_what_both_have() {
    let (only_self, both, only_other) = numbered([1, 3, 5, 7]).split(&numbered([0, 3, 4, 7, 9]));
    assert_eq!(only_self, numbered([1, 5]));
    assert_eq!(both, numbered([3, 7]));
    assert_eq!(only_other, numbered([0, 4, 9]));
}

#[test]
fn what_is_left_as_it_is_is_shared() {
    let (all, some, others) = (numbered(0..9), numbered(2..4), numbered(20..30));
    assert!(all.filter(|_| true).is_same(&all));
    assert!(all.difference(&others).is_same(&all));
    assert!(all.difference(&DigestSet::new()).is_same(&all));
    assert!(some.intersection(&all).is_same(&some));
    assert!(all.split(&some).1.is_same(&some));
    assert!(all.split(&others).0.is_same(&all));
    assert!(DigestSet::union([&some, &DigestSet::new()]).is_same(&some));
    assert!(DigestSet::union([&some, &all, &some]).is_same(&all));
}

#[test]
fn a_union_has_each_digest_once() {
    assert_eq!(DigestSet::union(Vec::<DigestSet>::new()), DigestSet::new());
    assert_eq!(DigestSet::union([numbered([1, 2])]), numbered([1, 2]));
    assert_eq!(DigestSet::union(&[numbered([1, 3]), numbered([2, 3])]), numbered([1, 2, 3]));
    // All multiples of each number from 2 to 50.
    let multiples = (2..=50).map(|step| numbered((0..=200).step_by(step)));
    let composites = (0..=200_u8).filter(|n| (2..=50).any(|step| n % step == 0));
    assert_eq!(DigestSet::union(multiples), numbered(composites));
}

proptest! {
    #[test]
    fn sets_are_sorted_and_unique(
        digests in prop_oneof![few_digests(), prop::collection::vec(any_digest(), 0..60)],
    ) {
        let set = DigestSet::from(digests.clone());
        prop_assert!(is_model(&set, &model(&digests)));
        prop_assert!(digests.iter().all(|digest| set.contains(digest)));
    }

    #[test]
    fn operations_on_sets_are_those_of_plain_sets(a in few_digests(), b in few_digests(), c in few_digests()) {
        let [set_a, set_b, set_c] = [&a, &b, &c].map(|digests| DigestSet::from(digests.clone()));
        let [a, b, c] = [&a, &b, &c].map(|digests| model(digests));
        prop_assert!(is_model(&DigestSet::union([&set_a, &set_b]), &(&a | &b)));
        prop_assert!(is_model(&DigestSet::union([&set_a, &set_b, &set_c]), &(&(&a | &b) | &c)));
        prop_assert!(is_model(&set_a.difference(&set_b), &(&a - &b)));
        prop_assert!(is_model(&set_a.intersection(&set_b), &(&a & &b)));
        let (only_a, both, only_b) = set_a.split(&set_b);
        prop_assert!(is_model(&only_a, &(&a - &b)));
        prop_assert!(is_model(&both, &(&a & &b)));
        prop_assert!(is_model(&only_b, &(&b - &a)));
        for digest in &set_c {
            prop_assert_eq!(set_a.contains(digest), a.contains(digest));
        }
    }

    #[test]
    fn parts_of_a_set_are_the_set(digests in few_digests()) {
        let set = DigestSet::from(digests);
        let parts = set.partition_by(Digest::size_bytes);
        let mut expected: BTreeMap<u64, Vec<Digest>> = BTreeMap::new();
        for digest in &set {
            expected.entry(digest.size_bytes()).or_default().push(digest.clone());
        }
        prop_assert_eq!(parts.len(), expected.len());
        for (size_bytes, part) in &parts {
            prop_assert_eq!(part.as_slice(), &*expected[size_bytes]);
        }
        prop_assert_eq!(DigestSet::union(parts.into_iter().map(|(_, part)| part)), set);
    }
}
