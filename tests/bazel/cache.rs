//! A `remote_cache` in a process of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;

use crate::bucket::TestBucket;
use crate::process::Process;

/// Any free port.
const ANY_PORT: &str = "127.0.0.1:0";

/// A running `remote_cache`, on free ports.
#[derive(Debug)]
pub(crate) struct RemoteCache {
    process: Process,
    url: String,
    status_address: String,
}

impl RemoteCache {
    /// Starts a cache with these flags, and waits until it listens.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_with(ANY_PORT, flags, &[])
    }

    /// Starts a cache with files in one folder and accounts in another, in front of this bucket.
    pub(crate) fn start_before(bucket: &TestBucket, files: &Path, accounts: &Path) -> Self {
        let [files, accounts] = [files, accounts].map(|folder| folder.to_str().expect("its name is text"));
        let sizes = ["--cas-size", "1GiB", "--ac-size", "16MiB"];
        let places = ["--directory", files, "--accounts", accounts, "--bucket", bucket.url()];
        Self::start_with(ANY_PORT, &[&sizes[..], &places].concat(), &bucket.credentials())
    }

    /// Starts a node of a cluster, with small files in this folder.
    pub(crate) fn start_node(folder: &Path) -> Self {
        Self::start_node_at(ANY_PORT, folder)
    }

    /// Kills this node, and starts an empty one in its place, with files in another folder.
    pub(crate) fn replace_node(self, folder: &Path) -> Self {
        let address = self.url.trim_start_matches("grpc://").to_owned();
        self.kill();
        Self::start_node_at(&address, folder)
    }

    fn start_node_at(address: &str, folder: &Path) -> Self {
        let folder = folder.to_str().expect("its name is text");
        let sizes = ["--cas-size", "1GiB", "--ac-size", "16MiB"];
        let node = ["--directory", folder, "--completeness-checking", "off"];
        Self::start_with(address, &[&sizes[..], &node].concat(), &[])
    }

    fn start_with(address: &str, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let addresses = ["--listen", address, "--status-listen", ANY_PORT];
        let (process, mut output) = Process::start("remote_cache", &[&addresses, flags].concat(), environment);
        let status = output.following("status page:     http://");
        let status_address = status.split('/').next().unwrap_or_default().to_owned();
        let url = output.following("listening on ");
        output.discard();
        Self { process, url, status_address }
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

    /// Returns how many action results were added since the start.
    pub(crate) fn added_results(&self) -> usize {
        let page = self.status_page();
        let (_, results) = page.split_once("\naction results\n").expect("the page counts action results");
        let puts = results.lines().find_map(|line| line.strip_prefix("  puts")).expect("the page counts puts");
        let count = puts.split_whitespace().next().expect("a count comes first");
        count.parse().expect("a count is a number")
    }

    /// Kills it, without any notice.
    pub(crate) fn kill(self) {
        self.process.kill();
    }

    /// Asks it to stop, and checks that it does so in good order.
    pub(crate) fn stop(self) {
        let status = self.process.stop();
        assert!(status.success(), "it ended with {status}");
    }
}
