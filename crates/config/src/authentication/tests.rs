use std::sync::Arc;

use blobaccess::{Caller, ErrorKind};
use blobaccess_grpc::{Authenticator, Identity, RequestParts};
use blobaccess_testkit::ManualClock;
use serde_json::{Value, json};

use super::{AuthenticationMetadata, AuthenticationPlan};
use crate::background::Background;
use crate::section::section_of;

const GRPC: &str = "buildbarn.configuration.grpc.AuthenticationPolicy";
const HTTP: &str = "buildbarn.configuration.http.server.AuthenticationPolicy";

fn read(json: &Value, name: &str) -> (Option<AuthenticationPlan>, Result<Vec<String>, Vec<String>>) {
    let (plan, end) = section_of(&json.to_string(), name, AuthenticationPlan::read);
    assert_eq!(plan.is_some(), end.is_ok(), "{json}: {end:?}");
    (plan, end)
}

fn build(json: &Value) -> Arc<dyn Authenticator> {
    let (plan, end) = read(json, GRPC);
    plan.unwrap_or_else(|| panic!("{end:?}")).build(&mut Background::new(Arc::new(ManualClock::new())))
}

async fn authenticate(authenticator: &dyn Authenticator) -> Result<Identity, (ErrorKind, String)> {
    let (parts, ()) = http::Request::new(()).into_parts();
    let answer = authenticator.authenticate(&RequestParts::new(&parts)).await;
    answer.map_err(|error| (error.kind(), error.message().to_owned()))
}

fn assert_faults(json: &Value, name: &str, faults: &[&str]) {
    let found = read(json, name).1.err().unwrap_or_default();
    assert_eq!(found.len(), faults.len(), "{json}: {found:?}");
    for (found, fault) in found.iter().zip(faults) {
        assert!(found.starts_with(fault), "{json}: {found:?}");
    }
}

#[test]
fn faults_of_policies_are_told_by_path() {
    let required = ": is required: ";
    for name in [GRPC, HTTP] {
        assert_faults(&json!({}), name, &[required]);
        assert_faults(&json!({"allow": null}), name, &[required]);
        for fine in [
            json!({"allow": {}}),
            json!({"allow": {"public": {"user": "a"}, "private": [1, null]}}),
            json!({"deny": ""}),
            json!({"any": {}}),
            json!({"any": {"policies": [{"deny": "a"}, {"any": {"policies": [{"allow": {}}]}}]}}),
        ] {
            assert_faults(&fine, name, &[]);
        }
        assert_faults(
            &json!({"any": {"policies": [{}, {"allow": {}}, {"any": {"policies": [{}]}}]}}),
            name,
            &["any.policies[0]: is required: ", "any.policies[2].any.policies[0]: is required: "],
        );
        assert_faults(&json!({"remote": {"endpoint": {"address": "a"}}}), name, &["remote: is not supported: "]);
        let nested = (0..200).fold(json!([]), |inner, _| json!([inner]));
        assert_faults(&json!({"allow": {"private": nested}}), name, &["allow.private: is nested more than 100 deep"]);
        let attributes = json!([{"key": "a", "value": {"bytesValue": ""}}, {"key": "b", "value": {"intValue": 1}}, {}]);
        assert_faults(
            &json!({"allow": {"tracingAttributes": attributes}}),
            name,
            &["allow.tracingAttributes[0]: ", "allow.tracingAttributes[2]: "],
        );
    }
    assert_faults(&json!({"all": {"policies": [{}]}}), GRPC, &["all.policies[0]: is required: "]);
    assert_faults(&json!({"oidc": {"clientId": "a"}}), HTTP, &["oidc: is not supported: "]);
    assert_faults(&json!({"acceptHeader": {"policy": {"allow": {}}}}), HTTP, &["acceptHeader: is not supported: "]);
}

