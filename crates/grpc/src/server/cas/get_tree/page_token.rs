//! The end of a page of a tree, as text.

use blobaccess::{Digest, DigestFunction, Error, KeyFormat, Result};

/// The end of a page of a tree: a directory, in the order in which the tree is walked.
///
/// The token holds everything needed to continue, so that servers keep no state and any of them can continue. As text
/// it is the keys of the root and of that directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageToken {
    /// The last directory of the previous page.
    pub(super) after: Digest,
}

impl PageToken {
    /// Parses the token in `text`, which must belong to the tree under `root`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if it does not.
    pub(super) fn parse(text: &str, root: &Digest) -> Result<Self> {
        let after = text
            .split_once('/')
            .filter(|(tree, _)| *tree == root.key(KeyFormat::WithoutInstanceName))
            .and_then(|(_, after)| parse_key(after, root));
        match after {
            Some(after) => Ok(Self { after }),
            None => Err(Error::invalid_argument("page token is not one of this tree")),
        }
    }

    /// Returns the token as text, for the tree under `root`.
    pub(super) fn to_text(&self, root: &Digest) -> String {
        let (root, after) = (root.key(KeyFormat::WithoutInstanceName), self.after.key(KeyFormat::WithoutInstanceName));
        format!("{root}/{after}")
    }
}

fn parse_key(key: &str, root: &Digest) -> Option<Digest> {
    let mut parts = key.split('-');
    let (function, hash, size) = (parts.next()?, parts.next()?, parts.next()?);
    let function = DigestFunction::from_number(function.parse().ok()?)?;
    let digest = Digest::parse(root.instance_name().clone(), function, hash, size.parse().ok()?).ok()?;
    parts.next().is_none().then_some(digest)
}

#[cfg(test)]
mod tests {
    use blobaccess::InstanceName;
    use proptest::prelude::*;

    use super::*;

    fn digest(contents: &[u8]) -> Digest {
        Digest::of(InstanceName::new("a/b").unwrap(), DigestFunction::Sha256, contents)
    }

    #[test]
    fn a_token_is_read_back_for_the_tree_that_it_was_made_of() {
        let (root, other) = (digest(b"root"), digest(b"other"));
        let token = PageToken { after: digest(b"child") };
        let text = token.to_text(&root);
        assert_eq!(PageToken::parse(&text, &root).unwrap(), token);
        assert!(PageToken::parse(&text, &other).is_err());
        assert!(PageToken::parse(&format!("{text}-1"), &root).is_err());
        assert!(PageToken::parse(text.trim_end_matches('5'), &root).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(1-)?[0-9a-f/-]{0,80}|.{0,40}") {
            prop_assert!(PageToken::parse(&text, &digest(b"root")).is_err());
        }
    }
}
