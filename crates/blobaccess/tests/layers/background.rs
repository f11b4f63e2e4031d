//! Background work that nobody does is told.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::Mirrored;
use blobaccess::replication::{LocalReplicator, QueuedOptions, QueuedReplicator, Replicator};
use blobaccess::{BackgroundWatch, BlobAccess, Cas, Context, DigestSet, ReadRequest};
use blobaccess_testkit::ManualClock;
use blobaccess_testkit::fakes::Warnings;

use crate::{Inner, inner, stored};

static CTX: Context = Context::background();

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn work_that_waits_too_long_is_told_once() {
    let (clock, watch) = (ManualClock::new(), BackgroundWatch::new("a queue", "nothing is uploaded"));
    assert!(!watch.note_work(&clock));
    clock.advance(29 * SECOND);
    assert!(!watch.note_work(&clock));
    clock.advance(SECOND);
    assert!(watch.note_work(&clock));
    clock.advance(100 * SECOND);
    assert!(!watch.note_work(&clock));
}

#[test]
fn work_that_is_done_is_not_told() {
    let (clock, watch) = (ManualClock::new(), BackgroundWatch::new("a queue", "nothing is uploaded"));
    let running = watch.begin_to_run();
    for _ in 0..3 {
        assert!(!watch.note_work(&clock));
        clock.advance(60 * SECOND);
    }
    drop(running);
    // The time begins with the first work after the run has ended.
    assert!(!watch.note_work(&clock));
    clock.advance(29 * SECOND);
    watch.note_attention();
    assert!(!watch.note_work(&clock));
    clock.advance(30 * SECOND);
    assert!(watch.note_work(&clock));
}

#[tokio::test]
async fn a_mirror_that_nobody_repairs_says_so() {
    let (a, b, clock, warnings) = (inner::<Cas>(), inner::<Cas>(), ManualClock::new(), Warnings::begin());
    let copier =
        |source: &Inner<Cas>, sink: &Inner<Cas>| Arc::new(LocalReplicator::new(Arc::clone(source), Arc::clone(sink)));
    let mirror = Mirrored::new(Arc::new(Arc::clone(&a)), Arc::new(Arc::clone(&b)), copier(&a, &b), copier(&b, &a));
    let mirror = mirror.with_clock(Arc::new(clock.clone()));
    let digests: Vec<_> = [stored(&a, "first").await, stored(&a, "second").await].into();
    for digest in &digests {
        assert!(mirror.find_missing(&CTX, &DigestSet::from(digest.clone())).await.unwrap().is_empty());
        clock.advance(30 * SECOND);
    }
    let told = "nobody runs a layer over two stores, so what one of them lacks is not copied: \
                its `run` must be polled (see `Background`)";
    assert_eq!(warnings.take(), [told]);
    drop(mirror);
    let told = "a layer over two stores is dropped with work that nobody has done: \
                what one of them lacks is not copied unsaid=2";
    assert_eq!(warnings.take(), [told]);
}

#[tokio::test]
async fn a_mirror_that_is_repaired_by_calls_says_nothing() {
    let (a, b, clock, warnings) = (inner::<Cas>(), inner::<Cas>(), ManualClock::new(), Warnings::begin());
    let copier =
        |source: &Inner<Cas>, sink: &Inner<Cas>| Arc::new(LocalReplicator::new(Arc::clone(source), Arc::clone(sink)));
    let mirror = Mirrored::new(Arc::new(Arc::clone(&a)), Arc::new(Arc::clone(&b)), copier(&a, &b), copier(&b, &a));
    let mirror = mirror.with_clock(Arc::new(clock.clone()));
    for contents in ["first", "second", "third"] {
        let digest = stored(&a, contents).await;
        assert!(mirror.find_missing(&CTX, &digest.into()).await.unwrap().is_empty());
        clock.advance(30 * SECOND);
        mirror.repair(&CTX).await.unwrap();
    }
    drop(mirror);
    assert_eq!(warnings.take(), [""; 0]);
}

#[tokio::test]
async fn a_queue_of_copies_that_nobody_runs_says_so() {
    let (source, sink) = (inner::<Cas>(), inner::<Cas>());
    let (clock, warnings) = (ManualClock::new(), Warnings::begin());
    let local = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
    let queue = QueuedReplicator::new(Arc::clone(&source), local, sink.key_format(), QueuedOptions::new());
    let queue = queue.with_clock(Arc::new(clock.clone()));
    for contents in ["first", "second"] {
        let digest = stored(&source, contents).await;
        let blob = queue.replicate(&CTX, &ReadRequest::blob(&digest)).await.unwrap();
        blob.into_bytes(9).await.unwrap();
        clock.advance(30 * SECOND);
    }
    assert_eq!(warnings.take().len(), 1);
    drop(queue);
    assert_eq!(
        warnings.take(),
        ["a queue of copies is dropped with work that nobody has done: what was read is not copied unsaid=2"]
    );
}
