//! The outcome of a put, as it travels to callers that ask for it.

use blobaccess::PutOutcome;
use blobaccess_proto::outcome as proto;
use prost::Message;

/// Returns the outcome as a message.
#[cfg(feature = "server")]
pub(crate) fn to_proto(outcome: PutOutcome) -> proto::PutOutcome {
    use proto::put_outcome::{AlreadyExists, Created, Outcome, Replaced, Unclassified};
    let outcome = match outcome {
        PutOutcome::Created { stored_bytes } => Outcome::Created(Created { stored_bytes }),
        PutOutcome::AlreadyExists { stored_bytes } => Outcome::AlreadyExists(AlreadyExists { stored_bytes }),
        PutOutcome::Replaced { stored_bytes, old_bytes } => Outcome::Replaced(Replaced { stored_bytes, old_bytes }),
        PutOutcome::Unclassified { stored_bytes } => Outcome::Unclassified(Unclassified { stored_bytes }),
    };
    proto::PutOutcome { outcome: Some(outcome) }
}

/// Returns the outcome in a message; `Unclassified` if the message has none that is known here.
#[cfg(feature = "client")]
pub(crate) fn from_proto(message: Option<&proto::PutOutcome>) -> PutOutcome {
    use proto::put_outcome::Outcome;
    match message.and_then(|message| message.outcome.as_ref()) {
        Some(Outcome::Created(created)) => PutOutcome::Created { stored_bytes: created.stored_bytes },
        Some(Outcome::AlreadyExists(exists)) => PutOutcome::AlreadyExists { stored_bytes: exists.stored_bytes },
        Some(Outcome::Replaced(replaced)) => {
            PutOutcome::Replaced { stored_bytes: replaced.stored_bytes, old_bytes: replaced.old_bytes }
        }
        Some(Outcome::Unclassified(unclassified)) => {
            PutOutcome::Unclassified { stored_bytes: unclassified.stored_bytes }
        }
        None => PutOutcome::Unclassified { stored_bytes: None },
    }
}

/// Returns the outcome as the value of [`OUTCOME_RESPONSE`](crate::OUTCOME_RESPONSE).
#[cfg(feature = "server")]
pub(crate) fn to_bytes(outcome: PutOutcome) -> Vec<u8> {
    to_proto(outcome).encode_to_vec()
}

/// Reads the value of [`OUTCOME_RESPONSE`](crate::OUTCOME_RESPONSE); `Unclassified` if it is absent or unknown.
#[cfg(feature = "client")]
pub(crate) fn from_bytes(value: Option<&[u8]>) -> PutOutcome {
    from_proto(value.and_then(|value| proto::PutOutcome::decode(value).ok()).as_ref())
}

#[cfg(all(test, feature = "client", feature = "server"))]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_survives_the_way_there_and_back() {
        for outcome in [
            PutOutcome::Created { stored_bytes: 0 },
            PutOutcome::AlreadyExists { stored_bytes: u64::MAX },
            PutOutcome::Replaced { stored_bytes: 3, old_bytes: 4 },
            PutOutcome::Unclassified { stored_bytes: None },
            PutOutcome::Unclassified { stored_bytes: Some(0) },
        ] {
            assert_eq!(from_bytes(Some(&to_bytes(outcome))), outcome);
        }
    }

    #[test]
    fn what_says_nothing_is_unclassified() {
        let unclassified = PutOutcome::Unclassified { stored_bytes: None };
        assert_eq!(from_bytes(None), unclassified);
        assert_eq!(from_bytes(Some(b"")), unclassified);
        assert_eq!(from_bytes(Some(b"\xff\xff")), unclassified);
    }
}