#[test]
fn faults_of_tokens_and_certificates_are_told_by_path() {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let jwt = |change: &dyn Fn(&mut Value)| {
        let mut jwt = json!({
            "jwksInline": {"keys": [key]},
            "maximumCacheSize": 10,
            "cacheReplacementPolicy": "LEAST_RECENTLY_USED",
            "claimsValidationJmespathExpression": {"expression": "`true`"},
            "metadataExtractionJmespathExpression": {"expression": "`{}`"},
        });
        change(&mut jwt);
        json!({ "jwt": jwt })
    };
    let without = |jwt: &mut Value, name: &str| drop(jwt.as_object_mut().unwrap().remove(name));
    for name in [GRPC, HTTP] {
        assert_faults(&jwt(&|_| ()), name, &[]);
        assert_faults(&jwt(&|jwt| jwt["maximumCacheSize"] = json!(0)), name, &[]);
        assert_faults(&jwt(&|jwt| jwt["maximumCacheSize"] = json!(i32::MAX)), name, &[]);
        assert_faults(&jwt(&|jwt| jwt["cacheReplacementPolicy"] = json!("RANDOM_REPLACEMENT")), name, &[]);
        assert_faults(&jwt(&|jwt| jwt["jwksInline"] = json!({})), name, &[]);
        assert_faults(
            &json!({"jwt": {}}),
            name,
            &[
                "jwt.jwksInline: is required",
                "jwt.cacheReplacementPolicy: is required",
                "jwt.claimsValidationJmespathExpression: is required",
                "jwt.metadataExtractionJmespathExpression: is required",
            ],
        );
        let negative = jwt(&|jwt| jwt["maximumCacheSize"] = json!(-1));
        assert_faults(&negative, name, &["jwt.maximumCacheSize: must not be negative"]);
        let unknown = jwt(&|jwt| jwt["cacheReplacementPolicy"] = json!(4));
        assert_faults(&unknown, name, &["jwt.cacheReplacementPolicy: is required"]);
        let secret = jwt(&|jwt| jwt["jwksInline"]["keys"] = json!([{"kty": "oct", "k": "AAAA"}, {}]));
        assert_faults(
            &secret,
            name,
            &["jwt.jwksInline: key 0: secret keys are not supported; use a pair of keys; key 1: has no \"kty\""],
        );
        let absent = jwt(&|jwt| {
            without(jwt, "jwksInline");
            jwt["jwksFile"] = json!("/nonexistent/keys.json");
        });
        assert_faults(&absent, name, &["jwt.jwksFile: cannot be read: "]);
        let bad = jwt(&|jwt| jwt["claimsValidationJmespathExpression"]["expression"] = json!("~"));
        assert_faults(&bad, name, &["jwt.claimsValidationJmespathExpression.expression: is no expression"]);
    }
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for authorities in ["nonsense", nonsense] {
        let json = json!({"tlsClientCertificate": {"clientCertificateAuthorities": authorities}});
        assert_faults(
            &json,
            GRPC,
            &[
                "tlsClientCertificate.clientCertificateAuthorities: has no certificate in PEM",
                "tlsClientCertificate.validationJmespathExpression: is required",
                "tlsClientCertificate.metadataExtractionJmespathExpression: is required",
            ],
        );
    }
    let absent = "tlsClientCertificate.clientCertificateAuthorities: is required";
    assert!(read(&json!({"tlsClientCertificate": {}}), GRPC).1.unwrap_err().contains(&absent.to_owned()));
    let peer = json!({"peerCredentialsJmespathExpression": {}});
    assert_faults(&peer, GRPC, &["peerCredentialsJmespathExpression.expression: is required"]);
}

#[test]
fn a_policy_tells_what_its_server_must_ask_for() {
    let peer = json!({"peerCredentialsJmespathExpression": {"expression": "`{}`"}});
    for (json, expected) in [
        (json!({"allow": {}}), false),
        (peer.clone(), true),
        (json!({"any": {"policies": [{"deny": ""}, {"all": {"policies": [peer]}}]}}), true),
    ] {
        let plan = read(&json, GRPC).0.unwrap();
        assert_eq!((plan.needs_peer_credentials(), plan.requests_client_certificates()), (expected, false), "{json}");
    }
}

