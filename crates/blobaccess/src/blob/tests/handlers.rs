//! Continuing from another source when one fails.

use super::super::Body;
use super::*;

fn good(contents: &'static [u8]) -> Blob {
    Blob::from_verified_bytes(&digest_of(contents), contents.into())
}

fn half_read() -> Blob {
    untrusted(HELLO, failing(b"hello", 2, down()))
}

#[tokio::test]
async fn reading_goes_on_where_it_stopped() {
    for at in 0..7 {
        for range in [0..12, 2..9, 6..12, 12..12, 0..3] {
            let replacement = every_form(HELLO).swap_remove(at);
            let (handler, log) = Replacing::by([replacement]);
            let (all, ended) = read(half_read().with_error_handler(handler), range.clone()).await;
            ended.unwrap();
            assert_eq!(all, HELLO[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]);
            let log = log.lock().unwrap();
            assert_eq!((log.asked.as_slice(), log.dropped), ([ErrorKind::Unavailable].as_slice(), 1));
        }
    }
}

#[tokio::test]
async fn a_replacement_that_can_be_read_from_anywhere_is_read_from_where_the_other_stopped() {
    let archive = Archive::of(HELLO);
    let reads = Arc::clone(&archive.reads);
    let (handler, _) = Replacing::by([Blob::from_random_access(&digest_of(HELLO), Arc::new(archive))]);
    assert_eq!(read(half_read().with_error_handler(handler), ..).await.0, HELLO);
    assert_eq!(*reads.lock().unwrap(), [(5, 7)]);
}

#[tokio::test]
async fn a_blob_that_does_not_fail_asks_nobody() {
    for blob in every_form(HELLO) {
        let (handler, log) = Replacing::by([]);
        assert_eq!(blob.with_error_handler(handler).into_bytes(12).await.unwrap(), HELLO);
        assert!(log.lock().unwrap().asked.is_empty());
        assert_eq!(log.lock().unwrap().dropped, 1);
    }
    for blob in every_form(HELLO) {
        let (handler, log) = Replacing::by([]);
        assert_eq!(read(blob.with_error_handler(handler), 3..).await.0, &HELLO[3..]);
        assert_eq!(log.lock().unwrap().dropped, 1);
    }
}

#[tokio::test]
async fn a_handler_may_be_asked_any_number_of_times() {
    let broken = (0..5).map(|_| half_read());
    let (handler, log) = Replacing::by(broken.clone().chain([good(HELLO)]));
    assert_eq!(read(half_read().with_error_handler(handler), ..).await.0, HELLO);
    assert_eq!(log.lock().unwrap().asked.len(), 6);
    let (handler, log) = Replacing::by((0..5).map(|_| half_read()).chain([good(HELLO)]));
    assert_eq!(half_read().with_error_handler(handler).into_bytes(12).await.unwrap(), HELLO);
    assert_eq!(counts(&log), (6, 1));
}

#[tokio::test]
async fn a_handler_that_gives_up_says_what_the_reader_sees() {
    let (handler, log) = Replacing::by([half_read()]);
    let (all, ended) = read(half_read().with_error_handler(handler), ..).await;
    assert_eq!(
        (all.as_slice(), ended.unwrap_err().to_string()),
        (b"hello".as_slice(), "gave up: store is down".into())
    );
    assert_eq!(log.lock().unwrap().dropped, 1);
    let (handler, log) = Replacing::by([]);
    let error = half_read().with_error_handler(handler).into_bytes(12).await.unwrap_err();
    assert_eq!(error.to_string(), "gave up: store is down");
    assert_eq!(log.lock().unwrap().dropped, 1);
}

#[tokio::test]
async fn a_handler_of_a_blob_that_is_not_read_is_dropped_unasked() {
    let (handler, log) = Replacing::by([]);
    drop(half_read().with_error_handler(handler));
    assert_eq!(counts(&log), (0, 1));
    let (handler, log) = Replacing::by([]);
    assert!(half_read().with_error_handler(handler).into_stream(13..).is_err());
    assert_eq!(log.lock().unwrap().dropped, 1);
    let (handler, log) = Replacing::by([good(HELLO)]);
    drop(half_read().with_error_handler(handler).into_stream(..).unwrap());
    assert_eq!(counts(&log), (0, 1));
}

