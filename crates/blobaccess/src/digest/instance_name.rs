//! The part of the address space that a digest lives in.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::iter;
use std::str::FromStr;
use std::sync::Arc;

use super::quoted::Quoted;
use crate::{Error, Result};

/// The components that delimit instance names in resource names.
const RESERVED: [&str; 7] =
    ["blobs", "uploads", "actions", "actionResults", "operations", "capabilities", "compressed-blobs"];

/// The part of the address space that a request is made in: components separated by slashes, or none at all.
///
/// No component is empty, or one of the words `blobs`, `uploads`, `actions`, `actionResults`, `operations`,
/// `capabilities` and `compressed-blobs`. A name is at most [1,024 bytes](Self::MAX_BYTES) long and has no control
/// characters, as accounts, logs and databases keep names that peers make up. Names are ordered as strings.
///
/// A clone shares the string. The empty name has none: it neither allocates nor counts references.
#[derive(Clone, Default)]
pub struct InstanceName(
    /// `None` if it is empty, never `Some("")`.
    Option<Arc<str>>,
);

impl InstanceName {
    /// The length of the longest name, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 1_024;

    /// Parses a name.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the name is longer than [`MAX_BYTES`](Self::MAX_BYTES), has a control character or a redundant
    /// slash, or a component is reserved.
    pub fn new(name: &str) -> Result<Self> {
        if name.is_empty() {
            return Ok(Self::empty());
        }
        if name.len() > Self::MAX_BYTES {
            let (bytes, most) = (name.len(), Self::MAX_BYTES);
            let message = format!("instance name {} has {bytes} bytes; the maximum is {most}", Quoted(name));
            return Err(Error::invalid_argument(message));
        }
        if name.chars().any(char::is_control) {
            return Err(Error::invalid_argument(format!("instance name {} has a control character", Quoted(name))));
        }
        Self::from_stored(name)
    }

    /// Parses a name that was stored before: it may be longer than [`MAX_BYTES`](Self::MAX_BYTES), as prefixes are put
    /// before names, and have characters that earlier releases took.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if a slash is redundant, or a component is reserved.
    pub fn from_stored(name: &str) -> Result<Self> {
        if name.is_empty() {
            return Ok(Self::empty());
        }
        for component in name.split('/') {
            if component.is_empty() {
                return Err(Error::invalid_argument("instance name contains redundant slashes"));
            }
            if RESERVED.contains(&component) {
                let message = format!("instance name contains reserved keyword {}", Quoted(component));
                return Err(Error::invalid_argument(message));
            }
        }
        Ok(Self::from_valid(name))
    }

    /// Returns the name without components.
    #[must_use]
    pub const fn empty() -> Self {
        Self(None)
    }

    /// Makes the name of a string that the caller knows to be valid.
    fn from_valid(name: &str) -> Self {
        Self((!name.is_empty()).then(|| Arc::from(name)))
    }

    /// Returns the name as a string, without slashes at its ends.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Returns whether this is the name without components.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the components, outermost first.
    #[must_use]
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.iter().flat_map(|name| name.split('/'))
    }

    /// Returns the names of the first 0, 1, 2 and so on components, up to this name itself.
    ///
    /// Reversed, the names go from this one to the empty one.
    #[must_use]
    pub fn parents(&self) -> impl DoubleEndedIterator<Item = Self> {
        let name = self.as_str();
        let between = name.match_indices('/').filter_map(|(end, _)| name.get(..end)).map(Self::from_valid);
        let itself = (!self.is_empty()).then(|| self.clone());
        iter::once(Self::empty()).chain(between).chain(itself)
    }

    /// Returns the name without its last component, which for a name of one component is the empty one; `None` for the
    /// empty name.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let name = self.0.as_deref()?;
        let (parent, _) = name.rsplit_once('/').unwrap_or_default();
        Some(Self::from_valid(parent))
    }

    /// Returns whether the first components of this name are those of `prefix`.
    #[must_use]
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.after(prefix).is_some()
    }

    /// Returns the name in quotes, for errors: without control characters, and shortened if it is long.
    pub(crate) fn quoted(&self) -> impl Display {
        Quoted(self.as_str())
    }

    /// Returns the components after those of `prefix`, as a string without slashes at its ends.
    pub(super) fn after(&self, prefix: &Self) -> Option<&str> {
        let rest = self.as_str().strip_prefix(prefix.as_str())?;
        if rest.is_empty() || prefix.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    /// Returns this name with the components of another name behind it.
    pub(super) fn join(&self, components: &str) -> Self {
        match (self.as_str(), components) {
            (_, "") => self.clone(),
            ("", components) => Self::from_valid(components),
            (name, components) => Self(Some(join_with_slash(name, components))),
        }
    }

    /// Returns whether both are one string in memory: then they are equal, without a comparison.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(name), Some(other)) => Arc::ptr_eq(name, other),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

/// Joins two names. Results of up to 128 bytes, which most are, take one allocation in place of two.
fn join_with_slash(name: &str, components: &str) -> Arc<str> {
    let mut buffer = [0_u8; 128];
    let mut rest = buffer.as_mut_slice();
    if write!(rest, "{name}/{components}").is_ok()
        && let left = rest.len()
        && let Some((joined, _)) = buffer.split_at_checked(buffer.len() - left)
        && let Ok(joined) = str::from_utf8(joined)
    {
        return Arc::from(joined);
    }
    Arc::from(format!("{name}/{components}"))
}

// The digests of a request share their name, so most comparisons are of a string with itself.

impl PartialEq for InstanceName {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.as_str() == other.as_str()
    }
}

