use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blobaccess::{Clock, Context, PutOutcome, SystemClock};
use futures::{FutureExt, StreamExt};
use tonic::{Code, Request};

use super::*;
use crate::server::outcome_trailer::OutcomeTrailer;
use crate::server::recorded_frames as frames;
use crate::server::watched_store::sha256;

const CONTENTS: &[u8] = b"hello world, hello all";

/// Asserts that the upload is refused and leaves nothing, and that the next valid one is accepted.
async fn refused(name: &str, uploaded: Vec<bs::WriteRequest>) -> Status {
    let store = WatchedStore::new();
    let mut client = client(&store);
    let error = write(&mut client, uploaded).await.unwrap_err();
    let digest = sha256(CONTENTS);
    assert!(!store.has(&digest).await, "{name}");
    let committed = write(&mut client, messages(&write_name(&digest), CONTENTS, 7)).await.unwrap();
    assert_eq!(committed, 22);
    assert!(store.has(&digest).await);
    error
}

#[tokio::test]
async fn an_upload_arrives_in_messages_of_any_size_and_any_instance_name() {
    for size in [1, 14, 22, 100] {
        let store = WatchedStore::new();
        let digest = sha256(CONTENTS);
        for name in [write_name(&digest), format!("a/b/{}/some/file", write_name(&digest))] {
            let committed = write(&mut client(&store), messages(&name, CONTENTS, size)).await.unwrap();
            assert_eq!(committed, 22);
        }
        assert!(store.has(&digest).await);
    }
}

#[tokio::test]
async fn messages_without_data_and_with_the_name_again_are_fine() {
    let store = WatchedStore::new();
    let digest = sha256(CONTENTS);
    let mut uploaded = messages(&write_name(&digest), CONTENTS, 10);
    for message in &mut uploaded {
        message.resource_name = write_name(&digest);
    }
    uploaded[2].finish_write = false;
    uploaded.insert(1, bs::WriteRequest { write_offset: 10, ..Default::default() });
    uploaded.push(bs::WriteRequest { write_offset: 22, finish_write: true, ..Default::default() });
    assert_eq!(write(&mut client(&store), uploaded).await.unwrap(), 22);
    assert!(store.has(&digest).await);
    let empty = sha256(b"");
    assert_eq!(write(&mut client(&store), messages(&write_name(&empty), b"", 1)).await.unwrap(), 0);
    assert!(store.has(&empty).await);
}

#[tokio::test]
async fn an_upload_without_a_request_or_with_a_bad_name_is_refused() {
    let error = refused("none", Vec::new()).await;
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("without a request"), "{error}");
    let good = write_name(&sha256(CONTENTS));
    for name in [
        "",
        "This is an incorrect resource name",
        &good.replace("uploads/", ""),
        &good.replace("blobs/", ""),
        &good.to_uppercase(),
        &good.replace("/22", "/-22"),
        &good.replace("/22", ""),
    ] {
        let error = refused(name, messages(name, CONTENTS, 100)).await;
        assert_eq!(error.code(), Code::InvalidArgument, "{name}: {error}");
    }
    for compressor in ["deflate", "xyzzy"] {
        let name = good.replace("blobs/", &format!("compressed-blobs/{compressor}/"));
        assert_eq!(refused(&name, messages(&name, CONTENTS, 100)).await.code(), Code::Unimplemented);
    }
}

#[tokio::test]
async fn messages_that_do_not_follow_each_other_are_refused() {
    let good = messages(&write_name(&sha256(CONTENTS)), CONTENTS, 10);
    let changed = |change: fn(&mut Vec<bs::WriteRequest>)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed
    };
    for (what, uploaded, expected) in [
        ("first offset", changed(|all| all[0].write_offset = 5), "at offset 5 was requested, while 0"),
        ("gap", changed(|all| all[1].write_offset = 11), "at offset 11 was requested, while 10"),
        ("overlap", changed(|all| all[2].write_offset = 10), "at offset 10 was requested, while 20"),
        ("negative", changed(|all| all[1].write_offset = -1), "at offset -1 was requested, while 10"),
        ("other name", changed(|all| all[1].resource_name = "other".into()), "differs from that of the first"),
        ("unfinished", changed(|all| all[2].finish_write = false), "after 22 bytes, without finishing it"),
        ("cut short", changed(|all| drop(all.pop())), "after 20 bytes, without finishing it"),
        ("finished early", changed(|all| all[1].finish_write = true), "behind the one that finished"),
        ("finished twice", changed(|all| all.push(all[2].clone())), "behind the one that finished"),
        (
            "data behind the end",
            changed(|all| all.push(bs::WriteRequest { write_offset: 22, data: "!".into(), ..Default::default() })),
            "behind the one that finished",
        ),
    ] {
        let error = refused(what, uploaded).await;
        assert_eq!(error.code(), Code::InvalidArgument, "{what}: {error}");
        assert!(error.message().contains(expected), "{what}: {error}");
    }
}

