//! Which instance names see what: each that proved to have contents has a record of its own, which shares them.
//!
//! A name sees what it has a record for, and what the names that it begins with see: `a/b` sees what was put under `a/b`,
//! `a` and the empty name.

use std::collections::HashMap;

use blobaccess::{Context, Digest, DigestSet, Error, InstanceName, Kind, PutOutcome, Result};

use crate::key::{Key, words};
use crate::store::{DIGESTS_PER_TURN, LocalStore};

/// How deep a name may be: each of its beginnings is looked up for each digest.
const MAX_COMPONENTS: usize = 64;

/// What the key of contents is changed by, so that it is that of a name's record.
pub(crate) type Mask = [u64; 4];

/// Makes masks of names, which nobody can guess: so nobody can choose contents whose keys collide.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// Known to the store alone.
    secret: [u8; 32],
}

/// The key of the record that a name has for the contents of `key`.
pub(crate) fn key_of_name(key: &Key, mask: &Mask) -> Key {
    let mut of_name = *key;
    for (word, mask) in of_name.words.iter_mut().zip(mask) {
        *word ^= mask;
    }
    of_name
}

/// A name without its last component; `None` of the empty one.
fn shorter(name: &str) -> Option<&str> {
    match name.rsplit_once('/') {
        Some((parent, _)) => Some(parent),
        None => (!name.is_empty()).then_some(""),
    }
}

impl Names {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    fn mask(&self, name: &str) -> Mask {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(b"instance name\0");
        hasher.update(name.as_bytes());
        words(hasher.finalize().as_bytes())
    }

    /// The masks of a name and of all that it begins with, the longest first.
    pub(crate) fn masks(&self, name: &InstanceName) -> Result<Vec<Mask>> {
        let components = name.components().count();
        if components > MAX_COMPONENTS {
            return Err(Error::invalid_argument(format!(
                "instance name has {components} components, while this store takes up to {MAX_COMPONENTS}"
            )));
        }
        Ok(std::iter::successors(Some(name.as_str()), |name| shorter(name)).map(|name| self.mask(name)).collect())
    }
}

impl<K: Kind> LocalStore<K> {
    /// Whether the instance name of `digest` sees it, if it is stored. Where names do not count, it does.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the name is too deep.
    pub(crate) fn sees(&self, digest: &Digest) -> Result<bool> {
        let Some(names) = &self.engine.names else { return Ok(true) };
        Ok(self.engine.sees(&self.engine.keys.key(digest), &names.masks(digest.instance_name())?))
    }

    /// The key of the record that the instance name of `digest` has, or is to have; `None` where names do not count.
    ///
    /// # Errors
    ///
    /// As [`sees`](Self::sees).
    pub(crate) fn key_of_name(&self, digest: &Digest) -> Result<Option<Key>> {
        let Some(names) = &self.engine.names else { return Ok(None) };
        let masks = names.masks(digest.instance_name())?;
        Ok(masks.first().map(|mask| key_of_name(&self.engine.keys.key(digest), mask)))
    }

    /// Makes contents that are stored seen by one more name, whose caller has proved to have them. `None` if they are
    /// gone.
    pub(crate) async fn share(
        &self,
        ctx: &Context,
        digest: &Digest,
        key: &Key,
        name: &Key,
    ) -> Result<Option<PutOutcome>> {
        loop {
            let Some(put) = self.engine.share(key, name)? else { return Ok(None) };
            if let Some(outcome) = self.conclude(ctx, digest, put).await? {
                return Ok(Some(outcome));
            }
        }
    }

