//! The tokens of peers: each decides the answer that its peer gets, and nothing else.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use blobaccess::{Digest, UploadToken};

/// The number of puts that are remembered, some 200 bytes each.
const MAX_REMEMBERED: usize = 16_384;

/// The ends of the latest puts of peers that named a token of their own.
///
/// A peer that repeats a put after its answer was lost gets the answer that was lost. The repeated put is counted as what
/// it is.
#[derive(Debug, Default)]
pub(super) struct PeerPuts {
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    by_put: HashMap<(UploadToken, Digest), PeerPut>,
    /// The puts in the order in which they were noted. Each is in it once.
    order: VecDeque<(UploadToken, Digest)>,
}

/// The number of attempts of one put that are remembered.
const MAX_ATTEMPTS: usize = 8;

/// The end of a put of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PeerPut {
    /// It created the blob.
    Created { stored_bytes: u64 },
    /// The store did not say. These are the tokens that its attempts were sent with.
    Lost(Vec<UploadToken>),
}

impl PeerPuts {
    fn latest(&self) -> MutexGuard<'_, Latest> {
        // A panic cannot leave a put in one part only that would matter: it is noted anew or forgotten.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a put under the token `peer` created the blob.
    pub(super) fn note_created(&self, peer: UploadToken, digest: &Digest, stored_bytes: u64) {
        self.latest().note(peer, digest, |put| *put = PeerPut::Created { stored_bytes });
    }

    /// Notes that the answer to a put under the token `peer` was lost, which was sent with the token `sent`.
    pub(super) fn note_lost(&self, peer: UploadToken, digest: &Digest, sent: UploadToken) {
        self.latest().note(peer, digest, |put| {
            // That it has created the blob is not forgotten for a failure.
            if let PeerPut::Lost(tokens) = put
                && tokens.len() < MAX_ATTEMPTS
            {
                tokens.push(sent);
            }
        });
    }

    /// Returns what became of an earlier put of this blob under the token `peer`.
    pub(super) fn find(&self, peer: UploadToken, digest: &Digest) -> Option<PeerPut> {
        self.latest().by_put.get(&(peer, digest.clone())).cloned()
    }
}

impl Latest {
    fn note(&mut self, peer: UploadToken, digest: &Digest, change: impl FnOnce(&mut PeerPut)) {
        let key = (peer, digest.clone());
        if !self.by_put.contains_key(&key) {
            if self.order.len() >= MAX_REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_put.remove(&oldest);
            }
            self.order.push_back(key.clone());
        }
        change(self.by_put.entry(key).or_insert_with(|| PeerPut::Lost(Vec::new())));
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::{DigestFunction, InstanceName};

    use super::*;

    #[test]
    fn the_latest_puts_are_remembered_and_a_creation_is_not_forgotten_for_a_failure() {
        let puts = PeerPuts::default();
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
        let token = |number: usize| UploadToken::from_bytes(u128::try_from(number).unwrap().to_be_bytes());
        for sent in 0..20 {
            puts.note_lost(token(0), &digest, token(sent));
        }
        let lost = |tokens: usize| Some(PeerPut::Lost((0..tokens).map(token).collect()));
        assert_eq!(puts.find(token(0), &digest), lost(MAX_ATTEMPTS));
        puts.note_created(token(0), &digest, 5);
        puts.note_lost(token(0), &digest, token(7));
        assert_eq!(puts.find(token(0), &digest), Some(PeerPut::Created { stored_bytes: 5 }));
        for number in 1..=MAX_REMEMBERED {
            puts.note_lost(token(number), &digest, token(0));
        }
        assert_eq!((puts.find(token(0), &digest), puts.find(token(1), &digest)), (None, lost(1)));
        assert_eq!(puts.latest().by_put.len(), MAX_REMEMBERED);
    }
}
