//! Every byte of an archive, as the format of ZIP and Buildbarn's use of it have them.

use blobaccess::{Ac, Cas, ErrorKind, InstanceName, InstanceNamePatcher, PutOutcome};
use blobaccess_zip_store::{ZipOptions, ZipReadingStore, ZipWritingStore};

use super::{Place, action, ctx, digest, failure, get, put, refusal};
use blobaccess::{Blob, BlobAccess, BlobAccessExt};

const HELLO: &str = "1-185f8db32271fe25f561a6fc938b2e264306ec304eda518007d1764826381969-5";

/// Returns bytes from hexadecimal digits, with spaces between them, and texts after a quote.
fn bytes(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        match part.strip_prefix('\'') {
            Some(text) => bytes.extend(text.as_bytes()),
            None => {
                bytes.extend(part.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
            }
        }
    }
    bytes
}

/// Returns the archive of the blob `Hello` before its directory.
fn local_part() -> Vec<u8> {
    bytes(&[
        // signature, version 4.5, flag 11, not compressed, no time, no date
        "50 4b 03 04  2d 00  00 08  00 00  00 00  00 00",
        // checksum, and sizes in the ZIP64 field
        "82 89 d1 f7  ff ff ff ff  ff ff ff ff",
        // length of the name and of the field
        "44 00  14 00",
        &format!("'{HELLO}"),
        // the field: tag, length, size, size as stored
        "01 00  10 00  05 00 00 00 00 00 00 00  05 00 00 00 00 00 00 00",
        "'Hello",
    ])
}

#[tokio::test]
async fn the_first_blob_begins_at_0_and_the_next_is_adjacent() {
    let place = Place::new();
    let store = place.create::<Cas>().await;
    assert_eq!(put(&store, &digest("Hello"), "Hello").await, PutOutcome::Created { stored_bytes: 5 });
    assert_eq!(place.bytes(), local_part());
    put(&store, &digest("Goodbye"), "Goodbye").await;
    let all = place.bytes();
    assert_eq!(all[..local_part().len()], local_part());
    let next = &all[local_part().len()..];
    assert_eq!(next[..4], *b"PK\x03\x04");
    assert_eq!(next.len(), 30 + 68 + 20 + 7);
    assert!(next.ends_with(b"Goodbye"));
}

#[tokio::test]
async fn the_directory_is_that_of_buildbarn() {
    let place = Place::new();
    let store = place.create::<Cas>().await;
    put(&store, &digest("Hello"), "Hello").await;
    store.finish().await.unwrap();
    let expected = bytes(&[
        // signature, made by and needed: version 4.5; flag 11, not compressed, no time, no date
        "50 4b 01 02  2d 00  2d 00  00 08  00 00  00 00  00 00",
        "82 89 d1 f7  ff ff ff ff  ff ff ff ff",
        // lengths of the name, the field and the comment; disk, attributes, offset in the field
        "44 00  1c 00  00 00  00 00  00 00  00 00 00 00  ff ff ff ff",
        &format!("'{HELLO}"),
        "01 00  18 00  05 00 00 00 00 00 00 00  05 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00",
        // the ZIP64 end record: its length, versions, disks, entries twice, size and offset of the directory
        "50 4b 06 06  2c 00 00 00 00 00 00 00  2d 00  2d 00  00 00 00 00  00 00 00 00",
        "01 00 00 00 00 00 00 00  01 00 00 00 00 00 00 00  8e 00 00 00 00 00 00 00  7b 00 00 00 00 00 00 00",
        // the locator: disk, offset of the record, number of disks
        "50 4b 06 07  00 00 00 00  09 01 00 00 00 00 00 00  01 00 00 00",
        // the end record: disks, everything else as large as can be, no comment
        "50 4b 05 06  00 00  00 00  ff ff  ff ff  ff ff ff ff  ff ff ff ff  00 00",
    ]);
    assert_eq!(place.bytes(), [local_part(), expected].concat());
    let store = place.open::<Cas>().await;
    assert_eq!(get(&store, &digest("Hello")).await, b"Hello");
}

#[tokio::test]
async fn an_archive_of_nothing_has_only_its_end() {
    let place = Place::new();
    place.create::<Cas>().await.finish().await.unwrap();
    assert_eq!(place.bytes().len(), 56 + 20 + 22);
    let store = place.open::<Cas>().await;
    assert_eq!(store.snapshot().entries, 0);
    assert_eq!(failure(&store, &digest("Hello")).await.0, ErrorKind::NotFound);
}

