//! Each backend and replicator, with each field absent, zero, negative and huge.

use blobaccess::StorageType::{Ac, Cas, Fsac, Icas, Iscc};

use super::{KINDS, faults, notices};

const CACHE: &str = "{'cacheSize': 10, 'cacheDuration': '60s', 'cacheReplacementPolicy': 'LEAST_RECENTLY_USED'}";

fn check(kind: blobaccess::StorageType, text: &str, expected: &[&str]) {
    assert_eq!(faults(&text.replace("CACHE", CACHE), kind), expected, "{text}");
}

#[test]
fn a_backend_is_required() {
    for kind in KINDS {
        check(kind, "{}", &[": is required: local, grpc or another backend"]);
        check(
            kind,
            "{'readCaching': {}}",
            &["readCaching.slow: is required", "readCaching.fast: is required", "readCaching.replicator: is required"],
        );
        check(
            kind,
            "{'deadlineEnforcing': {'timeout': '1s', 'backend': {}}}",
            &["deadlineEnforcing.backend: is required: local, grpc or another backend"],
        );
        check(
            kind,
            "{'deadlineEnforcing': {'timeout': '1s', 'backend': null}}",
            &["deadlineEnforcing.backend: is required"],
        );
    }
}

#[test]
fn backends_of_some_kinds_are_refused_for_others() {
    let existence = "{'existenceCaching': {'backend': 'M', 'existenceCache': CACHE}}";
    let completeness = "{'completenessChecking': {'backend': 'M'}}";
    let expiring = "{'actionResultExpiring': {'backend': 'M', 'minimumValidity': '1s', 'maximumValidityJitter': '1s', \
                    'minimumTimestamp': '2024-01-01T00:00:00Z'}}";
    let hierarchical = "{'hierarchicalInstanceNames': 'M'}";
    check(Cas, existence, &[]);
    check(Ac, expiring, &[]);
    for (kind, name) in [(Ac, "action results"), (Icas, "references"), (Iscc, "size classes")] {
        check(kind, existence, &[&format!("existenceCaching: is not supported for {name}: only for contents")]);
        check(kind, hierarchical, &[]);
    }
    for (kind, name) in [(Cas, "contents"), (Icas, "references"), (Fsac, "file system access profiles")] {
        check(
            kind,
            completeness,
            &[&format!("completenessChecking: is not supported for {name}: only for action results")],
        );
        check(
            kind,
            expiring,
            &[&format!("actionResultExpiring: is not supported for {name}: only for action results")],
        );
    }
    check(Fsac, hierarchical, &[]);
    check(
        Cas,
        hierarchical,
        &["hierarchicalInstanceNames: is not supported for contents: use hierarchicalInstanceNames of local"],
    );
    check(Ac, completeness, &["completenessChecking: needs a store of contents, and none is configured"]);
}

#[test]
fn errors() {
    for kind in KINDS {
        check(kind, "{'error': {'code': 14, 'message': 'under repair'}}", &[]);
        check(kind, "{'error': {'code': 99}}", &[]);
        check(kind, "{'error': {'code': -1}}", &[]);
        let none = ["error.code: must be the code of an error, such as 14: every call fails with it, and 0 is none"];
        check(kind, "{'error': {}}", &none);
        check(kind, "{'error': {'code': 0, 'message': 'fine'}}", &none);
    }
    assert_eq!(notices("{'error': {'code': 99}}", Cas), ["error.code: is no code of gRPC: calls fail with the code 2"]);
    let details = "{'error': {'code': 14, 'details': [{'@type': 'type.googleapis.com/google.protobuf.Duration', 'value': '1s'}]}}";
    assert_eq!(notices(details, Cas), ["error.details: has no effect: errors have a code and a message"]);
}

