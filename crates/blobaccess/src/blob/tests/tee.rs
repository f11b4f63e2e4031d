//! Two readers of one blob.

use futures::channel::mpsc;
use futures::{FutureExt, TryStreamExt, join};

use super::*;

const LARGE: u64 = 1 << 20;

fn channel(claimed: &[u8]) -> (mpsc::UnboundedSender<Result<Bytes>>, Blob) {
    let (sender, receiver) = mpsc::unbounded();
    (sender, Blob::from_untrusted_stream(&digest_of(claimed), receiver, Provenance::store()))
}

#[tokio::test]
async fn both_halves_have_the_contents_and_the_source_is_verified_once() {
    for max_apart in [0, 1, 3, 4, 100] {
        let (blob, verdict) = judged(HELLO, pieces(HELLO, 4));
        let (first, second) = blob.tee(max_apart);
        assert_eq!((first.size_bytes(), second.size_bytes()), (12, 12));
        let (first, second) = join!(first.into_bytes(12), second.into_bytes(12));
        assert_eq!((first.unwrap(), second.unwrap()), (HELLO.into(), HELLO.into()));
        assert_eq!(verdict.all(), [true]);
    }
    let (verdict, tell) = Told::new();
    let bytes = Blob::from_untrusted_bytes(&digest_of(HELLO), HELLO.into(), Provenance::store_with_verdict(tell));
    let (first, second) = bytes.tee(0);
    first.into_bytes(12).await.unwrap();
    second.into_bytes(12).await.unwrap();
    assert_eq!(verdict.all(), [true]);
}

