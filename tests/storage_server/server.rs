//! A `storage_server` in a process of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use crate::process::Process;
use crate::site::text;

/// A running `storage_server`.
#[derive(Debug)]
pub(crate) struct StorageServer {
    process: Process,
    pages: SocketAddr,
    address: SocketAddr,
}

impl StorageServer {
    /// Starts a server with this file and these variables, and waits until it listens.
    pub(crate) fn start(file: &Path, variables: &[(&str, &str)]) -> Self {
        let (process, mut output) = Process::start("storage_server", &[&text(file)], variables);
        let pages = output.following("status page:     http://");
        let address = output.following("listening on ");
        output.discard();
        let parse = |address: &str| address.trim_end_matches('/').parse().expect("an address");
        Self { process, pages: parse(&pages), address: parse(&address) }
    }

    /// Returns the address of its services.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a page, with the head of the response.
    pub(crate) fn page(&self, path: &str) -> String {
        let mut connection = TcpStream::connect(self.pages).expect("pages are served");
        let request = format!("GET {path} HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).expect("pages are served");
        let mut page = String::new();
        connection.read_to_string(&mut page).expect("a page is text");
        page
    }

    /// Asks it to stop, and checks that it ends by that signal.
    pub(crate) fn stop(self) {
        let status = self.process.stop();
        assert_eq!(status.signal(), Some(15), "it ended with {status}");
    }
}
