//! Whether JSON is read as Go's `protojson` reads it: by a table of documents with verdicts that came from Go, and by
//! asking Go itself about generated configurations.

mod generator;
mod go;

use blobaccess_testkit::{Numbers, seed};
use prost::Message as _;
use prost_reflect::{DescriptorPool, MessageDescriptor};

pub(crate) use self::generator::Generator;
use self::go::{Verdict, ask_go, digits_of, parse_verdict};
use super::{DESCRIPTORS, from_bytes, from_json, to_bytes};
use crate::json;

/// The number of configurations that are generated.
const CONFIGURATIONS: usize = 10_000;

/// Returns a message that has fields of all types.
fn everything() -> MessageDescriptor {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/protojson");
    let files = protox::compile(["everything.proto"], [folder]).unwrap();
    let pool = DescriptorPool::decode(files.encode_to_vec().as_slice()).unwrap();
    pool.get_message_by_name("protojson.Everything").unwrap()
}

/// Returns the verdict of this crate.
fn judge(document: &str, descriptor: &MessageDescriptor) -> Verdict {
    let json = match json::parse(document, "") {
        Ok(json) => json,
        Err(faults) => return Verdict::Refused(faults.to_string()),
    };
    let (message, faults) = from_json(&json, descriptor);
    match faults.first() {
        None => Verdict::Accepted(to_bytes(&message)),
        Some((_, fault)) => Verdict::Refused(fault.to_string()),
    }
}

/// Returns the verdict with the fields of the message in the order that this crate writes them in.
fn reorder(verdict: Verdict, descriptor: &MessageDescriptor) -> Verdict {
    let Verdict::Accepted(bytes) = verdict else { return verdict };
    let (message, faults) = from_bytes(&bytes, descriptor);
    assert_eq!(faults, []);
    Verdict::Accepted(to_bytes(&message))
}

/// Returns how this crate's verdict differs from another, if it does.
fn find_difference(document: &str, descriptor: &MessageDescriptor, expected: Verdict) -> Option<String> {
    let (expected, ours) = (reorder(expected, descriptor), judge(document, descriptor));
    let agree = match (&expected, &ours) {
        (Verdict::Accepted(expected), Verdict::Accepted(ours)) => expected == ours,
        (Verdict::Refused(_), Verdict::Refused(_)) => true,
        (Verdict::Accepted(_), Verdict::Refused(_)) | (Verdict::Refused(_), Verdict::Accepted(_)) => false,
    };
    (!agree).then(|| format!("{document}\n  expected {expected:?}\n  found    {ours:?}"))
}

/// Returns the documents of the table, each with the verdict of Go.
fn table() -> Vec<(&'static str, Verdict)> {
    let lines = include_str!("../../../tests/protojson/documents.txt").lines().filter(|line| !line.starts_with('#'));
    let split = lines.map(|line| line.split_once('\t').unwrap());
    split.map(|(verdict, document)| (document, parse_verdict(verdict))).collect()
}

#[test]
fn the_documents_of_the_table_are_read_as_go_reads_them() {
    let descriptor = everything();
    let table = table();
    assert!(table.len() > 290);
    let differences: Vec<_> =
        table.into_iter().filter_map(|(document, verdict)| find_difference(document, &descriptor, verdict)).collect();
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn bytes_that_were_changed_are_refused_or_are_those_of_another_message() {
    let descriptor = super::descriptor("buildbarn.configuration.bb_storage.ApplicationConfiguration").unwrap();
    let mut generator = Generator::of_seed("BLOBACCESS_WIRE_SEED");
    let mut numbers = Numbers::new(seed("BLOBACCESS_WIRE_CHANGES_SEED"));
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..1000 {
        let Verdict::Accepted(mut bytes) = judge(&generator.document(&descriptor), &descriptor) else { continue };
        for _ in 0..numbers.below(4) {
            let place = numbers.below(bytes.len() + 1);
            match numbers.below(3) {
                0 => bytes.insert(place, u8::try_from(numbers.below(256)).unwrap()),
                1 => bytes.truncate(place),
                _ => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << numbers.below(8)),
            }
        }
        let (message, faults) = from_bytes(&bytes, &descriptor);
        if faults.is_empty() {
            accepted += 1;
            let written = to_bytes(&message);
            let (again, faults) = from_bytes(&written, &descriptor);
            assert_eq!(faults, []);
            assert_eq!(to_bytes(&again), written);
        } else {
            refused += 1;
        }
    }
    assert!(accepted > 100 && refused > 50, "{accepted} accepted, {refused} refused");
}

#[test]
#[ignore = "needs Go"]
fn the_table_has_the_verdicts_of_go() {
    let descriptor = everything();
    let (documents, expected): (Vec<_>, Vec<_>) = table().into_iter().unzip();
    let files = descriptor.parent_pool().encode_to_vec();
    let verdicts = ask_go(&files, descriptor.full_name(), &documents);
    for ((document, expected), verdict) in documents.iter().zip(expected).zip(verdicts) {
        match (expected, verdict) {
            (Verdict::Accepted(expected), Verdict::Accepted(found)) => {
                assert_eq!(digits_of(&expected), digits_of(&found), "{document}");
            }
            (Verdict::Refused(_), Verdict::Refused(_)) => {}
            (expected, found) => panic!("{document}\n  expected {expected:?}\n  found    {found:?}"),
        }
    }
}

#[test]
#[ignore = "needs Go"]
fn generated_configurations_are_read_as_go_reads_them() {
    let descriptor = super::descriptor("buildbarn.configuration.bb_storage.ApplicationConfiguration").unwrap();
    let mut generator = Generator::of_seed("BLOBACCESS_PROTOJSON_SEED");
    let (mut accepted, mut refused) = (0, 0);
    while accepted + refused < CONFIGURATIONS {
        let documents: Vec<String> = (0..1000).map(|_| generator.document(&descriptor)).collect();
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        let verdicts = ask_go(&DESCRIPTORS.encode_to_vec(), descriptor.full_name(), &documents);
        assert_eq!(verdicts.len(), documents.len());
        for (document, verdict) in documents.iter().zip(verdicts) {
            let count = if matches!(verdict, Verdict::Accepted(_)) { &mut accepted } else { &mut refused };
            *count += 1;
            if let Some(difference) = find_difference(document, &descriptor, verdict) {
                panic!("{difference}");
            }
        }
    }
    println!("Go accepted {accepted} configurations, and refused {refused}");
    assert!(accepted > CONFIGURATIONS / 4 && refused > CONFIGURATIONS / 4);
}
