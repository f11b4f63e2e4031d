use std::sync::Arc;

use blobaccess::{Claims, Context, ErrorKind, InstanceName};
use blobaccess_testkit::ManualClock;
use serde_json::{Value, json};

use super::AuthorizerPlan;
use crate::AuthenticationMetadata;
use crate::background::Background;
use crate::section::section_of;

fn read(json: &Value) -> (Option<AuthorizerPlan>, Result<Vec<String>, Vec<String>>) {
    let name = "buildbarn.configuration.auth.AuthorizerConfiguration";
    let (plan, end) = section_of(&json.to_string(), name, AuthorizerPlan::read);
    assert_eq!(plan.is_some(), end.is_ok(), "{json}: {end:?}");
    (plan, end)
}

/// Returns the instance names that an authorizer permits.
async fn permitted(json: &Value, ctx: &Context, names: &[&str]) -> Vec<String> {
    let authorizer = read(json).0.unwrap().build(&mut Background::new(Arc::new(ManualClock::new())));
    let names: Vec<_> = names.iter().map(|name| InstanceName::new(name).unwrap()).collect();
    let answers = authorizer.authorize(ctx, &names).await;
    assert_eq!(answers.len(), names.len());
    let permitted = names.iter().zip(answers).filter_map(|(name, answer)| match answer {
        Ok(()) => Some(name.as_str().to_owned()),
        Err(error) => {
            assert_eq!((error.kind(), error.message()), (ErrorKind::PermissionDenied, "permission denied"));
            None
        }
    });
    permitted.collect()
}

#[test]
fn faults_of_authorizers_are_told_by_path() {
    for (json, faults) in [
        (json!({}), vec![": is required: allow, deny, instanceNamePrefix or jmespathExpression"]),
        (json!({"allow": null}), vec![": is required: allow, deny, instanceNamePrefix or jmespathExpression"]),
        (json!({"allow": {}}), vec![]),
        (json!({"deny": {}}), vec![]),
        (json!({"instanceNamePrefix": {}}), vec![]),
        (json!({"instanceNamePrefix": {"allowedInstanceNamePrefixes": ["", "a/b"]}}), vec![]),
        (
            json!({"instanceNamePrefix": {"allowedInstanceNamePrefixes": ["a//b", "a", "blobs/c", "/"]}}),
            vec![
                "instanceNamePrefix.allowedInstanceNamePrefixes[0]: ",
                "instanceNamePrefix.allowedInstanceNamePrefixes[2]: ",
                "instanceNamePrefix.allowedInstanceNamePrefixes[3]: ",
            ],
        ),
        (json!({"jmespathExpression": {"expression": "`true`"}}), vec![]),
        (json!({"jmespathExpression": {}}), vec!["jmespathExpression.expression: is required"]),
        (
            json!({"remote": {"endpoint": {"address": "a:1"}, "cacheReplacementPolicy": 2}}),
            vec!["remote: is not supported: "],
        ),
    ] {
        let found = read(&json).1.err().unwrap_or_default();
        assert_eq!(found.len(), faults.len(), "{json}: {found:?}");
        for (found, fault) in found.iter().zip(faults) {
            assert!(found.starts_with(fault), "{json}: {found:?}");
        }
    }
}

#[tokio::test]
async fn prefixes_are_compared_component_by_component() {
    let (ctx, names) = (Context::background(), ["", "a", "ab", "a/b", "a/bc", "a/b/c", "d"]);
    for (prefixes, expected) in [
        (json!([]), vec![]),
        (json!([""]), names.to_vec()),
        (json!(["a"]), vec!["a", "a/b", "a/bc", "a/b/c"]),
        (json!(["a/b", "d", "d/e"]), vec!["a/b", "a/b/c", "d"]),
    ] {
        let json = json!({"instanceNamePrefix": {"allowedInstanceNamePrefixes": prefixes}});
        assert_eq!(permitted(&json, &ctx, &names).await, expected, "{prefixes}");
    }
    assert_eq!(permitted(&json!({"allow": {}}), &ctx, &["", "a"]).await, ["", "a"]);
    assert!(permitted(&json!({"deny": {}}), &ctx, &["", "a"]).await.is_empty());
}

#[tokio::test]
async fn an_expression_sees_the_caller_and_the_instance_name() {
    let metadata = AuthenticationMetadata::of_json(&json!({"public": {"user": "a"}, "private": {"teams": ["ci"]}}));
    let caller = Context::background().with_claims(Claims::new(metadata.unwrap()));
    for (expression, ctx, expected) in [
        ("authenticationMetadata.public.user == 'a'", &caller, vec!["", "a", "b"]),
        ("authenticationMetadata.public.user == instanceName", &caller, vec!["a"]),
        ("contains(authenticationMetadata.private.teams, 'ci') && instanceName != 'b'", &caller, vec!["", "a"]),
        ("authenticationMetadata == `null`", &Context::background(), vec!["", "a", "b"]),
        ("authenticationMetadata.public.user == 'a'", &Context::background(), vec![]),
        // Only `true` itself is permission, and an error is none.
        ("'true'", &caller, vec![]),
        ("`1`", &caller, vec![]),
        ("authenticationMetadata", &caller, vec![]),
        ("length(`1`)", &caller, vec![]),
    ] {
        let json = json!({"jmespathExpression": {"expression": expression}});
        assert_eq!(permitted(&json, ctx, &["", "a", "b"]).await, expected, "{expression}");
    }
}