#[test]
fn shards() {
    for kind in KINDS {
        check(kind, "{'sharding': {'shards': {'': {'weight': 1, 'backend': 'M'}}}}", &[]);
        check(
            kind,
            "{'sharding': {'shards': {'a': {'weight': 4294967295, 'backend': 'M'}, 'b': {'weight': 4294967295, 'backend': 'M'}}}}",
            &[],
        );
        let none = ["sharding.shards: is required: there must be a shard"];
        check(kind, "{'sharding': {}}", &none);
        check(kind, "{'sharding': {'shards': {}}}", &none);
        check(
            kind,
            "{'sharding': {'shards': {'b': {'backend': 'M', 'weight': 0}, 'a': {}}}}",
            &[
                r#"sharding.shards["a"].backend: is required"#,
                r#"sharding.shards["a"].weight: must be positive"#,
                r#"sharding.shards["b"].weight: must be positive"#,
            ],
        );
    }
}

#[test]
fn memories_of_existence() {
    let text = |cache: &str| format!("{{'existenceCaching': {{'backend': 'M', 'existenceCache': {cache}}}}}");
    let lru = "'cacheReplacementPolicy': 'LEAST_RECENTLY_USED'";
    check(Cas, "{'existenceCaching': {'backend': 'M'}}", &["existenceCaching.existenceCache: is required"]);
    check(
        Cas,
        &text("{}"),
        &[
            "existenceCaching.existenceCache.cacheSize: must be positive",
            "existenceCaching.existenceCache.cacheDuration: is required",
            "existenceCaching.existenceCache.cacheReplacementPolicy: is required, such as LEAST_RECENTLY_USED",
        ],
    );
    check(
        Cas,
        &text(&format!("{{'cacheSize': -5, 'cacheDuration': '-1s', {lru}}}")),
        &[
            "existenceCaching.existenceCache.cacheSize: must be positive",
            "existenceCaching.existenceCache.cacheDuration: must not be negative",
        ],
    );
    check(
        Cas,
        &text("{'cacheSize': 5, 'cacheDuration': '1s', 'cacheReplacementPolicy': 77}"),
        &["existenceCaching.existenceCache.cacheReplacementPolicy: is not known: use LEAST_RECENTLY_USED"],
    );
    let huge = text(&format!("{{'cacheSize': '9223372036854775807', 'cacheDuration': '315576000000s', {lru}}}"));
    check(Cas, &huge, &[]);
    let zero = text(&format!("{{'cacheSize': 5, 'cacheDuration': '0s', {lru}}}"));
    let path = "existenceCaching.existenceCache";
    assert_eq!(notices(&zero, Cas), [format!("{path}.cacheDuration: is zero, so that nothing is remembered")]);
    for policy in ["'FIRST_IN_FIRST_OUT'", "'RANDOM_REPLACEMENT'", "3"] {
        let text = text(&format!("{{'cacheSize': 5, 'cacheDuration': '1s', 'cacheReplacementPolicy': {policy}}}"));
        let effect = "has no effect: a full cache gives up what was used least recently";
        assert_eq!(notices(&text, Cas), [format!("{path}.cacheReplacementPolicy: {effect}")]);
    }
}

#[test]
fn layers_over_two_backends() {
    for kind in KINDS {
        for replicator in
            ["{'local': {}}", "{'noop': {}}", "{'queued': {'base': {'local': {}}, 'existenceCache': CACHE}}"]
        {
            check(kind, &format!("{{'readCaching': {{'slow': 'M', 'fast': 'N', 'replicator': {replicator}}}}}"), &[]);
            check(
                kind,
                &format!("{{'readFallback': {{'primary': 'M', 'secondary': 'N', 'replicator': {replicator}}}}}"),
                &[],
            );
            check(
                kind,
                &format!(
                    "{{'mirrored': {{'backendA': 'M', 'backendB': 'N', 'replicatorAToB': {replicator}, 'replicatorBToA': {replicator}}}}}"
                ),
                &[],
            );
        }
        check(
            kind,
            "{'mirrored': {}}",
            &[
                "mirrored.backendA: is required",
                "mirrored.backendB: is required",
                "mirrored.replicatorAToB: is required",
                "mirrored.replicatorBToA: is required",
            ],
        );
        check(
            kind,
            "{'readFallback': {'replicator': {}}}",
            &[
                "readFallback.primary: is required",
                "readFallback.secondary: is required",
                "readFallback.replicator: is required: local, noop or another mode",
            ],
        );
    }
}

