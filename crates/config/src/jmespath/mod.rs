//! `JMESPath`: expressions over JSON that decide about callers, and say what is known of them.

mod expression;
mod expression_files;
mod expression_plan;
#[cfg(test)]
mod random_tests;
mod syntax;

pub(crate) use self::expression::{Expression, Node, check_depth, node_of};
pub(crate) use self::expression_plan::ExpressionPlan;
