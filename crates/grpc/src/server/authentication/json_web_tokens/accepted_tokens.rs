//! Tokens that were found good.

use std::sync::{Mutex, MutexGuard, PoisonError};

use blobaccess::Result;
use lru::LruCache;
use serde_json::{Map, Value};

use super::{Identity, refused};

/// The identity that a token is good for, and the times that it is good in, in seconds since 1970.
#[derive(Clone)]
pub(super) struct AcceptedToken {
    identity: Identity,
    not_before: Option<f64>,
    expires: Option<f64>,
}

impl AcceptedToken {
    /// Makes the entry of a token with these claims.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` if a time is not a number.
    pub(super) fn new(identity: Identity, claims: &Map<String, Value>) -> Result<Self> {
        let time = |name| match claims.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(time) => {
                time.as_f64().map(Some).ok_or_else(|| refused(format!("{name:?} of the token is not a time")))
            }
        };
        Ok(Self { identity, not_before: time("nbf")?, expires: time("exp")? })
    }

    /// Returns the identity, if the token is good at the time `now`.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` if it is not.
    pub(super) fn identity_at(&self, now: f64) -> Result<Identity> {
        if self.expires.is_some_and(|expires| now >= expires) {
            return Err(refused("token has expired"));
        }
        if self.not_before.is_some_and(|not_before| now < not_before) {
            return Err(refused("token is not valid yet"));
        }
        Ok(self.identity.clone())
    }
}

/// The tokens that were used last, by the hashes of their texts.
pub(super) struct AcceptedTokens {
    tokens: Mutex<LruCache<[u8; 32], AcceptedToken>>,
    capacity: usize,
}

impl AcceptedTokens {
    /// Makes a place for `capacity` tokens.
    pub(super) fn new(capacity: usize) -> Self {
        Self { tokens: Mutex::new(LruCache::unbounded()), capacity }
    }

    fn tokens(&self) -> MutexGuard<'_, LruCache<[u8; 32], AcceptedToken>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, hash: &[u8; 32]) -> Option<AcceptedToken> {
        self.tokens().get(hash).cloned()
    }

    pub(super) fn insert(&self, hash: [u8; 32], token: AcceptedToken) {
        let mut tokens = self.tokens();
        tokens.put(hash, token);
        while tokens.len() > self.capacity {
            tokens.pop_lru();
        }
    }

    pub(super) fn clear(&self) {
        self.tokens().clear();
    }

    pub(super) fn len(&self) -> usize {
        self.tokens().len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }
}
