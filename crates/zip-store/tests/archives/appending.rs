//! Archives that are opened again for more entries.

use blobaccess::{Ac, Cas, ErrorKind, KeyFormat, PutOutcome};
use blobaccess_zip_store::{ZipOptions, ZipWritingStore};

use super::builder::{Builder, Part, deflated_plainly};
use super::{Place, action, digest, failure, get, put};

#[tokio::test]
async fn entries_are_added_behind_those_that_are_there() {
    let place = Place::new();
    let store = place.create::<Cas>().await;
    put(&store, &digest("Hello"), "Hello").await;
    store.finish().await.unwrap();
    let before = place.bytes();
    for (number, contents) in ["one", "two", "three"].iter().enumerate() {
        let store = place.append::<Cas>().await;
        assert_eq!(put(&store, &digest("Hello"), "Hello").await, PutOutcome::AlreadyExists { stored_bytes: 5 });
        put(&store, &digest(contents), contents).await;
        assert_eq!(get(&store, &digest("Hello")).await, b"Hello");
        assert_eq!(store.snapshot().entries, number + 2);
        store.finish().await.unwrap();
        assert!(place.bytes().starts_with(&before));
    }
    let store = place.open::<Cas>().await;
    for contents in ["Hello", "one", "two", "three"] {
        assert_eq!(get(&store, &digest(contents)).await, contents.as_bytes());
    }
}

#[tokio::test]
async fn to_finish_without_a_put_changes_nothing_but_the_place_of_the_directory() {
    let place = Place::new();
    let store = place.create::<Cas>().await;
    put(&store, &digest("Hello"), "Hello").await;
    store.finish().await.unwrap();
    place.append::<Cas>().await.finish().await.unwrap();
    let store = place.open::<Cas>().await;
    assert_eq!((get(&store, &digest("Hello")).await, store.snapshot().entries), (b"Hello".to_vec(), 1));
}

/// Returns how often `part` occurs.
fn count(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).filter(|window| *window == part).count()
}

#[tokio::test]
async fn messages_that_were_replaced_are_no_longer_listed() {
    let place = Place::new();
    let store = place.create::<Ac>().await;
    put(&store, &action(1), "first").await;
    assert_eq!(put(&store, &action(1), "first").await, PutOutcome::AlreadyExists { stored_bytes: 5 });
    assert_eq!(put(&store, &action(1), "second").await, PutOutcome::Replaced { stored_bytes: 6, old_bytes: 5 });
    put(&store, &action(2), "other").await;
    store.finish().await.unwrap();
    let store = place.append::<Ac>().await;
    assert_eq!(put(&store, &action(1), "second").await, PutOutcome::AlreadyExists { stored_bytes: 6 });
    assert_eq!(put(&store, &action(1), "third").await, PutOutcome::Replaced { stored_bytes: 5, old_bytes: 6 });
    let directory = usize::try_from(store.snapshot().archive_bytes).unwrap();
    store.finish().await.unwrap();
    let bytes = place.bytes();
    assert_eq!(count(&bytes[directory..], action(1).to_string().as_bytes()), 1);
    assert_eq!(count(&bytes[directory..], action(2).to_string().as_bytes()), 1);
    let store = place.open::<Ac>().await;
    assert_eq!((get(&store, &action(1)).await, get(&store, &action(2)).await), (b"third".to_vec(), b"other".to_vec()));
}

#[tokio::test]
async fn entries_of_other_tools_stay_as_they_are() {
    let hello = digest("Hello").key(KeyFormat::WithoutInstanceName);
    let mut builder = Builder::default();
    builder.add(&Part::deflated(&hello, b"Hello", deflated_plainly(b"Hello")));
    builder.add(&Part { central_extra: vec![0x55, 0x54, 1, 0, 9], ..Part::stored("docs/read me.txt", b"text") });
    builder.add(&Part { flags: 9, method: 93, ..Part::stored("no utf 8: ?", b"whatever") });
    let name = builder.directory.windows(11).position(|window| window == b"no utf 8: ?").unwrap();
    builder.directory[name + 10] = 0xff;
    let place = Place::with(builder.finish());
    let store = place.append::<Cas>().await;
    put(&store, &digest("more"), "more").await;
    let directory = usize::try_from(store.snapshot().archive_bytes).unwrap();
    store.finish().await.unwrap();
    assert!(place.bytes()[directory..].starts_with(&builder.directory));
    let store = place.open::<Cas>().await;
    assert_eq!(get(&store, &digest("Hello")).await, b"Hello");
    assert_eq!(get(&store, &digest("more")).await, b"more");
}

#[tokio::test]
async fn one_writer_has_an_archive_at_a_time() {
    let place = Place::new();
    let first = place.create::<Cas>().await;
    put(&first, &digest("Hello"), "Hello").await;
    let error = ZipWritingStore::<Cas>::append(&place.path, ZipOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    first.finish().await.unwrap();
    // It has let go of the file, and does not touch it any more.
    let second = place.append::<Cas>().await;
    put(&second, &digest("more"), "more").await;
    second.finish().await.unwrap();
    let whole = place.bytes();
    first.finish().await.unwrap();
    assert_eq!(place.bytes(), whole);
    assert_eq!(get(&first, &digest("Hello")).await, b"Hello");
}

#[tokio::test]
async fn a_reader_is_not_disturbed_by_a_writer() {
    let place = Place::new();
    let store = place.create::<Cas>().await;
    put(&store, &digest("Hello"), "Hello").await;
    store.finish().await.unwrap();
    let reader = place.open::<Cas>().await;
    let store = place.append::<Cas>().await;
    put(&store, &digest("more"), "more").await;
    assert_eq!(get(&reader, &digest("Hello")).await, b"Hello");
    store.finish().await.unwrap();
    assert_eq!(get(&reader, &digest("Hello")).await, b"Hello");
    assert_eq!(failure(&reader, &digest("more")).await.0, ErrorKind::NotFound);
}

#[tokio::test]
async fn puts_are_refused_once_the_directory_is_full() {
    use blobaccess::BlobAccessExt;

    let place = Place::new();
    let options = ZipOptions::new().with_max_directory_memory_bytes(500);
    let store = ZipWritingStore::<Ac>::create(&place.path, options).await.unwrap();
    put(&store, &action(1), "first").await;
    put(&store, &action(2), "second").await;
    let size = place.bytes().len();
    let error = store.put_bytes(&super::ctx(), &action(3), "third").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert_eq!(place.bytes().len(), size);
    put(&store, &action(1), "fourth").await;
    store.finish().await.unwrap();
    assert_eq!(get(&place.open::<Ac>().await, &action(1)).await, b"fourth");
}
