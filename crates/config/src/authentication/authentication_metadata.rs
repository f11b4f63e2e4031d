//! The metadata of a caller, as authentication has found it out.

use std::fmt::{self, Debug, Formatter};

use blobaccess::{AccountName, Caller, Claims, Context};
use blobaccess_grpc::Identity;
use serde_json::{Map, Value};

use super::tracing_attributes::{attributes_of_json, read_attributes};
use crate::jmespath::{Node, check_depth, node_of};
use crate::section::Section;

/// The metadata of a caller: facts that authentication has found out, as values of JSON.
///
/// A server that is configured by Buildbarn's messages puts it into the [`Context`] of each call, as
/// [`Claims`]. Authorizers by `JMESPath` see it as `authenticationMetadata`; an authorizer of your own finds it by
/// [`of`](Self::of).
///
/// # The caller and its account
///
/// The name of the [`Caller`] is the first text that is not empty among `public` itself, `public.user`,
/// `public.username`, `public.email`, `public.sub` and `public.name`. Without one, the caller is anonymous. The account
/// that puts go to is `private.account`, else `public.account`. Without one, it is the instance name, as for all calls.
///
/// # Examples
///
/// ```
/// use blobaccess::Context;
/// use blobaccess_config::AuthenticationMetadata;
///
/// fn is_of_ci(ctx: &Context) -> bool {
///     let public = AuthenticationMetadata::of(ctx).and_then(AuthenticationMetadata::public);
///     public.is_some_and(|public| public["team"] == "ci")
/// }
/// assert!(!is_of_ci(&Context::background()));
/// ```
#[derive(Clone, PartialEq)]
pub struct AuthenticationMetadata {
    fields: Map<String, Value>,
    node: Node,
}

/// The fields of `public` that may be the name of a caller.
const NAMES: [&str; 5] = ["user", "username", "email", "sub", "name"];

impl AuthenticationMetadata {
    /// Returns the metadata of the caller of `ctx`, if it was found out by a policy of a configuration.
    #[must_use]
    pub fn of(ctx: &Context) -> Option<&Self> {
        ctx.claims()?.get()
    }

    /// Returns the part that may be shown in logs, if there is one.
    #[must_use]
    pub fn public(&self) -> Option<&Value> {
        self.fields.get("public")
    }

    /// Returns the part that must not be shown, if there is one.
    #[must_use]
    pub fn private(&self) -> Option<&Value> {
        self.fields.get("private")
    }

    /// Returns all of it, as expressions see it.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    fn of_fields(fields: Map<String, Value>) -> Self {
        let object = Value::Object(fields);
        let node = node_of(&object);
        let Value::Object(fields) = object else { return Self { fields: Map::new(), node } };
        Self { fields, node }
    }

    /// Reads a `buildbarn.auth.AuthenticationMetadata`. `None` if there are faults.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let (mut fields, mut complete) = (Map::new(), true);
        for name in ["public", "private"] {
            let Some(value) = section.json(name) else { continue };
            match check_depth(&value) {
                Ok(()) => drop(fields.insert(name.to_owned(), value)),
                Err(fault) => {
                    section.fault_at(name, fault);
                    complete = false;
                }
            }
        }
        let attributes = read_attributes(section).filter(|_| complete)?;
        if !attributes.is_empty() {
            section.notice_at("tracing_attributes", "only expressions see it: this server sends no traces");
            fields.insert("tracingAttributes".to_owned(), Value::Array(attributes));
        }
        Some(Self::of_fields(fields))
    }

    /// Makes the metadata that an expression has extracted.
    ///
    /// # Errors
    ///
    /// A sentence about why the value is no metadata.
    pub(crate) fn of_json(value: &Value) -> Result<Self, String> {
        let Value::Object(object) = value else { return Err("metadata is not an object".to_owned()) };
        let mut fields = Map::new();
        for (name, value) in object {
            let (name, value) = match name.as_str() {
                "public" | "private" => (name.as_str(), value.clone()),
                "tracingAttributes" | "tracing_attributes" => ("tracingAttributes", attributes_of_json(value)?),
                _ => return Err(format!("metadata has an unknown field, {name:?}")),
            };
            let is_empty = name == "tracingAttributes" && value.as_array().is_none_or(Vec::is_empty);
            if !is_empty && fields.insert(name.to_owned(), value).is_some() {
                return Err(format!("metadata has {name:?} twice"));
            }
        }
        Ok(Self::of_fields(fields))
    }

    /// Adds what `other` tells. Fields of objects are replaced, lists are continued, and all else is replaced.
    pub(super) fn merge(&mut self, other: &Self) {
        let mut fields = std::mem::take(&mut self.fields);
        for (name, added) in &other.fields {
            match (fields.get_mut(name), added) {
                (Some(Value::Object(object)), Value::Object(added)) => {
                    object.extend(added.iter().map(|(name, value)| (name.clone(), value.clone())));
                }
                (Some(Value::Array(list)), Value::Array(added)) => list.extend(added.iter().cloned()),
                _ => drop(fields.insert(name.clone(), added.clone())),
            }
        }
        *self = Self::of_fields(fields);
    }

    /// Returns the identity that requests with this metadata are served under.
    pub(super) fn into_identity(self) -> Identity {
        let public = self.public();
        let caller = public.and_then(|public| {
            let names = NAMES.iter().filter_map(|name| public.get(name));
            std::iter::once(public).chain(names).find_map(text_of)
        });
        let account = [self.private(), public].into_iter().flatten().find_map(|of| of.get("account").and_then(text_of));
        let (caller, account) = (caller.map(Caller::new), account.map(AccountName::new));
        let identity = caller.map_or_else(Identity::anonymous, Identity::new).with_claims(Claims::new(self));
        match account {
            Some(account) => identity.with_account_name(account),
            None => identity,
        }
    }

    /// Returns the metadata in an identity that another policy has made.
    pub(super) fn in_identity(identity: &Identity) -> Option<&Self> {
        identity.claims.as_ref()?.get()
    }
}

