//! Obtains tokens of OAuth 2, and renews them before they expire.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use blobaccess::{Clock, Error, Result};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::form_urlencoded;

use super::google::{GoogleCredentials, joined_scopes};
use super::http_client::{HttpClient, HttpClientPlan};
use super::oauth2::{Credentials, OAuth2Plan, unreachable, unusable};

/// The time before its end at which a token is renewed, as in Go's client.
const RENEWED_BEFORE: Duration = Duration::from_secs(10);

/// The time for which nobody asks again after a failure.
const FAILURE_LIFETIME: Duration = Duration::from_secs(1);

/// The time that an endpoint has for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer of an endpoint, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A source of tokens. One request for a token is under way at a time, and all callers share its answer.
///
/// # Cancel safety
///
/// A caller that is dropped while it asks for a token leaves that to the next one.
pub(crate) struct TokenSource {
    plan: OAuth2Plan,
    client: HttpClient,
    clock: Arc<dyn Clock>,
    known: Mutex<Option<Answer>>,
    /// Held by the one that asks.
    asking: tokio::sync::Mutex<()>,
}

/// The answer of an endpoint.
struct Answer {
    /// The value of the header `authorization`.
    header: Result<HeaderValue>,
    /// The end of its use; `None` if it has none.
    until: Option<Instant>,
}

impl TokenSource {
    /// Makes a source that has no token yet.
    ///
    /// # Errors
    ///
    /// As those of [`HttpClientPlan::to_client`].
    pub(super) fn new(plan: OAuth2Plan, clock: Arc<dyn Clock>) -> Result<Self> {
        let client = match &plan.credentials {
            Credentials::Client { http, .. } => http.to_client(&clock)?,
            Credentials::Google(_) => HttpClientPlan::default().to_client(&clock)?,
        };
        Ok(Self { plan, client, clock, known: Mutex::new(None), asking: tokio::sync::Mutex::new(()) })
    }

    /// Returns the value of the header `authorization` for a call now. It is marked as sensitive.
    ///
    /// # Errors
    ///
    /// `Unavailable`, retryable, if the endpoint cannot be reached or is out of order. `Unauthenticated` if it refuses.
    /// The error names the endpoint.
    pub(crate) async fn authorization(&self) -> Result<HeaderValue> {
        if let Some(known) = self.known() {
            return known;
        }
        let _asking = self.asking.lock().await;
        if let Some(known) = self.known() {
            return known;
        }
        // A token counts from when it was asked for.
        let asked_at = self.clock.monotonic();
        let answer = self.clock.timeout(asked_at.checked_add(ANSWER_TIMEOUT), self.ask()).await;
        let answer = answer.unwrap_or_else(|_| unreachable(&self.endpoint(), "it does not answer"));
        let (header, until) = match answer {
            Ok((header, lifetime)) => {
                let lifetime = lifetime.map(|lifetime| lifetime.saturating_sub(RENEWED_BEFORE));
                (Ok(header), lifetime.map(|lifetime| asked_at.checked_add(lifetime)))
            }
            Err(error) => (Err(error), Some(self.clock.monotonic().checked_add(FAILURE_LIFETIME))),
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Answer { header: header.clone(), until: until.flatten() });
        header
    }

