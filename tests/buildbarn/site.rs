//! A site: storage, a frontend, and what executes actions, at sockets in one folder.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::files;
use crate::program::{Maker, Program, theirs};

/// A folder for the files and sockets of a site.
#[derive(Debug)]
pub(crate) struct Site {
    folder: TempDir,
}

/// A running frontend.
#[derive(Debug)]
pub(crate) struct Frontend {
    pub(crate) program: Program,
    address: String,
}

/// The storage of a site.
#[derive(Debug)]
pub(crate) enum Storage<'a> {
    /// One node.
    One(&'a Program),
    /// Two nodes that blobs are spread over.
    Shards(&'a [Program; 2]),
}

/// The programs that execute actions.
#[derive(Debug)]
pub(crate) struct Execution {
    scheduler: Program,
    runner: Program,
    worker: Program,
}

impl<'a> Storage<'a> {
    fn shards(&self) -> Vec<(&'static str, &'a Path)> {
        match self {
            Self::One(node) => vec![("0", node.socket())],
            Self::Shards([first, second]) => vec![("0", first.socket()), ("1", second.socket())],
        }
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder for the site") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.sock"))
    }

    fn write(&self, name: &str, file: &Value) -> PathBuf {
        let path = self.path(&format!("{name}.jsonnet"));
        std::fs::write(&path, format!("{file:#}\n")).expect("a file of the site");
        path
    }

    /// Starts the storage node `name`.
    pub(crate) fn start_storage(&self, maker: Maker, name: &str) -> Program {
        let name = format!("storage-{name}");
        let socket = self.socket(&name);
        let file = self.write(&name, &files::storage(&self.path(&format!("{name}-files")), &socket));
        Program::start_server(maker, &name, &file, &socket)
    }

    /// Starts a frontend.
    pub(crate) fn start_frontend(&self, maker: Maker, storage: &Storage<'_>) -> Frontend {
        let name = format!("frontend-{maker:?}");
        let (socket, address) = (self.socket(&name), free_address());
        let scheduler = self.socket("scheduler");
        let file = self.write(&name, &files::frontend(&storage.shards(), &scheduler, &socket, &address));
        Frontend { program: Program::start_server(maker, &name, &file, &socket), address }
    }

    /// Starts a scheduler, a worker and its runner.
    pub(crate) fn start_execution(&self, storage: &Storage<'_>) -> Execution {
        let (shards, folder) = (storage.shards(), self.path("worker"));
        let [clients, workers, runner] = ["scheduler", "workers", "runner"].map(|name| self.socket(name));
        let file = self.write("scheduler", &files::scheduler(&shards, &clients, &workers));
        let scheduler = Program::start(&theirs("BLOBACCESS_BB_SCHEDULER"), "scheduler", &file, &clients);
        let worker_file = self.write("worker", &files::worker(&shards, &workers, &runner, &folder));
        let file = self.write("runner", &files::runner(&folder, &runner));
        let runner = Program::start(&theirs("BLOBACCESS_BB_RUNNER"), "runner", &file, &runner);
        // A worker listens nowhere.
        let worker = Program::start(&theirs("BLOBACCESS_BB_WORKER"), "worker", &worker_file, &clients);
        Execution { scheduler, runner, worker }
    }
}

impl Frontend {
    /// Returns the flag with which Bazel executes actions here. Not every Bazel takes sockets.
    pub(crate) fn executor_flag(&self) -> String {
        format!("--remote_executor=grpc://{}", self.address)
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(self) {
        self.program.stop();
    }
}

/// Returns an address that is free now.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it listens").to_string()
}

impl Execution {
    /// Asks all to stop, and waits until they have.
    pub(crate) fn stop(self) {
        self.worker.stop();
        self.runner.stop();
        self.scheduler.stop();
    }
}
