//! The HTTP client of a bucket, which counts requests and records answers.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use blobaccess::Result;
use http::header::{DATE, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use http::{Method, StatusCode};
use object_store::ClientOptions;
#[cfg(feature = "azure")]
use object_store::azure::AzureCredentialProvider;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};

use super::Connection;
#[cfg(feature = "azure")]
use super::azure;
use super::completion_scope::CompletionScope;
use super::deletion_scope::DeletionScope;
use super::marks::{Marks, is_marked};
use super::retry_budget::RetryBudget;
use super::slots::Slots;
use crate::last_answer::{Answer, LastAnswer};
use crate::requests::{RequestKind, Requests};

/// The source of all HTTP clients of a bucket: one for the bucket itself, whose connections are shared, and one for each
/// service of credentials that asks for other options.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    connection: Connection,
    client: HttpClient,
    /// Whether requests go to a service of credentials rather than to the bucket.
    for_credentials: bool,
    requests: Arc<Requests>,
    /// The room for requests to the bucket, shared by all its clients.
    slots: Arc<Slots>,
    marks: Arc<Marks>,
    /// The budget of retries, shared by all clients.
    retry_budget: Arc<RetryBudget>,
    /// Whether the client library sends requests again that failed.
    retries: bool,
    conditional_completion: bool,
    /// The credentials that sign completions again, for Azure alone.
    #[cfg(feature = "azure")]
    azure: Option<AzureCredentialProvider>,
}

impl Connector {
    pub(super) fn new(connection: &Connection, requests: Arc<Requests>) -> Result<Self> {
        Ok(Self {
            connection: connection.clone(),
            client: connection.client(&connection.client_options())?,
            for_credentials: false,
            requests,
            slots: Arc::new(Slots::new(connection.max_requests())),
            marks: Arc::default(),
            retry_budget: Arc::new(RetryBudget::new(connection.retry_budget())),
            retries: true,
            conditional_completion: false,
            #[cfg(feature = "azure")]
            azure: None,
        })
    }

    /// Returns the same connector, for a client that sends each request once.
    pub(super) fn sending_once(&self) -> Self {
        Self { retries: false, ..self.clone() }
    }

    pub(super) fn retry_budget(&self) -> Arc<RetryBudget> {
        Arc::clone(&self.retry_budget)
    }

    /// Lets the client library retry what failed, if the budget of all callers has enough for it.
    fn within_budget(
        &self,
        result: std::result::Result<HttpResponse, HttpError>,
        was_retried: bool,
    ) -> std::result::Result<HttpResponse, HttpError> {
        let timed_out = match &result {
            Ok(answer) if !may_be_retried(answer.status()) => {
                self.retry_budget.note_answer(was_retried);
                return result;
            }
            Ok(_) => false,
            Err(error) => error.kind() == HttpErrorKind::Timeout,
        };
        if !self.retries || self.retry_budget.take(timed_out) {
            return result;
        }
        // The library does not send again what has failed for a reason that it does not know.
        Err(match result {
            Ok(answer) => {
                let what = format!("the answer is {}, and too many requests are sent again", answer.status().as_u16());
                HttpError::new(HttpErrorKind::Unknown, std::io::Error::other(what))
            }
            Err(error) => HttpError::new(HttpErrorKind::Unknown, error),
        })
    }

    /// Returns the same connector, whose completions of multipart uploads require that there be no object. The client
    /// library does not sign this header for S3 either.
    #[cfg(any(feature = "aws", feature = "azure"))]
    pub(super) fn completing_conditionally(&self) -> Self {
        Self { conditional_completion: true, ..self.clone() }
    }

    /// Returns the same connector for Azure, whose completions carry the token of their upload and are signed again.
    #[cfg(feature = "azure")]
    pub(super) fn completing_with_tokens(&self, credentials: AzureCredentialProvider) -> Self {
        Self { azure: Some(credentials), ..self.clone() }
    }