#[tokio::test]
async fn messages_are_named_with_their_instance_name() {
    let place = Place::new();
    let store = place.create::<Ac>().await;
    put(&store, &action(1), "a message").await;
    store.finish().await.unwrap();
    let name = action(1).to_string();
    assert!(name.ends_with("-4-name"));
    let bytes = place.bytes();
    assert_eq!(bytes[30..30 + name.len()], *name.as_bytes());
    assert_eq!(get(&place.open::<Ac>().await, &action(1)).await, b"a message");
}

#[tokio::test]
async fn absence_names_the_entry() {
    let place = Place::new();
    let store = place.create::<Cas>().await;
    put(&store, &digest("Goodbye"), "Goodbye").await;
    let expected = (ErrorKind::NotFound, format!("entry {HELLO:?} is not in the archive"));
    assert_eq!(failure(&store, &digest("Hello")).await, expected);
    store.finish().await.unwrap();
    let asked = [digest("Hello"), digest("Goodbye")].into_iter().collect();
    let store = place.open::<Cas>().await;
    assert_eq!(failure(&store, &digest("Hello")).await, expected);
    assert_eq!(store.find_missing(&ctx(), &asked).await.unwrap(), digest("Hello").into());
}

#[tokio::test]
async fn an_archive_that_is_read_refuses_puts_unread() {
    let place = Place::new();
    place.create::<Cas>().await.finish().await.unwrap();
    let store = place.open::<Cas>().await;
    let (stream, polls) = blobaccess_testkit::fakes::watched_stream();
    let blob = Blob::from_untrusted_stream(&digest("Hello"), stream, blobaccess::Provenance::client());
    let error = store.put(&ctx(), &digest("Hello"), blob).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(polls.count(), 0);
}

#[tokio::test]
async fn a_finished_archive_refuses_puts_and_serves_on() {
    let place = Place::new();
    let store = place.create::<Cas>().await;
    put(&store, &digest("Hello"), "Hello").await;
    store.finish().await.unwrap();
    for _ in 0..2 {
        for contents in ["Goodbye", "Hello"] {
            let error = store.put_bytes(&ctx(), &digest(contents), contents).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(!error.is_retryable());
        }
        assert_eq!(get(&store, &digest("Hello")).await, b"Hello");
        let before = place.bytes();
        store.finish().await.unwrap();
        assert_eq!(place.bytes(), before);
    }
    assert!(store.snapshot().is_finished);
}

#[tokio::test]
async fn a_file_that_exists_is_not_overwritten() {
    let place = Place::with("precious");
    let error = ZipWritingStore::<Cas>::create(&place.path, ZipOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert_eq!(place.bytes(), b"precious");
}

#[tokio::test]
async fn what_is_no_archive_is_refused() {
    let place = Place::with("precious");
    assert_eq!(refusal::<Cas>(&place.path, ZipOptions::new()).await.0, ErrorKind::DataLoss);
    let missing = place.path.with_extension("missing");
    assert_eq!(refusal::<Cas>(&missing, ZipOptions::new()).await.0, ErrorKind::Unavailable);
    let folder = place.path.parent().unwrap();
    assert_ne!(refusal::<Cas>(folder, ZipOptions::new()).await.0, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_name_that_the_format_has_no_room_for_is_refused() {
    let place = Place::new();
    let store = place.create::<Ac>().await;
    // Only prefixes that are put before names make them longer than the longest that is parsed.
    let name = |prefixes: usize| {
        let part = InstanceName::new(&"x".repeat(InstanceName::MAX_BYTES)).unwrap();
        let patcher = InstanceNamePatcher::new(InstanceName::empty(), part);
        (0..prefixes).fold(InstanceName::empty(), |name, _| patcher.patch(&name).unwrap())
    };
    let error = store.put_bytes(&ctx(), &action(1).with_instance_name(name(64)), "message").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let digest = action(1).with_instance_name(name(63));
    put(&store, &digest, "message").await;
    store.finish().await.unwrap();
    assert_eq!(get(&place.open::<Ac>().await, &digest).await, b"message");
}

#[tokio::test]
async fn stores_print_as_what_they_are() {
    let place = Place::new();
    let store = place.create::<Cas>().await;
    assert_eq!(store.to_string(), format!("zip_writing({})", place.path.display()));
    store.finish().await.unwrap();
    let store: ZipReadingStore<Cas> = place.open().await;
    assert_eq!(store.to_string(), format!("zip_reading({})", place.path.display()));
    assert!(!store.capabilities(&ctx(), &InstanceName::empty()).await.unwrap().updates_allowed);
}