    /// Parts digests into those that their names see, if they are stored, and the others.
    ///
    /// # Errors
    ///
    /// As [`sees`](Self::sees).
    pub(crate) async fn part_by_sight(&self, names: &Names, digests: &DigestSet) -> Result<(DigestSet, DigestSet)> {
        let mut masks = Masks::new(names);
        let (mut seen, mut unseen) = (Vec::new(), Vec::new());
        for (turn, some) in digests.as_slice().chunks(DIGESTS_PER_TURN).enumerate() {
            if turn > 0 {
                tokio::task::yield_now().await;
            }
            let is_seen = masks.seen(&self.engine, some)?;
            for (digest, is_seen) in some.iter().zip(is_seen) {
                if is_seen { &mut seen } else { &mut unseen }.push(digest.clone());
            }
        }
        Ok((seen.into_iter().collect(), unseen.into_iter().collect()))
    }
}

/// The masks of the names that digests have. There is one, as a rule.
pub(crate) struct Masks<'a> {
    names: &'a Names,
    of: HashMap<InstanceName, Vec<Mask>>,
}

impl<'a> Masks<'a> {
    pub(crate) fn new(names: &'a Names) -> Self {
        Self { names, of: HashMap::new() }
    }

    /// Which of `digests` their names see, by position.
    ///
    /// What is not stored at all is looked up once, and what is by one name after another, all digests at a time.
    pub(crate) fn seen(&mut self, engine: &crate::engine::Engine, digests: &[Digest]) -> Result<Vec<bool>> {
        let keys: Vec<Key> = digests.iter().map(|digest| engine.keys.key(digest)).collect();
        let mut left = Vec::with_capacity(keys.len());
        engine.stored_of(&keys, |position| left.push(position));
        let mut seen = vec![false; keys.len()];
        let mut keys_of_names = Vec::with_capacity(left.len());
        for depth in 0.. {
            keys_of_names.clear();
            let mut asked = Vec::with_capacity(left.len());
            for position in left {
                let (Some(digest), Some(key)) = (digests.get(position), keys.get(position)) else { continue };
                if let Some(mask) = self.of_name(digest.instance_name())?.get(depth) {
                    keys_of_names.push(key_of_name(key, mask));
                    asked.push(position);
                }
            }
            if asked.is_empty() {
                break;
            }
            let mut is_found = vec![false; asked.len()];
            engine.seen_of(&keys_of_names, |position| {
                if let Some(is_found) = is_found.get_mut(position) {
                    *is_found = true;
                }
            });
            left = Vec::new();
            for (position, is_found) in asked.into_iter().zip(is_found) {
                match seen.get_mut(position) {
                    Some(seen) if is_found => *seen = true,
                    _ => left.push(position),
                }
            }
        }
        Ok(seen)
    }

    fn of_name(&mut self, name: &InstanceName) -> Result<&[Mask]> {
        // Not by entry, which would take a clone of a name that is known.
        if !self.of.contains_key(name) {
            self.of.insert(name.clone(), self.names.masks(name)?);
        }
        Ok(self.of.get(name).map_or(&[], Vec::as_slice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(name: &str) -> Vec<Mask> {
        Names::new([7; 32]).masks(&InstanceName::new(name).unwrap()).unwrap()
    }

    #[test]
    fn a_name_has_the_masks_of_all_that_it_begins_with() {
        let deep = masks("a/b/c");
        assert_eq!(deep.len(), 4);
        assert_eq!(deep[1..], masks("a/b"));
        assert_eq!(deep[3..], masks(""));
        assert_ne!(masks("a")[0], masks("b")[0]);
        assert_ne!(masks("")[0], Names::new([8; 32]).masks(&InstanceName::empty()).unwrap()[0]);
    }

    #[test]
    fn a_name_that_is_too_deep_is_refused_with_both_numbers() {
        let name = InstanceName::new(&["a"; MAX_COMPONENTS + 1].join("/")).unwrap();
        let refused = Names::new([7; 32]).masks(&name).unwrap_err().to_string();
        assert!(refused.contains("65 components") && refused.contains("64"), "{refused}");
        assert_eq!(masks(&["a"; MAX_COMPONENTS].join("/")).len(), MAX_COMPONENTS + 1);
    }
}