#[tokio::test]
async fn one_verification_lies_over_what_was_pieced_together() {
    let (blob, verdict) = judged(HELLO, failing(b"hellO", 2, down()));
    let (handler, log) = Replacing::by([good(HELLO), good(HELLO)]);
    let (all, ended) = read(blob.with_error_handler(handler), ..).await;
    assert_eq!(kind_of(ended), Some(ErrorKind::DataLoss));
    assert!(all.len() < 12);
    assert_eq!(verdict.all(), [false]);
    // The wrong bytes have been handed out by then: nobody can make that good.
    assert_eq!(log.lock().unwrap().asked, [ErrorKind::Unavailable]);
}

#[tokio::test]
async fn reading_all_at_once_starts_anew_even_if_the_contents_were_wrong() {
    let (blob, verdict) = judged(HELLO, pieces(b"hello, worlD", 5));
    let (handler, log) = Replacing::by([good(HELLO)]);
    assert_eq!(blob.with_error_handler(handler).into_bytes(12).await.unwrap(), HELLO);
    assert_eq!(verdict.all(), [false]);
    assert_eq!(log.lock().unwrap().asked, [ErrorKind::DataLoss]);
    let (handler, log) = Replacing::by([good(HELLO)]);
    let bytes = Blob::from_untrusted_bytes(&digest_of(HELLO), "hello, worlD".into(), Provenance::client());
    assert_eq!(bytes.with_error_handler(handler).into_bytes(12).await.unwrap(), HELLO);
    assert_eq!(log.lock().unwrap().asked, [ErrorKind::InvalidArgument]);
}

#[tokio::test]
async fn a_replacement_of_another_size_is_refused() {
    for size in [0, 3, 5, 8, 12] {
        for wrong in [b"hello, wor".as_slice(), b"hello, world and more"] {
            for broken in [
                untrusted(HELLO, failing(&HELLO[..size], 2, down())),
                verified(HELLO, failing(&HELLO[..size], 2, down())),
                Blob::from_bytes(HELLO).with_task(async { Err(down()) }),
                Blob::from_random_access(&digest_of(HELLO), Arc::new(Archive::failing_at(HELLO, size.min(11) as u64))),
            ] {
                let (handler, log) = Replacing::by([good(wrong)]);
                let (_, ended) = read(broken.with_error_handler(handler), ..).await;
                assert_eq!(kind_of(ended), Some(ErrorKind::Internal));
                assert_eq!(log.lock().unwrap().asked.len(), 1);
            }
            let (handler, _) = Replacing::by([good(wrong)]);
            let broken = untrusted(HELLO, failing(&HELLO[..size], 2, down())).with_error_handler(handler);
            assert_eq!(kind_of(broken.into_bytes(99).await), Some(ErrorKind::Internal));
        }
    }
}

/// Makes a source that vouches for the bytes it hands out, which are the first five.
fn vouching() -> Blob {
    Blob::from_random_access(&digest_of(HELLO), Arc::new(Archive::failing_at(HELLO, 5)))
}

#[tokio::test]
async fn an_untrusted_replacement_of_a_trusted_source_verifies_itself() {
    for range in [0..12, 4..9, 5..12] {
        let (replacement, verdict) = judged(HELLO, pieces(HELLO, 3));
        let (handler, _) = Replacing::by([replacement]);
        let (all, ended) = read(vouching().with_error_handler(handler), range.clone()).await;
        ended.unwrap();
        assert_eq!(all, HELLO[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]);
        assert_eq!(verdict.all(), [true]);
        let (replacement, verdict) = judged(HELLO, pieces(b"hello, worlD", 3));
        let (handler, _) = Replacing::by([replacement]);
        let (_, ended) = read(vouching().with_error_handler(handler), range).await;
        assert_eq!(kind_of(ended), Some(ErrorKind::DataLoss));
        assert_eq!(verdict.all(), [false]);
    }
}

#[tokio::test]
async fn a_second_replacement_does_not_cover_up_what_was_wrong_with_the_first() {
    // The first fails in the middle after wrong bytes, or is found wrong in the end.
    for wrong in [failing(b"hello, WO", 1, down()), pieces(b"hello, WORLD", 1)] {
        for range in [0..12, 4..12, 6..9] {
            let (handler, _) = Replacing::by([untrusted(HELLO, wrong.clone()), good(HELLO), good(HELLO)]);
            let (_, ended) = read(vouching().with_error_handler(handler), range.clone()).await;
            if let Some(kind) = kind_of(ended) {
                assert_eq!(kind, ErrorKind::DataLoss);
            } else {
                panic!("wrong bytes were handed out of {range:?}");
            }
        }
    }
}

