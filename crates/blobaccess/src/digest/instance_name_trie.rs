//! Values by instance name, found also by names below their own.

use std::collections::BTreeMap;

use super::InstanceName;

/// A map from instance names to values that finds the longest stored prefix of a name.
///
/// Any name may be looked up, but only configured names should be stored, not those that clients send: removing and
/// dropping use stack space for each component of the longest stored name.
#[derive(Clone, Debug)]
pub struct InstanceNameTrie<T> {
    root: Node<T>,
}

/// The names that begin with certain components. Only the root has neither a value nor children.
#[derive(Clone, Debug)]
struct Node<T> {
    value: Option<T>,
    children: BTreeMap<Box<str>, Self>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { value: None, children: BTreeMap::new() }
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        self.value.is_none() && self.children.is_empty()
    }

    fn remove(&mut self, components: &mut dyn Iterator<Item = &str>) -> Option<T> {
        let Some(component) = components.next() else { return self.value.take() };
        let child = self.children.get_mut(component)?;
        let removed = child.remove(components);
        if child.is_empty() {
            self.children.remove(component);
        }
        removed
    }
}

impl<T> Default for InstanceNameTrie<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> InstanceNameTrie<T> {
    /// Makes a map without values.
    #[must_use]
    pub fn new() -> Self {
        Self { root: Node::default() }
    }

    /// Returns whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    /// Stores `value` for `name`, and returns the previous value.
    pub fn insert(&mut self, name: &InstanceName, value: T) -> Option<T> {
        let mut node = &mut self.root;
        for component in name.components() {
            node = node.children.entry(Box::from(component)).or_default();
        }
        node.value.replace(value)
    }

    /// Returns the value for exactly this name.
    #[must_use]
    pub fn get(&self, name: &InstanceName) -> Option<&T> {
        let mut components = name.components();
        components.try_fold(&self.root, |node, component| node.children.get(component))?.value.as_ref()
    }

    /// Returns the value of the longest stored name that `name` equals or begins with, and the number of its
    /// components.
    ///
    /// The cost does not depend on the rest of `name`.
    #[must_use]
    pub fn longest_prefix(&self, name: &InstanceName) -> Option<(usize, &T)> {
        let mut node = &self.root;
        let mut longest = node.value.as_ref().map(|value| (0, value));
        for (component, count) in name.components().zip(1..) {
            let Some(child) = node.children.get(component) else { break };
            node = child;
            longest = node.value.as_ref().map(|value| (count, value)).or(longest);
        }
        longest
    }

    /// Removes the value for exactly this name, and returns it.
    pub fn remove(&mut self, name: &InstanceName) -> Option<T> {
        self.root.remove(&mut name.components())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn name(name: &str) -> InstanceName {
        InstanceName::new(name).unwrap()
    }

    #[test]
    fn an_empty_trie_finds_nothing() {
        let mut trie = InstanceNameTrie::<u8>::new();
        assert!(trie.is_empty());
        for asked in ["", "a", "a/b"] {
            assert_eq!(trie.get(&name(asked)), None);
            assert_eq!(trie.longest_prefix(&name(asked)), None);
            assert_eq!(trie.remove(&name(asked)), None);
        }
    }

    #[test]
    fn a_trie_without_a_root_finds_only_names_below_those_stored() {
        let mut trie = InstanceNameTrie::new();
        assert_eq!(trie.insert(&name("x/y"), 1), None);
        assert_eq!(trie.insert(&name("x/y/z/w"), 2), None);
        assert_eq!(trie.get(&name("x/y")), Some(&1));
        assert_eq!(trie.get(&name("x/y/z")), None);
        for (asked, found) in [
            ("", None),
            ("x", None),
            ("x/yy", None),
            ("x/y", Some((2, &1))),
            ("x/y/z", Some((2, &1))),
            ("x/y/z/w", Some((4, &2))),
            ("x/y/z/w/v", Some((4, &2))),
            ("y/x/y", None),
        ] {
            assert_eq!(trie.longest_prefix(&name(asked)), found, "{asked}");
        }
        assert_eq!(trie.insert(&name("x/y"), 3), Some(1));
    }

    #[test]
    fn a_trie_with_a_root_finds_something_for_every_name() {
        let mut trie = InstanceNameTrie::new();
        trie.insert(&name(""), 0);
        trie.insert(&name("x"), 1);
        assert!(!trie.is_empty());
        for (asked, found) in [("", (0, &0)), ("x", (1, &1)), ("x/z", (1, &1)), ("y", (0, &0)), ("xx/x", (0, &0))] {
            assert_eq!(trie.longest_prefix(&name(asked)), Some(found), "{asked}");
        }
        assert_eq!(trie.remove(&name("")), Some(0));
        assert_eq!(trie.longest_prefix(&name("y")), None);
    }

    #[test]
    fn removal_leaves_no_empty_branches() {
        let mut trie = InstanceNameTrie::new();
        trie.insert(&name("a/b/c"), 1);
        trie.insert(&name("a"), 2);
        assert_eq!(trie.remove(&name("a/b")), None);
        assert_eq!(trie.remove(&name("a/b/c")), Some(1));
        assert!(trie.root.children["a"].children.is_empty());
        assert_eq!(trie.get(&name("a")), Some(&2));
        assert_eq!(trie.remove(&name("a")), Some(2));
        assert!(trie.is_empty());
    }

    proptest! {
        #[test]
        fn a_trie_answers_as_a_plain_map_does(
            steps in prop::collection::vec((any::<bool>(), "[ab]?|[ab](/[ab]){1,3}", any::<u8>()), 0..40),
        ) {
            let mut trie = InstanceNameTrie::new();
            let mut map = BTreeMap::new();
            for (insert, at, value) in steps {
                let at = name(&at);
                let expected = at.parents().enumerate().filter_map(|(n, parent)| Some((n, map.get(&parent)?))).last();
                prop_assert_eq!(trie.longest_prefix(&at), expected);
                prop_assert_eq!(trie.get(&at), map.get(&at));
                if insert {
                    prop_assert_eq!(trie.insert(&at, value), map.insert(at, value));
                } else {
                    prop_assert_eq!(trie.remove(&at), map.remove(&at));
                }
                prop_assert_eq!(trie.is_empty(), map.is_empty());
            }
        }
    }
}