#[test]
fn replicators() {
    let text =
        |replicator: &str| format!("{{'readCaching': {{'slow': 'M', 'fast': 'N', 'replicator': {replicator}}}}}");
    for kind in KINDS {
        let limited = |max: &str| {
            text(&format!("{{'concurrencyLimiting': {{'base': {{'local': {{}}}}, 'maximumConcurrency': {max}}}}}"))
        };
        check(kind, &limited("1"), &[]);
        check(kind, &limited("'9223372036854775807'"), &[]);
        for max in ["0", "-1", "null"] {
            check(
                kind,
                &limited(max),
                &["readCaching.replicator.concurrencyLimiting.maximumConcurrency: must be positive"],
            );
        }
        check(
            kind,
            &text("{'concurrencyLimiting': {}}"),
            &[
                "readCaching.replicator.concurrencyLimiting.base: is required",
                "readCaching.replicator.concurrencyLimiting.maximumConcurrency: must be positive",
            ],
        );
        check(
            kind,
            &text("{'queued': {}}"),
            &[
                "readCaching.replicator.queued.base: is required",
                "readCaching.replicator.queued.existenceCache: is required",
            ],
        );
        check(
            kind,
            &text("{'queued': {'base': {'queued': {'existenceCache': {'cacheSize': 1}}}, 'existenceCache': CACHE}}"),
            &[
                "readCaching.replicator.queued.base.queued.base: is required",
                "readCaching.replicator.queued.base.queued.existenceCache.cacheDuration: is required",
                "readCaching.replicator.queued.base.queued.existenceCache.cacheReplacementPolicy: is required, such as LEAST_RECENTLY_USED",
            ],
        );
    }
    for kind in [Cas, Icas] {
        check(
            kind,
            &text("{'deduplicating': {'concurrencyLimiting': {'base': {'local': {}}, 'maximumConcurrency': 4}}}"),
            &[],
        );
        check(
            kind,
            &text("{'deduplicating': {}}"),
            &["readCaching.replicator.deduplicating: is required: local, noop or another mode"],
        );
    }
    for (kind, name) in [(Ac, "action results"), (Iscc, "size classes"), (Fsac, "file system access profiles")] {
        check(
            kind,
            &text("{'deduplicating': {'local': {}}}"),
            &[&format!(
                "readCaching.replicator.deduplicating: is not supported for {name}: only for contents and references"
            )],
        );
    }
}

