//! Equal large puts at once: all of them write one copy, and whichever is complete first stores it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use blobaccess::{Error, Result, blocking};
use bytes::Bytes;

use super::under_way::{Busy, Needs, Place, UnderWay};
use crate::engine::{CopyPart, Engine, LargeWriter, Mode, Owner, Put, Read};
use crate::key::Key;
use crate::machine::casts;
use crate::machine::concurrency::locks::{Mutex, MutexGuard, enter};
use crate::object::checksums::PIECE_BYTES;

/// The copies that large puts are writing, by key.
#[derive(Debug, Default)]
pub(crate) struct EqualPuts(Mutex<HashMap<Key, Weak<SharedCopy>>>);

/// A copy that equal puts write together.
///
/// A put that is ahead of all others writes its next piece. One that is behind compares its piece with the copy. So a put
/// that is complete, and whose contents are verified, knows that all of the copy is right, and publishes it. No put waits
/// for another, and a copy takes its space once. Bytes that differ are a lie of one of the puts: the one that finds them
/// goes on with a copy of its own.
#[derive(Debug)]
pub(crate) struct SharedCopy {
    place: Place,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
enum State {
    /// No byte has arrived.
    Waiting,
    Writing(Box<LargeWriter>),
    /// It is published, or was given up.
    Ended,
}

/// A put that takes part in a copy.
pub(crate) struct PutPart<'a> {
    puts: &'a EqualPuts,
    key: Key,
    size_bytes: u64,
    owner: Owner,
    copy: Arc<SharedCopy>,
    /// The copy that the put left, as its bytes are others; it has the first `at` bytes.
    left: Option<Arc<SharedCopy>>,
    /// The number of bytes that are written, or compared.
    at: u64,
}

/// The result of taking a piece.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Done,
    /// A block must be recycled first.
    NeedsSpace,
    /// The copy is published or given up.
    Ended,
}

/// The next step of a put with a piece.
enum Step {
    Done,
    Begin,
    Ended,
    Differs,
    /// The number of bytes that are equal, if these ranges on the device are.
    Compare(u64, Vec<(CopyPart, Bytes)>),
}

impl EqualPuts {
    fn copies(&self) -> MutexGuard<'_, HashMap<Key, Weak<SharedCopy>>> {
        enter(&self.0)
    }

    /// Returns the part of a put that begins now. It takes no space before its first byte.
    pub(crate) fn join(&self, under_way: &Arc<UnderWay>, key: Key, size_bytes: u64, owner: Owner) -> PutPart<'_> {
        let mut copies = self.copies();
        let known = copies.get(&key).and_then(Weak::upgrade).filter(|copy| !copy.is_ended());
        let copy = known.unwrap_or_else(|| {
            if copies.len().is_power_of_two() {
                copies.retain(|_, copy| copy.strong_count() > 0);
            }
            let copy = SharedCopy::new(under_way);
            copies.insert(key, Arc::downgrade(&copy));
            copy
        });
        drop(copies);
        PutPart { puts: self, key, size_bytes, owner, copy, left: None, at: 0 }
    }
}

impl SharedCopy {
    fn new(under_way: &Arc<UnderWay>) -> Arc<Self> {
        let state = Arc::new(Mutex::new(State::Waiting));
        let ended = Arc::downgrade(&state);
        let end = move || {
            let before = ended.upgrade().map(|state| std::mem::replace(&mut *enter(&state), State::Ended));
            drop(before);
        };
        Arc::new(Self { place: under_way.begin(end), state })
    }

    fn is_ended(&self) -> bool {
        matches!(*enter(&self.state), State::Ended)
    }

    fn is_waiting(&self) -> bool {
        matches!(*enter(&self.state), State::Waiting)
    }

    fn is_being_written(&self) -> bool {
        matches!(*enter(&self.state), State::Writing(_))
    }

