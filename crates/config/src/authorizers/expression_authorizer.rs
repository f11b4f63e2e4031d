//! Lets callers work in instance names for which an expression is true.

use async_trait::async_trait;
use blobaccess::decorators::Authorizer;
use blobaccess::{Context, Error, InstanceName, Result};
use serde_json::Value;

use crate::authentication::AuthenticationMetadata;
use crate::jmespath::{Expression, Node, node_of};

/// An authorizer that permits what an expression has exactly the value `true` for.
///
/// The expression sees `authenticationMetadata`, `instanceName` and `files`. An expression that cannot be evaluated
/// permits nothing.
#[derive(Debug)]
pub(super) struct ExpressionAuthorizer {
    expression: Expression,
}

impl ExpressionAuthorizer {
    /// Permits what `expression` is true for.
    pub(super) fn new(expression: Expression) -> Self {
        Self { expression }
    }
}

#[async_trait]
impl Authorizer for ExpressionAuthorizer {
    async fn authorize(&self, ctx: &Context, instance_names: &[InstanceName]) -> Vec<Result<()>> {
        let metadata =
            AuthenticationMetadata::of(ctx).map_or_else(|| node_of(&Value::Null), |of| Node::clone(of.node()));
        let answer = |name: &InstanceName| {
            let name = node_of(&Value::String(name.as_str().to_owned()));
            let input = [("authenticationMetadata", Node::clone(&metadata)), ("instanceName", name)];
            if self.expression.is_true(input) { Ok(()) } else { Err(Error::permission_denied("permission denied")) }
        };
        instance_names.iter().map(answer).collect()
    }
}
