//! Archives that were made to harm: each is refused with what is wrong with it.

use blobaccess::KeyFormat::WithoutInstanceName;
use blobaccess::{Ac, BlobAccess, Cas, Digest, DigestFunction, ErrorKind, InstanceName};
use blobaccess_zip_store::{ZipOptions, ZipReadingStore};
use futures::TryStreamExt;

use super::builder::{Builder, Part, deflated_plainly, deflated_zeros, zip64};
use super::{Place, action, ctx, digest, failure, refusal};

fn hello() -> String {
    digest("Hello").key(WithoutInstanceName)
}

/// Checks that an archive is refused when it is opened, with and without salvaging, and returns why.
async fn refused(bytes: Vec<u8>) -> (ErrorKind, String) {
    let place = Place::with(bytes);
    let refused = refusal::<Cas>(&place.path, ZipOptions::new()).await;
    // A directory that is there and broken is not made up for.
    assert_eq!(refusal::<Cas>(&place.path, ZipOptions::new().with_salvaging(true)).await, refused);
    refused
}

#[tokio::test]
async fn entries_outside_of_the_archive_are_refused() {
    let part = Part::stored("name", b"Hello");
    let parts = [
        Part { offset: Some(100), ..part.clone() },
        Part { offset: Some(u32::MAX - 1), ..part.clone() },
        Part { packed_bytes: 6, ..part.clone() },
        Part { packed_bytes: u32::MAX, central_extra: zip64(&[u64::MAX]), ..part.clone() },
        Part { offset: Some(u32::MAX), central_extra: zip64(&[u64::MAX - 10]), ..part.clone() },
    ];
    for part in parts {
        let (kind, error) = refused(Builder::default().add(&part).finish()).await;
        assert_eq!(kind, ErrorKind::DataLoss);
        assert!(error.contains("entry 0 does not end before the directory"), "{error}");
    }
}

#[tokio::test]
async fn entries_that_overlap_are_refused() {
    let mut builder = Builder::default();
    builder.add(&Part::stored(&hello(), b"Hello"));
    builder.add(&Part { offset: Some(0), ..Part::stored("same", b"Hello") });
    let (kind, error) = refused(builder.finish()).await;
    assert_eq!(kind, ErrorKind::DataLoss);
    assert!(error.contains("overlaps the one at 0"), "{error}");
}

#[tokio::test]
async fn fields_that_are_missing_are_noticed() {
    for central_extra in [vec![], zip64(&[]), zip64(&[5]), vec![1, 0, 255, 255, 0]] {
        let part =
            Part { size_bytes: u32::MAX, packed_bytes: u32::MAX, central_extra, ..Part::stored("name", b"Hello") };
        let (kind, error) = refused(Builder::default().add(&part).finish()).await;
        assert_eq!(kind, ErrorKind::DataLoss);
        assert!(error.contains("no ZIP64 field"), "{error}");
    }
}

