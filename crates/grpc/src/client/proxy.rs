//! Connections through an HTTP proxy.

use std::fmt::{self, Debug, Formatter};
use std::io;

use blobaccess::{Error, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The port of a proxy that names none.
const DEFAULT_PORT: u16 = 80;

/// The largest head of an answer that is read, in bytes.
const MAX_HEAD_BYTES: usize = 8 << 10;

/// The URL of a proxy, as it was given. It may have a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ProxyUrl(String);

/// A proxy that connects to servers on our behalf.
#[derive(Clone)]
pub(super) struct Proxy {
    /// The host and the port.
    address: String,
    /// The value of `proxy-authorization`.
    authorization: Option<String>,
}

impl ProxyUrl {
    pub(super) fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// Reads the URL.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if it is not that of an HTTP proxy. The error does not show it. The message completes a sentence
    /// that begins with the URL.
    pub(super) fn parse(&self) -> Result<Proxy> {
        let invalid = |reason: &str| Error::invalid_argument(reason.to_owned()).at("URL of the proxy");
        let rest = self.0.strip_prefix("http://");
        let rest = rest.ok_or_else(|| invalid("does not begin with http://, the only scheme that is supported"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, host) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
        let authority: http::uri::Authority = host.parse().map_err(|_| invalid("has no host"))?;
        if authority.host().is_empty() {
            return Err(invalid("has no host"));
        }
        // A colon within brackets is a part of the address.
        let has_port = host.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        let address = match authority.port_u16() {
            Some(_) => host.to_owned(),
            None if has_port => return Err(invalid("has a port that is no number from 0 to 65535")),
            None => format!("{host}:{DEFAULT_PORT}"),
        };
        let authorization = user.map(|user| {
            let user = if user.contains(':') { user.to_owned() } else { format!("{user}:") };
            let bytes = decode_percents(&user).ok_or_else(|| invalid("has a user with a broken %"))?;
            Ok(format!("Basic {}", encode_base64(&bytes)))
        });
        Ok(Proxy { address, authorization: authorization.transpose()? })
    }
}

impl Debug for ProxyUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let shown = self.0.rsplit_once('@').map_or(self.0.as_str(), |(_, host)| host);
        f.debug_tuple("ProxyUrl").field(&shown).finish()
    }
}

impl Proxy {
    /// Connects to `host`, a host with a port.
    pub(super) async fn connect(&self, host: &str) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let authorization =
            self.authorization.as_ref().map(|value| format!("proxy-authorization: {value}\r\n")).unwrap_or_default();
        let request = format!("CONNECT {host} HTTP/1.1\r\nhost: {host}\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await?;
        // The server may speak right behind the proxy, so that nothing is read ahead.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= MAX_HEAD_BYTES {
                return Err(io::Error::other("proxy sent a head without end"));
            }
            head.push(stream.read_u8().await?);
        }
        let first = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let mut words = first.split(|byte| *byte == b' ');
        let is_http = words.next().is_some_and(|word| word.starts_with(b"HTTP/1."));
        // Any answer of success (RFC 9110, section 9.3.6).
        if is_http && words.next().is_some_and(|status| status.len() == 3 && status.starts_with(b"2")) {
            return Ok(stream);
        }
        Err(io::Error::other(format!("proxy did not connect: {}", String::from_utf8_lossy(first))))
    }
}

/// Decodes `%XX`; `None` if one is broken.
fn decode_percents(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        decoded.push((digit()? << 4) | digit()?);
    }
    Some(decoded)
}

/// Encodes in Base64 with padding (RFC 4648, section 4).
fn encode_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for place in 0..4_usize {
            let digit = usize::try_from((bits >> (18 - 6 * place)) & 63).ok().and_then(|digit| DIGITS.get(digit));
            let is_there = place <= chunk.len();
            encoded.push(digit.filter(|_| is_there).map_or('=', |digit| char::from(*digit)));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        // RFC 4648, section 10.
        for (text, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(encode_base64(text.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_proxy_has_a_host_and_may_have_a_user() {
        let parse = |url: &str| ProxyUrl::new(url).parse();
        let proxy = parse("http://proxy.example.com").unwrap();
        assert_eq!((proxy.address.as_str(), proxy.authorization), ("proxy.example.com:80", None));
        let proxy = parse("http://me:a%40b@proxy:3128/").unwrap();
        assert_eq!(proxy.address, "proxy:3128");
        assert_eq!(proxy.authorization.unwrap(), format!("Basic {}", encode_base64(b"me:a@b")));
        assert!(!format!("{:?}", ProxyUrl::new("http://me:secret@proxy")).contains("secret"));
        for bad in ["", "proxy:80", "https://proxy", "http://", "http://proxy:99999", "http://a%4@proxy", "http://a b"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
