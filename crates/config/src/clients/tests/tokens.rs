//! Tokens of OAuth 2 from an endpoint within this process.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{ErrorKind, SystemClock};
use blobaccess_grpc::CallMetadata;
use blobaccess_testkit::ManualClock;
use serde_json::json;

use super::fakes::TokenServer;
use crate::background::Background;
use crate::clients::metadata::ClientMetadata;
use crate::clients::oauth2;
use crate::clients::token_source::TokenSource;
use crate::section::section_of;

/// Returns a source of tokens at `server`, and its time.
fn source(server: &TokenServer) -> (TokenSource, ManualClock) {
    let json = json!({
        "clientCredentials": {
            "clientId": "a b",
            "clientSecret": "c&d",
            "tokenEndpointUrl": format!("http://{}/token", server.address),
            "httpClient": {"addHeaders": [{"header": "x-team", "values": ["ci"]}]},
        },
        "scopes": ["read", "write"],
    });
    let name = "buildbarn.configuration.http.client.OAuth2Configuration";
    let read = |section: &crate::section::Section<'_>| oauth2::OAuth2Plan::read(section, oauth2::UsedBy::Grpc);
    let (plan, end) = section_of(&json.to_string(), name, read);
    let plan = plan.unwrap_or_else(|| panic!("{end:?}"));
    let clock = ManualClock::new();
    (TokenSource::new(plan, Arc::new(clock.clone())).unwrap(), clock)
}

#[tokio::test]
async fn a_token_is_obtained_once_and_renewed_before_it_expires() {
    let server = TokenServer::start([
        (200, r#"{"access_token": "one", "token_type": "bearer", "expires_in": 60}"#),
        (200, r#"{"access_token": "two", "expires_in": "60"}"#),
        (200, r#"{"access_token": "three", "token_type": "MAC"}"#),
    ])
    .await;
    let (source, clock) = source(&server);
    let all = futures::future::join_all((0..10).map(|_| source.authorization())).await;
    assert!(all.into_iter().all(|value| value.unwrap() == "Bearer one"));
    clock.advance(Duration::from_secs(49));
    assert_eq!(source.authorization().await.unwrap(), "Bearer one");
    assert_eq!(server.requests.lock().unwrap().len(), 1);
    let request = server.requests.lock().unwrap()[0].clone();
    assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Basic YStiOmMlMjZk\r\n"), "{request}");
    assert!(request.contains("x-team: ci\r\n"), "{request}");
    assert!(request.ends_with("grant_type=client_credentials&scope=read+write"), "{request}");
    clock.advance(Duration::from_secs(1));
    assert_eq!(source.authorization().await.unwrap(), "Bearer two");
    clock.advance(Duration::from_secs(50));
    assert_eq!(source.authorization().await.unwrap(), "MAC three");
    clock.advance(Duration::from_secs(1_000_000));
    assert_eq!(source.authorization().await.unwrap(), "MAC three", "it never expires");
}

#[tokio::test]
async fn an_endpoint_that_wants_the_secret_in_the_form_gets_it_there() {
    let server = TokenServer::start([(401, "{}"), (200, r#"{"access_token": "one"}"#)]).await;
    let (source, _) = source(&server);
    assert_eq!(source.authorization().await.unwrap(), "Bearer one");
    let request = server.requests.lock().unwrap()[1].clone();
    assert!(!request.contains("authorization"), "{request}");
    assert!(request.ends_with("&client_id=a+b&client_secret=c%26d"), "{request}");
}

#[tokio::test]
async fn failures_name_the_endpoint_and_are_asked_for_again_a_second_later() {
    let refusal = r#"{"error": "invalid_client", "error_description": "no such client"}"#;
    let server = TokenServer::start([
        (503, ""),
        (400, refusal),
        (400, refusal),
        (200, "{}"),
        (200, "<html>"),
        (200, r#"{"access_token": "one"}"#),
    ])
    .await;
    let (source, clock) = source(&server);
    let endpoint = format!("http://{}/token", server.address);
    for (kind, reason) in [
        (ErrorKind::Unavailable, "it answered with the status 503"),
        (ErrorKind::Unauthenticated, "it answered with the status 400 invalid_client: no such client"),
        (ErrorKind::Unauthenticated, "its answer has no access token"),
        (ErrorKind::Unauthenticated, "its answer has no access token"),
    ] {
        let error = source.authorization().await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, kind == ErrorKind::Unavailable), "{error}");
        assert_eq!(error.message(), format!("no token can be obtained at {endpoint}: {reason}"));
        let before = server.requests.lock().unwrap().len();
        assert_eq!(source.authorization().await.unwrap_err().message(), error.message());
        assert_eq!(server.requests.lock().unwrap().len(), before, "nobody asks again at once");
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(source.authorization().await.unwrap(), "Bearer one");
    assert!(!format!("{source:?}").contains("c&d"));
}

#[tokio::test]
async fn a_client_of_grpc_sends_its_token() {
    let server = TokenServer::start([(200, r#"{"access_token": "one"}"#)]).await;
    let json = json!({
        "address": "storage:8981",
        "tls": {},
        "oauth2": {"clientCredentials": {"tokenEndpointUrl": format!("http://{}/token", server.address)}},
    });
    let plan = super::plans::read_grpc(&json.to_string()).0.unwrap();
    let mut background = Background::new(Arc::new(SystemClock));
    let source: ClientMetadata = plan.call_metadata(&mut background).unwrap();
    let (ctx, mut sent) = (blobaccess::Context::background(), tonic::metadata::MetadataMap::new());
    source.add_to(&ctx, &mut sent).await.unwrap();
    assert_eq!(sent.get("authorization").unwrap(), "Bearer one");
}
