//! Exchange of messages between the two implementations.

use std::collections::{BTreeMap, BTreeSet};

use bazel_remote_apis::build::bazel::remote::execution::v2 as their_execution;
use blobaccess_proto::remote_execution;
use blobaccess_testkit::Numbers;
use proptest::prelude::*;
use prost::Message;
use prost_reflect::DynamicMessage;

use crate::filler::Filler;
use crate::pairs::{Pair, pairs};
use crate::{DESCRIPTORS, OUTCOME, described};

/// Asserts that each side understands the other side's encoding of `message`.
fn assert_exchanged(pair: &Pair, message: &DynamicMessage) {
    let bytes = message.encode_to_vec();
    let ours = (pair.ours)(&bytes).expect("decoded by ours");
    assert_eq!(ours, bytes, "{}: ours, of {message:?}", pair.name);
    let theirs = (pair.theirs)(&ours).expect("ours decoded by theirs");
    assert_eq!(theirs, bytes, "{}: theirs, of {message:?}", pair.name);
    assert_eq!((pair.ours)(&theirs).expect("theirs decoded by ours"), bytes, "{}: ours again", pair.name);
}

#[test]
fn every_message_of_the_published_packages_is_compared() {
    let compared: BTreeSet<_> = pairs().into_iter().map(|pair| pair.name).collect();
    let defined: BTreeSet<_> = DESCRIPTORS
        .all_messages()
        .map(|message| message.full_name().to_owned())
        .filter(|name| !["google.protobuf.", "buildbarn.", "blobaccess."].iter().any(|other| name.starts_with(other)))
        .collect();
    assert_eq!(compared, defined);
}

#[test]
fn a_message_with_all_its_fields_is_exchanged_unchanged() {
    for pair in pairs() {
        let descriptor = described(&pair.name);
        let message = Filler { numbers: Numbers::new(1), full: true }.message(&descriptor);
        let defined = descriptor.fields().filter(|field| field.number() != OUTCOME).count();
        assert_eq!(message.fields().count(), defined, "{} is full", pair.name);
        assert_exchanged(&pair, &message);
    }
}

proptest! {
    #[test]
    fn a_message_with_some_of_its_fields_is_exchanged_unchanged(state: u64) {
        for pair in pairs() {
            assert_exchanged(&pair, &Filler { numbers: Numbers::new(state), full: false }.message(&described(&pair.name)));
        }
    }
}

/// Tries each field number with contents of each wire type, and compares what remains. This finds fields that only one
/// side has, and differences of type that hide behind equal bytes.
#[test]
fn both_know_the_same_fields_with_the_same_types() {
    let varints: [&[u8]; 4] =
        [&[1], &[2], &[0x80, 0x80, 0x80, 0x80, 0x10], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]];
    let strings: [&[u8]; 6] = [b"", b"a", b"\xff", b"\x08\x02", b"\x0a\x01a", b"\x12\x02\x08\x07"];
    let mut contents = Vec::new();
    contents.extend(varints.map(|varint| (0, varint.to_vec())));
    contents.extend([(1, vec![3; 8]), (5, vec![3; 4])]);
    contents.extend(strings.map(|string| {
        let length = u8::try_from(string.len()).expect("short");
        (2, [&[length], string].concat())
    }));

    let mut known: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for pair in pairs() {
        for number in 1..=200 {
            for (wire_type, content) in &contents {
                let mut field = Vec::new();
                prost::encoding::encode_varint(u64::from((number << 3) | wire_type), &mut field);
                field.extend(content);
                // A repeated field distinguishes a list from a single value.
                for bytes in [field.clone(), field.repeat(2)] {
                    let ours = (pair.ours)(&bytes).ok();
                    assert_eq!(ours, (pair.theirs)(&bytes).ok(), "{} field {number} as {bytes:x?}", pair.name);
                    // Unknown fields are skipped: a field that is refused or remains is known.
                    if ours.is_none_or(|ours| !ours.is_empty()) {
                        known.entry(pair.name.clone()).or_default().insert(number);
                    }
                }
            }
        }
    }

    // Makes sure that the attempts reached every field.
    for pair in pairs() {
        let descriptor = described(&pair.name);
        let numbers = descriptor.fields().map(|field| field.number());
        let defined: BTreeSet<_> = numbers.filter(|number| *number != OUTCOME).collect();
        assert_eq!(known.remove(&pair.name).unwrap_or_default(), defined, "{}", pair.name);
    }
}

#[test]
fn both_know_the_same_enum_values() {
    macro_rules! assert_equal_names {
        ($($($part:ident)::+),* $(,)?) => {$(
            for number in -1..100 {
                let ours = remote_execution::$($part)::+::try_from(number).ok().map(|value| value.as_str_name());
                let theirs = their_execution::$($part)::+::try_from(number).ok().map(|value| value.as_str_name());
                assert_eq!(ours, theirs, "{} {number}", stringify!($($part)::+));
            }
        )*};
    }
    assert_equal_names! {
        chunking_function::Value,
        command::OutputDirectoryFormat,
        compressor::Value,
        digest_function::Value,
        symlink_absolute_path_strategy::Value,
    }
    let defined = DESCRIPTORS.all_enums().filter(|values| values.full_name().starts_with("build.")).count();
    assert_eq!(defined, 5, "all were compared");
}
