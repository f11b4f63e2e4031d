//! Which files are taken, and by which path others are refused.

use blobaccess_config::{Faults, Registry};

use crate::read_with;

/// Reads `SOUND` with `more` added to it, and returns what is wrong with it; `None` if nothing is.
fn check_with(more: &str) -> Option<String> {
    read_with(more, &Registry::new()).err().map(|faults| faults.to_string())
}

#[test]
fn files_that_a_server_would_start_with_pass() {
    for more in [
        "{}",
        "{ grpcServers: [] }",
        "{ grpcServers: null, contentAddressableStorage: null, actionCache: null }",
        "{ grpcServers+: [{ listenPaths: ['/run/s'], authenticationPolicy: { deny: 'closed' }, stopGracefully: true }] }",
        "{ grpcServers+: [{ listenAddresses: [':0', ':0'], authenticationPolicy: { allow: { public: 'x' } } }] }",
        "{ global: { diagnosticsHttpServer: { enablePprof: true, enablePrometheus: true, enableActiveSpans: true } } }",
        "{ global: { setUmask: { umask: 18 }, setResourceLimits: { NOFILE: { softLimit: 9, hardLimit: '10' } } } }",
        "{ global: { mutexProfileFraction: -1, logPaths: ['/dev/null'], grpcForwardAndReuseMetadata: ['a'] } }",
        "{ supportedCompressors: ['ZSTD', 'DEFLATE', 7], zstdPool: { maximumEncoders: -1, encoderLevel: 4 } }",
        "{ maximumMessageSizeBytes: -1 }",
        "{ maximumMessageSizeBytes:: null }",
        "{ executeAuthorizer: {} }",
        "{ fileSystemAccessCache: $.actionCache, initialSizeClassCache: $.actionCache }",
        "{ indirectContentAddressableStorage: $.contentAddressableStorage }",
    ] {
        let faults = check_with(more);
        assert_eq!(faults, None, "{more}");
    }
}

#[test]
fn each_fault_is_named_by_its_path() {
    for (more, path) in [
        ("{ grpcServers: [{ listenAddresses: [':1'] }] }", "grpcServers[0].authenticationPolicy: is required"),
        (
            "{ grpcServers: [{ listenAddresses: [':1'], authenticationPolicy: {} }] }",
            "grpcServers[0].authenticationPolicy: ",
        ),
        ("{ grpcServers: [{ authenticationPolicy: { allow: {} } }] }", "grpcServers[0]: "),
        ("{ grpcServers: [{ listenAddresses: [':1', '8980'] }] }", "grpcServers[0].listenAddresses[1]: "),
        ("{ grpcServers: [{ listenAddresses: [':1', ':1'] }] }", "grpcServers[0].listenAddresses[1]: "),
        ("{ grpcServers: [{ listenAddresses: [':1', '[::]:1'] }] }", "grpcServers[0].listenAddresses[1]: "),
        ("{ grpcServers: [{ listenPaths: ['/s:0', '/x/../s:0'] }] }", "grpcServers[0].listenPaths[1]: "),
        (
            "{ grpcServers: [{ listenPaths: ['/s'] }], global: { logPaths: ['/l', '/l', '/s'] } }",
            "global.logPaths[2]: is a file of grpcServers[0].listenPaths[0] too",
        ),
        (
            "{ global: { logPaths: ['/l'] }, actionCache+: { backend: { zipWriting: { path: '/l' } } } }",
            "actionCache.backend.zipWriting.path: is a file of global.logPaths[0] too",
        ),
        ("{ grpcServers: [{ alts: {} }] }", "grpcServers[0].alts: is not supported"),
        ("{ grpcServers: [{ relays: [{}] }] }", "grpcServers[0].relays: is not supported"),
        (
            "{ grpcServers: [{ maximumReceivedMessageSizeBytes: -1 }] }",
            "grpcServers[0].maximumReceivedMessageSizeBytes: ",
        ),
        ("{ grpcServers: [{ keepaliveParameters: {} }] }", "grpcServers[0].keepaliveParameters.time: is required"),
        (
            "{ grpcServers: [{ keepaliveEnforcementPolicy: {} }] }",
            "grpcServers[0].keepaliveEnforcementPolicy.minTime: ",
        ),
        (
            "{ contentAddressableStorage+: { getAuthorizer: null } }",
            "contentAddressableStorage.getAuthorizer: is required",
        ),
        ("{ actionCache+: { putAuthorizer: {} } }", "actionCache.putAuthorizer: "),
        ("{ actionCache+: { findMissingAuthorizer: { allow: {} } } }", "findMissingAuthorizer"),
        ("{ actionCache+: { backend: null } }", "actionCache.backend: is required"),
        ("{ actionCache+: { backend: {} } }", "actionCache.backend: "),
        ("{ schedulers: { a: { endpoint: { address: 'x:1' } } } }", "executeAuthorizer: is required"),
        ("{ schedulers: { a: {} }, executeAuthorizer: { allow: {} } }", "schedulers[\"a\"].endpoint: is required"),
        ("{ schedulers: { 'a//b': {} }, executeAuthorizer: { allow: {} } }", "schedulers[\"a//b\"]: "),
        ("{ zstdPool: { encoderLevel: 5 } }", "zstdPool.encoderLevel: "),
        ("{ global: { setResourceLimits: { CPU: {} } } }", "global.setResourceLimits[\"CPU\"]: "),
        ("{ global: { setResourceLimits: { AS: { hardLimit: 1 } } } }", "global.setResourceLimits[\"AS\"]: "),
        ("{ global: { logPaths: [''] } }", "global.logPaths[0]: "),
        ("{ global: { prometheusPushgateway: {} } }", "global.prometheusPushgateway: is not supported"),
        ("{ global: { grpcKubernetesResolvers: { k: {} } } }", "global.grpcKubernetesResolvers: is not supported"),
        ("{ global: { tracing: {} } }", "global.tracing.sampler: is required"),
        ("{ global: { tracing: { sampler: {} } } }", "global.tracing.sampler: "),
        ("{ global: { tracing: { sampler: { always: {} }, backends: [{}] } } }", "global.tracing.backends[0]: "),
        (
            "{ global: { diagnosticsHttpServer: { httpServers: [{}] } } }",
            "global.diagnosticsHttpServer.httpServers[0].authenticationPolicy: is required",
        ),
        ("{ blobstore: {} }", "blobstore"),
        ("{ maximumMessageSizeBytes: 'x' }", "maximumMessageSizeBytes"),
        ("{ grpcServers: 5 }", "grpcServers"),
    ] {
        let faults = check_with(more).unwrap_or_else(|| panic!("{more} was taken"));
        assert!(faults.lines().any(|line| line.contains(path)), "{more}: {faults}");
    }
}

