//! Callers by signed tokens (JWT), as a configuration says it.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Error, ErrorKind, Result};
use blobaccess_grpc::{Authenticator, Identity, JsonWebKeys, JsonWebTokens};
use serde_json::{Map, Value};

use super::AuthenticationMetadata;
use crate::background::Background;
use crate::jmespath::{Expression, ExpressionPlan, Node, node_of};
use crate::section::Section;
use crate::small_file::read_small_file;

/// The time after which a file of keys is read again.
const REFRESH_INTERVAL: Duration = Duration::from_mins(5);

/// The number of `LEAST_RECENTLY_USED` among the policies of caches, and that of the last one.
const LEAST_RECENTLY_USED: i32 = 2;
const LAST_POLICY: i32 = 3;

/// A policy about tokens: a `buildbarn.configuration.jwt.AuthorizationHeaderParserConfiguration`.
#[derive(Clone, Debug)]
pub(crate) struct TokenPlan {
    keys: JsonWebKeys,
    keys_path: Option<String>,
    remembered_tokens: usize,
    validation: ExpressionPlan,
    extraction: ExpressionPlan,
}

impl TokenPlan {
    /// Reads a policy about tokens, and the file of its keys. `None` if there are faults.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let keys = read_keys(section);
        let remembered_tokens = usize::try_from(section.int("maximum_cache_size"));
        if remembered_tokens.is_err() {
            section.fault_at("maximum_cache_size", "must not be negative");
        }
        let policy = section.enumeration("cache_replacement_policy");
        let is_policy = (1..=LAST_POLICY).contains(&policy);
        if !is_policy {
            section.fault_at("cache_replacement_policy", "is required: LEAST_RECENTLY_USED, the only one here");
        } else if policy != LEAST_RECENTLY_USED {
            section.notice_at("cache_replacement_policy", "has no effect: the least recently used token is forgotten");
        }
        let expression = |name| section.required(name).and_then(|section| ExpressionPlan::read(&section));
        let validation = expression("claims_validation_jmespath_expression");
        let extraction = expression("metadata_extraction_jmespath_expression");
        let (keys, keys_path) = keys?;
        Some(Self {
            keys,
            keys_path,
            remembered_tokens: remembered_tokens.ok().filter(|_| is_policy)?,
            validation: validation?,
            extraction: extraction?,
        })
    }

    /// Returns what identifies callers. A file of keys is read again in the background.
    pub(super) fn build(&self, background: &mut Background) -> Arc<dyn Authenticator> {
        let (validation, extraction) = (self.validation.build(background), self.extraction.build(background));
        let tokens = JsonWebTokens::new(self.keys.clone())
            .with_remembered_tokens(self.remembered_tokens)
            .with_clock(Arc::clone(background.clock()))
            .with_identity(move |claims| identify(claims, &validation, &extraction));
        let tokens = Arc::new(tokens);
        if let Some(path) = self.keys_path.clone() {
            let refreshed = Arc::clone(&tokens);
            background.add_job(REFRESH_INTERVAL, move || match read_keys_file(&path) {
                Ok(keys) => refreshed.replace_keys(keys),
                Err(error) => tracing::warn!(path, error, "keys of tokens cannot be read again"),
            });
        }
        tokens
    }
}

/// Reads the keys, and the path of the file that they are in.
fn read_keys(section: &Section<'_>) -> Option<(JsonWebKeys, Option<String>)> {
    let (name, keys, path) = match section.member("jwks") {
        Some(name @ "jwks_inline") => {
            let keys = JsonWebKeys::from_json(&section.json(name)?.to_string());
            (name, keys.map_err(|error| error.message().to_owned()), None)
        }
        Some(name) => {
            let path = section.required_text(name)?;
            (name, read_keys_file(path), Some(path.to_owned()))
        }
        None => {
            section.fault_at("jwks_inline", "is required, or jwksFile");
            return None;
        }
    };
    match keys {
        Ok(keys) => {
            if keys.is_empty() {
                section.notice_at(name, "has no keys: every token will be refused");
            }
            Some((keys, path))
        }
        Err(fault) => {
            section.fault_at(name, fault);
            None
        }
    }
}

fn read_keys_file(path: &str) -> Result<JsonWebKeys, String> {
    JsonWebKeys::from_json(&read_small_file(path)?).map_err(|error| error.message().to_owned())
}

/// Returns the identity of a token whose signature is right.
fn identify(claims: &Map<String, Value>, validation: &Expression, extraction: &Expression) -> Result<Identity> {
    let refused = |reason: &str| Error::new(ErrorKind::Unauthenticated, reason.to_owned());
    let payload = node_of(&Value::Object(claims.clone()));
    if !validation.is_true([("payload", Node::clone(&payload))]) {
        return Err(refused("claims of the token are not those that are asked for"));
    }
    let metadata = extraction.evaluate_to_json([("payload", payload)]);
    let metadata = metadata.and_then(|metadata| AuthenticationMetadata::of_json(&metadata)).map_err(|error| {
        // It may tell of claims, and is the fault of the configuration.
        tracing::warn!(error, "no metadata can be extracted from the claims of a token");
        refused("no metadata can be extracted from the claims of the token")
    })?;
    Ok(metadata.into_identity())
}
