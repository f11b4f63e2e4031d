//! Archives whose writer ended too early: cut at every byte, with holes, and with gaps that a client has filled.

use std::ops::Range;

use blobaccess::{Ac, Cas, Digest, ErrorKind, KeyFormat, Kind};
use blobaccess_zip_store::{ZipOptions, ZipWritingStore};

use super::builder::{Builder, Part};
use super::{Place, action, digest, failure, get, put, refusal};

const SALVAGING: ZipOptions = ZipOptions::new().with_salvaging(true);

/// A blob, and the bytes of the archive from its header to its end.
struct Written {
    digest: Digest,
    contents: Vec<u8>,
    extent: Range<usize>,
}

/// Puts blobs of these sizes, and returns where they are.
async fn write<K: Kind>(place: &Place, store: &ZipWritingStore<K>, sizes: &[u8]) -> Vec<Written> {
    let mut all = Vec::new();
    for size in sizes {
        let contents = vec![*size; usize::from(*size)];
        let digest = if K::STORAGE_TYPE.is_mutable() { action((*size).into()) } else { digest(&contents) };
        let begin = usize::try_from(store.snapshot().archive_bytes).unwrap();
        put(store, &digest, &contents).await;
        let end = usize::try_from(store.snapshot().archive_bytes).unwrap();
        assert_eq!(place.bytes().len(), end);
        all.push(Written { digest, contents, extent: begin..end });
    }
    all
}

/// Checks that exactly those of `all` are found that `is_there` says.
async fn check<K: Kind>(place: &Place, all: &[Written], is_there: impl Fn(&Written) -> bool) {
    let store = place.salvage::<K>().await;
    for written in all {
        if is_there(written) {
            assert_eq!(get(&store, &written.digest).await, written.contents, "{:?}", written.extent);
        } else {
            assert_eq!(failure(&store, &written.digest).await.0, ErrorKind::NotFound, "{:?}", written.extent);
        }
    }
    let expected = all.iter().filter(|written| is_there(written)).count();
    assert_eq!(store.snapshot().entries, expected);
}

/// Cuts an archive that was finished, appended to and finished again at every byte.
async fn cut_at_every_byte<K: Kind>() {
    let place = Place::new();
    let store = place.create::<K>().await;
    let mut all = write(&place, &store, &[5, 0, 40]).await;
    store.finish().await.unwrap();
    let first_end = place.bytes().len();
    let store = place.append::<K>().await;
    all.extend(write(&place, &store, &[3, 60]).await);
    store.finish().await.unwrap();
    let whole = place.bytes();
    for cut in 0..whole.len() {
        let place = Place::with(&whole[..cut]);
        if cut == first_end {
            assert_eq!(place.open::<K>().await.snapshot().entries, 3);
        } else {
            let (kind, error) = refusal::<K>(&place.path, ZipOptions::new()).await;
            assert_eq!(kind, ErrorKind::DataLoss, "cut at {cut}: {error}");
        }
        check::<K>(&place, &all, |written| written.extent.end <= cut).await;
        if cut % 7 != 0 {
            continue;
        }
        // What is left can be gone on with.
        let store = ZipWritingStore::<K>::append(&place.path, SALVAGING).await.unwrap();
        let more = write(&place, &store, &[9]).await;
        store.finish().await.unwrap();
        let store = place.open::<K>().await;
        assert_eq!(get(&store, &more[0].digest).await, more[0].contents);
        for written in all.iter().filter(|written| written.extent.end <= cut) {
            assert_eq!(get(&store, &written.digest).await, written.contents);
        }
    }
}

#[tokio::test]
async fn an_archive_of_blobs_cut_anywhere_is_refused_or_salvaged() {
    cut_at_every_byte::<Cas>().await;
}

#[tokio::test]
async fn an_archive_of_messages_cut_anywhere_is_refused_or_salvaged() {
    cut_at_every_byte::<Ac>().await;
}

/// Returns an archive that was not finished, without the bytes of its second entry that `lost` says.
async fn with_hole<K: Kind>(lost: impl Fn(Range<usize>) -> Range<usize>) -> (Place, Vec<Written>) {
    let place = Place::new();
    let store = place.create::<K>().await;
    let all = write(&place, &store, &[5, 40, 3]).await;
    drop(store);
    let mut bytes = place.bytes();
    bytes[lost(all[1].extent.clone())].fill(0);
    (Place::with(bytes), all)
}

