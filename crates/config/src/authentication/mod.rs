//! Authentication: the policies of servers, and what they tell of callers.

mod all_of;
mod authentication_metadata;
mod certificate_authenticator;
mod certificate_plan;
#[cfg(test)]
mod end_to_end_tests;
mod fixed_answers;
mod peer_authenticator;
#[cfg(test)]
mod tests;
mod token_plan;
mod tracing_attributes;

use std::sync::Arc;

use blobaccess_grpc::{AnyOf, Authenticator};

use self::all_of::AllOf;
pub use self::authentication_metadata::AuthenticationMetadata;
use self::certificate_plan::CertificatePlan;
use self::fixed_answers::{AllowEverybody, DenyEverybody};
use self::peer_authenticator::PeerAuthenticator;
use self::token_plan::TokenPlan;
use crate::background::Background;
use crate::jmespath::ExpressionPlan;
use crate::section::Section;

/// The policy of a server: a `buildbarn.configuration.grpc.AuthenticationPolicy`, or the policy of the same name of a
/// server of HTTP.
#[derive(Clone, Debug)]
pub(crate) enum AuthenticationPlan {
    Allow(AuthenticationMetadata),
    Deny(String),
    Any(Vec<Self>),
    All(Vec<Self>),
    Certificate(CertificatePlan),
    Token(TokenPlan),
    /// The expression that extracts metadata from the user that a client at a UNIX socket runs as.
    Peer(ExpressionPlan),
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
            Some("tls_client_certificate") => {
                CertificatePlan::read(&section.message("tls_client_certificate")?).map(Self::Certificate)
            }
            Some("jwt") => TokenPlan::read(&section.message("jwt")?).map(Self::Token),
            Some("peer_credentials_jmespath_expression") => {
                ExpressionPlan::read(&section.message("peer_credentials_jmespath_expression")?).map(Self::Peer)
            }
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

    /// Returns whether clients are to be asked for certificates, which nobody but this policy verifies.
    pub(crate) fn requests_client_certificates(&self) -> bool {
        self.needs(|policy| matches!(policy, Self::Certificate(_)))
    }

    /// Returns whether the policy serves clients at UNIX sockets by their users.
    pub(crate) fn needs_peer_credentials(&self) -> bool {
        self.needs(|policy| matches!(policy, Self::Peer(_)))
    }

    /// Returns whether this policy, or one within it, is one that `needs` is true for.
    fn needs(&self, needs: fn(&Self) -> bool) -> bool {
        if let Self::Any(policies) | Self::All(policies) = self {
            return policies.iter().any(|policy| policy.needs(needs));
        }
        needs(self)
    }

    /// Returns what identifies the callers of the server.
    pub(crate) fn build(&self, background: &mut Background) -> Arc<dyn Authenticator> {
        match self {
            Self::Allow(metadata) => Arc::new(AllowEverybody::new(metadata.clone())),
            Self::Deny(reason) => Arc::new(DenyEverybody::new(reason)),
            Self::Any(policies) => Arc::new(AnyOf::new(build_all(policies, background))),
            Self::Certificate(policy) => policy.build(background),
            Self::Token(policy) => policy.build(background),
            Self::Peer(extraction) => Arc::new(PeerAuthenticator::new(extraction.build(background))),
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
