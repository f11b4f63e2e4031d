//! Tasks, interruptions and guards.

use std::future;

use futures::{FutureExt, TryStreamExt};
use tokio::sync::oneshot;

use super::*;

#[tokio::test]
async fn the_last_bytes_wait_for_the_task() {
    for blob in every_form(HELLO) {
        let (end, ended) = oneshot::channel::<()>();
        let mut stream = blob.with_task(async move { ended.await.map_err(|_| down()) }).into_stream(2..9).unwrap();
        let mut all = Vec::new();
        while let Some(piece) = stream.next().now_or_never() {
            all.extend_from_slice(&piece.unwrap().unwrap());
        }
        assert!(all.len() < 7, "all was handed out before the task had ended");
        end.send(()).unwrap();
        while let Some(piece) = stream.try_next().await.unwrap() {
            all.extend_from_slice(&piece);
        }
        assert_eq!(all, &HELLO[2..9]);
    }
}

#[tokio::test]
async fn the_error_of_a_task_comes_in_place_of_the_last_bytes() {
    for contents in [HELLO, b""] {
        for blob in every_form(contents) {
            let (all, ended) = read(blob.with_task(async { Err(down()) }), ..).await;
            assert_eq!(kind_of(ended), Some(ErrorKind::Unavailable));
            assert!(all.is_empty() || all.len() < contents.len());
        }
        for blob in every_form(contents) {
            assert_eq!(
                kind_of(blob.with_task(async { Err(down()) }).into_bytes(12).await),
                Some(ErrorKind::Unavailable)
            );
        }
    }
}

#[tokio::test]
async fn the_error_of_a_task_is_returned_by_every_later_read() {
    let mut stream = Blob::from_bytes(HELLO).with_task(async { Err(down()) }).into_stream(..).unwrap();
    for _ in 0..3 {
        assert_eq!(kind_of(stream.try_next().await), Some(ErrorKind::Unavailable));
    }
}

#[tokio::test]
async fn an_error_of_the_source_comes_before_that_of_the_task() {
    let blob = untrusted(HELLO, failing(b"hello", 2, down())).with_task(async { Err(Error::internal("task")) });
    assert_eq!(kind_of(read(blob, ..).await.1), Some(ErrorKind::Unavailable));
    let blob = untrusted(HELLO, pieces(b"hello, worlD", 2)).with_task(async { Err(Error::internal("task")) });
    assert_eq!(kind_of(read(blob, ..).await.1), Some(ErrorKind::DataLoss));
    let blob = untrusted(HELLO, failing(b"hello", 2, down())).with_task(future::pending());
    assert_eq!(kind_of(blob.into_bytes(12).await), Some(ErrorKind::Unavailable));
}

#[tokio::test]
async fn a_task_is_done_while_the_source_is_waited_for() {
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let blob = Blob::from_untrusted_stream(&digest_of(HELLO), receiver, Provenance::store()).with_task(async move {
        for piece in pieces(HELLO, 4) {
            sender.unbounded_send(piece).unwrap();
            tokio::task::yield_now().await;
        }
        Ok(())
    });
    assert_eq!(blob.into_bytes(12).await.unwrap(), HELLO);
}

#[tokio::test]
async fn a_task_is_dropped_with_its_blob() {
    let guard = Arc::new(());
    let held = || {
        let guard = Arc::clone(&guard);
        async move {
            future::pending::<()>().await;
            drop(guard);
            Ok(())
        }
    };
    let blob = Blob::from_bytes(HELLO).with_task(held());
    assert_eq!(Arc::strong_count(&guard), 2);
    drop(blob);
    let mut stream = untrusted(HELLO, pieces(HELLO, 4)).with_task(held()).into_stream(..).unwrap();
    stream.next().await.unwrap().unwrap();
    assert_eq!(Arc::strong_count(&guard), 2);
    drop(stream);
    let mut whole = Box::pin(Blob::from_bytes(HELLO).with_task(held()).into_bytes(12));
    assert!((&mut whole).now_or_never().is_none());
    drop(whole);
    assert_eq!(Arc::strong_count(&guard), 1);
}

#[tokio::test]
async fn several_tasks_must_all_end_well() {
    let blob = Blob::from_bytes(HELLO).with_task(async { Err(down()) }).with_task(async { Ok(()) });
    assert_eq!(kind_of(blob.into_bytes(12).await), Some(ErrorKind::Unavailable));
    let blob = Blob::from_bytes(HELLO).with_task(async { Ok(()) }).with_task(async { Ok(()) });
    assert_eq!(blob.into_bytes(12).await.unwrap(), HELLO);
}

#[tokio::test]
async fn an_interruption_ends_a_source_that_is_silent() {
    let (end, ended) = oneshot::channel();
    let blob = Blob::from_untrusted_stream(&digest_of(HELLO), silent(), Provenance::store());
    let blob = blob.with_interruption(ended.map(|error| error.unwrap_or_else(|_| down())));
    let mut whole = Box::pin(blob.into_bytes(12));
    assert!((&mut whole).now_or_never().is_none());
    end.send(Error::deadline_exceeded("too slow")).unwrap();
    assert_eq!(kind_of(whole.await), Some(ErrorKind::DeadlineExceeded));
}

#[tokio::test]
async fn an_interruption_ends_a_task_that_does_not_end_by_itself() {
    let blob = Blob::from_bytes(HELLO).with_task(future::pending());
    let blob = blob.with_interruption(async { Error::deadline_exceeded("too slow") });
    assert_eq!(kind_of(blob.into_bytes(12).await), Some(ErrorKind::DeadlineExceeded));
}

#[tokio::test]
async fn an_interruption_that_has_not_come_changes_nothing() {
    for blob in every_form(HELLO) {
        assert_eq!(blob.with_interruption(future::pending()).into_bytes(12).await.unwrap(), HELLO);
    }
}

#[tokio::test]
async fn an_interruption_is_returned_by_every_later_read() {
    let late = async { Error::deadline_exceeded("too slow") };
    let mut stream = untrusted(HELLO, pieces(HELLO, 4)).with_interruption(late).into_stream(..).unwrap();
    for _ in 0..3 {
        assert_eq!(kind_of(stream.try_next().await), Some(ErrorKind::DeadlineExceeded));
    }
}

#[tokio::test]
async fn a_guard_is_held_for_as_long_as_the_blob_can_be_read() {
    let guard = Arc::new(());
    for at in 0..7 {
        let form = || every_form(HELLO).swap_remove(at).with_guard(Arc::clone(&guard));
        drop(form());
        assert_eq!(Arc::strong_count(&guard), 1);
        form().into_bytes(12).await.unwrap();
        assert_eq!(Arc::strong_count(&guard), 1);
        let mut stream = form().into_stream(..).unwrap();
        assert_eq!(Arc::strong_count(&guard), 2);
        while stream.remaining_bytes() > 0 {
            assert_eq!(Arc::strong_count(&guard), 2);
            stream.next().await.unwrap().unwrap();
        }
        assert_eq!(Arc::strong_count(&guard), 1);
    }
    let mut broken = untrusted(HELLO, failing(b"h", 1, down())).with_guard(Arc::clone(&guard)).into_stream(..).unwrap();
    while broken.next().await.unwrap().is_ok() {}
    assert_eq!(Arc::strong_count(&guard), 1);
}