impl Default for AuthenticationMetadata {
    /// Makes metadata that tells nothing.
    fn default() -> Self {
        Self::of_fields(Map::new())
    }
}

/// Returns a text that is not empty.
fn text_of(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

impl Debug for AuthenticationMetadata {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticationMetadata").field("public", &self.public()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(json: &Value) -> AuthenticationMetadata {
        AuthenticationMetadata::of_json(json).unwrap()
    }

    #[test]
    fn metadata_is_read_strictly() {
        for (json, reason) in [
            (json!(null), "not an object"),
            (json!([]), "not an object"),
            (json!("a"), "not an object"),
            (json!({"user": "a"}), "unknown field, \"user\""),
            (json!({"tracingAttributes": [], "tracing_attributes": 1}), "list"),
            (json!({"tracingAttributes": [{"key": "a"}]}), "no value"),
        ] {
            let error = AuthenticationMetadata::of_json(&json).unwrap_err();
            assert!(error.contains(reason), "{json}: {error}");
        }
        let nothing = metadata(&json!({}));
        assert!(nothing == AuthenticationMetadata::default() && nothing.public().is_none());
        assert_eq!(metadata(&json!({"public": null})).public(), Some(&Value::Null));
    }

    #[test]
    fn the_caller_and_its_account_are_found_in_the_metadata() {
        for (json, caller, account) in [
            (json!({}), None, None),
            (json!({"public": "ci"}), Some("ci"), None),
            (json!({"public": {"email": "a@b", "name": "A"}}), Some("a@b"), None),
            (json!({"public": {"user": "", "sub": "s"}}), Some("s"), None),
            (json!({"public": {"user": 7}}), None, None),
            (json!({"private": {"user": "a", "account": "b"}}), None, Some("b")),
            (json!({"public": {"user": "u", "account": "c"}, "private": {"account": ""}}), Some("u"), Some("c")),
        ] {
            let identity = metadata(&json).into_identity();
            assert_eq!(identity.caller.as_ref().map(Caller::name), caller, "{json}");
            assert_eq!(identity.account_name.as_ref().map(AccountName::as_str), account, "{json}");
            assert_eq!(AuthenticationMetadata::in_identity(&identity), Some(&metadata(&json)));
        }
    }

    #[test]
    fn merging_replaces_fields_and_continues_lists() {
        let mut merged = metadata(&json!({"public": {"first": "kermit", "middle": {"a": 1}}, "private": [1]}));
        merged.merge(&metadata(&json!({"public": {"first": "robin", "middle": {"b": 2}}, "private": [2]})));
        assert_eq!(merged, metadata(&json!({"public": {"first": "robin", "middle": {"b": 2}}, "private": [1, 2]})));
        merged.merge(&metadata(&json!({"public": "text"})));
        merged.merge(&AuthenticationMetadata::default());
        assert_eq!(merged, metadata(&json!({"public": "text", "private": [1, 2]})));
    }

    #[test]
    fn what_is_private_is_not_shown() {
        let shown = format!("{:?}", metadata(&json!({"public": "seen", "private": "hidden"})));
        assert!(shown.contains("seen") && !shown.contains("hidden"), "{shown}");
    }
}
