//! Random contents, cuts, ranges, failures and interleavings.

use futures::FutureExt;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::Compressor;

/// Cuts contents at the given places, which may yield empty pieces.
fn cut(contents: &[u8], cuts: &[Index]) -> Vec<Result<Bytes>> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(contents.len() + 1)).collect();
    at.extend([0, contents.len()]);
    at.sort_unstable();
    at.windows(2).map(|ends| Ok(Bytes::copy_from_slice(&contents[ends[0]..ends[1]]))).collect()
}

/// Makes a blob in one of the forms, which fails at `fails_at`.
fn form(number: usize, contents: &[u8], cuts: &[Index], fails_at: Option<usize>) -> Blob {
    let digest = digest_of(contents);
    let mut pieces = cut(&contents[..fails_at.unwrap_or(contents.len())], cuts);
    if fails_at.is_some() {
        pieces.push(Err(down()));
    }
    let bytes = Bytes::copy_from_slice(contents);
    match number {
        0 if fails_at.is_none() => Blob::from_bytes(bytes),
        1 if fails_at.is_none() => Blob::from_verified_bytes(&digest, bytes),
        2 if fails_at.is_none() => Blob::from_untrusted_bytes(&digest, bytes, Provenance::store()),
        0 | 3 => Blob::from_untrusted_stream(&digest, stream::iter(pieces), Provenance::store()),
        1 | 4 => Blob::from_verified_stream(&digest, stream::iter(pieces)),
        5 => match fails_at {
            None => Blob::from_random_access(&digest, Arc::new(Archive::of(contents))),
            Some(offset) => Blob::from_random_access(&digest, Arc::new(Archive::failing_at(contents, offset as u64))),
        },
        _ => {
            let source = stream::iter(pieces);
            Blob::from_encoded(&digest, Compressor::Zstd, None, source, |stream| stream, Provenance::store())
        }
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing here waits for anything")
}

proptest! {
    #[test]
    fn any_range_of_any_form_is_the_slice(
        contents in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(any::<Index>(), 0..8),
        number in 0..7_usize,
        range in any::<(Index, Index)>(),
        replacements in prop::collection::vec((0..7_usize, any::<Index>()), 0..4),
        last in 0..7_usize,
    ) {
        let start = range.0.index(contents.len() + 1);
        let end = start + range.1.index(contents.len() - start + 1);
        let mut broken: Vec<Blob> = replacements
            .iter()
            .map(|(number, offset)| form(*number, &contents, &cuts, Some(offset.index(contents.len() + 1))))
            .collect();
        let first = broken.pop().unwrap_or_else(|| form(number, &contents, &cuts, None));
        let (handler, log) = Replacing::by(broken.into_iter().chain([form(last, &contents, &cuts, None)]));
        let blob = first.with_error_handler(handler);
        let all = if start == 0 && end == contents.len() && number % 2 == 0 {
            run(blob.into_bytes(1000)).unwrap().to_vec()
        } else {
            let (all, ended) = run(read(blob, start as u64..end as u64));
            ended.unwrap();
            all
        };
        prop_assert_eq!(&all, &contents[start..end]);
        prop_assert_eq!(log.lock().unwrap().dropped, 1);
    }

    #[test]
    fn a_blob_with_one_byte_changed_is_never_handed_out_whole(
        contents in prop::collection::vec(any::<u8>(), 1..200),
        cuts in prop::collection::vec(any::<Index>(), 0..8),
        number in prop::sample::select(vec![2_usize, 3, 6]),
        range in any::<(Index, Index)>(),
        changed in any::<(Index, u8)>(),
        failure in prop::option::of(any::<Index>()),
        vouching in prop::option::of(any::<Index>()),
    ) {
        let start = range.0.index(contents.len());
        let end = start + 1 + range.1.index(contents.len() - start);
        let mut wrong = contents.clone();
        let at = changed.0.index(contents.len());
        wrong[at] ^= changed.1.max(1);
        let length = failure.map_or(contents.len(), |failure| failure.index(contents.len()));
        let mut stale = cut(&wrong[..length], &cuts);
        if failure.is_some() {
            stale.push(Err(down()));
        }
        let digest = digest_of(&contents);
        let wrong = match number {
            2 if failure.is_none() => Blob::from_untrusted_bytes(&digest, wrong.into(), Provenance::store()),
            6 => Blob::from_encoded(&digest, Compressor::Zstd, None, stream::iter(stale), |stream| stream, Provenance::store()),
            _ => Blob::from_untrusted_stream(&digest, stream::iter(stale), Provenance::store()),
        };
        // The wrong one comes first, or goes on from a source that vouches for what it hands out.
        let good = form(1, &contents, &cuts, None);
        let blob = match vouching {
            None => wrong.with_error_handler(Replacing::by([good]).0),
            Some(offset) => {
                let first = form(5, &contents, &cuts, Some(offset.index(contents.len() + 1)));
                first.with_error_handler(Replacing::by([wrong, good]).0)
            }
        };
        let (all, ended) = run(read(blob, start as u64..end as u64));
        if ended.is_ok() {
            prop_assert_eq!(&all, &contents[start..end]);
        } else {
            prop_assert!(all.len() < end - start);
        }
    }

    #[test]
    fn halves_agree_however_they_are_polled(
        contents in prop::collection::vec(any::<u8>(), 0..100),
        cuts in prop::collection::vec(any::<Index>(), 0..10),
        max_apart in 0..40_u64,
        expendable in any::<bool>(),
        fails in any::<bool>(),
        steps in prop::collection::vec(0..6_u8, 0..80),
    ) {
        let mut pieces = cut(&contents, &cuts);
        let largest = pieces.iter().flatten().map(|piece| piece.len() as u64).max().unwrap_or(0);
        if fails {
            pieces.push(Err(down()));
        }
        let (sender, receiver) = futures::channel::mpsc::unbounded();
        let mut pieces = pieces.into_iter();
        let mut sender = Some(sender);
        let blob = Blob::from_untrusted_stream(&digest_of(&contents), receiver, Provenance::store());
        let (first, second) = if expendable { blob.tee_expendable(max_apart) } else { blob.tee(max_apart) };
        let mut halves = [first, second].map(|half| Some((half.into_stream(..).unwrap(), Vec::new())));
        let poll = |halves: &mut [Option<(BlobStream, Vec<u8>)>; 2], side: usize| -> Result<Option<bool>, TestCaseError> {
            let Some((stream, all)) = &mut halves[side] else { return Ok(Some(false)) };
            let next = stream.next().now_or_never();
            match next {
                Some(Some(Ok(piece))) => all.extend_from_slice(&piece),
                Some(None) => {
                    prop_assert!(!fails && *all == contents);
                    return Ok(Some(false));
                }
                Some(Some(Err(error))) => {
                    let left_behind = expendable && side == 1 && error.kind() == ErrorKind::ResourceExhausted;
                    prop_assert!(left_behind || (fails && error.kind() == ErrorKind::Unavailable), "{error}");
                    prop_assert!(contents.is_empty() || all.len() < contents.len());
                    return Ok(Some(false));
                }
                None => return Ok(None),
            }
            prop_assert_eq!(&contents[..all.len()], all.as_slice());
            let lengths: Vec<usize> = halves.iter().flatten().map(|(_, all)| all.len()).collect();
            if let [a, b] = lengths[..] && !expendable {
                // Each reader may hold a piece back by itself.
                prop_assert!(a.abs_diff(b) as u64 <= max_apart + 2 * largest);
            }
            Ok(Some(true))
        };
        for step in steps {
            match step {
                0 | 1 => drop(poll(&mut halves, 0)?),
                2 | 3 => drop(poll(&mut halves, 1)?),
                4 => match (pieces.next(), &sender) {
                    // With one half left behind and the other dropped, nobody takes it.
                    (Some(piece), Some(sender)) => drop(sender.unbounded_send(piece)),
                    _ => sender = None,
                },
                _ => if halves.iter().flatten().count() == 2 && max_apart % 5 == 0 { halves[usize::from(max_apart % 2 == 0)] = None },
            }
        }
        if let Some(sender) = sender.take() {
            pieces.for_each(|piece| drop(sender.unbounded_send(piece)));
        }
        // Whatever came before, both halves end when both are polled, and neither waits for the other twice.
        let mut idle = 0;
        while idle < 3 {
            let (a, b) = (poll(&mut halves, 0)?, poll(&mut halves, 1)?);
            if a == Some(false) && b == Some(false) {
                break;
            }
            idle = if a == Some(true) || b == Some(true) { 0 } else { idle + 1 };
        }
        prop_assert!(idle < 3, "the halves wait for each other");
    }
}