#[tokio::test]
async fn contents_that_are_not_those_of_the_digest_are_refused() {
    let name = write_name(&sha256(CONTENTS));
    for (contents, expected) in [
        (&b"hello world, hello all!"[..], "at least 23 bytes, while at most 22"),
        (b"hello world, hello al", "is 21 bytes, while 22 bytes were expected"),
        (b"hello world, hello alL", "has hash"),
        (b"", "is 0 bytes, while 22 bytes were expected"),
    ] {
        for size in [1, 5, 100] {
            let error = refused("contents", messages(&name, contents, size)).await;
            assert_eq!(error.code(), Code::InvalidArgument, "{error}");
            assert!(error.message().contains(expected), "{error}");
        }
    }
}

#[tokio::test]
async fn compressed_uploads_are_decoded_whatever_their_frames_and_messages() {
    for (contents, frame) in [
        (frames::CONTENTS, frames::PLAIN),
        (frames::CONTENTS, frames::PLAIN_WITHOUT_SIZE),
        (b"first second\n", frames::TWO_FRAMES),
        (b"", frames::EMPTY),
        (&vec![0; 1_000_000], frames::MILLION_ZEROS),
    ] {
        for size in [1, 3, 14, 1000] {
            let store = WatchedStore::new();
            let digest = sha256(contents);
            let committed = write(&mut client(&store), messages(&zstd_name(&digest), frame, size)).await.unwrap();
            assert_eq!(usize::try_from(committed).unwrap(), frame.len());
            assert!(store.has(&digest).await);
        }
    }
}