    fn known(&self) -> Option<Result<HeaderValue>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = known.as_ref()?;
        let is_current = answer.until.is_none_or(|until| self.clock.monotonic() < until);
        is_current.then(|| answer.header.clone())
    }

    /// Returns the endpoint, for errors.
    fn endpoint(&self) -> String {
        match &self.plan.credentials {
            Credentials::Client { endpoint, .. } => endpoint.as_str().to_owned(),
            Credentials::Google(GoogleCredentials::ServiceAccount(account)) => account.token_uri.clone(),
            Credentials::Google(GoogleCredentials::User { .. }) => "https://oauth2.googleapis.com/token".to_owned(),
            Credentials::Google(GoogleCredentials::Machine { host }) => {
                format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token")
            }
        }
    }

    /// Asks for a token. Returns the header, and the lifetime of the token if it has one.
    async fn ask(&self) -> Result<(HeaderValue, Option<Duration>)> {
        let endpoint = self.endpoint();
        match &self.plan.credentials {
            Credentials::Client { id, secret, .. } => {
                let mut fields = vec![("grant_type", "client_credentials".to_owned())];
                if !self.plan.scopes.is_empty() {
                    fields.push(("scope", self.plan.scopes.join(" ")));
                }
                // First as the standard recommends, then as some endpoints want it: Go's client does the same.
                let basic = basic_authorization(id, secret)?;
                let (status, body) = self.post(&endpoint, &fields, Some(basic)).await?;
                if (200..300).contains(&status) || status >= 500 {
                    return read_token(&endpoint, status, &body);
                }
                fields.extend([("client_id", id.clone()), ("client_secret", secret.clone())]);
                let (status, body) = self.post(&endpoint, &fields, None).await?;
                read_token(&endpoint, status, &body)
            }
            Credentials::Google(GoogleCredentials::ServiceAccount(account)) => {
                let assertion = account.sign_assertion(&self.plan.scopes, self.clock.now())?;
                let kind = "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned();
                let fields = [("grant_type", kind), ("assertion", assertion)];
                let (status, body) = self.post(&endpoint, &fields, None).await?;
                read_token(&endpoint, status, &body)
            }
            Credentials::Google(GoogleCredentials::User { client_id, client_secret, refresh_token }) => {
                let fields = [
                    ("grant_type", "refresh_token".to_owned()),
                    ("client_id", client_id.clone()),
                    ("client_secret", client_secret.clone()),
                    ("refresh_token", refresh_token.clone()),
                ];
                let (status, body) = self.post(&endpoint, &fields, None).await?;
                read_token(&endpoint, status, &body)
            }
            Credentials::Google(GoogleCredentials::Machine { .. }) => {
                let scopes = joined_scopes(&self.plan.scopes).replace(' ', ",");
                let query: String =
                    form_urlencoded::Serializer::new(String::new()).append_pair("scopes", &scopes).finish();
                let flavor = (HeaderName::from_static("metadata-flavor"), HeaderValue::from_static("Google"));
                let headers = HeaderMap::from_iter([flavor]);
                let url = format!("{endpoint}?{query}");
                let (status, body) = self.send(&endpoint, reqwest::Method::GET, &url, headers, String::new()).await?;
                read_token(&endpoint, status, &body)
            }
        }
    }

    async fn post(
        &self,
        endpoint: &str,
        fields: &[(&str, String)],
        authorization: Option<HeaderValue>,
    ) -> Result<(u16, Vec<u8>)> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(endpoint, reqwest::Method::POST, endpoint, headers, body).await
    }

    async fn send(
        &self,
        endpoint: &str,
        method: reqwest::Method,
        url: &str,
        headers: HeaderMap,
        body: String,
    ) -> Result<(u16, Vec<u8>)> {
        // A client for tokens may need a token itself.
        let request = Box::pin(self.client.request(method, url)).await?.headers(headers).body(body);
        let answered = async {
            let mut response = request.send().await?;
            let mut body = Vec::new();
            while let Some(piece) = response.chunk().await? {
                body.extend_from_slice(&piece);
                if body.len() > MAX_ANSWER_BYTES {
                    break;
                }
            }
            Ok((response.status().as_u16(), body))
        };
        let answered: std::result::Result<_, reqwest::Error> = answered.await;
        answered.or_else(|error| unreachable(endpoint, causes(&error.without_url())))
    }
}

impl Debug for TokenSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// Returns the text of an error with its causes.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn basic_authorization(id: &str, secret: &str) -> Result<HeaderValue> {
    let escaped = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let user = format!("{}:{}", escaped(id), escaped(secret));
    let value = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(user));
    sensitive(&value)
}

fn sensitive(value: &str) -> Result<HeaderValue> {
    let value = HeaderValue::from_str(value);
    let mut value = value.map_err(|_| Error::internal("a token has characters that cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads the answer of an endpoint: the header to send, and the lifetime of the token if it has one.
fn read_token(endpoint: &str, status: u16, body: &[u8]) -> Result<(HeaderValue, Option<Duration>)> {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| json.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if status >= 500 || status == 429 {
        return unreachable(endpoint, format!("it answered with the status {status}"));
    }
    if !(200..300).contains(&status) || text("error").is_some() {
        let reason = [text("error"), text("error_description")].into_iter().flatten().collect::<Vec<_>>().join(": ");
        let reason: String = reason.chars().take(300).collect();
        return Err(unusable(endpoint, format!("it answered with the status {status} {reason}").trim_end()));
    }
    let Some(token) = text("access_token") else { return Err(unusable(endpoint, "its answer has no access token")) };
    let kind = match text("token_type") {
        None => "Bearer",
        Some(kind) if kind.eq_ignore_ascii_case("bearer") => "Bearer",
        Some(kind) => kind,
    };
    // Some endpoints answer with a text.
    let seconds = json.get("expires_in");
    let seconds = seconds.and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()));
    let lifetime =
        seconds.filter(|seconds: &f64| *seconds > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok((sensitive(&format!("{kind} {token}"))?, lifetime))
}
