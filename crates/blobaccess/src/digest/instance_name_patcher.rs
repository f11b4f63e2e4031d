//! Replaces the first components of instance names, and restores them.

use super::{Digest, DigestSet, InstanceName};

/// A replacement of one prefix of instance names by another.
///
/// Prefixes consist of whole components. A name that does not begin with the old prefix is not patched: `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceNamePatcher {
    old_prefix: InstanceName,
    new_prefix: InstanceName,
}

impl InstanceNamePatcher {
    /// Makes a patcher that replaces `old_prefix` by `new_prefix`.
    #[must_use]
    pub const fn new(old_prefix: InstanceName, new_prefix: InstanceName) -> Self {
        Self { old_prefix, new_prefix }
    }

    /// Returns the name with the new prefix in place of the old one.
    #[must_use]
    pub fn patch(&self, name: &InstanceName) -> Option<InstanceName> {
        replace(name, &self.old_prefix, &self.new_prefix)
    }

    /// Returns the name that [`patch`](Self::patch) turns into this one.
    #[must_use]
    pub fn unpatch(&self, name: &InstanceName) -> Option<InstanceName> {
        replace(name, &self.new_prefix, &self.old_prefix)
    }

    /// Returns the digest with its instance name patched.
    #[must_use]
    pub fn patch_digest(&self, digest: &Digest) -> Option<Digest> {
        Some(digest.with_instance_name(self.patch(digest.instance_name())?))
    }

    /// Returns the digest with its instance name restored.
    #[must_use]
    pub fn unpatch_digest(&self, digest: &Digest) -> Option<Digest> {
        Some(digest.with_instance_name(self.unpatch(digest.instance_name())?))
    }

    /// Returns all digests with their instance names patched; `None` if any of them cannot be.
    #[must_use]
    pub fn patch_set(&self, digests: &DigestSet) -> Option<DigestSet> {
        self.replace_in_set(digests, Self::patch)
    }

    /// Returns all digests with their instance names restored; `None` if any of them cannot be.
    #[must_use]
    pub fn unpatch_set(&self, digests: &DigestSet) -> Option<DigestSet> {
        self.replace_in_set(digests, Self::unpatch)
    }

    fn replace_in_set(
        &self,
        digests: &DigestSet,
        replace: fn(&Self, &InstanceName) -> Option<InstanceName>,
    ) -> Option<DigestSet> {
        // The digests of a set mostly share one name, so that one replacement serves many of them.
        let mut last: Option<(&InstanceName, InstanceName)> = None;
        let mut replaced = Vec::with_capacity(digests.len());
        for digest in digests {
            let name = digest.instance_name();
            let new_name = match last.take() {
                Some((last_name, new_name)) if last_name.is_same(name) => new_name,
                _ => replace(self, name)?,
            };
            replaced.push(digest.with_instance_name(new_name.clone()));
            last = Some((name, new_name));
        }
        // Names with a common prefix are ordered by the rest of the name, whatever the prefix is. So the digests are
        // still sorted.
        Some(DigestSet::from(replaced))
    }
}

fn replace(name: &InstanceName, from: &InstanceName, to: &InstanceName) -> Option<InstanceName> {
    let components = name.after(from)?;
    Some(if from == to { name.clone() } else { to.join(components) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::DigestFunction;

    fn name(name: &str) -> InstanceName {
        InstanceName::new(name).unwrap()
    }

    fn digest(instance_name: &str) -> Digest {
        Digest::of(name(instance_name), DigestFunction::Sha256, b"Hello")
    }

    #[test]
    fn a_prefix_is_replaced_and_put_back() {
        for (old, new, before, after) in [
            ("", "", "", ""),
            ("", "", "a/b", "a/b"),
            ("x", "x", "x", "x"),
            ("x", "x", "x/y", "x/y"),
            ("", "x/y", "", "x/y"),
            ("", "x/y", "a", "x/y/a"),
            ("x", "x/y", "x", "x/y"),
            ("x", "x/y", "x/a", "x/y/a"),
            ("x/y", "", "x/y", ""),
            ("x/y", "", "x/y/a/b", "a/b"),
            ("x/y", "x", "x/y", "x"),
            ("x/y", "x", "x/y/a", "x/a"),
            ("hello", "goodbye", "hello", "goodbye"),
            ("hello", "goodbye", "hello/world", "goodbye/world"),
        ] {
            let patcher = InstanceNamePatcher::new(name(old), name(new));
            assert_eq!(patcher.patch(&name(before)), Some(name(after)), "{old} to {new}");
            assert_eq!(patcher.unpatch(&name(after)), Some(name(before)), "{old} to {new}");
            assert_eq!(patcher.patch_digest(&digest(before)), Some(digest(after)));
            assert_eq!(patcher.unpatch_digest(&digest(after)), Some(digest(before)));
        }
    }

    #[test]
    fn a_name_without_the_prefix_is_not_patched() {
        let patcher = InstanceNamePatcher::new(name("hello"), name("hello"));
        for other in ["", "hell", "helloo", "world/hello"] {
            assert_eq!(patcher.patch(&name(other)), None);
            assert_eq!(patcher.unpatch_digest(&digest(other)), None);
            assert_eq!(patcher.patch_set(&DigestSet::from([digest("hello"), digest(other)])), None);
        }
    }

    proptest! {
        #[test]
        fn sets_are_patched_digest_by_digest(
            old in "|[ab-](/[ab-]){0,2}",
            new in "|[ab-](/[ab-]){0,2}",
            names in prop::collection::vec("|[ab-](/[ab-]){0,2}", 0..8),
        ) {
            let patcher = InstanceNamePatcher::new(name(&old), name(&new));
            let set: DigestSet = names.iter().map(|rest| digest("").with_instance_name(name(&old).join(rest))).collect();
            let patched = patcher.patch_set(&set).unwrap();
            let one_by_one: Vec<_> = set.iter().map(|digest| patcher.patch_digest(digest).unwrap()).collect();
            prop_assert_eq!(&*one_by_one, patched.as_slice());
            prop_assert_eq!(patcher.unpatch_set(&patched), Some(set));
        }
    }
}