#[tokio::test]
async fn a_large_compressed_upload_commits_its_compressed_size() {
    let store = WatchedStore::new();
    let contents: Vec<u8> = (0..3_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let frame = zstd::bulk::compress(&contents, 1).unwrap();
    let digest = sha256(&contents);
    let committed = write(&mut client(&store), messages(&zstd_name(&digest), &frame, 10_000)).await.unwrap();
    assert_eq!(usize::try_from(committed).unwrap(), frame.len());
    assert!(store.has(&digest).await);
}

#[tokio::test]
async fn compressed_uploads_that_are_wrong_are_refused() {
    let digest = sha256(CONTENTS);
    let right = zstd::bulk::compress(CONTENTS, 1).unwrap();
    let twice = [&*right, &*right].concat();
    let empty_frames = frames::EMPTY.repeat(90_000);
    for (frame, expected) in [
        (&right[..right.len() - 1], "ends within a frame"),
        (&right[..3], "ends within a frame"),
        (b"no zstd at all", "cannot be decoded"),
        (frames::MILLION_ZEROS, "at least"),
        (frames::PLAIN, "at least 35 bytes, while 22"),
        (frames::TWO_FRAMES, "is 13 bytes, while 22"),
        (&twice, "at least 44 bytes, while 22"),
        (b"", "is 0 bytes, while 22"),
        (&empty_frames, "while at most 1048928 are permitted"),
    ] {
        for size in [13, 100_000] {
            let error = refused("zstd", messages(&zstd_name(&digest), frame, size)).await;
            assert_eq!(error.code(), Code::InvalidArgument, "{error}");
            assert!(error.message().contains(expected), "{expected}: {error}");
        }
    }
    let mut gap = messages(&zstd_name(&digest), &right, 10);
    gap[1].write_offset = 11;
    assert_eq!(refused("gap", gap).await.code(), Code::InvalidArgument);
    let mut shifted = messages(&zstd_name(&digest), &right, 100);
    shifted[0].write_offset = 1;
    assert_eq!(refused("first offset", shifted).await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_blob_that_is_there_is_answered_for_before_its_data_is_read() {
    let store = WatchedStore::new();
    let digest = store.add(CONTENTS).await;
    let mut client = client(&store);
    let first = bs::WriteRequest { resource_name: write_name(&digest), ..Default::default() };
    // What would follow never comes.
    let uploaded = stream::iter([first]).chain(stream::pending());
    assert_eq!(client.write(uploaded).await.unwrap().into_inner().committed_size, 22);
}

#[tokio::test(start_paused = true)]
async fn a_compressed_upload_of_what_is_there_is_read_to_its_end_but_no_further_than_it_may_be() {
    let store = WatchedStore::new();
    let digest = store.add(CONTENTS).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let upload = async |messages: Vec<bs::WriteRequest>, ends: bool| {
        taken.store(0, Ordering::SeqCst);
        let counted = Arc::clone(&taken);
        let counting = stream::iter(messages).inspect(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let rest = if ends { stream::empty().left_stream() } else { stream::pending().right_stream() };
        let answer = client(&store).write(counting.chain(rest)).await.unwrap().into_inner();
        (answer.committed_size, taken.load(Ordering::SeqCst))
    };
    // Nobody looks into it, so that it need not be zstd.
    let whole = messages(&zstd_name(&digest), &[7; 1000], 100);
    let began = SystemClock.monotonic();
    assert_eq!(upload(whole.clone(), true).await, (1000, 10));
    assert_eq!(upload(whole.clone(), false).await, (1000, 10), "it has finished, though it was not closed");
    assert!(SystemClock.monotonic() - began < Duration::from_secs(10));
    assert_eq!(upload(whole[..9].to_vec(), true).await, (-1, 9));
    // A client that falls silent is answered.
    assert_eq!(upload(whole[..9].to_vec(), false).await, (-1, 9));
    let max = usize::try_from(crate::server::byte_stream::write::max_discarded_bytes(digest.size_bytes())).unwrap();
    let endless = messages(&zstd_name(&digest), &vec![7; 8 * max], max / 8);
    let (committed, taken) = upload(endless, false).await;
    assert!(committed == -1 && (8..32).contains(&taken), "{committed} {taken}");
}

#[tokio::test(start_paused = true)]
async fn an_upload_ends_when_it_is_finished_and_waits_for_no_half_close() {
    let store = WatchedStore::new();
    let digest = sha256(CONTENTS);
    let uploaded = stream::iter(messages(&write_name(&digest), CONTENTS, 10)).chain(stream::pending());
    let committed = client(&store).write(uploaded).await.unwrap().into_inner().committed_size;
    assert_eq!(committed, 22);
    assert!(store.has(&digest).await);
}

#[tokio::test(start_paused = true)]
async fn an_idle_upload_ends_and_leaves_nothing() {
    let store = WatchedStore::new();
    let digest = sha256(CONTENTS);
    let options = ServiceOptions::default().with_upload_idle_timeout(Duration::from_secs(7));
    let service = service(&store, options);
    let start = SystemClock.monotonic();
    for said in 0..3 {
        let uploaded = messages(&write_name(&digest), CONTENTS, 10).into_iter().take(said).map(Ok);
        let uploaded = stream::iter(uploaded).chain(stream::pending());
        let error = service.write_blob(&Context::background(), uploaded).await.unwrap_err();
        assert_eq!(error.kind(), blobaccess::ErrorKind::DeadlineExceeded, "{error}");
        assert!(error.message().contains("for 7 s"), "{error}");
    }
    assert_eq!(SystemClock.monotonic() - start, Duration::from_secs(21));
    assert!(!store.has(&digest).await);
}

#[tokio::test(start_paused = true)]
async fn empty_messages_do_not_hold_up_the_answer_to_an_upload_of_what_is_there() {
    let store = WatchedStore::new();
    let digest = store.add(CONTENTS).await;
    let options = ServiceOptions::default().with_upload_idle_timeout(Duration::from_secs(7));
    let first = bs::WriteRequest { resource_name: zstd_name(&digest), ..Default::default() };
    let empty = stream::repeat(bs::WriteRequest::default()).take(1000).then(|message| async {
        let clock = SystemClock;
        clock.sleep_until(clock.monotonic() + Duration::from_secs(1)).await;
        message
    });
    let start = SystemClock.monotonic();
    let service = service(&store, options);
    let messages = stream::iter([first]).chain(empty).map(Ok);
    let written = service.write_blob(&Context::background(), messages.boxed()).await.unwrap();
    assert_eq!(written.committed_size, -1);
    assert_eq!(SystemClock.monotonic() - start, Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_sends_only_empty_messages_ends() {
    let store = WatchedStore::new();
    let digest = sha256(CONTENTS);
    let options = ServiceOptions::default().with_upload_idle_timeout(Duration::from_secs(7));
    let first = bs::WriteRequest { resource_name: write_name(&digest), ..Default::default() };
    let empty = stream::repeat(bs::WriteRequest::default()).take(1000).then(|message| async {
        let clock = SystemClock;
        clock.sleep_until(clock.monotonic() + Duration::from_secs(1)).await;
        message
    });
    let start = SystemClock.monotonic();
    let service = service(&store, options);
    let messages = stream::iter([first]).chain(empty).map(Ok);
    let error = service.write_blob(&Context::background(), messages.boxed()).await.unwrap_err();
    assert_eq!(error.kind(), blobaccess::ErrorKind::DeadlineExceeded, "{error}");
    assert_eq!(SystemClock.monotonic() - start, Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_keeps_talking_is_not_idle() {
    let store = WatchedStore::new();
    let digest = sha256(CONTENTS);
    let options = ServiceOptions::default().with_upload_idle_timeout(Duration::from_secs(7));
    let slow = stream::iter(messages(&write_name(&digest), CONTENTS, 3)).then(|message| async {
        let clock = SystemClock;
        let then = clock.monotonic() + Duration::from_secs(6);
        clock.sleep_until(then).await;
        Ok(message)
    });
    let service = service(&store, options);
    let written = service.write_blob(&Context::background(), slow.boxed()).await.unwrap();
    assert_eq!(written.outcome, PutOutcome::Created { stored_bytes: 22 });
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let store = WatchedStore::new();
    let digest = sha256(CONTENTS);
    let service = service(&store, ServiceOptions::default());
    let ctx = Context::background();
    let begun = || stream::iter(messages(&write_name(&digest), CONTENTS, 10).into_iter().take(2).map(Ok));
    let mut dropped = Box::pin(service.write_blob(&ctx, begun().chain(stream::pending())));
    assert!(dropped.as_mut().now_or_never().is_none());
    drop(dropped);
    let broken = stream::iter([Err(Status::cancelled("stream was reset"))]);
    let error = service.write_blob(&ctx, begun().chain(broken)).await.unwrap_err();
    assert_eq!(error.kind(), blobaccess::ErrorKind::Cancelled);
    assert!(!store.has(&digest).await);
    let whole = stream::iter(messages(&write_name(&digest), CONTENTS, 10).into_iter().map(Ok));
    assert_eq!(service.write_blob(&ctx, whole).await.unwrap().committed_size, 22);
}

#[tokio::test]
async fn the_outcome_is_left_for_who_asks() {
    let store = WatchedStore::new();
    let digest = sha256(CONTENTS);
    let mut client = client(&store);
    let mut outcome = async |asked: bool| {
        let mut request = Request::new(stream::iter(messages(&write_name(&digest), CONTENTS, 10)));
        if asked {
            request.metadata_mut().insert("blobaccess-outcome", "1".parse().unwrap());
        }
        let response = client.write(request).await.unwrap();
        response.extensions().get::<OutcomeTrailer>().map(|trailer| trailer.0)
    };
    assert_eq!(outcome(true).await, Some(PutOutcome::Created { stored_bytes: 22 }));
    assert_eq!(outcome(true).await, Some(PutOutcome::AlreadyExists { stored_bytes: 22 }));
    assert_eq!(outcome(false).await, None);
}
