//! A quoted part of a request in an error message.

use std::fmt::{self, Display, Formatter};

/// The number of characters shown: an error must stay small even if the request was megabytes.
const MAX_CHARACTERS: usize = 200;

/// A string that prints in quotes, with control characters escaped, and shortened if it is long.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MAX_CHARACTERS) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => {
                let shown = self.0.get(..end).unwrap_or_default();
                write!(f, "{shown:?}... ({} bytes)", self.0.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_strings_are_quoted_whole() {
        assert_eq!(Quoted("blabs").to_string(), r#""blabs""#);
        assert_eq!(Quoted("a\n\"b\"").to_string(), r#""a\n\"b\"""#);
        assert_eq!(Quoted(&"ä".repeat(200)).to_string(), format!("\"{}\"", "ä".repeat(200)));
    }

    #[test]
    fn long_strings_are_shortened_between_characters() {
        let quoted = Quoted(&"ä".repeat(201)).to_string();
        assert_eq!(quoted, format!("\"{}\"... (402 bytes)", "ä".repeat(200)));
    }
}
