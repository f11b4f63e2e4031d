//! Questions that are being asked of a store, which whoever wants to know the same waits for.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

use super::found::Found;
use crate::{BlobAccess, Context, Digest, DigestKey, DigestSet, KeyFormat, Result};

/// How many digests are looked up before others get a turn at the lock. One look-up among 200,000
/// took up to 1 µs on a loaded machine.
const DIGESTS_PER_LOCK: usize = 256;

/// What a question comes to: those of its digests that are missing, sorted. Whoever awaits it drives it on.
pub(super) type Answer = Shared<BoxFuture<'static, Result<Arc<[DigestKey]>>>>;
type WeakAnswer = WeakShared<BoxFuture<'static, Result<Arc<[DigestKey]>>>>;

/// What was found lately, and what is being asked about.
pub(super) struct Questions(Mutex<State>);

struct State {
    found: Found,
    asked: HashMap<DigestKey, Asked>,
    /// The number of questions so far, which numbers them.
    questions: u64,
}

/// The question that will tell of a digest.
///
/// It is not kept alive from here: a question that nobody waits for any more is not to hold what it has of the store.
struct Asked {
    question: u64,
    answer: WeakAnswer,
}

/// Some of the digests that somebody wants to know of, and the question that will tell.
pub(super) struct Part {
    pub(super) own: bool,
    pub(super) digests: Vec<Digest>,
    pub(super) answer: Answer,
}

impl Questions {
    pub(super) fn new(found: Found) -> Self {
        Self(Mutex::new(State { found, asked: HashMap::new(), questions: 0 }))
    }

    /// No [`Answer`] may be dropped while this is held: with the last one goes its [`Ticket`], which locks too.
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is of one digest, and complete by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of `digests` that were not found lately.
    pub(super) fn not_found_lately(&self, digests: &DigestSet, format: KeyFormat, now: Instant) -> DigestSet {
        let mut unknown = Vec::new();
        for some in digests.as_slice().chunks(DIGESTS_PER_LOCK) {
            let mut state = self.lock();
            unknown.extend(some.iter().filter(|digest| !state.found.contains(&digest.cache_key(format), now)));
        }
        if unknown.len() == digests.len() { digests.clone() } else { unknown.into_iter().cloned().collect() }
    }

    pub(super) fn is_found(&self, key: &DigestKey, now: Instant) -> bool {
        self.lock().found.contains(key, now)
    }

    pub(super) fn remember(&self, key: DigestKey, at: Instant) {
        self.lock().found.add(key, at);
    }

    /// Forgets that `key` was found, also by a question that is under way.
    pub(super) fn forget(&self, key: &DigestKey) {
        let mut state = self.lock();
        state.found.forget(key);
        state.asked.remove(key);
    }

    /// Lets nobody wait for a question about `key` that began before the returned value is dropped.
    pub(super) fn outdating(self: &Arc<Self>, key: DigestKey) -> Outdating {
        Outdating { questions: Arc::clone(self), key }
    }

    /// Divides `digests` into those that somebody is asking about already, if those may be `joined`, and a question
    /// about all others.
    pub(super) fn divide<B: BlobAccess>(
        self: &Arc<Self>,
        store: &Arc<B>,
        ctx: &Context,
        digests: &DigestSet,
        now: Instant,
        joined: bool,
    ) -> Vec<Part> {
        let format = store.key_format();
        // Declared before the lock is taken, so that no answer in them is dropped under it.
        let mut parts: Vec<Part> = Vec::new();
        let mut passed_over: Vec<Answer> = Vec::new();
        let mut part_of_question = HashMap::new();
        let mut own = Vec::new();
        let mut own_keys: Vec<DigestKey> = Vec::new();
        // What differs by nothing but an instance name without meaning stands together.
        let mut asked_too: Vec<Digest> = Vec::new();

        let mut state = self.lock();
        let mut last: Option<DigestKey> = None;
        for digest in digests {
            let key = digest.cache_key(format);
            if last.as_ref() == Some(&key) {
                asked_too.push(digest.clone());
                continue;
            }
            if state.found.contains(&key, now) {
                continue;
            }
            let asked = state.asked.get(&key).and_then(|asked| Some((asked.question, asked.answer.upgrade()?)));
            match asked {
                Some((question, answer)) if joined => {
                    let part = *part_of_question.entry(question).or_insert(parts.len());
                    match parts.get_mut(part) {
                        Some(part) => {
                            part.digests.push(digest.clone());
                            passed_over.push(answer);
                        }
                        None => parts.push(Part { own: false, digests: vec![digest.clone()], answer }),
                    }
                    continue;
                }
                Some((_, answer)) => passed_over.push(answer),
                None => own_keys.push(key.clone()),
            }
            own.push(digest.clone());
            last = Some(key);
        }
        if own.is_empty() {
            return parts;
        }
        state.questions += 1;
        let question = state.questions;
        let ticket =
            Ticket { questions: Arc::clone(self), question, digests: DigestSet::from(own.clone()), format, now };
        let answer = ticket.ask(Arc::clone(store), ctx.clone()).shared();
        if let Some(weak) = answer.downgrade() {
            state.asked.extend(own_keys.into_iter().map(|key| (key, Asked { question, answer: weak.clone() })));
        }
        own.append(&mut asked_too);
        parts.push(Part { own: true, digests: own, answer });
        parts
    }
}

/// A question under way.
struct Ticket {
    questions: Arc<Questions>,
    question: u64,
    /// What is asked about; none once it is answered.
    digests: DigestSet,
    format: KeyFormat,
    /// When it was asked: what is found was used no earlier.
    now: Instant,
}

impl Ticket {
    fn ask<B: BlobAccess>(mut self, store: Arc<B>, ctx: Context) -> BoxFuture<'static, Result<Arc<[DigestKey]>>> {
        async move {
            let missing = store.find_missing(&ctx, &self.digests).await?;
            let format = self.format;
            let missing: Arc<[_]> = missing.iter().map(|digest| digest.cache_key(format)).collect();
            self.end(Some(&missing));
            Ok(missing)
        }
        .boxed()
    }

    /// Lets nobody wait any more, and notes what was found, of those digests that it still is to tell of.
    fn end(&mut self, missing: Option<&[DigestKey]>) {
        let digests = std::mem::take(&mut self.digests);
        for some in digests.as_slice().chunks(DIGESTS_PER_LOCK) {
            let mut state = self.questions.lock();
            for digest in some {
                let key = digest.cache_key(self.format);
                if state.asked.get(&key).is_none_or(|asked| asked.question != self.question) {
                    continue;
                }
                state.asked.remove(&key);
                match missing {
                    None => {}
                    Some(missing) if missing.binary_search(&key).is_ok() => state.found.forget(&key),
                    Some(_) => state.found.add(key, self.now),
                }
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end(None);
    }
}

/// A change of what is stored under a key, which is over when this is dropped.
pub(super) struct Outdating {
    questions: Arc<Questions>,
    key: DigestKey,
}

impl Drop for Outdating {
    fn drop(&mut self) {
        self.questions.lock().asked.remove(&self.key);
    }
}

impl Debug for Questions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Questions")
            .field("found", &state.found.len())
            .field("asked", &state.asked.len())
            .finish_non_exhaustive()
    }
}
