//! The rights to use a store.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use blobaccess::StorageType;
use blobaccess::decorators::{Authorizers, StaticAuthorizer};

use super::probe::EndsProbes;
use crate::authorizers::AuthorizerPlan;
use crate::background::Background;
use crate::section::Section;

/// The plan of the authorizers of a store.
#[derive(Debug)]
pub(super) struct StoreAccessPlan {
    pub(super) kind: StorageType,
    get: AuthorizerPlan,
    put: AuthorizerPlan,
    /// The authorizer of queries. Stores of action results and the like are never queried by callers.
    find_missing: Option<AuthorizerPlan>,
}

impl StoreAccessPlan {
    /// Reads the authorizers from a `ScannableBlobAccessConfiguration` or a `NonScannableBlobAccessConfiguration`. `None`
    /// says that faults were noted.
    pub(super) fn read(section: &Section<'_>, kind: StorageType) -> Option<Self> {
        let authorizer = |field| section.required(field).and_then(|section| AuthorizerPlan::read(&section));
        let (get, put) = (authorizer("get_authorizer"), authorizer("put_authorizer"));
        let find_missing = match kind {
            StorageType::Cas | StorageType::Icas => Some(authorizer("find_missing_authorizer")),
            StorageType::Ac | StorageType::Iscc | StorageType::Fsac => None,
        };
        let find_missing = match find_missing {
            Some(authorizer) => Some(authorizer?),
            None => None,
        };
        Some(Self { kind, get: get?, put: put?, find_missing })
    }

    /// Makes the authorizers.
    pub(super) fn build(&self, background: &mut Background) -> Authorizers {
        let find_missing = match &self.find_missing {
            Some(authorizer) => authorizer.build(background),
            None => Arc::new(StaticAuthorizer::Allow),
        };
        let find_missing = Arc::new(EndsProbes(find_missing));
        Authorizers::new(self.get.build(background), self.put.build(background), find_missing)
    }
}

impl Display for StoreAccessPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { kind, get, put, find_missing } = self;
        write!(f, "{}: get {}, put {}", kind.name(), get.name(), put.name())?;
        match find_missing {
            Some(authorizer) => write!(f, ", find missing {}", authorizer.name()),
            None => Ok(()),
        }
    }
}
