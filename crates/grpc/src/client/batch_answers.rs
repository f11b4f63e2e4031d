//! The entries of an answer to a batch, by the blobs that they are about.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use blobaccess::{Digest, Error, Result};
use blobaccess_proto::remote_execution as re;

use crate::message::to_proto;

/// At most one entry for each digest, if the server answers as it should.
#[derive(Debug)]
pub(super) struct BatchAnswers<T> {
    /// `None` where the server contradicts itself.
    by_name: HashMap<(String, i64), Option<T>>,
}

impl<T: PartialEq> BatchAnswers<T> {
    /// Collects these answers. An answer that is repeated does no harm.
    pub(super) fn new(answers: impl Iterator<Item = (re::Digest, T)>) -> Self {
        let mut by_name = HashMap::with_capacity(answers.size_hint().1.unwrap_or(0));
        for (digest, answer) in answers {
            match by_name.entry((digest.hash, digest.size_bytes)) {
                Entry::Vacant(entry) => drop(entry.insert(Some(answer))),
                Entry::Occupied(mut entry) if entry.get().as_ref() != Some(&answer) => drop(entry.insert(None)),
                Entry::Occupied(_) => {}
            }
        }
        Self { by_name }
    }

    /// Returns the answer about `digest`.
    ///
    /// # Errors
    ///
    /// `Internal` if there is none, or if there are several that differ.
    pub(super) fn get(&self, digest: &Digest) -> Result<&T> {
        let name = to_proto(digest);
        match self.by_name.get(&(name.hash, name.size_bytes)) {
            Some(Some(answer)) => Ok(answer),
            Some(None) => Err(Error::internal(format!("remote store contradicts itself about blob {digest}"))),
            None => Err(Error::internal(format!("remote store left blob {digest} out of its answer"))),
        }
    }
}
