//! The result of one put into two stores.

use crate::{PutCertainty, PutOutcome, Result};

/// Combines the results of putting one blob into two stores, for a layer that needs both.
///
/// The outcome is that of the first store. If either put fails, so does the whole, with the error of the first store
/// that failed. That error says [`NotStored`](PutCertainty::NotStored) only if both stores are certain to have stored
/// nothing: one refusal beside one success, or beside one unknown end, may have stored the blob.
///
/// | first | second | result |
/// |---|---|---|
/// | outcome | outcome | outcome of the first |
/// | outcome | error | error of the second, `MaybeStored` |
/// | error | outcome | error of the first, `MaybeStored` |
/// | `NotStored` error | `NotStored` error | error of the first, `NotStored` |
/// | error | error, one of them `MaybeStored` | error of the first, `MaybeStored` |
///
/// Add the name of the store to each error before ([`Error::at`](crate::Error::at)).
///
/// # Errors
///
/// The first error among the two, as the table says.
///
/// # Examples
///
/// ```
/// use blobaccess::{Error, PutCertainty, PutOutcome, combine_puts};
///
/// let refused = Err(Error::resource_exhausted("full").not_stored().at("mirror a"));
/// let stored = Ok(PutOutcome::Created { stored_bytes: 5 });
/// let error = combine_puts(refused, stored).unwrap_err();
/// assert_eq!(error.to_string(), "mirror a: full");
/// assert_eq!(error.put_certainty(), PutCertainty::MaybeStored);
/// ```
pub fn combine_puts(first: Result<PutOutcome>, second: Result<PutOutcome>) -> Result<PutOutcome> {
    match (first, second) {
        (Ok(outcome), Ok(_)) => Ok(outcome),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error.with_put_certainty(PutCertainty::MaybeStored)),
        (Err(error), Err(other)) => {
            let certainty = error.put_certainty().combine(other.put_certainty());
            Err(error.with_put_certainty(certainty))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    const CREATED: PutOutcome = PutOutcome::Created { stored_bytes: 5 };
    const EXISTED: PutOutcome = PutOutcome::AlreadyExists { stored_bytes: 5 };

    fn refused(message: &'static str) -> Result<PutOutcome> {
        Err(Error::unavailable(message).not_stored())
    }

    fn lost(message: &'static str) -> Result<PutOutcome> {
        Err(Error::unavailable(message))
    }

    fn failure(result: Result<PutOutcome>) -> (String, PutCertainty) {
        let error = result.unwrap_err();
        (error.to_string(), error.put_certainty())
    }

    #[test]
    fn two_outcomes_are_that_of_the_first() {
        assert_eq!(combine_puts(Ok(CREATED), Ok(EXISTED)).unwrap(), CREATED);
        assert_eq!(combine_puts(Ok(EXISTED), Ok(CREATED)).unwrap(), EXISTED);
    }

    #[test]
    fn a_failure_beside_a_success_may_have_stored_the_blob() {
        for failed in [refused, lost] {
            let expected = ("a".to_owned(), PutCertainty::MaybeStored);
            assert_eq!(failure(combine_puts(failed("a"), Ok(CREATED))), expected);
            assert_eq!(failure(combine_puts(Ok(CREATED), failed("a"))), expected);
        }
    }

    #[test]
    fn two_failures_stored_nothing_only_if_both_are_certain() {
        let result = |certainty| ("a".to_owned(), certainty);
        assert_eq!(failure(combine_puts(refused("a"), refused("b"))), result(PutCertainty::NotStored));
        assert_eq!(failure(combine_puts(refused("a"), lost("b"))), result(PutCertainty::MaybeStored));
        assert_eq!(failure(combine_puts(lost("a"), refused("b"))), result(PutCertainty::MaybeStored));
        assert_eq!(failure(combine_puts(lost("a"), lost("b"))), result(PutCertainty::MaybeStored));
    }
}