    /// Takes a piece that begins at `at`, as far as nobody was faster.
    fn take(&self, at: u64, piece: &Bytes) -> Result<Step> {
        let mut state = enter(&self.state);
        let writer = match &mut *state {
            State::Waiting => return Ok(Step::Begin),
            State::Writing(writer) => writer,
            State::Ended => return Ok(Step::Ended),
        };
        let known = writer.written().saturating_sub(at).min(casts::on_device(piece.len()));
        if known == 0 {
            writer.write(piece)?;
            return Ok(Step::Done);
        }
        let mut elsewhere = Vec::new();
        for (part, held) in writer.parts(at, known) {
            let (from, to) = (casts::in_memory(part.from - at), casts::in_memory(part.to - at));
            let mine = piece.get(from..to).unwrap_or_default();
            match held {
                Some(held) if held == mine => {}
                Some(_) => return Ok(Step::Differs),
                None => elsewhere.push((part, piece.slice(from..to))),
            }
        }
        Ok(Step::Compare(known, elsewhere))
    }

    /// Copies the first `length` bytes of `other` into this one, which has begun. It may block.
    fn copy_from(&self, engine: &Engine, other: &Self, length: u64) -> Result<()> {
        let mut at = 0;
        while at < length {
            let to = length.min(at + PIECE_BYTES);
            let mut piece = Vec::with_capacity(casts::in_memory(to - at));
            let mut elsewhere = Vec::new();
            {
                let state = enter(&other.state);
                let State::Writing(writer) = &*state else { return Err(gone()) };
                for (part, held) in writer.parts(at, to - at) {
                    if let Some(held) = held {
                        piece.extend_from_slice(held);
                    } else {
                        let from = piece.len();
                        piece.resize(from + casts::in_memory(part.to - part.from), 0);
                        elsewhere.push((part, from));
                    }
                }
            }
            for (part, from) in elsewhere {
                let Read::Bytes(bytes) = engine.read_copy(&part, Mode::Waiting)? else { return Err(gone()) };
                if let Some(to) = piece.get_mut(from..from + bytes.len()) {
                    to.copy_from_slice(&bytes);
                }
            }
            // While they were read, the copy may have been given up, and its space taken by others.
            if !other.is_being_written() {
                return Err(gone());
            }
            match &mut *enter(&self.state) {
                State::Writing(writer) => writer.write(&piece)?,
                State::Waiting | State::Ended => return Err(gone()),
            }
            at = to;
        }
        Ok(())
    }
}

fn gone() -> Error {
    Error::unavailable("an equal put ended while its bytes were compared")
}

