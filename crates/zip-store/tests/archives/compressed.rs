//! Archives of other tools: compressed, with descriptors, and with fields of their own.

use blobaccess::{Ac, BlobAccess, Cas, ErrorKind};
use futures::TryStreamExt;

use super::builder::{Builder, Part, deflated_plainly, deflated_zeros, zip64};
use super::{Place, action, ctx, digest, failure, get};
use blobaccess::KeyFormat::WithoutInstanceName;

#[tokio::test]
async fn deflated_entries_are_read() {
    let zeros = vec![0; 1_000_000];
    let text = b"a text that is not compressed very well";
    let (name, other) = (digest(&zeros).key(WithoutInstanceName), digest(text).key(WithoutInstanceName));
    let mut builder = Builder::default();
    builder.add(&Part::deflated(&name, &zeros, deflated_zeros(zeros.len())));
    // Sizes are behind the contents, as where they were not known before.
    builder.add(&Part { flags: 8, ..Part::deflated(&other, text, deflated_plainly(text)) });
    let place = Place::with(builder.finish());
    let store = place.open::<Cas>().await;
    assert_eq!(get(&store, &digest(&zeros)).await, zeros);
    assert_eq!(get(&store, &digest(text)).await, text);
    let blob = store.get(&ctx(), &digest(text)).await.unwrap();
    let range: Vec<_> = blob.into_stream(2..6).unwrap().try_collect().await.unwrap();
    assert_eq!(range.concat(), b"text");
}

#[tokio::test]
async fn deflated_messages_are_read() {
    let mut builder = Builder::default();
    let name = action(1).to_string();
    builder.add(&Part::deflated(&name, b"a message", deflated_plainly(b"a message")));
    let store = Place::with(builder.finish()).open::<Ac>().await;
    assert_eq!(get(&store, &action(1)).await, b"a message");
}

#[tokio::test]
async fn fields_before_the_contents_may_be_of_any_length() {
    let name = digest("Hello").key(WithoutInstanceName);
    for extra in [0, 4, 16, 17, 200] {
        let mut local_extra = Vec::new();
        if extra >= 4 {
            super::builder::put16(&mut local_extra, &[0x5455, u16::try_from(extra - 4).unwrap()]);
            local_extra.resize(extra, 7);
        }
        let mut builder = Builder::default();
        builder.add(&Part { local_extra, ..Part::stored(&name, b"Hello") });
        let store = Place::with(builder.finish()).open::<Cas>().await;
        assert_eq!(get(&store, &digest("Hello")).await, b"Hello", "{extra} bytes of fields");
    }
}

#[tokio::test]
async fn zip64_fields_have_only_what_does_not_fit() {
    let name = digest("Hello").key(WithoutInstanceName);
    let mut builder = Builder::default();
    builder.add(&Part::stored("something before", b"else"));
    let offset = u64::try_from(builder.bytes.len()).unwrap();
    builder.add(&Part {
        offset: Some(u32::MAX),
        central_extra: [&[0x55, 0x54, 1, 0, 0][..], &zip64(&[offset])].concat(),
        ..Part::stored(&name, b"Hello")
    });
    let store = Place::with(builder.finish()).open::<Cas>().await;
    assert_eq!(get(&store, &digest("Hello")).await, b"Hello");
    assert_eq!(store.snapshot().entries, 2);
}

#[tokio::test]
async fn of_several_entries_of_one_name_the_last_counts() {
    let (name, first) = (action(1).to_string(), action(2).to_string());
    let mut builder = Builder::default();
    for (name, value) in [(&name, "first"), (&first, "other"), (&name, "second")] {
        builder.add(&Part::stored(name, value.as_bytes()));
    }
    let store = Place::with(builder.finish()).open::<Ac>().await;
    assert_eq!(get(&store, &action(1)).await, b"second");
    assert_eq!(get(&store, &action(2)).await, b"other");
    assert_eq!(store.snapshot().entries, 2);
}

#[tokio::test]
async fn compression_that_is_not_known_is_said_so() {
    let name = digest("Hello").key(WithoutInstanceName);
    for (flags, method, text) in [(0, 93, "compressed by method 93"), (1, 0, "encrypted and compressed by method 0")] {
        let mut builder = Builder::default();
        builder.add(&Part { flags, method, ..Part::stored(&name, b"Hello") });
        let store = Place::with(builder.finish()).open::<Cas>().await;
        let (kind, error) = failure(&store, &digest("Hello")).await;
        assert_eq!(kind, ErrorKind::Unimplemented);
        assert!(error.contains(text), "{error}");
    }
}

#[tokio::test]
async fn a_comment_may_hold_the_end_of_another_archive() {
    let name = digest("Hello").key(WithoutInstanceName);
    let mut builder = Builder::default();
    builder.add(&Part::stored(&name, b"Hello"));
    let mut comment = Builder::default().finish();
    comment.extend(b" and more");
    let place = Place::with(builder.finish_with_comment(&comment));
    assert_eq!(get(&place.open::<Cas>().await, &digest("Hello")).await, b"Hello");
}
