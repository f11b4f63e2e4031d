//! A disk that is full: a limit of the size of files, which a shell sets for this program.

use std::process::Command;

use blobaccess::{Ac, BlobAccess, BlobAccessExt, Cas, Digest, ErrorKind, Kind, PutCertainty};
use blobaccess_zip_store::ZipWritingStore;

use super::{Place, action, ctx, digest, get, put};

/// Set in the program that runs with the limit.
const LIMITED: &str = "BLOBACCESS_ZIP_LIMITED";

/// The limit, in bytes.
const LIMIT: usize = 64 << 10;

/// Runs a test of this program again, so that no file can be larger than the limit.
///
/// Returns whether this is that program.
fn is_limited(test: &str) -> bool {
    if std::env::var_os(LIMITED).is_some() {
        return true;
    }
    // Writes beyond the limit fail, rather than end the program by a signal.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", LIMIT / 512);
    let program = std::env::current_exe().unwrap();
    let name = format!("full_disk::{test}");
    let run = Command::new("sh")
        .args(["-c", &script])
        .arg(program)
        .args(["--exact", &name])
        .env(LIMITED, "1")
        .output()
        .unwrap();
    let (out, error) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{out}\n{error}");
    assert!(out.contains("1 passed"), "{out}");
    false
}

/// Checks that a put fails as it does on a full disk, and stores nothing.
async fn refuse<K: Kind>(store: &ZipWritingStore<K>, digest: &Digest, size: usize) {
    let before = store.snapshot();
    let error = store.put_bytes(&ctx(), digest, vec![7; size]).await.unwrap_err();
    assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::ResourceExhausted, PutCertainty::NotStored));
    assert!(store.get(&ctx(), digest).await.unwrap_err().is_not_found());
    assert_eq!(store.snapshot(), before);
}

#[tokio::test]
async fn a_message_that_does_not_fit_leaves_nothing() {
    if !is_limited("a_message_that_does_not_fit_leaves_nothing") {
        return;
    }
    let place = Place::new();
    let store = place.create::<Ac>().await;
    for number in 0..3 {
        put(&store, &action(number), vec![1; 20_000]).await;
    }
    let size = place.bytes().len();
    // Written apart from its header, and together with it.
    refuse(&store, &action(3), 70_000).await;
    assert_eq!(place.bytes().len(), size);
    refuse(&store, &action(3), 20_000).await;
    assert_eq!(place.bytes().len(), size, "part of a message stays");
    put(&store, &action(3), vec![1; 100]).await;
    store.finish().await.unwrap();
    assert_eq!(get(&place.open::<Ac>().await, &action(3)).await, vec![1; 100]);
}

#[tokio::test]
async fn a_large_blob_that_does_not_fit_gives_its_space_back() {
    if !is_limited("a_large_blob_that_does_not_fit_gives_its_space_back") {
        return;
    }
    let place = Place::new();
    let store = place.create::<Cas>().await;
    refuse(&store, &digest(vec![7; 2 << 20]), 2 << 20).await;
    refuse(&store, &digest(vec![7; 70_000]), 70_000).await;
    put(&store, &digest("Hello"), "Hello").await;
    store.finish().await.unwrap();
    assert_eq!(get(&place.open::<Cas>().await, &digest("Hello")).await, b"Hello");
}

#[tokio::test]
async fn an_archive_without_room_for_its_directory_can_be_salvaged() {
    if !is_limited("an_archive_without_room_for_its_directory_can_be_salvaged") {
        return;
    }
    let place = Place::new();
    let store = place.create::<Cas>().await;
    let contents = vec![1; LIMIT - 200];
    put(&store, &digest(&contents), &contents).await;
    for _ in 0..2 {
        let error = store.finish().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert!(!store.snapshot().is_finished);
        let error = store.put_bytes(&ctx(), &digest(""), "").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(get(&store, &digest(&contents)).await, contents);
    }
    drop(store);
    assert_eq!(get(&place.salvage::<Cas>().await, &digest(&contents)).await, contents);
}