    /// Adds to a completion the headers that the client library cannot be told to send.
    #[cfg_attr(
        not(feature = "azure"),
        expect(clippy::unused_async, reason = "credentials of Azure may have to be asked for")
    )]
    async fn amend(
        &self,
        request: &mut HttpRequest,
        completing: Option<&CompletionScope>,
    ) -> std::result::Result<(), HttpError> {
        if self.conditional_completion {
            request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        #[cfg(feature = "azure")]
        if let Some(credentials) = &self.azure {
            if let Some(completing) = completing
                && let Some(token) = &completing.token
            {
                azure::set_upload(request.headers_mut(), token, completing.account.as_ref());
            }
            azure::sign_again(request, credentials).await?;
        }
        #[cfg(not(feature = "azure"))]
        let _: Option<&CompletionScope> = completing;
        Ok(())
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        if self.connection.meets(options) {
            return Ok(HttpClient::new(self.clone()));
        }
        let client = self
            .connection
            .client(options)
            .map_err(|error| object_store::Error::Generic { store: "credentials", source: Box::new(error) })?;
        Ok(HttpClient::new(Self { client, for_credentials: true, ..self.clone() }))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, mut request: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
        if self.for_credentials {
            self.requests.count(RequestKind::Other);
            return self.client.execute(request).await;
        }
        let kind = kind_of(&request);
        self.requests.count(kind);
        let mut last_answer = request.extensions().get::<LastAnswer>().cloned();
        let was_retried = last_answer.as_ref().is_some_and(|last| last.answer().is_some());
        if kind == RequestKind::CompleteMultipart {
            let completing = CompletionScope::current();
            self.amend(&mut request, completing.as_ref()).await?;
            last_answer = completing.map(|completing| completing.last_answer);
        }
        if kind == RequestKind::Delete
            && let Some(deleting) = DeletionScope::current()
        {
            // The client library does not sign this header for S3 either.
            if let Ok(e_tag) = HeaderValue::from_str(&deleting.e_tag) {
                request.headers_mut().insert(IF_MATCH, e_tag);
            }
            last_answer = Some(deleting.last_answer);
        }
        // Whoever waits for room may be dropped: nothing was sent then.
        let room = self.slots.take(&request).await;
        let result = match self.client.execute(request).await {
            Ok(answer) if !self.marks.believe(kind, answer.status().as_u16(), is_marked(answer.headers())) => {
                let what = std::io::Error::other("the answer lacks the mark of the store: it is that of a proxy");
                Err(HttpError::new(HttpErrorKind::Request, what))
            }
            result => result,
        };
        drop(room);
        if let Some(last_answer) = last_answer {
            last_answer.record(answer(&result, &self.marks), date(&result));
        }
        self.within_budget(result, was_retried)
    }
}

fn answer(result: &std::result::Result<HttpResponse, HttpError>, marks: &Marks) -> Answer {
    match result {
        Ok(response) => {
            let headers = response.headers();
            let code = headers.get("x-ms-error-code").and_then(|code| code.to_str().ok());
            let own = is_marked(headers);
            let passes_for_own = own || marks.are_none();
            Answer::Status { status: response.status().as_u16(), code: code.map(str::to_owned), own, passes_for_own }
        }
        Err(error) if error.kind() == HttpErrorKind::Connect => Answer::NotSent,
        Err(error) => Answer::Lost { timed_out: error.kind() == HttpErrorKind::Timeout },
    }
}

/// Returns the time of the server's clock, as its answer tells it.
fn date(result: &std::result::Result<HttpResponse, HttpError>) -> Option<SystemTime> {
    let date = result.as_ref().ok()?.headers().get(DATE)?.to_str().ok()?;
    httpdate::parse_http_date(date).ok()
}

/// Returns whether the client library sends a request again that is answered so.
fn may_be_retried(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// Classifies a request by method and query, in the dialect of S3 (and of Google's XML interface) or of Azure.
fn kind_of(request: &HttpRequest) -> RequestKind {
    let query = request.uri().query().unwrap_or_default();
    let names = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let has = |pair: &str| query.split('&').any(|other| other == pair);
    match *request.method() {
        Method::HEAD => RequestKind::Head,
        Method::GET if names("list-type") || has("comp=list") => RequestKind::List,
        Method::GET if request.uri().path().len() > 1 => RequestKind::Get,
        Method::PUT if names("partNumber") || has("comp=block") => RequestKind::PutPart,
        Method::PUT if has("comp=blocklist") => RequestKind::CompleteMultipart,
        Method::PUT => RequestKind::Put,
        Method::POST if names("uploadId") => RequestKind::CompleteMultipart,
        Method::POST if names("uploads") => RequestKind::BeginMultipart,
        Method::DELETE if names("uploadId") => RequestKind::AbortMultipart,
        Method::DELETE => RequestKind::Delete,
        Method::POST if has("comp=batch") => RequestKind::Delete,
        _ => RequestKind::Other,
    }
}