#[tokio::test]
async fn replacements_of_a_trusted_source_complete_each_other() {
    let broken = || untrusted(HELLO, failing(b"hello, wo", 1, down()));
    let halves = || verified(HELLO, failing(b"hello, wo", 1, down()));
    for range in [0..12, 4..12, 6..9] {
        for (first, second) in [(broken(), good(HELLO)), (halves(), broken()), (vouching(), halves())] {
            let (handler, log) = Replacing::by([first, second, good(HELLO)]);
            let (all, ended) = read(vouching().with_error_handler(handler), range.clone()).await;
            ended.unwrap();
            assert_eq!(all, HELLO[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]);
            assert_eq!(log.lock().unwrap().dropped, 1);
        }
    }
}

#[tokio::test]
async fn a_replacement_that_is_something_else_is_found_wrong() {
    let other = b"hello, worlD";
    for broken in 0..3 {
        let form = || match broken {
            0 => vouching(),
            1 => half_read(),
            _ => verified(HELLO, failing(b"hello", 2, down())),
        };
        for replacement in [Blob::from_bytes("hello, worlD"), good(other), untrusted(other, pieces(other, 4))] {
            let (handler, _) = Replacing::by([replacement]);
            assert_eq!(kind_of(read(form().with_error_handler(handler), ..).await.1), Some(ErrorKind::DataLoss));
        }
        for replacement in [Blob::from_bytes("hello, worlD"), good(other), untrusted(other, pieces(other, 4))] {
            let (handler, _) = Replacing::by([replacement]);
            let whole = form().with_error_handler(handler).into_bytes(12).await;
            assert_eq!(kind_of(whole), Some(ErrorKind::DataLoss));
        }
    }
}

#[tokio::test]
async fn a_thousand_replacements_do_not_exhaust_the_stack() {
    for form in 0..2 {
        let broken = (0..20_000).map(|_| if form == 0 { vouching() } else { half_read() });
        let (handler, log) = Replacing::by(broken.chain([good(HELLO)]));
        assert_eq!(read(vouching().with_error_handler(handler), ..).await.0, HELLO);
        assert_eq!(log.lock().unwrap().asked.len(), 20_001);
    }
}

#[tokio::test]
async fn the_inner_handler_is_asked_first() {
    for whole in [false, true] {
        let (inner, inner_log) = Replacing::by([half_read()]);
        let (outer, outer_log) = Replacing::by([good(HELLO)]);
        let blob = half_read().with_error_handler(inner).with_error_handler(outer);
        let all = if whole { blob.into_bytes(12).await.unwrap().to_vec() } else { read(blob, ..).await.0 };
        assert_eq!(all, HELLO);
        assert_eq!(counts(&inner_log), (2, 1));
        assert_eq!(counts(&outer_log), (1, 1));
    }
}

#[tokio::test]
async fn a_replacement_may_have_a_handler_of_its_own() {
    let (inner, _) = Replacing::by([good(HELLO)]);
    let (outer, _) = Replacing::by([half_read().with_error_handler(inner)]);
    assert_eq!(read(vouching().with_error_handler(outer), ..).await.0, HELLO);
}

#[tokio::test]
async fn a_handler_above_an_interruption_is_asked_and_one_beneath_is_not() {
    let stuck = || Blob::from_untrusted_stream(&digest_of(HELLO), silent(), Provenance::store());
    let late = || async { Error::deadline_exceeded("too slow") };
    for whole in [false, true] {
        let (handler, log) = Replacing::by([good(HELLO)]);
        let blob = stuck().with_interruption(late()).with_error_handler(handler);
        let ended = if whole { kind_of(blob.into_bytes(12).await) } else { kind_of(read(blob, ..).await.1) };
        assert_eq!((ended, log.lock().unwrap().asked.as_slice()), (None, [ErrorKind::DeadlineExceeded].as_slice()));
        let (handler, log) = Replacing::by([good(HELLO)]);
        let blob = stuck().with_error_handler(handler).with_interruption(late());
        let ended = if whole { kind_of(blob.into_bytes(12).await) } else { kind_of(read(blob, ..).await.1) };
        assert_eq!(ended, Some(ErrorKind::DeadlineExceeded));
        assert_eq!(counts(&log), (0, 1));
    }
}

