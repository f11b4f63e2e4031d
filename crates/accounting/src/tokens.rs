//! The tokens of uploads: unique without drawing randomness for each.

use std::sync::atomic::{AtomicU64, Ordering};

use blobaccess::UploadToken;

use crate::Epoch;

/// A source of tokens: ten bytes of the epoch, and a counter of six bytes.
///
/// All tokens of one epoch begin alike, so a listing with tokens shows which life uploaded what. Among a million epochs,
/// two begin alike with a chance of one in 10^12.
#[derive(Debug)]
pub(crate) struct Tokens {
    epoch: Epoch,
    next: AtomicU64,
}

impl Tokens {
    pub(crate) const fn new(epoch: Epoch) -> Self {
        Self { epoch, next: AtomicU64::new(1) }
    }

    /// Returns the number of the next upload, unique in this epoch.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the token of the upload with this number.
    pub(crate) fn token(&self, number: u64) -> UploadToken {
        token_of(self.epoch, number)
    }
}

/// Returns the token of the upload with this number in `epoch`.
pub(crate) fn token_of(epoch: Epoch, number: u64) -> UploadToken {
    // Six bytes count 2.8 * 10^14 uploads: a thousand a second for 8,900 years.
    let begin = u128::from_be_bytes(*epoch.as_bytes()) & !0xffff_ffff_ffff;
    UploadToken::from_bytes((begin | u128::from(number & 0xffff_ffff_ffff)).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_begin_with_the_epoch() {
        let epoch = Epoch::from_bytes([7; 16]);
        let tokens = Tokens::new(epoch);
        let (one, two) = (tokens.token(tokens.number()), tokens.token(tokens.number()));
        assert_ne!(one, two);
        assert_eq!(one.as_bytes()[..10], epoch.as_bytes()[..10]);
        assert_eq!(two.as_bytes()[10..], [0, 0, 0, 0, 0, 2]);
    }
}
