use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::ErrorKind;

/// The SHA-256 of `Hello`.
const HELLO: &str = "185f8db32271fe25f561a6fc938b2e264306ec304eda518007d1764826381969";

fn name(name: &str) -> InstanceName {
    InstanceName::new(name).unwrap()
}

fn sha256(instance_name: &str, size_bytes: i64) -> Digest {
    Digest::parse(name(instance_name), DigestFunction::Sha256, HELLO, size_bytes).unwrap()
}

/// Draws any valid digest.
pub(super) fn any_digest() -> impl Strategy<Value = Digest> {
    let functions = prop::sample::select(&DigestFunction::ALL);
    let hashes = prop::array::uniform32(any::<u8>());
    let sizes = prop_oneof![0..4_u64, 0..=i64::MAX.unsigned_abs()];
    let names = prop_oneof![Just(String::new()), "[a-c-]{1,2}(/[a-c-]{1,2}){0,2}"];
    (functions, hashes, sizes, names).prop_map(|(function, hash, size_bytes, instance_name)| {
        let hash: Vec<u8> = hash.into_iter().cycle().take(function.hash_size_bytes()).collect();
        Digest::from_hash(name(&instance_name), function, &hash, size_bytes).unwrap()
    })
}

fn refused(function: DigestFunction, hash: &str, size_bytes: i64) -> String {
    let error = Digest::parse(InstanceName::empty(), function, hash, size_bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    error.to_string()
}

#[test]
fn a_digest_tells_what_it_was_made_of() {
    let hash = hex_of(DigestFunction::Sha256Tree);
    for function in [DigestFunction::Sha256, DigestFunction::Sha256Tree] {
        let digest = Digest::parse(name("hello/world"), function, &hash, 123).unwrap();
        assert_eq!(digest.instance_name().as_str(), "hello/world");
        assert_eq!(digest.function(), function);
        assert_eq!(digest.hash().to_string(), hash);
        assert_eq!(digest.hash_bytes(), &*(0..32).collect::<Vec<u8>>());
        assert_eq!(digest.size_bytes(), 123);
        assert!(!digest.is_empty_blob());
        assert_eq!(Digest::from_hash(name("hello/world"), function, digest.hash_bytes(), 123).unwrap(), digest);
    }
}

/// Returns 00010203 and so on, as long as the function's hashes.
fn hex_of(function: DigestFunction) -> String {
    let bytes: Vec<_> = (0..64).take(function.hash_size_bytes()).collect();
    Hash::from_bytes(&bytes).unwrap().to_string()
}

#[test]
fn a_hash_of_the_wrong_length_is_refused_first() {
    assert_eq!(refused(DigestFunction::Md5, "X", -1), "hash has length 1, while 32 characters were expected");
    assert_eq!(refused(DigestFunction::Sha1, HELLO, 0), "hash has length 64, while 40 characters were expected");
    assert_eq!(refused(DigestFunction::Sha512, "", 0), "hash has length 0, while 128 characters were expected");
}

#[test]
fn a_hash_that_is_not_lower_case_hexadecimal_is_refused_next() {
    for (character, shown) in
        [('D', "U+0044 'D'"), ('g', "U+0067 'g'"), ('\n', "U+000A '\\n'"), ('é', "U+00E9 'é'"), ('😀', "U+1F600 '😀'")]
    {
        let hash = format!("00{character}{}", "f".repeat(30 - character.len_utf8()));
        let expected = format!("non-hexadecimal character in digest hash: {shown}");
        assert_eq!(refused(DigestFunction::Md5, &hash, -1), expected);
    }
}

#[test]
fn a_size_is_0_to_the_largest_of_64_bits_with_a_sign() {
    assert_eq!(refused(DigestFunction::Sha256, HELLO, -1), "invalid digest size: -1 bytes");
    assert!(sha256("", 0).is_empty_blob());
    assert_eq!(sha256("", i64::MAX).size_bytes(), 9_223_372_036_854_775_807);
    let hash = [0; 32];
    let error = Digest::from_hash(name(""), DigestFunction::Sha256, &hash, 1 << 63).unwrap_err();
    assert_eq!(error.to_string(), "invalid digest size: 9223372036854775808 bytes");
}

#[test]
fn bytes_of_the_wrong_length_are_refused() {
    for length in [0, 31, 33, 64, 65] {
        let error = Digest::from_hash(name(""), DigestFunction::Sha256, &vec![0; length], 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(error.to_string(), format!("hash has {length} bytes, while 32 bytes were expected"));
    }
}

#[test]
fn keys_have_the_function_the_hash_the_size_and_if_wanted_the_instance_name() {
    for (function, number) in [
        (DigestFunction::Blake3, 9),
        (DigestFunction::GitSha1, 10),
        (DigestFunction::Sha256, 1),
        (DigestFunction::Sha256Tree, 8),
    ] {
        let hash = hex_of(function);
        let digest = Digest::parse(name("hello"), function, &hash, 123).unwrap();
        assert_eq!(digest.key(KeyFormat::WithInstanceName), format!("{number}-{hash}-123-hello"));
        assert_eq!(digest.key(KeyFormat::WithoutInstanceName), format!("{number}-{hash}-123"));
    }
    for (instance_name, size_bytes) in [("hello", 0), ("hello", i64::MAX), ("", 5), ("a-b/c-d", 5)] {
        let digest = sha256(instance_name, size_bytes);
        assert_eq!(digest.key(KeyFormat::WithInstanceName), format!("1-{HELLO}-{size_bytes}-{instance_name}"));
        assert_eq!(digest.key(KeyFormat::WithoutInstanceName), format!("1-{HELLO}-{size_bytes}"));
    }
}

#[test]
fn a_digest_prints_as_its_key_in_full() {
    assert_eq!(sha256("hello", 5).to_string(), format!("1-{HELLO}-5-hello"));
    assert_eq!(sha256("", 5).to_string(), format!("1-{HELLO}-5-"));
    assert_eq!(format!("{:?}", sha256("", 5)), format!("Digest(1-{HELLO}-5-)"));
}

#[test]
fn a_digest_is_that_of_its_contents_alone() {
    for function in DigestFunction::ALL {
        let digest = Digest::of(name("hello"), function, b"Hello");
        assert_eq!(digest.size_bytes(), 5);
        assert!(digest.verify(b"Hello"));
        assert!(!digest.verify(b"hello"));
        assert!(!digest.verify(b"Hello "));
        assert!(!digest.verify(b""));
    }
    assert_eq!(Digest::of(name("x"), DigestFunction::Sha256, b"Hello"), sha256("x", 5));
    // The hash alone does not suffice.
    assert!(!sha256("", 6).verify(b"Hello"));
}

#[test]
fn parents_are_in_the_empty_instance_name_first_and_in_their_own_last() {
    for (instance_name, parents) in
        [("", vec![""]), ("a", vec!["", "a"]), ("a/b", vec!["", "a", "a/b"]), ("a/b/c", vec!["", "a", "a/b", "a/b/c"])]
    {
        let expected: Vec<_> = parents.into_iter().map(|parent| sha256(parent, 5)).collect();
        assert!(sha256(instance_name, 5).parents().eq(expected.iter().cloned()));
        assert!(sha256(instance_name, 5).parents().rev().eq(expected.into_iter().rev()));
    }
}

#[test]
fn digests_are_ordered_by_function_hash_size_and_instance_name() {
    let digest = |function, byte, size_bytes, instance_name| {
        let hash = vec![byte; DigestFunction::hash_size_bytes(function)];
        Digest::from_hash(name(instance_name), function, &hash, size_bytes).unwrap()
    };
    let sorted = [
        digest(DigestFunction::Blake3, 9, 9, "z"),
        digest(DigestFunction::GitSha1, 9, 9, "z"),
        digest(DigestFunction::Sha256, 1, 9, "z"),
        digest(DigestFunction::Sha256, 2, 8, "z"),
        digest(DigestFunction::Sha256, 2, 9, ""),
        digest(DigestFunction::Sha256, 2, 9, "a"),
        digest(DigestFunction::Sha512, 0, 0, ""),
    ];
    assert!(sorted.is_sorted_by(|a, b| a < b));
}

#[test]
fn a_digest_is_not_larger_than_it_is_said_to_be() {
    assert_eq!(size_of::<Digest>(), 96);
    assert_eq!(size_of::<Result<Digest>>(), 96);
}

proptest! {
    #[test]
    fn what_is_printed_is_parsed(digest in any_digest()) {
        let size_bytes = i64::try_from(digest.size_bytes()).unwrap();
        let hash = digest.hash().to_string();
        let parsed = Digest::parse(digest.instance_name().clone(), digest.function(), &hash, size_bytes).unwrap();
        prop_assert_eq!(parsed, digest);
    }

    #[test]
    fn no_hash_panics(function in prop::sample::select(&DigestFunction::ALL), hash in "[0-9a-gD]{32,40}|\\PC{0,64}", size_bytes: i64) {
        let _ignored = Digest::parse(InstanceName::empty(), function, &hash, size_bytes);
    }

    #[test]
    fn keys_are_equal_exactly_if_digests_are(a in any_digest(), b in any_digest()) {
        // Two arbitrary digests hardly ever differ in the instance name only.
        for b in [&b, &a.with_instance_name(b.instance_name().clone())] {
            for format in [KeyFormat::WithInstanceName, KeyFormat::WithoutInstanceName] {
                let (key_a, key_b) = (a.cache_key(format), b.cache_key(format));
                let equal = a.key(format) == b.key(format);
                prop_assert_eq!(key_a == key_b, equal);
                prop_assert_eq!(key_a.cmp(&key_b).is_eq(), equal);
                prop_assert_eq!(HashSet::from([key_a, key_b]).len() == 1, equal);
            }
            prop_assert_eq!(a == *b, a.to_string() == b.to_string());
            prop_assert_eq!(HashSet::from([&a, b]).len() == 1, a == *b);
        }
    }

    #[test]
    fn the_sort_prefix_agrees_with_the_order(a in any_digest(), b in any_digest()) {
        if a.sort_prefix() != b.sort_prefix() {
            prop_assert_eq!(a.sort_prefix().cmp(&b.sort_prefix()), a.cmp(&b));
        }
    }
}