#[tokio::test]
async fn absurd_directories_are_refused() {
    let mut builder = Builder::default();
    builder.add(&Part::stored(&hello(), b"Hello"));
    let (size, offset) = (u32::try_from(builder.directory.len()).unwrap(), u32::try_from(builder.bytes.len()).unwrap());
    let cases = [
        (builder.end_with(2, size, offset, b""), "entry 1 of the directory has no header"),
        (builder.end_with(3, size, offset, b""), "too few for 3 entries"),
        (builder.end_with(0xfffe, size, offset, b""), "too few for 65534 entries"),
        (builder.end_with(0, size, offset, b""), "is followed by"),
        (builder.end_with(1, size - 1, offset, b""), "do not end at"),
        (builder.end_with(1, size, offset + 1, b""), "do not end at"),
        (builder.end_with(1, 0, 0, b""), "do not end at"),
        (builder.end_with(1, size - 1, offset + 1, b""), "has no header"),
        (builder.end_with_zip64(u64::MAX, size.into(), offset.into()), "too few for 18446744073709551615 entries"),
        (builder.end_with_zip64(1, u64::MAX, offset.into()), "do not end at"),
        (builder.end_with_zip64(1, size.into(), u64::MAX), "do not end at"),
    ];
    for (bytes, expected) in cases {
        let (kind, error) = refused(bytes).await;
        assert_eq!(kind, ErrorKind::DataLoss, "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn archives_of_several_files_are_refused() {
    let mut bytes = Builder::default().finish();
    bytes[4] = 1;
    assert_eq!(refused(bytes).await.0, ErrorKind::Unimplemented);
}

#[tokio::test]
async fn a_directory_takes_no_more_memory_than_permitted() {
    let mut builder = Builder::default();
    for number in 0..1000 {
        builder.add(&Part::stored(&format!("entry {number}"), b""));
    }
    let place = Place::with(builder.finish());
    let options = ZipOptions::new().with_max_directory_memory_bytes(100_000);
    let (kind, error) = refusal::<Cas>(&place.path, options).await;
    assert_eq!(kind, ErrorKind::ResourceExhausted);
    assert!(error.contains("the maximum is 100000"), "{error}");
    let store = place.open::<Cas>().await;
    assert!(store.snapshot().directory_memory_bytes < 200_000);
}

#[tokio::test]
async fn bombs_end_at_their_announced_size() {
    let bomb = deflated_zeros(100 << 20);
    let mut builder = Builder::default();
    builder.add(&Part::deflated(&hello(), b"Hello", bomb.clone()));
    let store = Place::with(builder.finish()).open::<Cas>().await;
    let (kind, error) = failure(&store, &digest("Hello")).await;
    assert_eq!(kind, ErrorKind::DataLoss);
    assert!(error.contains("while 5 bytes were expected"), "{error}");
    assert_eq!(failure(&store, &digest("Hello")).await.0, ErrorKind::NotFound);

    let mut builder = Builder::default();
    let name = action(1).to_string();
    builder.add(&Part::deflated(&name, b"Hello", bomb));
    let store = Place::with(builder.finish()).open::<Ac>().await;
    let (kind, error) = failure(&store, &action(1)).await;
    assert_eq!(kind, ErrorKind::DataLoss);
    assert!(error.contains("at least 6 bytes, while 5"), "{error}");
}

#[tokio::test]
async fn an_announced_size_is_not_believed() {
    // A blob of a terabyte, of which there are five bytes.
    let huge = Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &[7; 32], 1 << 40).unwrap();
    let name = huge.key(WithoutInstanceName);
    let part = Part::deflated(&name, b"Hello", deflated_plainly(b"Hello"));
    let part = Part { size_bytes: u32::MAX, central_extra: zip64(&[1 << 40]), ..part };
    let store = Place::with(Builder::default().add(&part).finish()).open::<Cas>().await;
    let blob = store.get(&ctx(), &huge).await.unwrap();
    let error = blob.into_stream(..).unwrap().try_for_each(|_| async { Ok(()) }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss);

    let name = action(1).to_string();
    let part = Part { name: &name, local_name: &name, ..part };
    let store = Place::with(Builder::default().add(&part).finish()).open::<Ac>().await;
    let (kind, error) = failure(&store, &action(1)).await;
    assert_eq!(kind, ErrorKind::InvalidArgument);
    assert!(error.contains("message is 1099511627776 bytes; the maximum is 16777216"), "{error}");
}

#[tokio::test]
async fn headers_that_contradict_each_other_are_noticed() {
    let name = hello();
    let other = digest("Jello").key(WithoutInstanceName);
    let part = Part::stored(&name, b"Hello");
    let parts = [
        (Part { local_name: &other, ..part.clone() }, "has another name"),
        (Part { local_name: "short", local_extra: vec![0; 100], ..part.clone() }, "has another name"),
        (Part { size_bytes: 6, ..part.clone() }, "entry of 6 bytes is stored in 5 bytes"),
        (Part { size_bytes: 4, packed_bytes: 4, ..part.clone() }, "entry is 4 bytes, while 5 bytes were expected"),
        (Part { packed: b"Jello".to_vec(), ..part.clone() }, "has hash"),
        (Part { local_extra: vec![0; 300], packed: Vec::new(), ..part.clone() }, "has hash"),
    ];
    for (part, expected) in parts {
        let store = Place::with(Builder::default().add(&part).finish()).open::<Cas>().await;
        let (kind, error) = failure(&store, &digest("Hello")).await;
        assert_eq!(kind, ErrorKind::DataLoss, "{error}");
        assert!(error.contains(expected), "{expected}: {error}");
        let (kind, _) = failure(&store, &digest("Hello")).await;
        assert_eq!(kind, ErrorKind::NotFound, "{expected}");
        let missing = store.find_missing(&ctx(), &digest("Hello").into()).await.unwrap();
        assert_eq!(missing.len(), 1, "{expected}");
    }
}

#[tokio::test]
async fn messages_are_held_to_their_checksum() {
    let name = action(1).to_string();
    let part = Part { packed: b"Jello".to_vec(), ..Part::stored(&name, b"Hello") };
    let deflated =
        Part { packed: deflated_plainly(b"Jello"), ..Part::deflated(&name, b"Hello", deflated_plainly(b"Hello")) };
    for part in [part, deflated] {
        let store: ZipReadingStore<Ac> = Place::with(Builder::default().add(&part).finish()).open().await;
        let (kind, error) = failure(&store, &action(1)).await;
        assert_eq!(kind, ErrorKind::DataLoss);
        assert!(error.contains("was expected"), "{error}");
        assert_eq!(failure(&store, &action(1)).await.0, ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn compressed_contents_that_are_broken_are_lost() {
    let packed = deflated_plainly(b"Hello");
    for packed in [packed[..7].to_vec(), vec![7; packed.len()], Vec::new()] {
        let mut builder = Builder::default();
        builder.add(&Part::deflated(&hello(), b"Hello", packed));
        let store = Place::with(builder.finish()).open::<Cas>().await;
        assert_eq!(failure(&store, &digest("Hello")).await.0, ErrorKind::DataLoss);
        assert_eq!(failure(&store, &digest("Hello")).await.0, ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn salvaging_does_not_read_wrong_contents_again_and_again() {
    // Each header claims all that follows, and none is right.
    let headers = 2000;
    let header_bytes = 30 + 64 + 6 + 64;
    let mut builder = Builder::default();
    let names: Vec<_> = (0..headers)
        .map(|number| {
            let size = u64::try_from((headers - 1 - number) * header_bytes).unwrap();
            let hash = [u8::try_from(number % 256).unwrap(); 32];
            Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &hash, size).unwrap()
        })
        .collect();
    for digest in &names {
        let name = digest.key(WithoutInstanceName);
        let size = u32::try_from(digest.size_bytes()).unwrap();
        let padding = vec![0; header_bytes - 30 - name.len()];
        let part = Part { packed_bytes: size, size_bytes: size, local_extra: padding, ..Part::stored(&name, b"") };
        builder.add(&part);
    }
    let place = Place::with(&builder.bytes);
    let (kind, error) = refusal::<Cas>(&place.path, ZipOptions::new().with_salvaging(true)).await;
    assert_eq!(kind, ErrorKind::ResourceExhausted);
    assert!(error.contains("are wrong"), "{error}");
}
