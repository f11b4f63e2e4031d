//! Keeps the response to a batch within one message.

use blobaccess::{Error, Result};
use blobaccess_proto::remote_execution as re;
use blobaccess_proto::rpc;
use prost::Message;

use super::super::options::ServiceOptions;
use crate::status;

/// The maximum that an entry of a response takes besides its digest, contents and error message: tags, lengths, two
/// codes and an outcome are 55 bytes.
const ENTRY_BYTES: usize = 64;

/// The bytes of a message that are left for contents and error messages.
///
/// The advertised limit counts contents only, so many small blobs may respect it and still not fit. Entries then go
/// without contents, and are requested again. That is better than a message that the client must refuse.
#[derive(Debug)]
pub(in crate::server) struct MessageBudget {
    left_bytes: usize,
}

impl MessageBudget {
    /// Makes the budget that responses about `digests` leave of a message.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if they are too many for a message even without contents.
    pub(in crate::server) fn new<'a>(
        digests: impl Iterator<Item = Option<&'a re::Digest>>,
        options: &ServiceOptions,
    ) -> Result<Self> {
        let (mut entries, mut taken) = (0_usize, 0_usize);
        for digest in digests {
            entries += 1;
            taken = taken.saturating_add(ENTRY_BYTES + digest.map_or(0, Message::encoded_len));
        }
        let max = options.max_message_size_bytes;
        let left_bytes = max.checked_sub(taken).ok_or_else(|| {
            Error::invalid_argument(format!(
                "answers about {entries} blobs may take {taken} bytes, while a message holds {max}"
            ))
        })?;
        Ok(Self { left_bytes })
    }

    /// Takes `bytes` if that many are left.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let left = self.left_bytes.checked_sub(bytes);
        self.left_bytes = left.unwrap_or(self.left_bytes);
        left.is_some()
    }

    /// Returns the status of `error`, without its message if that does not fit.
    pub(in crate::server) fn status(&mut self, error: &Error) -> rpc::Status {
        let mut status = status::to_proto(error);
        if !self.take(status.message.len()) {
            status.message.clear();
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_goes_without_words_when_the_room_is_taken() {
        let options = ServiceOptions::default().with_max_message_size_bytes(128 << 10);
        let mut budget = MessageBudget::new(std::iter::once(None), &options).unwrap();
        assert_eq!(budget.left_bytes, (128 << 10) - 64);
        let error = Error::unavailable("disk on fire");
        assert_eq!(budget.status(&error).message, "disk on fire");
        assert!(!budget.take(128 << 10));
        assert!(budget.take((128 << 10) - 64 - 12));
        let status = budget.status(&error);
        assert_eq!((status.code, status.message.as_str()), (14, ""));
    }

    #[test]
    fn what_cannot_even_be_answered_without_contents_is_refused() {
        let options = ServiceOptions::default().with_max_message_size_bytes(128 << 10);
        let error = MessageBudget::new(std::iter::repeat_n(None, 2049), &options).unwrap_err();
        assert!(error.message().contains("131136 bytes, while a message holds 131072"), "{error}");
    }
}
