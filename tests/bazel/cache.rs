//! A `remote_cache` in a process of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::bucket::TestBucket;

/// A running `remote_cache`, on free ports.
#[derive(Debug)]
pub(crate) struct RemoteCache {
    child: Child,
    url: String,
    status_address: String,
}

impl RemoteCache {
    /// Starts a cache with these flags, and waits until it listens.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[])
    }

    /// Starts a cache with files in one folder and accounts in another, in front of this bucket.
    pub(crate) fn start_before(bucket: &TestBucket, files: &Path, accounts: &Path) -> Self {
        let [files, accounts] = [files, accounts].map(|folder| folder.to_str().expect("its name is text"));
        let sizes = ["--cas-size", "1GiB", "--ac-size", "16MiB"];
        let places = ["--directory", files, "--accounts", accounts, "--bucket", bucket.url()];
        Self::start_with(&[&sizes[..], &places].concat(), &bucket.credentials())
    }

    fn start_with(flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let program = program();
        let mut child = Command::new(&program)
            .envs(environment.iter().copied())
            .args(["--listen", "127.0.0.1:0", "--status-listen", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `cargo build --examples` first", program.display()));
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut following = |beginning: &str| {
            let mut lines = lines.by_ref().map(|line| line.expect("remote_cache prints text"));
            let found = lines.find_map(|line| line.strip_prefix(beginning).map(str::to_owned));
            found.unwrap_or_else(|| panic!("remote_cache ended before it printed {beginning:?}"))
        };
        let status = following("status page:     http://");
        let status_address = status.split('/').next().unwrap_or_default().to_owned();
        let url = following("listening on ");
        // Its further output must not fill the pipe.
        drop(thread::spawn(move || lines.for_each(drop)));
        Self { child, url, status_address }
    }

    /// Starts a cache that keeps everything in small files in this folder.
    pub(crate) fn start_in(folder: &Path) -> Self {
        let folder = folder.to_str().expect("its name is text");
        Self::start(&["--directory", folder, "--cas-size", "1GiB", "--ac-size", "16MiB", "--sync", "200ms"])
    }

    /// Returns its address: `grpc://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// Returns the flag with which Bazel uses it.
    pub(crate) fn flag(&self) -> String {
        format!("--remote_cache={}", self.url)
    }

    /// Waits until all puts so far are durable.
    pub(crate) fn wait_until_durable(&self) {
        let all = |page: &str| page.matches(" 0 changes not synced yet").count() == 4;
        while !all(&self.status_page()) {
            // The page is requested repeatedly, without a pause: the server is busy with other work.
            thread::yield_now();
        }
    }

    /// Returns the text of its status page.
    pub(crate) fn status_page(&self) -> String {
        let mut connection = TcpStream::connect(&self.status_address).expect("the status page is served");
        let request = "GET / HTTP/1.1\r\nHost: cache\r\nConnection: close\r\n\r\n";
        connection.write_all(request.as_bytes()).expect("the status page is served");
        let mut page = String::new();
        connection.read_to_string(&mut page).expect("the status page is text");
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        page
    }

    /// Kills it, without any notice.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        let status = self.child.wait().expect("remote_cache is our child");
        assert_eq!(status.signal(), Some(9), "remote_cache ended with {status}");
    }

    /// Asks it to stop, and checks that it does so in good order.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        let status = self.child.wait().expect("remote_cache is our child");
        assert!(status.success(), "remote_cache ended with {status}");
    }
}

impl Drop for RemoteCache {
    fn drop(&mut self) {
        // A failed test leaves it running.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns the path of the example, which Cargo builds into the folder of the same profile.
fn program() -> PathBuf {
    let this = std::env::current_exe().expect("this program has a path");
    let profile = this.parent().and_then(|deps| deps.parent()).expect("tests are built two levels deep");
    profile.join("examples").join("remote_cache")
}
