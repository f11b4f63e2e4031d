//! The configuration files of a site, in the form that its programs read.

use std::path::Path;

use serde_json::{Value, json};

/// Returns the file of a storage node: contents, action results and access profiles in files in `folder`.
pub(crate) fn storage(folder: &Path, socket: &Path) -> Value {
    let local = |name: &str, blocks_bytes: u64, new_blocks: u32| {
        let folder = folder.join(name);
        json!({ "local": {
            "keyLocationMapOnBlockDevice": { "file": { "path": folder.join("key_location_map"), "sizeBytes": 4 << 20 } },
            "keyLocationMapMaximumGetAttempts": 16,
            "keyLocationMapMaximumPutAttempts": 64,
            "oldBlocks": 8,
            "currentBlocks": 24,
            "newBlocks": new_blocks,
            "blocksOnBlockDevice": {
                "source": { "file": { "path": folder.join("blocks"), "sizeBytes": blocks_bytes } },
                "spareBlocks": 3,
            },
            "persistent": { "stateDirectoryPath": folder.join("persistent_state"), "minimumEpochInterval": "5s" },
        } })
    };
    for name in ["cas", "ac", "fsac"] {
        std::fs::create_dir_all(folder.join(name).join("persistent_state")).expect("a folder for the state");
    }
    let mut file = server(socket);
    file["contentAddressableStorage"] = scannable(&local("cas", 4 << 30, 3));
    file["actionCache"] = non_scannable(&local("ac", 64 << 20, 1));
    file["fileSystemAccessCache"] = non_scannable(&local("fsac", 64 << 20, 1));
    file
}

/// Returns the file of a frontend over `shards`, each a name and the socket of its server, that forwards actions to
/// `scheduler`. It listens at a socket, and at an address for Bazel.
pub(crate) fn frontend(shards: &[(&str, &Path)], scheduler: &Path, socket: &Path, address: &str) -> Value {
    let request_metadata = "build.bazel.remote.execution.v2.requestmetadata-bin";
    let expression = format!("{{\"{request_metadata}\": incomingGRPCMetadata.\"{request_metadata}\"}}");
    let mut file = server(socket);
    file["grpcServers"][0]["listenAddresses"] = json!([address]);
    file["schedulers"] = json!({ "": { "endpoint": {
        "address": unix(scheduler),
        "addMetadataJmespathExpression": { "expression": expression },
    } } });
    file["executeAuthorizer"] = json!({ "allow": {} });
    file["contentAddressableStorage"] = scannable(&spread(shards));
    file["actionCache"] = non_scannable(&checked(shards));
    file["fileSystemAccessCache"] = non_scannable(&spread(shards));
    file
}

/// Returns the file of a scheduler for clients and workers at two sockets.
pub(crate) fn scheduler(shards: &[(&str, &Path)], clients: &Path, workers: &Path) -> Value {
    json!({
        "adminHttpServers": [],
        "clientGrpcServers": [listener(clients)],
        "workerGrpcServers": [listener(workers)],
        "contentAddressableStorage": spread(shards),
        "maximumMessageSizeBytes": 2 << 20,
        "executeAuthorizer": { "allow": {} },
        "modifyDrainsAuthorizer": { "allow": {} },
        "killOperationsAuthorizer": { "allow": {} },
        "synchronizeAuthorizer": { "allow": {} },
        "actionRouter": { "simple": {
            "platformKeyExtractor": { "action": {} },
            "invocationKeyExtractors": [{ "correlatedInvocationsId": {} }, { "toolInvocationId": {} }],
            "initialSizeClassAnalyzer": { "defaultExecutionTimeout": "1800s", "maximumExecutionTimeout": "7200s" },
        } },
        "platformQueueWithNoWorkersTimeout": "900s",
    })
}

/// Returns the file of a worker with files below `folder`, which runs two actions at a time by the runner at `runner`.
pub(crate) fn worker(shards: &[(&str, &Path)], scheduler: &Path, runner: &Path, folder: &Path) -> Value {
    for name in ["build", "cache"] {
        std::fs::create_dir_all(folder.join(name)).expect("a folder of the worker");
    }
    json!({
        "blobstore": { "contentAddressableStorage": spread(shards), "actionCache": checked(shards) },
        "maximumMessageSizeBytes": 2 << 20,
        "scheduler": { "address": unix(scheduler) },
        "buildDirectories": [{
            "native": {
                "buildDirectoryPath": folder.join("build"),
                "cacheDirectoryPath": folder.join("cache"),
                "maximumCacheFileCount": 10_000,
                "maximumCacheSizeBytes": 1 << 30,
                "cacheReplacementPolicy": "LEAST_RECENTLY_USED",
            },
            "runners": [{
                "endpoint": { "address": unix(runner) },
                "concurrency": 2,
                "maximumFilePoolFileCount": 10_000,
                "maximumFilePoolSizeBytes": 1 << 30,
                "platform": {},
                "workerId": { "slot": "0" },
            }],
        }],
        "filePool": { "blockDevice": { "file": { "path": folder.join("filepool"), "sizeBytes": 1 << 30 } } },
        "inputDownloadConcurrency": 10,
        "outputUploadConcurrency": 11,
        "directoryCache": {
            "maximumCount": 1000,
            "maximumSizeBytes": 1000 << 10,
            "cacheReplacementPolicy": "LEAST_RECENTLY_USED",
        },
    })
}

/// Returns the file of a runner for the worker with files below `folder`.
pub(crate) fn runner(folder: &Path, socket: &Path) -> Value {
    json!({ "buildDirectoryPath": folder.join("build"), "grpcServers": [listener(socket)] })
}

fn server(socket: &Path) -> Value {
    json!({ "grpcServers": [listener(socket)], "maximumMessageSizeBytes": 2 << 20 })
}

fn listener(socket: &Path) -> Value {
    json!({ "listenPaths": [socket], "authenticationPolicy": { "allow": {} } })
}

/// Returns a store over the shards: one server as it is, or several that blobs are spread over.
fn spread(shards: &[(&str, &Path)]) -> Value {
    let client = |socket: &Path| json!({ "grpc": { "client": { "address": unix(socket) } } });
    if let [(_, socket)] = shards {
        return client(socket);
    }
    let shards =
        shards.iter().map(|(name, socket)| ((*name).to_owned(), json!({ "backend": client(socket), "weight": 1 })));
    json!({ "sharding": { "shards": Value::Object(shards.collect()) } })
}

fn checked(shards: &[(&str, &Path)]) -> Value {
    json!({ "completenessChecking": { "backend": spread(shards), "maximumTotalTreeSizeBytes": 64 << 20 } })
}

fn scannable(backend: &Value) -> Value {
    let mut store = non_scannable(backend);
    store["findMissingAuthorizer"] = json!({ "allow": {} });
    store
}

fn non_scannable(backend: &Value) -> Value {
    json!({ "backend": backend, "getAuthorizer": { "allow": {} }, "putAuthorizer": { "allow": {} } })
}

fn unix(socket: &Path) -> String {
    format!("unix:{}", socket.display())
}
