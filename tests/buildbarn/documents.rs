//! Configurations without servers, one for each backend, and changes of single fields in them.

use serde_json::{Map, Value, json};

/// A configuration, and how it came about.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) value: Value,
    /// The place that this one is about, as a JSON pointer. All else is that of other documents as well.
    subject: &'static str,
}

const CONTENTS: &str = "/contentAddressableStorage/backend";

const RESULTS: &str = "/actionCache/backend";

/// Returns a store in memory.
fn memory(new_blocks: u32) -> Value {
    json!({ "local": {
        "keyLocationMapInMemory": { "entries": 1000 },
        "keyLocationMapMaximumGetAttempts": 8,
        "keyLocationMapMaximumPutAttempts": 32,
        "oldBlocks": 4,
        "currentBlocks": 8,
        "newBlocks": new_blocks,
        "blocksInMemory": { "blockSizeBytes": 65536 },
    } })
}

fn file(new_blocks: u32) -> Value {
    json!({ "local": {
        "keyLocationMapOnBlockDevice": { "file": { "path": "map", "sizeBytes": 1 << 20 } },
        "keyLocationMapMaximumGetAttempts": 16,
        "keyLocationMapMaximumPutAttempts": 64,
        "oldBlocks": 8,
        "currentBlocks": 24,
        "newBlocks": new_blocks,
        "blocksOnBlockDevice": {
            "source": { "file": { "path": "blocks", "sizeBytes": 20 << 20 }, "writeConcurrencyLimit": 4 },
            "spareBlocks": 3,
            "dataIntegrityValidationCache": existence_cache(),
        },
        "persistent": { "stateDirectoryPath": "state", "minimumEpochInterval": "300s" },
    } })
}

fn existence_cache() -> Value {
    json!({ "cacheSize": 1000, "cacheDuration": "60s", "cacheReplacementPolicy": "LEAST_RECENTLY_USED" })
}

fn client() -> Value {
    json!({
        "address": "127.0.0.1:1",
        "keepalive": { "time": "60s", "timeout": "30s", "permitWithoutStream": true },
        "addMetadata": [{ "header": "build-site", "values": ["paris"] }],
        "initialWindowSizeBytes": 1 << 20,
        "initialConnWindowSizeBytes": 1 << 20,
    })
}

/// Returns the backends that any kind may have, by name.
fn backends(new_blocks: u32) -> Vec<(&'static str, Value)> {
    let memory = || memory(new_blocks);
    vec![
        ("memory", memory()),
        ("file", file(new_blocks)),
        ("grpc", json!({ "grpc": { "client": client(), "enableCompression": true } })),
        ("error", json!({ "error": { "code": 14, "message": "closed" } })),
        (
            "read caching",
            json!({ "readCaching": { "slow": memory(), "fast": memory(), "replicator": { "local": {} } } }),
        ),
        (
            "sharding",
            json!({ "sharding": { "shards": {
            "a": { "backend": memory(), "weight": 1 }, "b": { "backend": memory(), "weight": 3 },
        } } }),
        ),
        (
            "mirrored",
            json!({ "mirrored": {
            "backendA": memory(), "backendB": memory(),
            "replicatorAToB": { "local": {} },
            "replicatorBToA": { "concurrencyLimiting": { "base": { "noop": {} }, "maximumConcurrency": 4 } },
        } }),
        ),
        (
            "read fallback",
            json!({ "readFallback": {
            "primary": memory(), "secondary": memory(),
            "replicator": { "queued": { "base": { "local": {} }, "existenceCache": existence_cache() } },
        } }),
        ),
        (
            "demultiplexing",
            json!({ "demultiplexing": { "instanceNamePrefixes": {
            "": { "backend": memory() }, "a/b": { "backend": memory(), "addInstanceNamePrefix": "c" },
        } } }),
        ),
        (
            "read canarying",
            json!({ "readCanarying": {
            "source": memory(), "replica": memory(), "maximumCacheSize": 256, "maximumCacheDuration": "300s",
        } }),
        ),
        (
            "zip writing",
            json!({ "zipWriting": { "path": "archive.zip", "dataIntegrityValidationCache": existence_cache() } }),
        ),
        ("with labels", json!({ "withLabels": { "backend": { "label": "x" }, "labels": { "x": memory() } } })),
        ("deadline enforcing", json!({ "deadlineEnforcing": { "timeout": "10s", "backend": memory() } })),
    ]
}

fn contents() -> Vec<(&'static str, Value)> {
    let memory = || memory(3);
    let mut all = backends(3);
    all.extend([
        (
            "existence caching",
            json!({ "existenceCaching": { "backend": memory(), "existenceCache": existence_cache() } }),
        ),
        (
            "reference expanding",
            json!({ "referenceExpanding": {
            "indirectContentAddressableStorage": self::memory(1),
            "httpClient": { "addHeaders": [{ "header": "site", "values": ["paris"] }], "disableHttp2": true },
            "contentAddressableStorage": memory(),
        } }),
        ),
        (
            "deduplicating",
            json!({ "readCaching": {
            "slow": memory(), "fast": memory(), "replicator": { "deduplicating": { "local": {} } },
        } }),
        ),
        (
            "remote replicator",
            json!({ "readCaching": {
            "slow": memory(), "fast": memory(), "replicator": { "remote": client() },
        } }),
        ),
    ]);
    all
}

