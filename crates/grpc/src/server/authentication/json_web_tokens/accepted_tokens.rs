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
    generation: Mutex<Generation>,
    capacity: usize,
}

/// The tokens that were accepted since the keys were replaced last.
struct Generation {
    number: u64,
    tokens: LruCache<[u8; 32], AcceptedToken>,
}

impl AcceptedTokens {
    /// Makes a place for `capacity` tokens.
    pub(super) fn new(capacity: usize) -> Self {
        Self { generation: Mutex::new(Generation { number: 0, tokens: LruCache::unbounded() }), capacity }
    }

    fn lock(&self) -> MutexGuard<'_, Generation> {
        self.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, hash: &[u8; 32]) -> Option<AcceptedToken> {
        self.lock().tokens.get(hash).cloned()
    }

    /// Returns the number of times that all tokens were forgotten.
    pub(super) fn generation(&self) -> u64 {
        self.lock().number
    }

    /// Remembers a token, unless all were forgotten after this `generation`: the keys that were replaced then may have
    /// been the reason to trust it.
    pub(super) fn insert(&self, hash: [u8; 32], token: AcceptedToken, generation: u64) {
        let Generation { number, tokens } = &mut *self.lock();
        if *number != generation {
            return;
        }
        tokens.put(hash, token);
        while tokens.len() > self.capacity {
            tokens.pop_lru();
        }
    }

    /// Forgets all tokens, and begins the next generation.
    pub(super) fn clear(&self) {
        let mut generation = self.lock();
        generation.number = generation.number.wrapping_add(1);
        generation.tokens.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.lock().tokens.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_was_verified_before_the_keys_were_replaced_is_not_remembered() {
        let tokens = AcceptedTokens::new(2);
        let token = || AcceptedToken::new(Identity::anonymous(), &Map::new()).unwrap();
        let generation = tokens.generation();
        tokens.insert([1; 32], token(), generation);
        assert_eq!(tokens.len(), 1);
        tokens.clear();
        tokens.insert([1; 32], token(), generation);
        assert_eq!(tokens.len(), 0);
        tokens.insert([1; 32], token(), tokens.generation());
        assert_eq!(tokens.len(), 1);
    }
}
