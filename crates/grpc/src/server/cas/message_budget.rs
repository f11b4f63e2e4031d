//! Keeps the response to a batch within one message.

use blobaccess::{Error, Result};
use blobaccess_proto::remote_execution as re;
use blobaccess_proto::rpc;
use prost::Message;

use super::super::options::ServiceOptions;
use crate::status;

/// The maximum that an entry of a response takes besides its digest, contents and words: three tags and lengths, a code.
const ENTRY_BYTES: usize = 12;

/// The maximum that the outcome of a put takes: a tag of three bytes, three lengths, two numbers.
const OUTCOME_BYTES: usize = 32;

/// The maximum that contents take besides themselves: a tag and a length, a compressor, a longer length of the entry.
const CONTENTS_BYTES: usize = 12;

/// The maximum size of words that every entry has room for, if there is any room for words.
const SHORT_WORDS_BYTES: usize = 20;

/// The maximum that words take besides themselves: a tag and a length, and longer lengths of the status and the entry.
const WORDS_BYTES: usize = 8;

/// The bytes of a message that are left for contents and error messages.
///
/// The advertised limit counts contents only, so many small blobs may respect it and still not fit. Entries then go
/// without contents, and are requested again. That is better than a message that the client must refuse.
#[derive(Debug)]
pub(in crate::server) struct MessageBudget {
    left_bytes: usize,
    /// The room that is kept for the words of each entry: for a few of them, or none.
    words_bytes: usize,
}

impl MessageBudget {
    /// Makes the budget that responses about `digests` leave of a message, with an outcome each if `has_outcomes`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if they are too many for a message even without contents and words.
    pub(in crate::server) fn new<'a>(
        digests: impl Iterator<Item = Option<&'a re::Digest>>,
        has_outcomes: bool,
        options: &ServiceOptions,
    ) -> Result<Self> {
        let entry_bytes = if has_outcomes { ENTRY_BYTES + OUTCOME_BYTES } else { ENTRY_BYTES };
        let (mut entries, mut taken) = (0_usize, 0_usize);
        for digest in digests {
            entries += 1;
            taken = taken.saturating_add(entry_bytes + digest.map_or(0, Message::encoded_len));
        }
        let max = options.max_message_size_bytes;
        let left_bytes = max.checked_sub(taken).ok_or_else(|| {
            Error::invalid_argument(format!(
                "answers about {entries} blobs may take {taken} bytes, while a message holds {max}"
            ))
        })?;
        let words_bytes = SHORT_WORDS_BYTES + WORDS_BYTES;
        Ok(match left_bytes.checked_sub(entries.saturating_mul(words_bytes)) {
            Some(left_bytes) => Self { left_bytes, words_bytes },
            None => Self { left_bytes, words_bytes: 0 },
        })
    }

    /// Takes the room for contents of `bytes`, in place of the entry's words, if there is that much.
    pub(super) fn take_contents(&mut self, bytes: usize) -> bool {
        self.take(bytes.saturating_add(CONTENTS_BYTES).saturating_sub(self.words_bytes))
    }

    fn take(&mut self, bytes: usize) -> bool {
        let left = self.left_bytes.checked_sub(bytes);
        self.left_bytes = left.unwrap_or(self.left_bytes);
        left.is_some()
    }

    /// Returns the status of `error`, with the name of its kind in place of its message if that does not fit.
    pub(in crate::server) fn status(&mut self, error: &Error) -> rpc::Status {
        let mut status = status::to_proto(error);
        let more = status.message.len().saturating_add(WORDS_BYTES).saturating_sub(self.words_bytes);
        if !self.take(more) {
            let short = error.kind().name();
            // Without room for any words, there is none for these.
            status.message = if self.words_bytes > 0 { short.to_owned() } else { String::new() };
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::ErrorKind;

    use super::*;

    #[test]
    fn an_error_is_told_by_its_kind_when_the_room_is_taken() {
        let options = ServiceOptions::default().with_max_message_size_bytes(128 << 10);
        let mut budget = MessageBudget::new(std::iter::repeat_n(None, 3), false, &options).unwrap();
        assert_eq!(budget.left_bytes, (128 << 10) - 3 * (12 + 28));
        let error = Error::unavailable("disk on fire, and the other one too");
        assert_eq!(budget.status(&error).message, error.message());
        assert!(!budget.take_contents(128 << 10));
        assert!(budget.take_contents(budget.left_bytes + 28 - 12));
        let status = budget.status(&error);
        assert_eq!((status.code, status.message.as_str()), (14, "Unavailable"));
        // What is short enough has its room.
        assert_eq!(budget.status(&Error::unavailable("disk on fire")).message, "disk on fire");
        assert!(ErrorKind::ALL.iter().all(|kind| kind.name().len() <= SHORT_WORDS_BYTES));
    }

    #[test]
    fn what_cannot_even_be_answered_without_contents_is_refused() {
        let options = ServiceOptions::default().with_max_message_size_bytes(128 << 10);
        let budget =
            |entries, has_outcomes| MessageBudget::new(std::iter::repeat_n(None, entries), has_outcomes, &options);
        let error = budget(10_923, false).unwrap_err();
        assert!(error.message().contains("131076 bytes, while a message holds 131072"), "{error}");
        assert!(budget(2979, true).is_err());
        assert_eq!(budget(10_922, false).unwrap().status(&Error::unavailable("x")).message, "");
    }

    #[test]
    fn an_entry_takes_no_more_than_its_room() {
        let digest = re::Digest { hash: "f".repeat(128), size_bytes: i64::MAX };
        let words = rpc::Status { code: 16, message: "w".repeat(1024), ..rpc::Status::default() };
        let update = |status, outcome| re::BatchUpdateBlobsResponse {
            responses: vec![re::batch_update_blobs_response::Response {
                digest: Some(digest.clone()),
                status: Some(status),
                outcome,
            }],
        };
        let own = digest.encoded_len();
        assert!(update(rpc::Status { code: 16, ..rpc::Status::default() }, None).encoded_len() <= own + ENTRY_BYTES);
        assert!(update(words.clone(), None).encoded_len() <= own + ENTRY_BYTES + 1024 + WORDS_BYTES);
        let put = blobaccess::PutOutcome::Replaced { stored_bytes: u64::MAX, old_bytes: u64::MAX };
        let outcome = Some(crate::outcome::to_proto(put));
        let most = own + ENTRY_BYTES + 1024 + WORDS_BYTES + OUTCOME_BYTES;
        assert!(update(words, outcome).encoded_len() <= most);
        let read = re::BatchReadBlobsResponse {
            responses: vec![re::batch_read_blobs_response::Response {
                digest: Some(digest.clone()),
                data: vec![0; 4 << 20].into(),
                compressor: 3,
                status: Some(rpc::Status::default()),
            }],
        };
        assert!(read.encoded_len() <= own + ENTRY_BYTES + (4 << 20) + CONTENTS_BYTES);
    }
}
