//! A `remote_cache` in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

/// A running `remote_cache`, on a port of its own.
#[derive(Debug)]
pub(crate) struct RemoteCache {
    child: Child,
    url: String,
}

impl RemoteCache {
    /// Starts one with these further flags, and waits until it listens.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let program = program();
        let mut child = Command::new(&program)
            .args(["--listen", "127.0.0.1:0", "--status-listen", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `cargo build --examples` first", program.display()));
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let url = lines
            .by_ref()
            .map(|line| line.expect("remote_cache prints text"))
            .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned))
            .expect("remote_cache ended before it listened");
        // What it goes on to print must not fill the pipe.
        drop(thread::spawn(move || lines.for_each(drop)));
        Self { child, url }
    }

    /// Its address: `grpc://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// The flag that makes Bazel use it.
    pub(crate) fn flag(&self) -> String {
        format!("--remote_cache={}", self.url)
    }

    /// Asks it to stop, and sees that it does so in good order.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        let status = self.child.wait().expect("remote_cache is our child");
        assert!(status.success(), "remote_cache ended with {status}");
    }
}

impl Drop for RemoteCache {
    fn drop(&mut self) {
        // A test that failed leaves it running.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The example beside this test, which Cargo builds into the same profile's folder.
fn program() -> PathBuf {
    let this = std::env::current_exe().expect("this program has a path");
    let profile = this.parent().and_then(|deps| deps.parent()).expect("tests are built two levels deep");
    profile.join("examples").join("remote_cache")
}
