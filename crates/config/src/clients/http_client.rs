//! Clients of HTTP.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Clock, Error, Result};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::client_tls::ClientTlsPlan;
use super::oauth2::{OAuth2Plan, UsedBy};
use super::token_source::{TokenSource, causes};
use crate::section::Section;

/// The time that connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A client of HTTP.
#[derive(Clone, Default)]
pub(crate) struct HttpClientPlan {
    pub(crate) tls: Option<ClientTlsPlan>,
    pub(crate) proxy_url: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) disables_http2: bool,
    pub(crate) oauth2: Option<OAuth2Plan>,
}

impl HttpClientPlan {
    /// Reads an `http.client.Configuration`. Returns `None` if a fault was noted.
    pub(crate) fn read(section: &Section<'_>) -> Option<Self> {
        let tls = match section.message("tls") {
            None => Some(None),
            Some(tls) => ClientTlsPlan::read(&tls).map(Some),
        };
        let proxy_url = match section.text("proxy_url") {
            "" => Some(None),
            url => match reqwest::Proxy::all(url) {
                Ok(_) => Some(Some(url.to_owned())),
                Err(error) => {
                    section.fault_at("proxy_url", format!("is not supported: {}", causes(&error.without_url())));
                    None
                }
            },
        };
        let headers = read_headers(section);
        let oauth2 = match section.message("oauth2") {
            None => Some(None),
            Some(oauth2) => OAuth2Plan::read(&oauth2, UsedBy::Http).map(Some),
        };
        Some(Self {
            tls: tls?,
            proxy_url: proxy_url?,
            headers: headers?,
            disables_http2: section.flag("disable_http2"),
            oauth2: oauth2?,
        })
    }

    /// Makes the client. It connects when it is used.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` or `InvalidArgument` if certificates cannot be read or used, or no client can be set up.
    pub(crate) fn to_client(&self, clock: &Arc<dyn Clock>) -> Result<HttpClient> {
        let protocols: &[&[u8]] = if self.disables_http2 { &[b"http/1.1"] } else { &[b"h2", b"http/1.1"] };
        let tls = match &self.tls {
            Some(tls) => tls.to_config(protocols, clock)?,
            None => ClientTlsPlan::default().to_config(protocols, clock)?,
        };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.as_ref().clone())
            .default_headers(self.headers.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .no_proxy();
        let unusable = |error: reqwest::Error| {
            Error::failed_precondition(format!("no HTTP client can be set up: {}", causes(&error)))
        };
        if let Some(url) = &self.proxy_url {
            builder = builder.proxy(reqwest::Proxy::all(url).map_err(unusable)?);
        }
        if self.disables_http2 {
            builder = builder.http1_only();
        }
        let tokens = match &self.oauth2 {
            None => None,
            Some(plan) => Some(Box::new(TokenSource::new(plan.clone(), Arc::clone(clock))?)),
        };
        Ok(HttpClient { client: builder.build().map_err(unusable)?, tokens })
    }
}

impl Debug for HttpClientPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // The URL of a proxy and the values of headers may be secret.
        f.debug_struct("HttpClientPlan").field("disables_http2", &self.disables_http2).finish_non_exhaustive()
    }
}

/// A client of HTTP that sends a token along if it is to.
#[derive(Debug)]
pub(crate) struct HttpClient {
    client: reqwest::Client,
    tokens: Option<Box<TokenSource>>,
}

impl HttpClient {
    /// Begins a request, with the token that it needs.
    ///
    /// # Errors
    ///
    /// As those of [`TokenSource::authorization`].
    pub(crate) async fn request(&self, method: reqwest::Method, url: &str) -> Result<reqwest::RequestBuilder> {
        let request = self.client.request(method, url);
        match &self.tokens {
            None => Ok(request),
            Some(tokens) => Ok(request.header(AUTHORIZATION, tokens.authorization().await?)),
        }
    }
}

/// Reads the field `add_headers`. Returns `None` if a fault was noted.
pub(crate) fn read_headers(section: &Section<'_>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut is_right = true;
    for header in section.messages("add_headers") {
        let values = header.texts("values");
        let Ok(name) = HeaderName::from_bytes(header.text("header").as_bytes()) else {
            header.fault_at("header", "is no name of a header");
            is_right = false;
            continue;
        };
        for (index, value) in values.into_iter().enumerate() {
            if let Ok(mut value) = HeaderValue::from_str(value) {
                value.set_sensitive(true);
                headers.append(name.clone(), value);
            } else {
                let path = header.path_of_element("values", index);
                let message = "has characters that no header can have".to_owned();
                header.reading().note_fault(&path, header.position_of("values"), message);
                is_right = false;
            }
        }
    }
    is_right.then_some(headers)
}
