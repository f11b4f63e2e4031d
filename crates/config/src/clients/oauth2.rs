//! Tokens of OAuth 2 that clients send along: how they are obtained.

use blobaccess::{Error, Result};
use url::Url;

use super::google::{GoogleCredentials, ServiceAccount};
use super::http_client::HttpClientPlan;
use crate::section::Section;

/// How tokens are obtained.
#[derive(Clone, Debug)]
pub(crate) struct OAuth2Plan {
    pub(super) credentials: Credentials,
    pub(super) scopes: Vec<String>,
}

/// An account that tokens are obtained for.
#[derive(Clone)]
pub(super) enum Credentials {
    /// A client of its own right, at an endpoint.
    Client { id: String, secret: String, endpoint: Url, http: Box<HttpClientPlan> },
    /// An account of Google's.
    Google(GoogleCredentials),
}

/// Where an OAuth 2 configuration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UsedBy {
    Grpc,
    /// Buildbarn knows no accounts of Google's there.
    Http,
}

impl OAuth2Plan {
    /// Reads an `OAuth2Configuration`. Returns `None` if a fault was noted.
    pub(super) fn read(section: &Section<'_>, used_by: UsedBy) -> Option<Self> {
        let scopes = section.texts("scopes").into_iter().map(ToOwned::to_owned).collect();
        let credentials = match section.member("credentials") {
            Some("client_credentials") => read_client(&section.message("client_credentials")?),
            Some(name @ ("google_default_credentials" | "service_account_key")) if used_by == UsedBy::Http => {
                section.refuse(name, "clients of HTTP can have clientCredentials only");
                None
            }
            Some("google_default_credentials") => match GoogleCredentials::find() {
                Ok(found) => Some(Credentials::Google(found)),
                Err(reason) => {
                    section.fault_at("google_default_credentials", reason);
                    None
                }
            },
            Some("service_account_key") => match ServiceAccount::parse(section.text("service_account_key")) {
                Ok(account) => Some(Credentials::Google(GoogleCredentials::ServiceAccount(account))),
                Err(reason) => {
                    section.fault_at("service_account_key", reason);
                    None
                }
            },
            Some(_) | None => {
                section.fault("must have credentials, such as clientCredentials");
                None
            }
        };
        section.take_over("google_default_credentials");
        Some(Self { credentials: credentials?, scopes })
    }
}

fn read_client(section: &Section<'_>) -> Option<Credentials> {
    let id = section.text("client_id").to_owned();
    let secret = section.text("client_secret").to_owned();
    let http = match section.message("http_client") {
        Some(http) => HttpClientPlan::read(&http),
        None => Some(HttpClientPlan::default()),
    };
    let endpoint = match Url::parse(section.required_text("token_endpoint_url")?) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
        Ok(_) | Err(_) => {
            section.fault_at("token_endpoint_url", "is no URL of http or https");
            None
        }
    };
    Some(Credentials::Client { id, secret, endpoint: endpoint?, http: Box::new(http?) })
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client { id, endpoint, .. } => {
                f.debug_struct("Client").field("id", id).field("endpoint", &endpoint.as_str()).finish_non_exhaustive()
            }
            Self::Google(google) => f.debug_tuple("Google").field(google).finish(),
        }
    }
}

/// Returns the error of an answer that is none of an endpoint for tokens.
pub(super) fn unusable(endpoint: &str, reason: impl std::fmt::Display) -> Error {
    Error::unauthenticated(format!("no token can be obtained at {endpoint}: {reason}"))
}

/// Returns the error of an endpoint that cannot be reached, or is out of order.
pub(super) fn unreachable<T>(endpoint: &str, reason: impl std::fmt::Display) -> Result<T> {
    Err(Error::unavailable(format!("no token can be obtained at {endpoint}: {reason}")).with_retryable(true))
}
