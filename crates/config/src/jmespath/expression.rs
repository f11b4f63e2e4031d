//! An expression that can be evaluated.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use ::jmespath::ast::Ast;
use ::jmespath::{Context, DEFAULT_RUNTIME, Rcvar, Variable, interpret};
use serde_json::Value;

use super::expression_files::ExpressionFiles;
use super::syntax::describe;

/// A value of JSON, as expressions take and return it. It is cheap to clone.
pub(crate) type Node = Rcvar;

/// The name by which expressions find the contents of their files.
pub(super) const FILES: &str = "files";

/// Returns a value as expressions take it.
pub(crate) fn node_of(value: &Value) -> Node {
    Node::new(Variable::from_serializable(value).unwrap_or(Variable::Null))
}

/// The maximum depth of values that come from a configuration. Those of callers are held to less by their parsers.
const MAX_VALUE_DEPTH: usize = 100;

/// Checks that a value is not so deep that converting it could use up the stack.
///
/// # Errors
///
/// A sentence about what is wrong.
pub(crate) fn check_depth(value: &Value) -> Result<(), String> {
    let mut open = vec![(value, 1)];
    while let Some((value, depth)) = open.pop() {
        if depth > MAX_VALUE_DEPTH {
            return Err(format!("is nested more than {MAX_VALUE_DEPTH} deep"));
        }
        match value {
            Value::Array(elements) => open.extend(elements.iter().map(|element| (element, depth + 1))),
            Value::Object(fields) => open.extend(fields.values().map(|field| (field, depth + 1))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    Ok(())
}

/// An expression, with the contents of its files.
#[derive(Clone)]
pub(crate) struct Expression {
    text: Arc<str>,
    tree: Arc<Ast>,
    files: Option<Arc<ExpressionFiles>>,
}

impl Expression {
    pub(super) fn new(text: Arc<str>, tree: Arc<Ast>, files: Option<Arc<ExpressionFiles>>) -> Self {
        Self { text, tree, files }
    }

    /// Evaluates the expression over an object with the fields of `input`. The contents of files are added.
    ///
    /// # Errors
    ///
    /// A sentence about what is wrong, such as a function that was called with values that it does not take.
    pub(crate) fn evaluate<'a>(&self, input: impl IntoIterator<Item = (&'a str, Node)>) -> Result<Node, String> {
        let mut fields: std::collections::BTreeMap<String, Node> =
            input.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if let Some(files) = &self.files {
            fields.insert(FILES.to_owned(), files.contents());
        }
        self.evaluate_over(&Node::new(Variable::Object(fields)))
    }

    /// Evaluates the expression over `input`, which has the contents of files as well.
    pub(super) fn evaluate_over(&self, input: &Node) -> Result<Node, String> {
        let mut ctx = Context::new(&self.text, &DEFAULT_RUNTIME);
        interpret(input, &self.tree, &mut ctx).map_err(|error| describe(&self.text, &error))
    }

    /// Returns whether the expression has exactly the value `true`. An error is not true.
    pub(crate) fn is_true<'a>(&self, input: impl IntoIterator<Item = (&'a str, Node)>) -> bool {
        self.evaluate(input).is_ok_and(|value| *value == Variable::Bool(true))
    }

    /// Evaluates the expression to a value of JSON.
    ///
    /// # Errors
    ///
    /// As those of [`evaluate`](Self::evaluate).
    pub(crate) fn evaluate_to_json<'a>(
        &self,
        input: impl IntoIterator<Item = (&'a str, Node)>,
    ) -> Result<Value, String> {
        json_of(&self.evaluate(input)?)
    }
}

/// Returns the result of an expression as JSON.
///
/// # Errors
///
/// The value is none of JSON, but an expression.
pub(super) fn json_of(value: &Node) -> Result<Value, String> {
    if value.is_expref() {
        return Err("the result is an expression, not a value".to_owned());
    }
    serde_json::to_value(&**value).map_err(|error| error.to_string())
}

impl Debug for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::syntax::parse;
    use super::*;

    fn evaluate(text: &str, input: &Value) -> Result<Value, String> {
        let expression = Expression::new(text.into(), Arc::new(parse(text).unwrap()), None);
        json_of(&expression.evaluate_over(&node_of(input))?)
    }

    #[test]
    fn an_expression_as_deep_as_permitted_needs_little_stack() {
        let deep = ["a".to_owned() + &" | a".repeat(62), "!".repeat(63) + "a", "[".repeat(63) + "a" + &"]".repeat(63)];
        for text in deep {
            let evaluated = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
                evaluate(&text, &json!({"a": 1})).unwrap();
            });
            evaluated.unwrap().join().unwrap();
        }
    }

    #[test]
    fn a_long_chain_has_the_value_of_its_first_or_last_operand() {
        let one_of = |count: usize| (0..count).map(|n| format!("a == `{n}`")).collect::<Vec<_>>().join(" || ");
        assert_eq!(evaluate(&one_of(999), &json!({"a": 998})), Ok(json!(true)));
        assert_eq!(evaluate(&one_of(999), &json!({"a": 999})), Ok(json!(false)));
        for (text, value) in [
            ("a || b || c || d || e", json!(3)),
            ("c && d && b && a", json!(false)),
            ("c && d && 'e' && 'f' && 'g'", json!("g")),
            ("a || b || (c && b) || '' || `[]`", json!([])),
        ] {
            assert_eq!(evaluate(text, &json!({"a": null, "b": false, "c": 3, "d": 4})), Ok(value), "{text}");
        }
    }

    #[test]
    fn a_slice_whose_step_is_zero_is_an_error() {
        evaluate("[::0]", &json!([1])).unwrap_err();
        assert_eq!(evaluate("[::1000]", &json!([1, 2, 3])), Ok(json!([1])));
    }

    #[test]
    fn a_result_that_is_no_value_is_an_error() {
        evaluate("&a", &json!({})).unwrap_err();
        let error = evaluate("a ||\nlength(`1`)", &json!({})).unwrap_err();
        assert!(error.contains("line 2, column 7"), "{error}");
    }
}
