//! A `bb_storage` in a process of its own.

use std::env;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
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
}

/// A running `bb_storage`, which is killed when this is dropped.
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
    /// Starts the program that `BB_STORAGE` names, and waits until it listens.
    pub(crate) fn start(backend: &Backend) -> Self {
        let program = env::var_os("BB_STORAGE").unwrap_or_else(|| panic!("BB_STORAGE is to be set"));
        let folder = tempfile::tempdir().unwrap();
        let configuration = folder.path().join("storage.json");
        std::fs::write(&configuration, configure(&folder.path().join("socket"), backend)).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(&program).arg(configuration).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut daemon = Self { folder, child };
        while UnixStream::connect(daemon.socket()).is_err() {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                let log = std::fs::read_to_string(daemon.folder.path().join("log")).unwrap();
                panic!("bb_storage ended with {status}: {log}");
            }
            thread::yield_now();
        }
        daemon
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

fn configure(socket: &std::path::Path, backend: &Backend) -> String {
    let mut stores = String::new();
    for (name, scannable) in STORES {
        let backend = match backend {
            Backend::Remote(address) => {
                format!(r#""grpc": {{"client": {{"address": "{address}"}}, "enableCompression": true}}"#)
            }
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