#[tokio::test]
async fn every_form_can_be_teed() {
    for at in 0..7 {
        let (first, second) = every_form(HELLO).swap_remove(at).tee(2);
        let (first, second) = join!(read(first, 2..9), read(second, ..));
        assert_eq!((first.0.as_slice(), second.0.as_slice()), (&HELLO[2..9], HELLO));
        let (first, second) = every_form(b"").swap_remove(at).tee(0);
        let (first, second) = join!(first.into_bytes(0), second.into_bytes(0));
        assert!(first.unwrap().is_empty() && second.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_can_be_read_again_is_not_coupled() {
    for at in [0, 1, 2, 5] {
        let guard = Arc::new(());
        let (first, second) = every_form(HELLO).swap_remove(at).with_guard(Arc::clone(&guard)).tee(0);
        assert_eq!(first.into_bytes(12).await.unwrap(), HELLO);
        assert_eq!(Arc::strong_count(&guard), 2);
        assert_eq!(second.into_bytes(12).await.unwrap(), HELLO);
        assert_eq!(Arc::strong_count(&guard), 1);
    }
}

#[tokio::test]
async fn a_guard_is_held_until_both_halves_of_a_stream_are_done() {
    let guard = Arc::new(());
    let (first, second) = untrusted(HELLO, pieces(HELLO, 4)).with_guard(Arc::clone(&guard)).tee(100);
    first.into_bytes(12).await.unwrap();
    assert_eq!(Arc::strong_count(&guard), 2);
    second.into_bytes(12).await.unwrap();
    assert_eq!(Arc::strong_count(&guard), 1);
}

#[tokio::test]
async fn wrong_bytes_fail_in_both_halves() {
    let bytes = Blob::from_untrusted_bytes(&digest_of(HELLO), "hello, worlD".into(), Provenance::client());
    let (first, second) = bytes.tee(0);
    assert_eq!(kind_of(first.into_bytes(12).await), Some(ErrorKind::InvalidArgument));
    assert_eq!(kind_of(read(second, 3..).await.1), Some(ErrorKind::InvalidArgument));
}

#[tokio::test]
async fn errors_reach_both_halves_and_the_last_bytes_neither() {
    for wrong in [pieces(b"hello, worlD", 3), failing(b"hello,", 3, down())] {
        for max_apart in [0, 4, 100] {
            let (first, second) = untrusted(HELLO, wrong.clone()).tee(max_apart);
            let (first, second) = join!(read(first, ..), read(second, ..));
            assert!(first.0.len() < 12 && second.0.len() < 12);
            assert_eq!(first.0, second.0);
            assert!(first.1.is_err() && kind_of(first.1) == kind_of(second.1));
        }
    }
}

#[tokio::test]
async fn a_half_is_never_further_ahead_than_permitted() {
    for max_apart in [0, 1, 4, 7, 8, 12, 13] {
        let contents = [7; 100];
        let (ahead, behind) = untrusted(&contents, pieces(&contents, 4)).tee(max_apart);
        let mut ahead = ahead.into_stream(..).unwrap();
        let mut behind = behind.into_stream(..).unwrap();
        loop {
            while let Some(Some(piece)) = ahead.next().now_or_never() {
                piece.unwrap();
                let apart = behind.remaining_bytes() - ahead.remaining_bytes();
                assert!(apart <= max_apart + 4, "{apart} apart of {max_apart}");
            }
            if behind.next().now_or_never().flatten().is_none() {
                break;
            }
        }
        assert_eq!((ahead.remaining_bytes(), behind.remaining_bytes()), (0, 0));
    }
}

#[tokio::test]
async fn halves_that_may_be_as_far_apart_as_the_blob_is_large_can_be_read_one_after_the_other() {
    for expendable in [false, true] {
        for size in [1, 5, 12] {
            let blob = untrusted(HELLO, pieces(HELLO, size));
            let (first, second) = if expendable { blob.tee_expendable(12) } else { blob.tee(12) };
            assert_eq!(first.into_bytes(12).now_or_never().unwrap().unwrap(), HELLO);
            assert_eq!(second.into_bytes(12).now_or_never().unwrap().unwrap(), HELLO);
        }
    }
}

#[tokio::test]
async fn a_half_that_stalls_is_woken_when_the_other_reads() {
    let contents = [7; 100];
    let (first, second) = untrusted(&contents, pieces(&contents, 4)).tee(8);
    let first = tokio::spawn(first.into_bytes(100));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!first.is_finished());
    assert_eq!(second.into_bytes(100).await.unwrap(), contents.as_slice());
    assert_eq!(first.await.unwrap().unwrap(), contents.as_slice());
}

#[tokio::test]
async fn to_drop_one_half_frees_the_other_at_every_point() {
    let contents = [7; 40];
    for read_before in 0..=10 {
        for first_is_dropped in [false, true] {
            let (first, second) = untrusted(&contents, pieces(&contents, 4)).tee(0);
            let (dropped, kept) = if first_is_dropped { (first, second) } else { (second, first) };
            let kept = tokio::spawn(kept.into_bytes(40));
            let mut dropped = dropped.into_stream(..).unwrap();
            for _ in 0..read_before {
                dropped.next().await.unwrap().unwrap();
            }
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            drop(dropped);
            assert_eq!(kept.await.unwrap().unwrap(), contents.as_slice());
        }
    }
    let (first, second) = untrusted(HELLO, pieces(HELLO, 4)).tee(0);
    drop(first);
    assert_eq!(second.into_bytes(12).await.unwrap(), HELLO);
}

#[tokio::test]
async fn a_half_goes_on_when_the_one_that_waited_for_the_source_is_dropped() {
    for first_is_dropped in [false, true] {
        let (sender, blob) = channel(HELLO);
        let (first, second) = blob.tee(0);
        let (dropped, kept) = if first_is_dropped { (first, second) } else { (second, first) };
        let kept = tokio::spawn(kept.into_bytes(12));
        tokio::task::yield_now().await;
        let dropped = tokio::spawn(dropped.into_bytes(12));
        tokio::task::yield_now().await;
        dropped.abort();
        assert!(dropped.await.unwrap_err().is_cancelled());
        sender.unbounded_send(Ok(HELLO.into())).unwrap();
        drop(sender);
        assert_eq!(kept.await.unwrap().unwrap(), HELLO);
    }
}

#[tokio::test]
async fn a_half_goes_on_when_the_one_that_polled_last_does_something_else_meanwhile() {
    let (sender, blob) = channel(HELLO);
    let (kept, idle) = blob.tee(100);
    let kept = tokio::spawn(kept.into_bytes(12));
    tokio::task::yield_now().await;
    let mut idle = idle.into_stream(..).unwrap();
    assert!(idle.next().now_or_never().is_none());
    sender.unbounded_send(Ok(HELLO.into())).unwrap();
    drop(sender);
    assert_eq!(kept.await.unwrap().unwrap(), HELLO);
    assert_eq!(idle.try_next().await.unwrap().unwrap(), HELLO);
}

#[tokio::test]
async fn an_expendable_half_fails_rather_than_stalls_the_other() {
    let contents = [7; 100];
    let (first, second) = untrusted(&contents, pieces(&contents, 4)).tee_expendable(8);
    let mut second = second.into_stream(..).unwrap();
    assert_eq!(first.into_bytes(100).await.unwrap(), contents.as_slice());
    for _ in 0..2 {
        let error = second.try_next().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert_eq!(error.message(), "reader fell more than 8 bytes behind its sister");
    }
}

#[tokio::test]
async fn an_expendable_half_that_was_left_behind_while_it_waited_is_woken() {
    let contents = [7; 100];
    let (first, second) = untrusted(&contents, pieces(&contents, 4)).tee_expendable(8);
    let mut second = second.into_stream(..).unwrap();
    second.next().await.unwrap().unwrap();
    assert_eq!(first.into_bytes(100).await.unwrap(), contents.as_slice());
    assert_eq!(kind_of(second.try_next().await), Some(ErrorKind::ResourceExhausted));
}

#[tokio::test]
async fn an_expendable_half_that_is_read_at_the_same_time_is_not_left_behind() {
    let contents = [7; 100];
    let (first, second) = untrusted(&contents, pieces(&contents, 4)).tee_expendable(8);
    let (first, second) = join!(first.into_bytes(100), second.into_bytes(100));
    assert_eq!((first.unwrap().len(), second.unwrap().len()), (100, 100));
    let (first, second) = untrusted(&contents, pieces(&contents, 4)).tee_expendable(8);
    let (first, second) = (tokio::spawn(first.into_bytes(100)), tokio::spawn(second.into_bytes(100)));
    assert_eq!((first.await.unwrap().unwrap().len(), second.await.unwrap().unwrap().len()), (100, 100));
}

#[tokio::test]
async fn an_expendable_half_waits_for_the_other_and_may_be_read_alone() {
    let contents = [7; 100];
    let (first, second) = untrusted(&contents, pieces(&contents, 4)).tee_expendable(8);
    let mut second = Box::pin(second.into_bytes(100));
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    assert_eq!(second.await.unwrap(), contents.as_slice());
}

#[tokio::test]
async fn halves_can_be_teed_again() {
    let (blob, verdict) = judged(HELLO, pieces(HELLO, 4));
    let (first, rest) = blob.tee(0);
    let (second, third) = rest.tee(0);
    let (first, second, third) = join!(first.into_bytes(12), second.into_bytes(12), third.into_bytes(12));
    assert_eq!((first.unwrap(), second.unwrap(), third.unwrap()), (HELLO.into(), HELLO.into(), HELLO.into()));
    assert_eq!(verdict.all(), [true]);
}

#[tokio::test]
async fn one_half_may_be_stored_as_the_task_of_the_other() {
    let contents: &[u8] = &[7; 1000];
    for handled in [false, true] {
        let (first, second) = untrusted(contents, pieces(contents, 10)).tee(20);
        let (handler, _) = Replacing::by([]);
        let first = if handled { first.with_error_handler(handler) } else { first };
        let copy = async move { second.into_bytes(1000).await.map(|copy| assert_eq!(copy, contents)) };
        assert_eq!(first.with_task(copy).into_bytes(1000).await.unwrap(), contents);
    }
}

#[tokio::test]
async fn a_half_is_known_to_be_the_contents_of_its_digest() {
    let (first, second) = verified(HELLO, pieces(b"hello, worlD", 4)).tee(LARGE);
    assert_eq!(first.with_expected_digest(&digest_of(HELLO)).into_bytes(12).await.unwrap(), "hello, worlD");
    assert_eq!(
        kind_of(second.with_expected_digest(&digest_of(b"other")).into_bytes(12).await),
        Some(ErrorKind::InvalidArgument)
    );
}

#[tokio::test]
async fn a_task_of_the_source_ends_before_the_last_bytes_of_both() {
    let (first, second) = Blob::from_bytes(HELLO).with_task(async { Err(down()) }).tee(100);
    let (first, second) = join!(read(first, ..), read(second, ..));
    assert!(first.0.is_empty() && second.0.is_empty());
    assert_eq!((kind_of(first.1), kind_of(second.1)), (Some(ErrorKind::Unavailable), Some(ErrorKind::Unavailable)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn halves_on_two_threads_come_to_the_same() {
    let contents: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    for round in 0..20 {
        let source = stream::iter(pieces(&contents, 1000)).then(move |piece| async move {
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            piece
        });
        let blob = Blob::from_untrusted_stream(&digest_of(&contents), source, Provenance::store());
        let (first, second) = blob.tee(round * 500);
        let (first, second) = (tokio::spawn(first.into_bytes(LARGE)), tokio::spawn(second.into_bytes(LARGE)));
        assert!(first.await.unwrap().unwrap() == contents);
        assert!(second.await.unwrap().unwrap() == contents);
    }
}