#[tokio::test]
async fn blobs_behind_a_gap_are_found_and_messages_are_not() {
    let header = |extent: Range<usize>| extent.start..extent.start + 4;
    let contents = |extent: Range<usize>| extent.end - 1..extent.end;
    for lost in [header, contents] {
        let (place, all) = with_hole::<Cas>(lost).await;
        check::<Cas>(&place, &all, |written| written.contents.len() != 40).await;
        let gap = u64::try_from(all[1].extent.len()).unwrap();
        assert_eq!(place.salvage::<Cas>().await.snapshot().salvaged_gap_bytes, Some(gap));
        let (place, all) = with_hole::<Ac>(lost).await;
        check::<Ac>(&place, &all, |written| written.contents.len() == 5).await;
    }
}

#[tokio::test]
async fn what_a_client_puts_into_a_gap_is_not_taken_for_an_entry() {
    // A client uploads an archive, in which one entry is named like a blob that it is not, and another like a file.
    let victim = digest("the right contents").key(KeyFormat::WithoutInstanceName);
    let mut forged = Builder::default();
    forged.add(&Part::stored(&victim, b"the wrong contents"));
    forged.add(&Part::stored("META-INF/MANIFEST.MF", b"of the client"));
    let part_of_upload = [&vec![0; 118][..], &forged.bytes].concat();
    let hello = digest("Hello");
    let mut behind = Builder::default();
    behind.add(&Part::stored(&hello.key(KeyFormat::WithoutInstanceName), b"Hello"));
    let place = Place::with([part_of_upload, behind.bytes].concat());
    let store = place.salvage::<Cas>().await;
    assert_eq!(get(&store, &hello).await, b"Hello");
    assert_eq!(store.snapshot().entries, 1);

    // The same of messages: nothing behind a gap counts, as nothing tells who wrote it.
    let victim = action(1).to_string();
    let mut forged = Builder::default();
    forged.add(&Part::stored(&victim, b"forged"));
    let place = Place::with([&vec![0; 118][..], &forged.bytes].concat());
    assert_eq!(place.salvage::<Ac>().await.snapshot().entries, 0);
    assert_eq!(Place::with(&forged.bytes).salvage::<Ac>().await.snapshot().entries, 1);
}

#[tokio::test]
async fn to_go_on_with_a_cut_archive_removes_what_is_behind_it() {
    let (place, all) = with_hole::<Ac>(|extent| extent.start..extent.start + 4).await;
    let store = ZipWritingStore::<Ac>::append(&place.path, SALVAGING).await.unwrap();
    assert_eq!(place.bytes().len(), all[0].extent.end);
    drop(store);
    assert_eq!(place.salvage::<Ac>().await.snapshot().entries, 1);
}

#[tokio::test]
async fn an_empty_file_is_salvaged_as_an_empty_archive() {
    let place = Place::with("");
    assert_eq!(refusal::<Cas>(&place.path, ZipOptions::new()).await.0, ErrorKind::DataLoss);
    assert_eq!(place.salvage::<Cas>().await.snapshot().entries, 0);
}

#[tokio::test]
async fn of_a_replaced_message_the_last_value_is_salvaged() {
    let place = Place::new();
    let store = place.create::<Ac>().await;
    put(&store, &action(1), "first").await;
    put(&store, &action(1), "second").await;
    drop(store);
    assert_eq!(get(&place.salvage::<Ac>().await, &action(1)).await, b"second");
}

#[tokio::test]
async fn a_header_is_found_wherever_it_lies() {
    let hello = digest("Hello");
    let mut entry = Builder::default();
    entry.add(&Part::stored(&hello.key(KeyFormat::WithoutInstanceName), b"Hello"));
    // The gap is searched in pieces of 256 KiB, from its second byte on.
    let pieces = (256 << 10) - 4..(256 << 10) + 4;
    for gap in (1..6).chain(pieces) {
        let place = Place::with([&vec![b'P'; gap][..], &entry.bytes].concat());
        let store = place.salvage::<Cas>().await;
        assert_eq!(get(&store, &hello).await, b"Hello", "behind {gap} bytes");
    }
}