impl Eq for InstanceName {}

impl PartialOrd for InstanceName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for InstanceName {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.is_same(other) { Ordering::Equal } else { self.as_str().cmp(other.as_str()) }
    }
}

impl Hash for InstanceName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl FromStr for InstanceName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

impl Display for InstanceName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for InstanceName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InstanceName").field(&self.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ErrorKind;

    fn refused(name: &str) -> String {
        let error = InstanceName::new(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        error.to_string()
    }

    #[test]
    fn redundant_slashes_are_refused() {
        for name in ["/", "/hello", "hello/", "hello//world", "//", "a/b//"] {
            assert_eq!(refused(name), "instance name contains redundant slashes", "{name}");
        }
    }

    #[test]
    fn reserved_words_are_refused_as_components_only() {
        for word in RESERVED {
            for name in [word.to_owned(), format!("{word}/x"), format!("keep/{word}"), format!("a/{word}/b")] {
                assert_eq!(refused(&name), format!("instance name contains reserved keyword \"{word}\""));
            }
            assert!(InstanceName::new(&format!("a{word}/{word}s")).is_ok());
        }
    }

    #[test]
    fn any_other_name_is_taken_as_it_is() {
        for name in ["", "a", "hello/world", "Blobs", "this is/ok", "日本/%/-"] {
            let parsed: InstanceName = name.parse().unwrap();
            assert_eq!(parsed.as_str(), name);
            assert_eq!(parsed.to_string(), name);
            assert_eq!(parsed.is_empty(), name.is_empty());
        }
    }

    #[test]
    fn names_that_no_database_keeps_are_refused() {
        for name in ["a\0b", "a\nb", "\u{7f}", "a/\u{85}"] {
            assert!(refused(name).ends_with(" has a control character"), "{name:?}");
        }
        assert!(InstanceName::new(&"x".repeat(InstanceName::MAX_BYTES)).is_ok());
        let message = refused(&"x".repeat(70_000));
        assert!(message.ends_with(" has 70000 bytes; the maximum is 1024") && message.len() < 300, "{message}");
    }

    #[test]
    fn the_empty_name_is_the_default_and_needs_no_memory() {
        assert_eq!(InstanceName::new("").unwrap(), InstanceName::empty());
        assert_eq!(InstanceName::default(), InstanceName::empty());
        assert!(InstanceName::new("").unwrap().0.is_none());
    }

    #[test]
    fn components_are_listed_outermost_first() {
        let components = |name| InstanceName::new(name).unwrap().components().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(components(""), [""; 0]);
        assert_eq!(components("hello"), ["hello"]);
        assert_eq!(components("a/bc/d"), ["a", "bc", "d"]);
    }

    #[test]
    fn parents_go_from_the_empty_name_to_the_name_itself() {
        let name = InstanceName::new("a/bc/d").unwrap();
        let parents: Vec<_> = name.parents().collect();
        assert_eq!(parents.iter().map(InstanceName::as_str).collect::<Vec<_>>(), ["", "a", "a/bc", "a/bc/d"]);
        assert!(name.parents().rev().eq(parents.iter().rev().cloned()));
        assert!(InstanceName::empty().parents().eq([InstanceName::empty()]));
        assert!(InstanceName::new("a").unwrap().parents().rev().map(|name| name.to_string()).eq(["a", ""]));
    }

    #[test]
    fn the_parent_of_a_parent_and_so_on_is_the_empty_name_which_has_none() {
        let mut name = InstanceName::new("a/bc/d").unwrap();
        for parent in ["a/bc", "a", ""] {
            name = name.parent().unwrap();
            assert_eq!(name, InstanceName::new(parent).unwrap());
        }
        assert!(name.is_empty());
        assert_eq!(name.parent(), None);
    }

    #[test]
    fn a_prefix_is_of_whole_components() {
        let name = InstanceName::new("hello/world").unwrap();
        for (prefix, starts) in [
            ("", true),
            ("hello", true),
            ("hello/world", true),
            ("hell", false),
            ("hello/world/x", false),
            ("x", false),
        ] {
            assert_eq!(name.starts_with(&InstanceName::new(prefix).unwrap()), starts, "{prefix}");
        }
        assert!(!InstanceName::empty().starts_with(&name));
    }

    #[test]
    fn names_of_any_length_are_joined() {
        for length in [1, 125, 126, 127, 128, 1000] {
            let long = "ä".repeat(length / 2) + &"b".repeat(length % 2);
            let joined = InstanceName::new("a").unwrap().join(&long);
            assert_eq!(joined, InstanceName::new(&format!("a/{long}")).unwrap());
        }
    }

    proptest! {
        #[test]
        fn no_string_panics_and_what_is_taken_is_kept(name in "[a/]{0,8}|\\PC*") {
            if let Ok(parsed) = InstanceName::new(&name) {
                prop_assert_eq!(parsed.as_str(), &*name);
                prop_assert_eq!(parsed.parents().count(), parsed.components().count() + 1);
                for parent in parsed.parents() {
                    prop_assert!(InstanceName::new(parent.as_str()).is_ok());
                    prop_assert!(parsed.starts_with(&parent));
                }
                let by_parent = iter::successors(Some(parsed.clone()), InstanceName::parent);
                prop_assert!(by_parent.eq(parsed.parents().rev()));
            }
        }
    }
}
