//! Proxies that connections go through.

use std::io;

use base64::Engine as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

use crate::section::Section;

/// The longest answer of a proxy, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 10;

/// An HTTP proxy that connects to other servers.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    host: String,
    port: u16,
    /// The value of the header `Proxy-Authorization`, if the URL has a user.
    authorization: Option<String>,
}

impl Proxy {
    /// Reads the field `proxy_url`, which is set. Returns `None` if a fault was noted.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        match Self::parse(section.text("proxy_url")) {
            Ok(proxy) => Some(proxy),
            Err(reason) => {
                section.fault_at("proxy_url", reason);
                None
            }
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
        match url.scheme() {
            "http" => {}
            scheme => return Err(format!("is not supported: the scheme is {scheme:?}, and only http is")),
        }
        let host = url.host_str().ok_or("has no host")?.trim_matches(['[', ']']).to_owned();
        let authorization = (!url.username().is_empty()).then(|| {
            let decoded = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
            let mut user = decoded(url.username());
            user.push(b':');
            user.extend(decoded(url.password().unwrap_or_default()));
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(user))
        });
        Ok(Self { host, port: url.port_or_known_default().unwrap_or(80), authorization })
    }

    /// Connects to `authority`, a host and port, through the proxy.
    ///
    /// # Errors
    ///
    /// The error of the connection to the proxy; one that names the proxy's answer, if it refuses.
    pub(super) async fn connect(&self, authority: &str) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let authorization = self.authorization.iter().map(|value| format!("Proxy-Authorization: {value}\r\n"));
        let authorization: String = authorization.collect();
        let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // Byte by byte, so that nothing is taken of what follows the answer.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= MAX_ANSWER_BYTES {
                return Err(io::Error::other("the proxy's answer is too long"));
            }
            answer.push(stream.read_u8().await?);
        }
        let line = String::from_utf8_lossy(&answer);
        let line = line.lines().next().unwrap_or_default().to_owned();
        match line.split(' ').nth(1) {
            Some(status) if status.starts_with('2') => Ok(stream),
            Some(_) | None => Err(io::Error::other(format!("the proxy refused to connect: {line:?}"))),
        }
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}
