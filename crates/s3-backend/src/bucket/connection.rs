//! Settings of the connection to a provider.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Error, Result};
use object_store::client::{HttpClient, HttpConnector};
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, RetryConfig};

use super::paced_client::PacedClient;
use super::retry_budget::DEFAULT_TOKENS;

/// The time after which a connection without a request is closed, and after which a silent one is tested. Servers and
/// boxes in between forget idle connections after a minute or more.
const IDLE: Duration = Duration::from_secs(20);
const KEEPALIVE: Duration = Duration::from_secs(15);

/// The settings of the connection to a provider: timeouts, retries of requests that may be sent twice, and the HTTP
/// client.
///
/// Unless another connector is given, TLS is that of `rustls` with `ring`, trusting what the system trusts. It is set
/// up here, so that no process-wide provider of cryptography has to be installed.
///
/// Requests for credentials go over clients of their own: services of instance metadata answer over plain HTTP, whatever
/// [`with_allow_http`](Self::with_allow_http) says of the bucket.
#[derive(Clone, Debug)]
pub struct Connection {
    connect_timeout: Duration,
    read_timeout: Duration,
    retry: RetryConfig,
    max_requests: usize,
    retry_budget: u32,
    allow_http: bool,
    connector: Option<Arc<dyn HttpConnector>>,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            retry: RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: 6,
                retry_timeout: Duration::from_mins(1),
            },
            max_requests: 256,
            retry_budget: DEFAULT_TOKENS,
            allow_http: false,
            connector: None,
        }
    }
}

impl Connection {
    /// Sets the time after which connecting fails (5 s).
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the time of silence after which a request fails (30 s): none of it could be sent, and nothing was answered. A
    /// request whose bytes flow may take as long as it needs. After silence, all connections are made anew.
    #[must_use]
    pub fn with_read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// Sets how often (6) and for how long (60 s) reads and other requests that may be sent twice are retried.
    #[must_use]
    pub fn with_retries(mut self, retries: usize, timeout: Duration) -> Self {
        self.retry.max_retries = retries;
        self.retry.retry_timeout = timeout;
        self
    }

    /// Sets the first and the longest pause between retries (100 ms, 15 s).
    #[must_use]
    pub fn with_backoff(mut self, first: Duration, max: Duration) -> Self {
        self.retry.backoff = BackoffConfig { init_backoff: first, max_backoff: max, base: 2.0 };
        self
    }

    /// Sets how many requests may be under way to the bucket, by all stores and callers together (256). Others wait. Half of
    /// them are kept for requests that send contents, and half for those that do not, at least one each.
    ///
    /// Too few, and uploads of small blobs are slow; too many, and a provider refuses some (`SlowDown`). An answer whose
    /// body is being read does not count.
    #[must_use]
    pub const fn with_max_requests(mut self, requests: usize) -> Self {
        self.max_requests = requests;
        self
    }

    /// Sets the budget of retries, which all stores and callers of the bucket share (500; 0: nothing is sent again).
    ///
    /// A retry takes 5, or 10 after a time-out. An answer gives 1 back, or 5 after a retry. So a bucket that fails now and
    /// then has requests sent again, and one that is down gets each request once as soon as the budget is used up.
    #[must_use]
    pub const fn with_retry_budget(mut self, tokens: u32) -> Self {
        self.retry_budget = tokens;
        self
    }

    /// Sets whether the bucket may be reached over plain HTTP (no).
    #[must_use]
    pub fn with_allow_http(mut self, allow: bool) -> Self {
        self.allow_http = allow;
        self
    }

    /// Sets the connector that makes the HTTP clients.
    #[must_use]
    pub fn with_connector(mut self, connector: impl HttpConnector) -> Self {
        self.connector = Some(Arc::new(connector));
        self
    }

    pub(super) const fn retry_budget(&self) -> u32 {
        self.retry_budget
    }

    pub(super) const fn max_requests(&self) -> usize {
        self.max_requests
    }

    pub(crate) fn retry(&self) -> RetryConfig {
        self.retry.clone()
    }

    /// Returns the settings that send each request once.
    #[expect(clippy::unused_self, reason = "the other half of `retry`")]
    pub(crate) fn no_retry(&self) -> RetryConfig {
        RetryConfig { max_retries: 0, ..RetryConfig::default() }
    }

    /// Returns the options of the bucket's own client. Clients of credentials get others from the client library.
    pub(crate) fn client_options(&self) -> ClientOptions {
        ClientOptions::new()
            .with_allow_http(self.allow_http)
            .with_connect_timeout(self.connect_timeout)
            .with_read_timeout(self.read_timeout)
            .with_timeout_disabled()
    }

    /// Returns whether the bucket's own client does what `options` ask for.
    pub(crate) fn meets(&self, options: &ClientOptions) -> bool {
        let own = self.client_options();
        [ClientConfigKey::AllowHttp, ClientConfigKey::ConnectTimeout]
            .iter()
            .all(|key| own.get_config_value(key) == options.get_config_value(key))
    }

    /// Makes a client that speaks plain HTTP only if `options` allow it, and connects within their time.
    pub(crate) fn client(&self, options: &ClientOptions) -> Result<HttpClient> {
        if let Some(connector) = &self.connector {
            return connector.connect(options).map_err(|error| cannot_set_up(&error));
        }
        let option = |key| options.get_config_value(&key);
        let allow_http = option(ClientConfigKey::AllowHttp).is_some_and(|allowed| allowed == "true");
        let connect_timeout = option(ClientConfigKey::ConnectTimeout)
            .and_then(|timeout| humantime::parse_duration(&timeout).ok())
            .unwrap_or(self.connect_timeout);
        let tls = tls()?;
        let make = move || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .https_only(!allow_http)
                .connect_timeout(connect_timeout)
                .pool_idle_timeout(IDLE)
                .tcp_keepalive(KEEPALIVE)
                .redirect(reqwest::redirect::Policy::none())
                .build()
        };
        let client = PacedClient::new(Arc::new(make), self.read_timeout).map_err(|error| cannot_set_up(&error))?;
        Ok(HttpClient::new(client))
    }
}

/// Returns TLS by `rustls` and `ring`, with the certificates that the system trusts.
fn tls() -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate of the system cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| cannot_set_up(&error))?;
    Ok(tls.with_root_certificates(roots).with_no_client_auth())
}

fn cannot_set_up(error: &dyn Display) -> Error {
    Error::failed_precondition(format!("the connection to the bucket cannot be set up: {error}"))
}
