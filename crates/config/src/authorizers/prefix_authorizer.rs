//! Lets everybody work in instance names that begin with certain components.

use async_trait::async_trait;
use blobaccess::decorators::Authorizer;
use blobaccess::{Context, Error, InstanceName, InstanceNameTrie, Result};

/// An authorizer that permits the instance names that begin with one of its prefixes, component by component.
#[derive(Debug)]
pub(super) struct PrefixAuthorizer {
    prefixes: InstanceNameTrie<()>,
}

impl PrefixAuthorizer {
    /// Permits the names that begin with one of `prefixes`. The empty one permits all.
    pub(super) fn new(prefixes: &[InstanceName]) -> Self {
        let mut trie = InstanceNameTrie::new();
        for prefix in prefixes {
            trie.insert(prefix, ());
        }
        Self { prefixes: trie }
    }
}

#[async_trait]
impl Authorizer for PrefixAuthorizer {
    async fn authorize(&self, _ctx: &Context, instance_names: &[InstanceName]) -> Vec<Result<()>> {
        let answer = |name| match self.prefixes.longest_prefix(name) {
            Some(_) => Ok(()),
            None => Err(Error::permission_denied("permission denied")),
        };
        instance_names.iter().map(answer).collect()
    }
}