impl PutPart<'_> {
    /// Waits for `work`, unless the put gives way to others first.
    ///
    /// # Errors
    ///
    /// That of the work; `Unavailable` if the put gave way.
    pub(crate) async fn unless_given_way<T>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.copy.place.unless_given_way(work).await
    }

    /// Notes that the put waits for the store, not for its sender, until the result is dropped.
    pub(crate) fn begin_work(&self) -> Busy {
        self.copy.place.begin_work()
    }

    /// Takes the rest of `piece`, the next one of the contents. What was taken of it is gone from it afterwards.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the device fails, or the put gave way to others.
    pub(crate) async fn take(&mut self, engine: &Arc<Engine>, piece: &mut Bytes) -> Result<Taken> {
        while !piece.is_empty() {
            match self.copy.take(self.at, piece)? {
                Step::Done => {
                    self.at += casts::on_device(piece.len());
                    piece.clear();
                }
                Step::Begin => {
                    if !self.begin(engine).await? {
                        return Ok(Taken::NeedsSpace);
                    }
                }
                Step::Ended => {
                    self.copy.place.check()?;
                    return Ok(Taken::Ended);
                }
                Step::Differs => self.part_ways(),
                Step::Compare(known, elsewhere) => {
                    if are_equal(engine, elsewhere).await? {
                        self.at += known;
                        drop(piece.split_to(casts::in_memory(known)));
                    } else {
                        self.part_ways();
                    }
                }
            }
        }
        self.copy.place.note_progress();
        Ok(Taken::Done)
    }

    /// Goes on with a copy of its own.
    fn part_ways(&mut self) {
        let own = SharedCopy::new(&self.copy.place.under_way());
        self.left = Some(std::mem::replace(&mut self.copy, own));
    }

    /// Reserves space for the copy, unless an equal put has done so by now. Returns false if a block must be
    /// recycled first.
    async fn begin(&mut self, engine: &Arc<Engine>) -> Result<bool> {
        let needs = Needs { reservations: 1, space_bytes: self.size_bytes, ..Needs::default() };
        let left = self.left.as_ref().map(|left| &left.place);
        if !self.copy.place.take(needs, left, || self.copy.is_waiting()).await? {
            return Ok(true);
        }
        let has_begun = {
            let mut state = enter(&self.copy.state);
            match &*state {
                State::Writing(_) | State::Ended => None,
                State::Waiting => Some(match engine.begin_large(self.size_bytes, &self.owner)? {
                    Some(writer) => {
                        *state = State::Writing(Box::new(writer));
                        true
                    }
                    None => false,
                }),
            }
        };
        if has_begun != Some(true) {
            self.copy.place.give_back(&needs);
        }
        if has_begun == Some(false) && engine.must_wait_for_uploads(self.size_bytes) {
            self.copy.place.wait_for_others(left).await?;
            return Ok(true);
        }
        if has_begun == Some(true) {
            self.copy.place.notify();
        }
        if has_begun == Some(true)
            && let Some(left) = self.left.take()
        {
            let (engine, own, at) = (Arc::clone(engine), Arc::clone(&self.copy), self.at);
            blocking(move || own.copy_from(&engine, &left, at)).await?;
            // Those that come later, and are likelier to be right with this one, share it.
            self.puts.copies().insert(self.key, Arc::downgrade(&self.copy));
        }
        Ok(has_begun != Some(false))
    }

    /// Publishes the copy, all of which was verified, and makes it visible to an instance name, if there is one. `None`
    /// if it was published or given up before.
    ///
    /// # Errors
    ///
    /// As [`LargeWriter::finish`].
    pub(crate) fn publish(self, name: Option<&Key>) -> Option<Result<Put>> {
        // An equal put that finds the copy ended looks the blob up, so it must not find that before the blob is stored.
        let mut state = enter(&self.copy.state);
        let State::Writing(mut writer) = std::mem::replace(&mut *state, State::Ended) else { return None };
        writer.set_owner(&self.owner);
        let put = writer.finish(&self.key, name);
        drop(state);
        // Those that read on to verify their bytes keep no room.
        self.copy.place.end();
        Some(put)
    }
}

impl Drop for PutPart<'_> {
    fn drop(&mut self) {
        let mut copies = self.puts.copies();
        let is_last = Arc::strong_count(&self.copy) == 1;
        if is_last && copies.get(&self.key).is_some_and(|known| known.as_ptr() == Arc::as_ptr(&self.copy)) {
            copies.remove(&self.key);
        }
    }
}

/// Returns whether ranges of a copy that went to the device have these bytes.
async fn are_equal(engine: &Arc<Engine>, ranges: Vec<(CopyPart, Bytes)>) -> Result<bool> {
    for (part, mine) in ranges {
        let read = match engine.read_copy(&part, Mode::AtOnce)? {
            Read::NotAtOnce => {
                let engine = Arc::clone(engine);
                blocking(move || engine.read_copy(&part, Mode::Waiting)).await?
            }
            known @ (Read::Bytes(_) | Read::Gone) => known,
        };
        let Read::Bytes(bytes) = read else { return Err(gone()) };
        if *bytes != *mine {
            return Ok(false);
        }
    }
    Ok(true)
}