#[tokio::test]
async fn what_is_attached_above_a_handler_is_told_of_the_error_it_gave_up_with() {
    for whole in [false, true] {
        let (handler, _) = Replacing::by([]);
        let (blob, told) = watched(half_read().with_error_handler(handler));
        if whole {
            assert!(blob.into_bytes(12).await.is_err());
        } else {
            assert!(read(blob, ..).await.1.is_err());
        }
        assert_eq!(told.all(), [Finish::Failed(ErrorKind::Unavailable)]);
    }
}

#[tokio::test]
async fn a_task_above_a_handler_is_done_while_all_is_read_at_once() {
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let blob = Blob::from_untrusted_stream(&digest_of(HELLO), receiver, Provenance::store());
    let (handler, _) = Replacing::by([]);
    let blob = blob.with_error_handler(handler).with_task(async move {
        sender.unbounded_send(Ok(HELLO.into())).unwrap();
        Ok(())
    });
    assert_eq!(blob.into_bytes(12).await.unwrap(), HELLO);
}

#[tokio::test]
async fn the_handler_of_a_half_verifies_what_it_pieces_together() {
    for wrong in [false, true] {
        let beginning: &[u8] = if wrong { b"hellO" } else { b"hello" };
        let (first, second) = verified(HELLO, failing(beginning, 2, down())).tee(100);
        let (handler, log) = Replacing::by([good(HELLO)]);
        let (first, second) = futures::join!(read(first.with_error_handler(handler), ..), read(second, ..));
        assert_eq!(kind_of(second.1), Some(ErrorKind::Unavailable));
        assert_eq!(kind_of(first.1), wrong.then_some(ErrorKind::DataLoss));
        assert_eq!(log.lock().unwrap().asked.len(), 1);
    }
}

#[tokio::test]
async fn halves_above_a_handler_ask_it_once() {
    let (handler, log) = Replacing::by([good(HELLO)]);
    let (first, second) = half_read().with_error_handler(handler).tee(100);
    let (first, second) = futures::join!(first.into_bytes(12), second.into_bytes(12));
    assert_eq!((first.unwrap(), second.unwrap()), (HELLO.into(), HELLO.into()));
    assert_eq!(counts(&log), (1, 1));
}

#[tokio::test]
async fn the_handlers_of_two_halves_do_not_know_of_each_other() {
    let failed = Blob::new(&digest_of(HELLO), Body::Failed(down()), Provenance::store());
    let (first, second) = failed.tee(0);
    let (handler, _) = Replacing::by([good(HELLO)]);
    assert_eq!(first.with_error_handler(handler).into_bytes(12).await.unwrap(), HELLO);
    assert_eq!(kind_of(second.into_bytes(12).await), Some(ErrorKind::Unavailable));
}

#[tokio::test]
async fn a_handler_that_replaces_a_source_hides_the_error_of_its_task() {
    let (handler, _) = Replacing::by([good(HELLO)]);
    let blob = half_read().with_task(async { Err(Error::internal("copying failed")) }).with_error_handler(handler);
    assert_eq!(read(blob, ..).await.0, HELLO);
}

#[tokio::test]
async fn an_outer_handler_does_not_cover_up_what_the_inner_one_went_on_from() {
    let wrong = || untrusted(HELLO, failing(b"hello, WO", 1, down()));
    for range in [0..12, 4..12, 6..9] {
        let (inner, _) = Replacing::by([wrong()]);
        let (outer, _) = Replacing::by([good(HELLO)]);
        let blob = vouching().with_error_handler(inner).with_error_handler(outer);
        assert_eq!(kind_of(read(blob, range.clone()).await.1), Some(ErrorKind::DataLoss));
        let (inner, _) = Replacing::by([wrong()]);
        let (outer, _) = Replacing::by([vouching().with_error_handler(inner), good(HELLO)]);
        let blob = vouching().with_error_handler(outer);
        assert_eq!(kind_of(read(blob, range).await.1), Some(ErrorKind::DataLoss));
    }
}
