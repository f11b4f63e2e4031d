//! Tests of the promises of a blob, by theme.
#![expect(clippy::as_conversions, reason = "sizes are small in tests, and trait objects need one")]

mod encoded;
mod finishing;
mod handlers;
mod properties;
mod ranges;
mod reading;
mod tasks;
mod tee;

use std::collections::VecDeque;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use super::{Blob, BlobStream, ErrorHandler, Finish, Provenance, RandomAccess};
use crate::{Digest, DigestFunction, Error, ErrorKind, InstanceName, Result};

const HELLO: &[u8] = b"hello, world";

fn digest_of(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

/// Cuts `contents` into pieces of `size` bytes.
fn pieces(contents: &[u8], size: usize) -> Vec<Result<Bytes>> {
    contents.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

/// Cuts `contents` into pieces, with an error behind them.
fn failing(contents: &[u8], size: usize, error: Error) -> Vec<Result<Bytes>> {
    let mut pieces = pieces(contents, size);
    pieces.push(Err(error));
    pieces
}

/// Makes a stream of `pieces` that claims to be `claimed` and must prove it.
fn untrusted(claimed: &[u8], pieces: Vec<Result<Bytes>>) -> Blob {
    Blob::from_untrusted_stream(&digest_of(claimed), stream::iter(pieces), Provenance::store())
}

fn verified(claimed: &[u8], pieces: Vec<Result<Bytes>>) -> Blob {
    Blob::from_verified_stream(&digest_of(claimed), stream::iter(pieces))
}

fn down() -> Error {
    Error::unavailable("store is down")
}

/// Makes a stream that never yields anything.
fn silent() -> impl Stream<Item = Result<Bytes>> + Send {
    stream::pending()
}

/// Returns the bytes handed out, and how the stream ended.
async fn drain(mut stream: BlobStream) -> (Vec<u8>, Result<()>) {
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => {
                assert!(!piece.is_empty(), "a piece is empty");
                all.extend_from_slice(&piece);
            }
            Err(error) => return (all, Err(error)),
        }
    }
    (all, Ok(()))
}

async fn read(blob: Blob, range: impl RangeBounds<u64>) -> (Vec<u8>, Result<()>) {
    match blob.into_stream(range) {
        Ok(stream) => drain(stream).await,
        Err(error) => (Vec::new(), Err(error)),
    }
}

fn kind_of<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Returns `contents` in every form that a source can have.
fn every_form(contents: &'static [u8]) -> Vec<Blob> {
    let digest = digest_of(contents);
    let bytes = Bytes::from_static(contents);
    vec![
        Blob::from_bytes(bytes.clone()),
        Blob::from_verified_bytes(&digest, bytes.clone()),
        Blob::from_untrusted_bytes(&digest, bytes.clone(), Provenance::store()),
        untrusted(contents, pieces(contents, 5)),
        verified(contents, pieces(contents, 5)),
        Blob::from_random_access(&digest, Arc::new(Archive::of(contents))),
        encoded::mirrored(contents, contents),
    ]
}

/// A random-access source that records its reads, and fails from a certain offset on.
struct Archive {
    contents: Bytes,
    fails_at: Option<u64>,
    reads: Arc<Mutex<Vec<(u64, usize)>>>,
}

impl Archive {
    fn of(contents: &[u8]) -> Self {
        Self { contents: Bytes::copy_from_slice(contents), fails_at: None, reads: Arc::default() }
    }

    fn failing_at(contents: &[u8], offset: u64) -> Self {
        Self { fails_at: Some(offset), ..Self::of(contents) }
    }
}

#[async_trait]
impl RandomAccess for Archive {
    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        self.reads.lock().unwrap().push((offset, length));
        let mut end = (usize::try_from(offset).unwrap() + length).min(self.contents.len());
        if let Some(fails_at) = self.fails_at {
            if offset >= fails_at {
                return Err(down());
            }
            end = end.min(usize::try_from(fails_at).unwrap());
        }
        Ok(self.contents.slice(usize::try_from(offset).unwrap()..end))
    }
}

/// The errors that a handler was asked about, and how often it was dropped.
#[derive(Default)]
struct Log {
    asked: Vec<ErrorKind>,
    dropped: usize,
}

/// A handler that returns each of its replacements in turn, and then gives up.
struct Replacing {
    replacements: VecDeque<Blob>,
    log: Arc<Mutex<Log>>,
}

impl Replacing {
    fn by(replacements: impl IntoIterator<Item = Blob>) -> (Self, Arc<Mutex<Log>>) {
        let log = Arc::<Mutex<Log>>::default();
        (Self { replacements: replacements.into_iter().collect(), log: Arc::clone(&log) }, log)
    }
}

#[async_trait]
impl ErrorHandler for Replacing {
    async fn on_error(&mut self, error: Error) -> Result<Blob> {
        self.log.lock().unwrap().asked.push(error.kind());
        self.replacements.pop_front().ok_or_else(|| error.at("gave up"))
    }
}

impl Drop for Replacing {
    fn drop(&mut self) {
        self.log.lock().unwrap().dropped += 1;
    }
}

/// The arguments of a callback, in order.
struct Told<T>(Arc<Mutex<Vec<T>>>);

impl<T: Send + 'static + Clone> Told<T> {
    fn new() -> (Self, impl FnOnce(T) + Send + 'static) {
        let all = Arc::<Mutex<Vec<T>>>::default();
        let told = Arc::clone(&all);
        (Self(all), move |value| told.lock().unwrap().push(value))
    }

    fn all(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }
}

/// Returns a blob, and the record of its verdict.
fn judged(claimed: &[u8], pieces: Vec<Result<Bytes>>) -> (Blob, Told<bool>) {
    let (verdict, tell) = Told::new();
    let provenance = Provenance::store_with_verdict(tell);
    (Blob::from_untrusted_stream(&digest_of(claimed), stream::iter(pieces), provenance), verdict)
}

/// Returns the blob, and the record of how reading it ended.
fn watched(blob: Blob) -> (Blob, Told<Finish>) {
    let (told, tell) = Told::new();
    (blob.on_finish(tell), told)
}

/// Returns how often a handler was asked and how often dropped.
fn counts(log: &Mutex<Log>) -> (usize, usize) {
    let log = log.lock().unwrap();
    (log.asked.len(), log.dropped)
}