#[tokio::test]
async fn keys_in_a_file_are_read_again_every_five_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, "{}").unwrap();
    let json = json!({"jwt": {
        "jwksFile": path.to_str().unwrap(),
        "cacheReplacementPolicy": 1,
        "claimsValidationJmespathExpression": {"expression": "`true`"},
        "metadataExtractionJmespathExpression": {"expression": "`{}`"},
    }});
    let (plan, end) = read(&json, GRPC);
    assert_eq!(end.unwrap().len(), 2, "there are no keys, and another policy of the cache");
    let clock = Arc::new(ManualClock::new());
    let mut background = Background::new(Arc::<ManualClock>::clone(&clock));
    let authenticator = plan.unwrap().build(&mut background);
    let shown = || format!("{authenticator:?}");
    assert!(shown().contains("keys: 0"), "{}", shown());
    let _running = tokio::spawn(background.run());
    let wait = async |expected: &str| {
        while !shown().contains(expected) {
            clock.advance(std::time::Duration::from_mins(5));
            tokio::task::yield_now().await;
        }
    };
    let key = r#"{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    std::fs::write(&path, format!("{{\"keys\": [{key}]}}")).unwrap();
    wait("keys: 1").await;
    std::fs::write(&path, "nonsense").unwrap();
    for _ in 0..10 {
        clock.advance(std::time::Duration::from_mins(5));
        tokio::task::yield_now().await;
        assert!(shown().contains("keys: 1"), "the last keys stay");
    }
    std::fs::write(&path, format!("{{\"keys\": [{key}, {key}]}}")).unwrap();
    wait("keys: 2").await;
}

#[tokio::test]
async fn everybody_is_served_under_the_metadata_of_allow() {
    let attributes = json!([{"key": "a", "value": {"intValue": 1}}]);
    let json = json!({"allow": {"public": {"user": "a"}, "tracingAttributes": attributes}});
    assert_eq!(
        read(&json, GRPC).1,
        Ok(vec!["allow.tracingAttributes: only expressions see it: this server sends no traces".to_owned()])
    );
    let identity = authenticate(&build(&json)).await.unwrap();
    assert_eq!(identity.caller, Some(Caller::new("a")));
    let expected = json!({"public": {"user": "a"}, "tracingAttributes": [{"key": "a", "value": {"intValue": "1"}}]});
    let expected = AuthenticationMetadata::of_json(&expected).unwrap();
    assert_eq!(AuthenticationMetadata::in_identity(&identity), Some(&expected));
    assert_eq!(authenticate(&build(&json!({"allow": {}}))).await.unwrap().caller, None);
}

#[tokio::test]
async fn nobody_is_served_by_deny() {
    let refused = authenticate(&build(&json!({"deny": "closed for today"}))).await.unwrap_err();
    assert_eq!(refused, (ErrorKind::Unauthenticated, "closed for today".to_owned()));
}

#[tokio::test]
async fn any_of_several_policies_suffices() {
    let any = |policies: Value| build(&json!({"any": {"policies": policies}}));
    let (allow_a, allow_b) = (json!({"allow": {"public": "a"}}), json!({"allow": {"public": "b"}}));
    let identity = authenticate(&any(json!([{"deny": "no"}, allow_a, allow_b]))).await.unwrap();
    assert_eq!(identity.caller, Some(Caller::new("a")));
    let refused = authenticate(&any(json!([{"deny": "no"}, {"deny": "never"}, {"deny": "no"}]))).await.unwrap_err();
    assert_eq!(refused, (ErrorKind::Unauthenticated, "no, never".to_owned()));
    let refused = authenticate(&any(json!([]))).await.unwrap_err();
    assert_eq!(refused.0, ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn all_of_several_policies_are_asked_and_their_metadata_is_merged() {
    let all = |policies: Value| build(&json!({"all": {"policies": policies}}));
    let allow = |public: Value| json!({"allow": {"public": public}});
    let policies = json!([allow(json!({"user": "kermit", "kind": "frog"})), allow(json!({"user": "robin"}))]);
    let identity = authenticate(&all(policies)).await.unwrap();
    assert_eq!(identity.caller, Some(Caller::new("robin")));
    let expected = AuthenticationMetadata::of_json(&json!({"public": {"user": "robin", "kind": "frog"}})).unwrap();
    assert_eq!(AuthenticationMetadata::in_identity(&identity), Some(&expected));
    let refused = authenticate(&all(json!([allow(json!("a")), {"deny": "no"}]))).await.unwrap_err();
    assert_eq!(refused, (ErrorKind::Unauthenticated, "no".to_owned()));
    // None of no policies refuses.
    assert_eq!(authenticate(&all(json!([]))).await.unwrap().caller, None);
}