fn action_results() -> Vec<(&'static str, Value)> {
    let memory = || memory(1);
    let mut all = backends(1);
    all.extend([
        (
            "completeness checking",
            json!({ "completenessChecking": { "backend": memory(), "maximumTotalTreeSizeBytes": 1 << 20 } }),
        ),
        (
            "action result expiring",
            json!({ "actionResultExpiring": {
            "backend": memory(), "minimumValidity": "604800s", "maximumValidityJitter": "86400s",
            "minimumTimestamp": "2026-01-01T00:00:00Z",
        } }),
        ),
        ("hierarchical instance names", json!({ "hierarchicalInstanceNames": memory() })),
    ]);
    all
}

/// Returns a configuration of a store of contents and one of action results, without servers.
fn application(cas: &Value, ac: &Value) -> Value {
    let authorizer = json!({ "instanceNamePrefix": { "allowedInstanceNamePrefixes": ["", "a/b"] } });
    json!({
        "maximumMessageSizeBytes": 2 << 20,
        "contentAddressableStorage": {
            "backend": cas, "getAuthorizer": { "allow": {} }, "putAuthorizer": authorizer, "findMissingAuthorizer": { "deny": {} },
        },
        "actionCache": {
            "backend": ac, "getAuthorizer": { "allow": {} },
            "putAuthorizer": { "jmespathExpression": { "expression": "instanceName == 'a'" } },
        },
    })
}

/// Returns the configurations that nothing is changed in.
pub(crate) fn originals() -> Vec<Document> {
    let of_contents = contents().into_iter().map(|(name, backend)| Document {
        name: format!("CAS {name}"),
        value: application(&backend, &memory(1)),
        subject: CONTENTS,
    });
    let of_results = action_results().into_iter().map(|(name, backend)| Document {
        name: format!("AC {name}"),
        value: application(&memory(3), &backend),
        subject: RESULTS,
    });
    let whole = Document { name: "all".to_owned(), value: application(&memory(3), &memory(1)), subject: "" };
    std::iter::once(whole).chain(of_contents).chain(of_results).collect()
}

/// Returns copies of a configuration, each with one field changed: taken away, or given another value.
pub(crate) fn changed(document: &Document) -> Vec<Document> {
    let (mut places, mut place) = (Vec::new(), document.subject.to_owned());
    let subject = document.value.pointer(&place).expect("the subject is there");
    collect_places(subject, &mut place, &mut places);
    let mut all = Vec::new();
    for place in places {
        let old = document.value.pointer(&place).expect("the place is there");
        let mut change = |how: &str, new: Option<Value>| {
            let mut value = document.value.clone();
            set(&mut value, &place, new);
            let name = format!("{} {place} {how}", document.name);
            all.push(Document { name, value, subject: document.subject });
        };
        change("absent", None);
        change("null", Some(Value::Null));
        change("unknown field", Some(with_unknown_field(old)));
        match old {
            Value::Number(_) => {
                change("0", Some(json!(0)));
                change("-1", Some(json!(-1)));
                change("as text", Some(json!(old.to_string())));
                change("2^31", Some(json!(1_u64 << 31)));
                change("with a fraction", Some(json!(1.5)));
            }
            Value::String(_) => {
                change("empty", Some(json!("")));
                change("0s", Some(json!("0s")));
                change("-1s", Some(json!("-1s")));
                change("a number", Some(json!(5)));
                change("a/", Some(json!("a/")));
            }
            Value::Object(_) => {
                change("{}", Some(json!({})));
                change("[]", Some(json!([])));
                change("text", Some(json!("x")));
            }
            Value::Array(_) => change("[null]", Some(json!([null]))),
            Value::Bool(_) => change("text", Some(json!("true"))),
            Value::Null => {}
        }
    }
    all
}

fn with_unknown_field(old: &Value) -> Value {
    let mut map = old.as_object().cloned().unwrap_or_else(Map::new);
    map.insert("surelyUnknown".to_owned(), json!(1));
    Value::Object(map)
}

/// Collects the JSON pointers of all values below `value`, but for those within stores in memory: these are a subject of
/// their own.
fn collect_places(value: &Value, place: &mut String, places: &mut Vec<String>) {
    if !is_subject(place) && [memory(1), memory(3)].contains(value) {
        return;
    }
    let mut descend = |key: &str, below: &Value| {
        let length = place.len();
        place.push('/');
        place.push_str(&key.replace('~', "~0").replace('/', "~1"));
        places.push(place.clone());
        collect_places(below, place, places);
        place.truncate(length);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, below)| descend(key, below)),
        Value::Array(list) => list.iter().enumerate().for_each(|(index, below)| descend(&index.to_string(), below)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns whether a place is that of the outermost store.
fn is_subject(place: &str) -> bool {
    place == CONTENTS || place == RESULTS
}

fn set(value: &mut Value, place: &str, new: Option<Value>) {
    if let Some(new) = new {
        *value.pointer_mut(place).expect("the place is there") = new;
        return;
    }
    let (above, key) = place.rsplit_once('/').expect("a pointer has a last part");
    match value.pointer_mut(above).expect("the place is there") {
        Value::Object(map) => drop(map.remove(&key.replace("~1", "/").replace("~0", "~"))),
        Value::Array(list) => drop(list.remove(key.parse().expect("an index"))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
