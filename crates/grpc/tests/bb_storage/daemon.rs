//! A `bb_storage` or `bb_replicator` in a process of its own.

use std::env;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;

/// The place where a `bb_storage` keeps everything.
#[derive(Debug)]
pub(crate) enum Backend {
    /// Its memory.
    Memory,
    /// The services at this address.
    Remote(SocketAddr),
    /// New ZIP archives in this folder, one for each kind ([`archive`]).
    WrittenArchives(PathBuf),
    /// ZIP archives that are in this folder.
    ReadArchives(PathBuf),
}

/// Returns the path of the archive for the store of this name.
pub(crate) fn archive(folder: &Path, store: &str) -> PathBuf {
    folder.join(format!("{store}.zip"))
}

/// A running program, which is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    folder: TempDir,
    child: Child,
}

/// The stores of its configuration, and whether they are scannable.
const STORES: [(&str, bool); 5] = [
    ("contentAddressableStorage", true),
    ("actionCache", false),
    ("indirectContentAddressableStorage", true),
    ("initialSizeClassCache", false),
    ("fileSystemAccessCache", false),
];

impl Daemon {
    /// Starts the program that `BLOBACCESS_BB_STORAGE` names, and waits until it listens.
    pub(crate) fn start(backend: &Backend) -> Self {
        Self::start_program("BLOBACCESS_BB_STORAGE", |socket| configure(socket, backend))
    }

    /// Starts the program that `BLOBACCESS_BB_REPLICATOR` names, which copies between the services at these addresses.
    pub(crate) fn start_replicator(source: SocketAddr, sink: SocketAddr) -> Self {
        Self::start_program("BLOBACCESS_BB_REPLICATOR", |socket| {
            format!(
                r#"{{
                    "grpcServers": [{{"listenPaths": ["{}"], "authenticationPolicy": {{"allow": {{}}}}}}],
                    "source": {{"grpc": {{"client": {{"address": "{source}"}}}}}},
                    "sink": {{"grpc": {{"client": {{"address": "{sink}"}}}}}},
                    "replicator": {{"local": {{}}}},
                    "maximumMessageSizeBytes": 4194304
                }}"#,
                socket.display()
            )
        })
    }

    fn start_program(variable: &str, configure: impl FnOnce(&Path) -> String) -> Self {
        let program = env::var_os(variable).unwrap_or_else(|| panic!("{variable} is to be set"));
        let folder = tempfile::tempdir().unwrap();
        let configuration = folder.path().join("configuration.json");
        std::fs::write(&configuration, configure(&folder.path().join("socket"))).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(&program).arg(configuration).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut daemon = Self { folder, child };
        while UnixStream::connect(daemon.socket()).is_err() {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                let log = std::fs::read_to_string(daemon.folder.path().join("log")).unwrap();
                panic!("{} ended with {status}: {log}", program.display());
            }
            thread::yield_now();
        }
        daemon
    }

    /// Ends the program in good order, so that its archives get their directories.
    pub(crate) fn stop(mut self) {
        let killed = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success(), "{killed}");
        self.child.wait().unwrap();
    }

    /// Returns the path of the socket that it listens on.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn configure(socket: &Path, backend: &Backend) -> String {
    let mut stores = String::new();
    for (name, scannable) in STORES {
        let backend = match backend {
            Backend::Remote(address) => {
                format!(r#""grpc": {{"client": {{"address": "{address}"}}, "enableCompression": true}}"#)
            }
            Backend::WrittenArchives(folder) => configure_archive("zipWriting", &archive(folder, name)),
            Backend::ReadArchives(folder) => configure_archive("zipReading", &archive(folder, name)),
            Backend::Memory => {
                // A blob may take a block, and messages have one block for new entries.
                let (new, block) = if name == "contentAddressableStorage" { (3, 16 << 20) } else { (1, 8 << 20) };
                format!(
                    r#""local": {{
                        "keyLocationMapInMemory": {{"entries": 65536}},
                        "keyLocationMapMaximumGetAttempts": 16,
                        "keyLocationMapMaximumPutAttempts": 64,
                        "oldBlocks": 1, "currentBlocks": 2, "newBlocks": {new},
                        "blocksInMemory": {{"blockSizeBytes": {block}}}
                    }}"#
                )
            }
        };
        let finding = if scannable { r#", "findMissingAuthorizer": {"allow": {}}"# } else { "" };
        let written = write!(
            stores,
            r#""{name}": {{
                "backend": {{{backend}}},
                "getAuthorizer": {{"allow": {{}}}},
                "putAuthorizer": {{"allow": {{}}}}{finding}
            }},"#
        );
        written.unwrap();
    }
    let socket = socket.display();
    format!(
        r#"{{
            "grpcServers": [{{"listenPaths": ["{socket}"], "authenticationPolicy": {{"allow": {{}}}}}}],
            {stores}
            "maximumMessageSizeBytes": 4194304,
            "supportedCompressors": ["ZSTD"]
        }}"#
    )
}

fn configure_archive(backend: &str, path: &Path) -> String {
    format!(
        r#""{backend}": {{
            "path": "{}",
            "dataIntegrityValidationCache": {{
                "cacheSize": 1000, "cacheDuration": "60s", "cacheReplacementPolicy": "LEAST_RECENTLY_USED"
            }}
        }}"#,
        path.display()
    )
}
