//! Tells which of the stored blobs an instance name sees.

use std::collections::HashMap;

use blobaccess::{Context, Digest, DigestSet, InstanceName, Kind, PutOutcome, Result};

use super::{DIGESTS_PER_TURN, LocalStore};
use crate::engine::Engine;
use crate::instance_names::{InstanceNames, Mask, key_of_name};
use crate::key::Key;

impl<K: Kind> LocalStore<K> {
    /// Returns whether the instance name of `digest` sees it, if it is stored. Where names do not count, it does.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the name is too deep.
    pub(crate) fn sees(&self, digest: &Digest) -> Result<bool> {
        let Some(names) = &self.engine.names else { return Ok(true) };
        Ok(self.engine.sees(&self.engine.keys.key(digest), &names.masks(digest.instance_name())?))
    }

    /// Returns the key of the record that the instance name of `digest` has, or will have; `None` where names do not
    /// count.
    ///
    /// # Errors
    ///
    /// As [`sees`](Self::sees).
    pub(crate) fn key_of_name(&self, digest: &Digest) -> Result<Option<Key>> {
        let Some(names) = &self.engine.names else { return Ok(None) };
        let masks = names.masks(digest.instance_name())?;
        Ok(masks.first().map(|mask| key_of_name(&self.engine.keys.key(digest), mask)))
    }

    /// Makes stored contents visible to one more name, whose caller has proved to have them. `None` if they are gone.
    pub(crate) async fn share(
        &self,
        ctx: &Context,
        digest: &Digest,
        key: &Key,
        name: &Key,
    ) -> Result<Option<PutOutcome>> {
        loop {
            let Some(put) = self.engine.share(key, name)? else { return Ok(None) };
            if let Some(outcome) = self.finish_put(ctx, digest, put).await? {
                return Ok(Some(outcome));
            }
        }
    }

    /// Splits digests into those that their names see, if they are stored, and the others.
    ///
    /// # Errors
    ///
    /// As [`sees`](Self::sees).
    pub(crate) async fn part_by_sight(
        &self,
        names: &InstanceNames,
        digests: &DigestSet,
    ) -> Result<(DigestSet, DigestSet)> {
        let mut masks = MasksByName::new(names);
        let (mut seen, mut unseen) = (Vec::new(), Vec::new());
        for (turn, batch) in digests.as_slice().chunks(DIGESTS_PER_TURN).enumerate() {
            if turn > 0 {
                tokio::task::yield_now().await;
            }
            let is_seen = masks.seen(&self.engine, batch)?;
            for (digest, is_seen) in batch.iter().zip(is_seen) {
                if is_seen { &mut seen } else { &mut unseen }.push(digest.clone());
            }
        }
        Ok((seen.into_iter().collect(), unseen.into_iter().collect()))
    }
}

/// The masks of the instance names of digests. There is usually one name.
pub(crate) struct MasksByName<'a> {
    names: &'a InstanceNames,
    by_name: HashMap<InstanceName, Vec<Mask>>,
}

impl<'a> MasksByName<'a> {
    pub(crate) fn new(names: &'a InstanceNames) -> Self {
        Self { names, by_name: HashMap::new() }
    }

    /// Returns which of `digests` their names see, by position.
    ///
    /// A digest that is not stored is looked up once. The others are looked up by one name after another, all digests
    /// together.
    pub(crate) fn seen(&mut self, engine: &Engine, digests: &[Digest]) -> Result<Vec<bool>> {
        let keys: Vec<Key> = digests.iter().map(|digest| engine.keys.key(digest)).collect();
        let mut left = Vec::with_capacity(keys.len());
        engine.for_each_stored(&keys, |position| left.push(position));
        let mut seen = vec![false; keys.len()];
        let mut keys_of_names = Vec::with_capacity(left.len());
        for depth in 0.. {
            keys_of_names.clear();
            let mut asked = Vec::with_capacity(left.len());
            for position in left {
                let (Some(digest), Some(key)) = (digests.get(position), keys.get(position)) else { continue };
                if let Some(mask) = self.masks_of(digest.instance_name())?.get(depth) {
                    keys_of_names.push(key_of_name(key, mask));
                    asked.push(position);
                }
            }
            if asked.is_empty() {
                break;
            }
            let mut is_found = vec![false; asked.len()];
            engine.for_each_seen(&keys_of_names, |position| {
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

    fn masks_of(&mut self, name: &InstanceName) -> Result<&[Mask]> {
        // Not by entry, which would clone a name that is known.
        if !self.by_name.contains_key(name) {
            self.by_name.insert(name.clone(), self.names.masks(name)?);
        }
        Ok(self.by_name.get(name).map_or(&[], Vec::as_slice))
    }
}