#[test]
fn all_faults_are_listed_at_once_with_their_places() {
    let more = "{\n grpcServers: [{ listenAddresses: ['x'] }],\n maximumMessageSizeBytes: [],\n nonsense: 1,\n}";
    let faults = check_with(more).expect("it is refused");
    for part in ["listenAddresses[0]", "authenticationPolicy: is required", "maximumMessageSizeBytes", "nonsense"] {
        assert!(faults.contains(part), "{part} is not in {faults}");
    }
    assert!(faults.contains("tested.jsonnet:"), "{faults}");
}

#[test]
fn each_field_of_a_server_absent_zero_negative_or_huge_has_a_verdict() {
    let numbers = ["0", "-1", "1", "2147483647", "-2147483648", "'9223372036854775807'", "'-9223372036854775808'"];
    for field in ["maximumReceivedMessageSizeBytes", "initialWindowSizeBytes", "initialConnWindowSizeBytes"] {
        for number in numbers {
            drop(check_with(&format!("{{ grpcServers: [super.grpcServers[0] {{ {field}: {number} }}] }}")));
        }
    }
    for number in numbers {
        drop(check_with(&format!("{{ maximumMessageSizeBytes: {number}, zstdPool: {{ encoderLevel: {number} }} }}")));
        drop(check_with(&format!("{{ zstdPool: {{ maximumEncoders: {number}, decoderWindowSizeBytes: {number} }} }}")));
        drop(check_with(&format!(
            "{{ global: {{ mutexProfileFraction: {number}, setUmask: {{ umask: {number} }} }} }}"
        )));
    }
    for duration in ["0s", "-1s", "0.000000001s", "315576000000s", "-315576000000s"] {
        let all = ["maxConnectionIdle", "maxConnectionAge", "maxConnectionAgeGrace", "time", "timeout"];
        let all = all.map(|field| format!("{field}: '{duration}'")).join(", ");
        let faults =
            check_with(&format!("{{ grpcServers: [super.grpcServers[0] {{ keepaliveParameters: {{ {all} }} }}] }}"));
        assert_eq!(faults.is_some(), duration.starts_with('-'), "{duration}: {faults:?}");
    }
}

#[tokio::test]
async fn paths_of_sockets_and_logs_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("file"), "kept").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let paths = |names: [&str; 3]| format!("{:?}", names.map(at));
    let more = format!(
        "{{ grpcServers+: [{{ listenPaths: {}, authenticationPolicy: {{ allow: {{}} }} }}], global: {{ logPaths: {} }} }}",
        paths(["file", "none/s", "socket"]),
        paths(["", "none/l", "new"])
    );
    let read = || read_with(&more, &Registry::new()).unwrap();
    let found = |faults: &Faults| faults.as_slice().iter().map(|fault| fault.path.clone()).collect::<Vec<_>>();
    let sockets = ["grpcServers[1].listenPaths[0]", "grpcServers[1].listenPaths[1]"];
    let faults = read().inspect().await.unwrap_err();
    assert_eq!(found(&faults), [sockets[0], sockets[1], "global.logPaths[0]", "global.logPaths[1]"], "{faults}");
    assert!(faults.to_string().contains("is no socket"), "{faults}");
    assert_eq!(found(&read().open().await.unwrap_err()), sockets);
    assert!(!std::fs::exists(at("new")).unwrap());
}
