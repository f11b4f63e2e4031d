//! Authentication: the policies of servers, and what they tell of callers.

mod all_of;
mod authentication_metadata;
mod fixed_answers;
#[cfg(test)]
mod tests;
mod tracing_attributes;

use std::sync::Arc;

use blobaccess_grpc::{AnyOf, Authenticator};

use self::all_of::AllOf;
pub use self::authentication_metadata::AuthenticationMetadata;
use self::fixed_answers::{AllowEverybody, DenyEverybody};
use crate::background::Background;
use crate::section::Section;

/// The policy of a server: a `buildbarn.configuration.grpc.AuthenticationPolicy`, or the policy of the same name of a
/// server of HTTP.
#[derive(Clone, Debug)]
pub(crate) enum AuthenticationPlan {
    Allow(AuthenticationMetadata),
    Deny(String),
    Any(Vec<Self>),
    All(Vec<Self>),
}

impl AuthenticationPlan {
    /// Reads the policy of a server, whichever protocol it has. `None` if there are faults.
    pub(crate) fn read(section: &Section<'_>) -> Option<Self> {
        let member = section.member("policy");
        match member {
            Some("allow") => AuthenticationMetadata::read(&section.message("allow")?).map(Self::Allow),
            Some("deny") => Some(Self::Deny(section.text("deny").to_owned())),
            Some("any") => read_all(&section.message("any")?).map(Self::Any),
            Some("all") => read_all(&section.message("all")?).map(Self::All),
            Some("remote") => refuse(section, "remote", "requests are authenticated in this program"),
            Some("oidc") => refuse(section, "oidc", "put a proxy that logs users in before this server"),
            Some("accept_header") => refuse(section, "accept_header", "it is of use with oidc only"),
            Some(other) => refuse(section, other, "this server does not have it"),
            None => {
                section.fault("is required: a policy such as allow, deny, any or jwt");
                None
            }
        }
    }

    /// Returns what identifies the callers of the server.
    pub(crate) fn build(&self, background: &mut Background) -> Arc<dyn Authenticator> {
        match self {
            Self::Allow(metadata) => Arc::new(AllowEverybody::new(metadata.clone())),
            Self::Deny(reason) => Arc::new(DenyEverybody::new(reason)),
            Self::Any(policies) => Arc::new(AnyOf::new(build_all(policies, background))),
            Self::All(policies) => Arc::new(AllOf::new(build_all(policies, background))),
        }
    }
}

fn refuse(section: &Section<'_>, field: &str, reason: &str) -> Option<AuthenticationPlan> {
    section.refuse(field, reason);
    None
}

fn read_all(section: &Section<'_>) -> Option<Vec<AuthenticationPlan>> {
    let sections = section.messages("policies");
    let policies: Vec<_> = sections.iter().map(AuthenticationPlan::read).collect();
    policies.into_iter().collect()
}

fn build_all(policies: &[AuthenticationPlan], background: &mut Background) -> Vec<Arc<dyn Authenticator>> {
    policies.iter().map(|policy| policy.build(background)).collect()
}
