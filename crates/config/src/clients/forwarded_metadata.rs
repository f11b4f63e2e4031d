//! Metadata that a client makes of that of the call it is used for, by an expression.

use blobaccess::{Context, Error, Result};
use serde_json::{Map, Value};
use tonic::metadata::MetadataMap;

use super::metadata::{append, check_name, remove};
use crate::AuthenticationMetadata;
use crate::jmespath::{Expression, Node, node_of};

/// Metadata that is made by an expression.
///
/// The expression sees `authenticationMetadata`, `incomingGRPCMetadata` and `files`. Its value is an object whose fields
/// are the names of metadata, in lower case, and lists of values. A field that is null is passed over.
///
/// Values of names that end in `-bin` are bytes, which expressions see as the characters U+0000 to U+00FF.
#[derive(Debug)]
pub(super) struct ForwardedMetadata {
    expression: Expression,
}

impl ForwardedMetadata {
    pub(super) fn new(expression: Expression) -> Self {
        Self { expression }
    }

    /// Adds what the expression makes of a call, in place of what is there by the same names.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if the expression has no value, or one that is no metadata.
    pub(super) fn add_to(&self, ctx: &Context, metadata: &mut MetadataMap) -> Result<()> {
        let failed = |reason: String| {
            Error::failed_precondition(format!("metadata cannot be made by addMetadataJmespathExpression: {reason}"))
        };
        let mut input = vec![("incomingGRPCMetadata", node_of(&Value::Object(fields_of(ctx))))];
        if let Some(of) = AuthenticationMetadata::of(ctx) {
            input.push(("authenticationMetadata", Node::clone(of.node())));
        }
        let fields = match self.expression.evaluate_to_json(input).map_err(failed)? {
            Value::Object(fields) => fields,
            Value::Null => return Err(failed("it has no value for this call".to_owned())),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(failed("its value is no object of lists".to_owned()));
            }
        };
        for (name, values) in fields {
            let values = match values {
                Value::Null => continue,
                Value::Array(values) => values,
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                    return Err(failed(format!("the value of {name:?} is no list")));
                }
            };
            check_name(&name).map_err(|reason| failed(format!("{name:?} {reason}")))?;
            remove(metadata, &name);
            for value in values {
                let Value::String(value) = value else {
                    return Err(failed(format!("a value of {name:?} is no text")));
                };
                let bytes = if name.ends_with("-bin") { bytes_of(&value) } else { value.into_bytes() };
                append(metadata, &name, &bytes).map_err(|reason| failed(format!("a value of {name:?} {reason}")))?;
            }
        }
        Ok(())
    }
}

/// Returns the metadata that is forwarded with a call.
fn fields_of(ctx: &Context) -> Map<String, Value> {
    let entries = ctx.metadata().iter();
    entries.map(|(name, value)| (name.to_owned(), Value::Array(vec![text_of(value).into()]))).collect()
}

/// Returns bytes as the characters with their numbers.
fn text_of(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Returns the bytes with the numbers of the characters; UTF-8, if a character is none of those.
fn bytes_of(text: &str) -> Vec<u8> {
    let bytes: std::result::Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    bytes.unwrap_or_else(|_| text.as_bytes().to_owned())
}
