//! The entries of an answer to a batch, by the blobs that they are about.

use std::collections::HashMap;

use blobaccess::{Digest, Error, Result};
use blobaccess_proto::remote_execution as re;

use crate::message::to_proto;

/// The entries for each digest, in their order: as many as were asked for, if the server answers as it should.
#[derive(Debug)]
pub(super) struct BatchAnswers<T> {
    by_name: HashMap<(String, i64), Vec<T>>,
}

impl<T: PartialEq> BatchAnswers<T> {
    /// Collects these answers. An answer that is repeated does no harm.
    pub(super) fn new(answers: impl Iterator<Item = (re::Digest, T)>) -> Self {
        let mut by_name: HashMap<_, Vec<T>> = HashMap::new();
        for (digest, answer) in answers {
            let answers = by_name.entry((digest.hash, digest.size_bytes)).or_default();
            answers.push(answer);
        }
        Self { by_name }
    }

    /// Returns the answer about `digest`, which was asked for once.
    ///
    /// # Errors
    ///
    /// `Internal` if there is none, or if there are several that differ.
    pub(super) fn get(&self, digest: &Digest) -> Result<&T> {
        self.get_in_turn(digest, 0, 1)
    }

    /// Returns the answer about `digest` in its `turn`, counted from 0, among those that were asked for `times` times. A
    /// server may answer equal entries once.
    ///
    /// # Errors
    ///
    /// `Internal` if there is none, or if there are others than were asked for that differ.
    pub(super) fn get_in_turn(&self, digest: &Digest, turn: usize, times: usize) -> Result<&T> {
        let name = to_proto(digest);
        let answers = self.by_name.get(&(name.hash, name.size_bytes)).map_or(&[][..], Vec::as_slice);
        let left_out = || Error::internal(format!("remote store left blob {digest} out of its answer"));
        if answers.len() == times {
            return answers.get(turn).ok_or_else(left_out);
        }
        let (first, others) = answers.split_first().ok_or_else(left_out)?;
        if others.iter().any(|other| other != first) {
            return Err(Error::internal(format!("remote store contradicts itself about blob {digest}")));
        }
        Ok(first)
    }
}
