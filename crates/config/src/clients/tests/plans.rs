//! The verdict on each field of a client, for values that are absent, zero, negative, huge and wrong.

use crate::clients::{GrpcClientPlan, HttpClientPlan};
use crate::section::section_of;

const GRPC: &str = "buildbarn.configuration.grpc.ClientConfiguration";
const HTTP: &str = "buildbarn.configuration.http.client.Configuration";

pub(super) fn read_grpc(json: &str) -> (Option<GrpcClientPlan>, Result<Vec<String>, Vec<String>>) {
    section_of(json, GRPC, GrpcClientPlan::read)
}

/// The beginnings of all notices, or of all faults.
type Verdict<'a> = Result<&'a [&'a str], &'a [&'a str]>;

fn assert_grpc(fields: &str, expected: Verdict<'_>) {
    let (plan, end) = read_grpc(&format!(r#"{{"address": "storage:8981"{fields}}}"#));
    assert_verdict(fields, plan.is_some(), &end, expected);
}

fn assert_http(json: &str, expected: Verdict<'_>) {
    let (plan, end) = section_of(json, HTTP, HttpClientPlan::read);
    assert_verdict(json, plan.is_some(), &end, expected);
}

/// Checks notices or faults by their beginnings.
fn assert_verdict(what: &str, has_plan: bool, end: &Result<Vec<String>, Vec<String>>, expected: Verdict<'_>) {
    let (found, beginnings) = match (end, expected) {
        (Ok(found), Ok(beginnings)) if has_plan => (found, beginnings),
        (Err(found), Err(beginnings)) => (found, beginnings),
        _ => panic!("{what}: {end:?}"),
    };
    assert_eq!(found.len(), beginnings.len(), "{what}: {found:?}");
    for (found, beginning) in found.iter().zip(beginnings) {
        assert!(found.starts_with(beginning), "{what}: {found}");
    }
}

#[test]
fn a_client_of_grpc_needs_an_address() {
    assert_eq!(read_grpc("{}").1.unwrap_err(), ["address: is required"]);
    assert_grpc("", Ok(&[]));
    let (_, end) = read_grpc(r#"{"address": "http://storage:8981"}"#);
    assert!(end.unwrap_err()[0].starts_with("address: must not begin with http://"));
    let (_, end) = read_grpc(r#"{"address": "xds:///storage"}"#);
    assert_eq!(end.unwrap_err(), ["address: has the scheme \"xds\", which is not supported: use dns or unix"]);
}

#[test]
fn keepalive_is_as_in_gos_client() {
    let keepalive = |fields: &str| format!(r#", "keepalive": {{{fields}}}"#);
    let table: [(&str, Verdict<'_>); 7] = [
        (r#""time": "60s", "timeout": "30s", "permitWithoutStream": true"#, Ok(&[])),
        (r#""time": "0s", "timeout": "30s""#, Ok(&["keepalive.time: is raised to 10s"])),
        (r#""time": "-5s", "timeout": "30s""#, Ok(&["keepalive.time: is raised to 10s"])),
        (r#""time": "315576000000s", "timeout": "315576000000s""#, Ok(&[])),
        (r#""time": "60s", "timeout": "0s""#, Ok(&["keepalive.timeout: is 20s"])),
        (r#""time": "60s", "timeout": "-1s""#, Err(&["keepalive.timeout: must not be negative"])),
        ("", Err(&["keepalive.time: is required", "keepalive.timeout: is required"])),
    ];
    for (fields, expected) in table {
        assert_grpc(&keepalive(fields), expected);
    }
}

#[test]
fn metadata_must_be_what_can_be_sent() {
    let metadata = |header: &str, value: &str| {
        format!(r#", "addMetadata": [{{"header": "{header}", "values": ["{value}", "b"]}}]"#)
    };
    assert_grpc(&metadata("x-cluster", "a"), Ok(&[]));
    assert_grpc(&metadata("X-Cluster", "a"), Ok(&[]));
    assert_grpc(&metadata("x-cluster-bin", "\\u00e9\\n"), Ok(&[]));
    assert_grpc(&metadata("x-cluster", "a\\nb"), Err(&["addMetadata[0].values[0]: has characters"]));
    assert_grpc(&metadata("", "a"), Err(&["addMetadata[0].header: is no name"]));
    assert_grpc(&metadata("x cluster", "a"), Err(&["addMetadata[0].header: is no name"]));
    assert_grpc(&metadata("grpc-timeout", "a"), Err(&["addMetadata[0].header: is reserved"]));
}

#[test]
fn windows_below_the_least_have_no_effect() {
    assert_grpc(r#", "initialWindowSizeBytes": 2147483647, "initialConnWindowSizeBytes": 65536"#, Ok(&[]));
    let notices = ["initialWindowSizeBytes: has no effect", "initialConnWindowSizeBytes: has no effect"];
    assert_grpc(r#", "initialWindowSizeBytes": -1, "initialConnWindowSizeBytes": 100"#, Ok(&notices));
}

#[test]
fn service_configs_choose_among_addresses() {
    let config = |config: &str| format!(r#", "defaultServiceConfig": {config}"#);
    assert_grpc(&config(r#"{"loadBalancingConfig": [{"round_robin": {}}]}"#), Ok(&[]));
    assert_grpc(&config(r#"{"loadBalancingPolicy": "round_robin"}"#), Ok(&[]));
    assert_grpc(&config("{}"), Ok(&[]));
    assert_grpc(&config(r#"{"methodConfig": []}"#), Ok(&["defaultServiceConfig.methodConfig: has no effect"]));
    let fault = "defaultServiceConfig.loadBalancingConfig: is not supported: only";
    assert_grpc(&config(r#"{"loadBalancingConfig": [{"grpclb": {}}]}"#), Err(&[fault]));
    assert_grpc(&config(r#"{"retries": 3}"#), Err(&["defaultServiceConfig.retries: is not supported"]));
}

#[test]
fn proxies_and_traces_are_done_or_said_to_have_no_effect() {
    assert_grpc(r#", "proxyUrl": "http://user:word@proxy:3128""#, Ok(&[]));
    assert_grpc(
        r#", "proxyUrl": "socks5://proxy:1080""#,
        Err(&["proxyUrl: does not begin with http://, the only scheme"]),
    );
    assert_grpc(r#", "proxyUrl": "proxy""#, Err(&["proxyUrl: does not begin with http://"]));
    let (_, end) = read_grpc(r#"{"address": "unix:/a", "proxyUrl": "http://proxy"}"#);
    assert_eq!(end.unwrap_err(), ["proxyUrl: cannot be used with a socket as the address"]);
    let tracing = r#", "tracing": {"/a.B/C": {"attributesFromFirstRequestMessage": ["x"]}}"#;
    assert_grpc(tracing, Ok(&["tracing: has no effect"]));
}

#[test]
fn encryption_is_by_authorities_names_and_key_pairs_that_can_be_used() {
    let tls = |fields: &str| format!(r#", "tls": {{{fields}}}"#);
    assert_grpc(&tls(""), Ok(&[]));
    assert_grpc(&tls(r#""serverName": "storage.example.com""#), Ok(&[]));
    assert_grpc(&tls(r#""serverName": "a b""#), Err(&["tls.serverName: is no valid name"]));
    assert_grpc(&tls(r#""serverCertificateAuthorities": "hello""#), Err(&["tls.serverCertificateAuthorities: has no"]));
    assert_grpc(
        &tls(r#""cipherSuites": ["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]"#),
        Ok(&[]),
    );
    let weak = r#""cipherSuites": ["TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"]"#;
    assert_grpc(&tls(weak), Ok(&["tls.cipherSuites[0]: is not offered"]));
    let unknown = r#""cipherSuites": ["TLS_RSA_WITH_RC4_128_SHA", "x"]"#;
    let faults =
        ["tls.cipherSuites[0]: \"TLS_RSA_WITH_RC4_128_SHA\" is no known", "tls.cipherSuites[1]: \"x\" is no known"];
    assert_grpc(&tls(unknown), Err(&faults));
    let pair = |fields: &str| tls(&format!(r#""clientKeyPair": {{{fields}}}"#));
    assert_grpc(&pair(""), Err(&["tls.clientKeyPair: must have inline or files"]));
    let absent =
        ["tls.clientKeyPair.inline.certificate: is required", "tls.clientKeyPair.inline.privateKey: is required"];
    assert_grpc(&pair(r#""inline": {}"#), Err(&absent));
    let wrong = r#""inline": {"certificate": "a", "privateKey": "b"}"#;
    assert_grpc(&pair(wrong), Err(&["tls.clientKeyPair.inline: has a certificate that cannot be used"]));
    let files = r#""files": {"certificatePath": "/absent/a", "privateKeyPath": "/absent/b", "refreshInterval": "60s"}"#;
    assert_grpc(&pair(files), Err(&["tls.clientKeyPair.files: names /absent/a, which cannot be read"]));
    let never = files.replace("60s", "0s");
    assert_grpc(&pair(&never), Err(&["tls.clientKeyPair.files.refreshInterval: must be positive"]));
    let unset = r#""files": {"certificatePath": "/absent/a", "privateKeyPath": "/absent/b"}"#;
    assert_grpc(&pair(unset), Err(&["tls.clientKeyPair.files.refreshInterval: is required"]));
}

#[test]
fn tokens_need_credentials_and_encryption() {
    let client = r#""clientCredentials": {"clientId": "a", "clientSecret": "b", "tokenEndpointUrl": "https://c/d"}"#;
    let oauth2 = |fields: &str| format!(r#", "tls": {{}}, "oauth2": {{{fields}}}"#);
    assert_grpc(&oauth2(client), Ok(&[]));
    assert_grpc(&format!(r#", "oauth2": {{{client}}}"#), Err(&["oauth2: needs tls"]));
    assert_grpc(&oauth2(""), Err(&["oauth2: must have credentials"]));
    assert_grpc(&oauth2(r#""scopes": ["x"]"#), Err(&["oauth2: must have credentials"]));
    let endpoint = ["oauth2.clientCredentials.tokenEndpointUrl: is required"];
    assert_grpc(&oauth2(r#""clientCredentials": {}"#), Err(&endpoint));
    let endpoint = ["oauth2.clientCredentials.tokenEndpointUrl: is no URL"];
    assert_grpc(&oauth2(&client.replace("https://c/d", "c/d")), Err(&endpoint));
    let key = ["oauth2.serviceAccountKey: is no key of a service account"];
    assert_grpc(&oauth2(r#""serviceAccountKey": "hello""#), Err(&key));
    let key = ["oauth2.serviceAccountKey: is a key without private_key"];
    assert_grpc(&oauth2(r#""serviceAccountKey": "{\"type\": \"service_account\"}""#), Err(&key));
}

#[test]
fn a_client_of_http_has_all_that_it_is_told() {
    assert_http("{}", Ok(&[]));
    let all = r#"{"tls": {}, "proxyUrl": "http://proxy:3128", "disableHttp2": true,
        "addHeaders": [{"header": "x-a", "values": ["b", "c"]}],
        "oauth2": {"clientCredentials": {"tokenEndpointUrl": "http://c/d", "httpClient": {"disableHttp2": true}}}}"#;
    assert_http(all, Ok(&[]));
    assert_http(r#"{"proxyUrl": "::"}"#, Err(&["proxyUrl: is not supported"]));
    assert_http(r#"{"addHeaders": [{"header": "a b", "values": ["c"]}]}"#, Err(&["addHeaders[0].header: is no name"]));
    let value = r#"{"addHeaders": [{"header": "a", "values": ["c\n"]}]}"#;
    assert_http(value, Err(&["addHeaders[0].values[0]: has characters"]));
    let google = r#"{"oauth2": {"googleDefaultCredentials": {}}}"#;
    assert_http(google, Err(&["oauth2.googleDefaultCredentials: is not supported: clients of HTTP"]));
}
