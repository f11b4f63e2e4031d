//! Instance names: each name that proved to have contents has a record of its own, which shares them.
//!
//! A name sees the contents that it or a name that it begins with has a record for: `a/b` sees what was put under
//! `a/b`, `a` and the empty name.

use blobaccess::{Error, InstanceName, Result};

use crate::key::{Key, words};

/// The maximum number of components of a name. Each of its beginnings is looked up for each digest.
const MAX_COMPONENTS: usize = 64;

/// The mask that turns the key of contents into the key of a name's record.
pub(crate) type Mask = [u64; 4];

/// Makes the masks of names. Nobody can guess them, so nobody can choose contents whose keys collide.
#[derive(Clone, Debug)]
pub(crate) struct InstanceNames {
    /// A secret that only the store knows.
    secret: [u8; 32],
}

/// Returns the key of the record that a name has for the contents of `key`.
pub(crate) fn key_of_name(key: &Key, mask: &Mask) -> Key {
    let mut masked = *key;
    for (word, mask) in masked.words.iter_mut().zip(mask) {
        *word ^= mask;
    }
    masked
}

/// Returns a name without its last component; `None` for the empty one.
fn shorter(name: &str) -> Option<&str> {
    match name.rsplit_once('/') {
        Some((parent, _)) => Some(parent),
        None => (!name.is_empty()).then_some(""),
    }
}

impl InstanceNames {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    fn mask(&self, name: &str) -> Mask {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(b"instance name\0");
        hasher.update(name.as_bytes());
        words(hasher.finalize().as_bytes())
    }

    /// Returns the masks of a name and of all names that it begins with, the longest first.
    pub(crate) fn masks(&self, name: &InstanceName) -> Result<Vec<Mask>> {
        let components = name.components().count();
        if components > MAX_COMPONENTS {
            return Err(Error::invalid_argument(format!(
                "instance name has {components} components; the maximum is {MAX_COMPONENTS}"
            )));
        }
        Ok(std::iter::successors(Some(name.as_str()), |name| shorter(name)).map(|name| self.mask(name)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(name: &str) -> Vec<Mask> {
        InstanceNames::new([7; 32]).masks(&InstanceName::new(name).unwrap()).unwrap()
    }

    #[test]
    fn a_name_has_the_masks_of_all_that_it_begins_with() {
        let deep = masks("a/b/c");
        assert_eq!(deep.len(), 4);
        assert_eq!(deep[1..], masks("a/b"));
        assert_eq!(deep[3..], masks(""));
        assert_ne!(masks("a")[0], masks("b")[0]);
        assert_ne!(masks("")[0], InstanceNames::new([8; 32]).masks(&InstanceName::empty()).unwrap()[0]);
    }

    #[test]
    fn a_name_that_is_too_deep_is_refused_with_both_numbers() {
        let name = InstanceName::new(&["a"; MAX_COMPONENTS + 1].join("/")).unwrap();
        let refused = InstanceNames::new([7; 32]).masks(&name).unwrap_err().to_string();
        assert!(refused.contains("65 components") && refused.contains("64"), "{refused}");
        assert_eq!(masks(&["a"; MAX_COMPONENTS].join("/")).len(), MAX_COMPONENTS + 1);
    }
}
