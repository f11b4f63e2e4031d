//! Contents that change on the disk, and for how long that may go unnoticed.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{BlobAccess, BlobAccessExt, Cas, ErrorKind, PutOutcome};
use blobaccess_testkit::ManualClock;
use blobaccess_zip_store::{ZipOptions, ZipReadingStore, ZipWritingStore};
use futures::TryStreamExt;

use super::{Place, ctx, digest, failure, get, put};

const MINUTE: ZipOptions = ZipOptions::new().with_verification_lifetime(Duration::from_mins(1));

impl Place {
    /// Changes the last byte of these contents.
    fn damage(&self, contents: &[u8]) {
        let bytes = self.bytes();
        let at = bytes.windows(contents.len()).position(|window| window == contents).unwrap() + contents.len() - 1;
        let file = std::fs::OpenOptions::new().write(true).open(&self.path).unwrap();
        file.write_all_at(&[!bytes[at]], at.try_into().unwrap()).unwrap();
    }
}

async fn archive(contents: &[u8]) -> Place {
    let place = Place::new();
    let store = place.create::<Cas>().await;
    put(&store, &digest(contents), contents).await;
    store.finish().await.unwrap();
    place
}

/// Returns contents that are read at once, and such as are read in pieces.
fn small_and_large() -> [Vec<u8>; 2] {
    [b"Hello".to_vec(), (0..=255).cycle().take(1 << 20).collect()]
}

#[tokio::test]
async fn a_verification_counts_for_its_lifetime_and_no_longer() {
    for contents in small_and_large() {
        let place = archive(&contents).await;
        let clock = Arc::new(ManualClock::new());
        let store: ZipReadingStore<Cas> = ZipReadingStore::open(&place.path, MINUTE).await.unwrap();
        let store = store.with_clock(Arc::<ManualClock>::clone(&clock));
        assert_eq!(get(&store, &digest(&contents)).await, contents);
        place.damage(&contents);
        clock.advance(Duration::from_mins(1));
        let read = store.get_bytes(&ctx(), &digest(&contents), 2 << 20).await.unwrap();
        assert_ne!(read, contents, "it was verified although it need not be");
        clock.advance(Duration::from_millis(1));
        assert_eq!(failure(&store, &digest(&contents)).await.0, ErrorKind::DataLoss);
        assert_eq!(failure(&store, &digest(&contents)).await.0, ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn without_a_lifetime_each_read_is_verified() {
    for contents in small_and_large() {
        let place = archive(&contents).await;
        let options = ZipOptions::new().with_verification_lifetime(Duration::ZERO);
        let store: ZipReadingStore<Cas> = ZipReadingStore::open(&place.path, options).await.unwrap();
        assert_eq!(get(&store, &digest(&contents)).await, contents);
        place.damage(&contents);
        assert_eq!(failure(&store, &digest(&contents)).await.0, ErrorKind::DataLoss);
    }
}

#[tokio::test]
async fn damage_is_noticed_by_the_first_read() {
    for contents in small_and_large() {
        let place = archive(&contents).await;
        place.damage(&contents);
        let store = place.open::<Cas>().await;
        // A range of what was not verified is read with all that is behind it.
        let blob = store.get(&ctx(), &digest(&contents)).await.unwrap();
        let error = blob.into_stream(0..1).unwrap().try_for_each(|_| async { Ok(()) }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataLoss);
        assert_eq!(failure(&store, &digest(&contents)).await.0, ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_range_of_what_was_verified_is_read_alone() {
    let [_, contents] = small_and_large();
    let place = archive(&contents).await;
    let store = place.open::<Cas>().await;
    assert_eq!(get(&store, &digest(&contents)).await, contents);
    place.damage(&contents);
    let blob = store.get(&ctx(), &digest(&contents)).await.unwrap();
    let range: Vec<_> = blob.into_stream(100..300_000).unwrap().try_collect().await.unwrap();
    assert_eq!(range.concat(), contents[100..300_000]);
}

#[tokio::test]
async fn a_writer_stores_again_what_was_damaged() {
    for contents in small_and_large() {
        let place = archive(b"another").await;
        let clock = Arc::new(ManualClock::new());
        let store: ZipWritingStore<Cas> = ZipWritingStore::append(&place.path, MINUTE).await.unwrap();
        let store = store.with_clock(Arc::<ManualClock>::clone(&clock));
        put(&store, &digest(&contents), &contents).await;
        place.damage(&contents);
        // A put counts as a verification.
        assert_ne!(store.get_bytes(&ctx(), &digest(&contents), 2 << 20).await.unwrap(), contents);
        clock.advance(Duration::from_secs(61));
        assert_eq!(failure(&store, &digest(&contents)).await.0, ErrorKind::DataLoss);
        let missing = store.find_missing(&ctx(), &digest(&contents).into()).await.unwrap();
        assert_eq!(missing.len(), 1);
        let stored_bytes = contents.len().try_into().unwrap();
        assert_eq!(put(&store, &digest(&contents), &contents).await, PutOutcome::Created { stored_bytes });
        store.finish().await.unwrap();
        let store = place.open::<Cas>().await;
        assert_eq!((get(&store, &digest(&contents)).await, store.snapshot().entries), (contents, 2));
    }
}