#[test]
fn routes() {
    for kind in KINDS {
        check(kind, "{'demultiplexing': {}}", &[]);
        check(
            kind,
            "{'demultiplexing': {'instanceNamePrefixes': {'': {'backend': 'M', 'addInstanceNamePrefix': 'a/b'}, 'c': {'backend': 'N'}}}}",
            &[],
        );
        check(
            kind,
            "{'demultiplexing': {'instanceNamePrefixes': {'c': {}}}}",
            &[r#"demultiplexing.instanceNamePrefixes["c"].backend: is required"#],
        );
        for prefix in ["/a", "a/", "a//b", "a/blobs"] {
            let found = faults(
                &format!("{{'demultiplexing': {{'instanceNamePrefixes': {{'{prefix}': {{'backend': 'M'}}}}}}}}"),
                kind,
            );
            let path = format!("demultiplexing.instanceNamePrefixes[\"{prefix}\"]: the prefix is no instance name: ");
            assert!(found.len() == 1 && found[0].starts_with(&path), "{found:?}");
            let found = faults(
                &format!(
                    "{{'demultiplexing': {{'instanceNamePrefixes': {{'': {{'backend': 'M', 'addInstanceNamePrefix': '{prefix}'}}}}}}}}"
                ),
                kind,
            );
            let path = r#"demultiplexing.instanceNamePrefixes[""].addInstanceNamePrefix: is no instance name: "#;
            assert!(found.len() == 1 && found[0].starts_with(path), "{found:?}");
        }
    }
    assert_eq!(notices("{'demultiplexing': {}}", Cas), ["demultiplexing: serves no instance name: every call fails"]);
}

#[test]
fn references() {
    check(Cas, "{'referenceExpanding': {'indirectContentAddressableStorage': 'M'}}", &[]);
    check(
        Cas,
        "{'referenceExpanding': {'indirectContentAddressableStorage': {'hierarchicalInstanceNames': 'M'}, \
                 'contentAddressableStorage': {'referenceExpanding': {'indirectContentAddressableStorage': 'N'}}, 'httpClient': {}}}",
        &[],
    );
    check(Cas, "{'referenceExpanding': {}}", &["referenceExpanding.indirectContentAddressableStorage: is required"]);
    check(
        Cas,
        "{'referenceExpanding': {'indirectContentAddressableStorage': 'M', 'httpClient': {'proxyUrl': 'http://p:1'}, \
                 'awsSession': {'region': 'eu'}, 'gcpClientOptions': {}}}",
        &[
            "referenceExpanding.awsSession: is not supported: a host program gives the buckets of S3 by its registry",
            "referenceExpanding.httpClient.proxyUrl: is not supported: references are read directly, and by the certificates that the system trusts",
            "referenceExpanding.gcpClientOptions: is not supported: a host program gives the buckets of Google by its registry",
        ],
    );
    check(
        Cas,
        "{'referenceExpanding': {'indirectContentAddressableStorage': 'M', 'httpClient': {'disableHttp2': true, \
                 'addHeaders': [{'header': 'X-Site', 'values': ['a', 'b']}]}}}",
        &[],
    );
    check(
        Cas,
        "{'referenceExpanding': {'indirectContentAddressableStorage': 'M', 'httpClient': {\
                 'addHeaders': [{'header': 'a b', 'values': ['c']}]}}}",
        &["referenceExpanding.httpClient.addHeaders[0].header: is no name of a header"],
    );
    // A label has the kind of where it is declared.
    check(
        Cas,
        "{'withLabels': {'labels': {'a': 'M'}, 'backend': {'referenceExpanding': {'indirectContentAddressableStorage': {'label': 'a'}, \
                 'contentAddressableStorage': {'label': 'a'}}}}}",
        &[
            "withLabels.backend.referenceExpanding.indirectContentAddressableStorage.label: \"a\" is a store of contents, where one of references is needed",
        ],
    );
    for (kind, name) in [(Ac, "action results"), (Icas, "references")] {
        check(
            kind,
            "{'referenceExpanding': {'indirectContentAddressableStorage': 'M'}}",
            &[&format!("referenceExpanding: is not supported for {name}: only for contents")],
        );
    }
}

#[test]
fn deadlines() {
    for kind in KINDS {
        let text = |timeout: &str| format!("{{'deadlineEnforcing': {{'backend': 'M', 'timeout': {timeout}}}}}");
        check(kind, &text("'0.5s'"), &[]);
        check(kind, &text("'315576000000s'"), &[]);
        check(kind, &text("null"), &["deadlineEnforcing.timeout: is required"]);
        check(kind, &text("'-1s'"), &["deadlineEnforcing.timeout: must not be negative"]);
        check(kind, &text("'0s'"), &["deadlineEnforcing.timeout: must be positive: every call would fail"]);
    }
}

#[test]
fn ages_of_action_results() {
    let text = |fields: &str| format!("{{'actionResultExpiring': {{'backend': 'M', {fields}}}}}");
    let since = "'minimumTimestamp': '1969-01-01T00:00:00Z'";
    check(Ac, &text(&format!("'minimumValidity': '0s', 'maximumValidityJitter': '0s', {since}")), &[]);
    check(
        Ac,
        &text(&format!("'minimumValidity': '315576000000s', 'maximumValidityJitter': '315576000000s', {since}")),
        &[],
    );
    check(
        Ac,
        "{'actionResultExpiring': {}}",
        &[
            "actionResultExpiring.backend: is required",
            "actionResultExpiring.minimumValidity: is required",
            "actionResultExpiring.maximumValidityJitter: is required",
            "actionResultExpiring.minimumTimestamp: is required",
        ],
    );
    check(
        Ac,
        &text(&format!("'minimumValidity': '-1s', 'maximumValidityJitter': '-2s', {since}")),
        &[
            "actionResultExpiring.minimumValidity: must not be negative",
            "actionResultExpiring.maximumValidityJitter: must not be negative",
        ],
    );
}

#[test]
fn canaries() {
    for kind in KINDS {
        let text = |fields: &str| format!("{{'readCanarying': {{'source': 'M', 'replica': 'N', {fields}}}}}");
        check(kind, &text("'maximumCacheSize': 256, 'maximumCacheDuration': '300s'"), &[]);
        check(kind, &text("'maximumCacheDuration': '0s'"), &[]);
        check(kind, &text("'maximumCacheSize': 2147483647, 'maximumCacheDuration': '315576000000s'"), &[]);
        check(
            kind,
            &text("'maximumCacheSize': -1"),
            &[
                "readCanarying.maximumCacheSize: must not be negative",
                "readCanarying.maximumCacheDuration: is required",
            ],
        );
        check(
            kind,
            "{'readCanarying': {'maximumCacheDuration': '-1s'}}",
            &[
                "readCanarying.source: is required",
                "readCanarying.replica: is required",
                "readCanarying.maximumCacheDuration: must not be negative",
            ],
        );
    }
}

#[test]
fn archives() {
    for kind in KINDS {
        for member in ["zipReading", "zipWriting"] {
            let text = |fields: &str| format!("{{'{member}': {{{fields}}}}}");
            check(kind, &text("'path': '/a/b.zip'"), &[]);
            check(kind, &text("'path': '/a/b.zip', 'dataIntegrityValidationCache': CACHE"), &[]);
            for size in ["", "'cacheSize': 0,", "'cacheSize': -1,"] {
                let cache = format!("{{{size} 'cacheDuration': '1s', 'cacheReplacementPolicy': 2}}");
                check(kind, &text(&format!("'path': '/a/b.zip', 'dataIntegrityValidationCache': {cache}")), &[]);
            }
            check(kind, &text(""), &[&format!("{member}.path: is required")]);
            check(
                kind,
                &text(
                    "'path': '', 'dataIntegrityValidationCache': {'cacheSize': 1, 'cacheDuration': '-1s', 'cacheReplacementPolicy': 2}",
                ),
                &[
                    &format!("{member}.path: is required"),
                    &format!("{member}.dataIntegrityValidationCache.cacheDuration: must not be negative"),
                ],
            );
        }
        let both = |a: &str, b: &str| {
            format!(
                "{{'mirrored': {{'backendA': {{'{a}': {{'path': '/x/y.zip'}}}}, 'backendB': {{'{b}': {{'path': '/x//y.zip'}}}}, 'replicatorAToB': {{'local': {{}}}}, 'replicatorBToA': {{'local': {{}}}}}}}}"
            )
        };
        check(kind, &both("zipReading", "zipReading"), &[]);
        for (a, b) in [("zipReading", "zipWriting"), ("zipWriting", "zipReading"), ("zipWriting", "zipWriting")] {
            check(
                kind,
                &both(a, b),
                &[&format!(
                    "mirrored.backendB.{b}.path: is a file of mirrored.backendA.{a}.path too: a file that is written is of one store"
                )],
            );
        }
    }
}
