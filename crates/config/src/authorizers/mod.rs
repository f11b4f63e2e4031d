//! Authorizers: the instance names that callers may work in.

mod expression_authorizer;
mod prefix_authorizer;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use blobaccess::InstanceName;
use blobaccess::decorators::{Authorizer, StaticAuthorizer};

use self::expression_authorizer::ExpressionAuthorizer;
use self::prefix_authorizer::PrefixAuthorizer;
use crate::background::Background;
use crate::jmespath::ExpressionPlan;
use crate::section::Section;

/// An authorizer of a configuration: a `buildbarn.configuration.auth.AuthorizerConfiguration`.
#[derive(Clone, Debug)]
pub(crate) enum AuthorizerPlan {
    Allow,
    Deny,
    /// Instance names that begin with one of these.
    InstanceNamePrefix(Vec<InstanceName>),
    Expression(ExpressionPlan),
}

impl AuthorizerPlan {
    /// Reads an authorizer. `None` if there are faults.
    pub(crate) fn read(section: &Section<'_>) -> Option<Self> {
        match section.member("policy") {
            Some("allow") => {
                section.message("allow");
                Some(Self::Allow)
            }
            Some("deny") => {
                section.message("deny");
                Some(Self::Deny)
            }
            Some("instance_name_prefix") => read_prefixes(&section.message("instance_name_prefix")?),
            Some("jmespath_expression") => {
                ExpressionPlan::read(&section.message("jmespath_expression")?).map(Self::Expression)
            }
            Some("remote") => {
                section.refuse("remote", "authorizers are evaluated in this program; say it in jmespathExpression");
                None
            }
            Some(_) | None => {
                section.fault("is required: allow, deny, instanceNamePrefix or jmespathExpression");
                None
            }
        }
    }

    /// Returns the name of the policy, as it is configured.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::InstanceNamePrefix(_) => "instanceNamePrefix",
            Self::Expression(_) => "jmespathExpression",
        }
    }

    /// Returns the authorizer.
    pub(crate) fn build(&self, background: &mut Background) -> Arc<dyn Authorizer> {
        match self {
            Self::Allow => Arc::new(StaticAuthorizer::Allow),
            Self::Deny => Arc::new(StaticAuthorizer::Deny),
            Self::InstanceNamePrefix(prefixes) => Arc::new(PrefixAuthorizer::new(prefixes)),
            Self::Expression(expression) => Arc::new(ExpressionAuthorizer::new(expression.build(background))),
        }
    }
}

fn read_prefixes(section: &Section<'_>) -> Option<AuthorizerPlan> {
    let field = "allowed_instance_name_prefixes";
    let mut names = Vec::new();
    let texts = section.texts(field);
    for (index, text) in texts.iter().enumerate() {
        match InstanceName::new(text) {
            Ok(name) => names.push(name),
            Err(error) => section.fault_at_element(field, index, error.message().to_owned()),
        }
    }
    (names.len() == texts.len()).then_some(AuthorizerPlan::InstanceNamePrefix(names))
}
