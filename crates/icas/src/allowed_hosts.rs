//! The web servers that references may lead to.

use std::net::{IpAddr, SocketAddr};

use blobaccess::{Error, Result};
use url::{Host, Url};

use crate::public_address::{is_public, names_no_host};

/// The web servers that references may lead to: a list of names and addresses, each with a port.
///
/// A reference is input. Without a list, whoever may write references could have this program ask any server that it
/// reaches: databases, other machines of the site, the metadata service of a cloud. So there is no default. Begin with
/// [`none`](Self::none), and name each server.
///
/// | entry | allows |
/// |---|---|
/// | `files.example.com` | this name, at the port that the scheme implies: 80 for `http`, 443 for `https` |
/// | `files.example.com:8443` | this name, at this port |
/// | `*.example.com` | each name below `example.com`, and not `example.com` itself |
/// | `198.51.100.7:8080`, `[2001:db8::7]` | this address, in place of a name |
///
/// # Addresses
///
/// A name is resolved here, and the connection goes to an address that was checked: what the name says later does not
/// matter. A name of [`with_host`](Self::with_host) is reached at public addresses only. Those that are private,
/// loopback, link-local, shared, reserved, multicast or unspecified are passed over, also if they are mapped into IPv6.
/// A name of [`with_private_host`](Self::with_private_host) may have such an address.
///
/// # Examples
///
/// ```
/// use blobaccess_icas::AllowedHosts;
///
/// let hosts = AllowedHosts::none()
///     .with_host("downloads.example.com")?
///     .with_host("*.example.org:8443")?
///     .with_private_host("artifacts.corp")?
///     .with_host("10.1.2.3:8080")?;
/// assert!(hosts.with_host("https://example.com/").is_err());
/// # Ok::<(), blobaccess::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts {
    entries: Vec<Entry>,
    /// Whether servers that are not in the list are allowed too, at public addresses.
    allows_public: bool,
}

/// A server of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    host: Pattern,
    /// The port; `None` for the one that the scheme implies.
    port: Option<u16>,
    /// Whether the name may have addresses that are not public.
    may_be_private: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// A name, in lower case.
    Name(String),
    /// All names that end in this, which begins with a dot.
    Below(String),
    /// An address in place of a name.
    Address(IpAddr),
}

impl Pattern {
    /// Returns how closely the pattern matches `name`, as a number of characters; `None` if it does not.
    fn closeness(&self, name: &str) -> Option<usize> {
        match self {
            Self::Name(own) => (own == name).then_some(usize::MAX),
            Self::Below(suffix) => (name.len() > suffix.len() && name.ends_with(suffix)).then_some(suffix.len()),
            Self::Address(_) => None,
        }
    }
}

impl AllowedHosts {
    /// Allows no server: references to URLs are refused.
    #[must_use]
    pub const fn none() -> Self {
        Self { entries: Vec::new(), allows_public: false }
    }

    /// Allows every server at a public address, at any port.
    ///
    /// Whoever may write references then has this program send requests to all of the internet. It is what a
    /// configuration of Buildbarn asks for, except that private addresses need an entry.
    #[must_use]
    pub const fn any_public() -> Self {
        Self { entries: Vec::new(), allows_public: true }
    }

    /// Allows `host`, as the table above says. A name is reached at public addresses only.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if that is no name and no address, or if the name is in the list as a private one.
    pub fn with_host(self, host: &str) -> Result<Self> {
        self.with(host, false)
    }

    /// Allows `host`, at any address of a host. A name in a network of one's own has private addresses.
    ///
    /// Whoever answers for the name decides about the address. So list only names that nobody else can change.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if that is no name and no address, or if the name is in the list as a public one.
    pub fn with_private_host(self, host: &str) -> Result<Self> {
        self.with(host, true)
    }

    /// Returns whether no server is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.allows_public
    }

    fn with(mut self, host: &str, may_be_private: bool) -> Result<Self> {
        let (host, port) = parse(host).ok_or_else(|| {
            Error::invalid_argument(format!("{host:?} is no name of a server and no address, with or without a port"))
        })?;
        let entry = Entry { host, port, may_be_private };
        if self.entries.iter().any(|other| other.host == entry.host && other.may_be_private != may_be_private) {
            // A connection is not made for a port alone, so the name is private at all its ports or at none.
            return Err(Error::invalid_argument("a server is allowed both as a public one and as a private one"));
        }
        if !self.entries.contains(&entry) {
            self.entries.push(entry);
        }
        Ok(self)
    }

    /// Fails unless `url` leads to a server of the list, by HTTP and without credentials.
    pub(crate) fn check(&self, url: &Url) -> Result<()> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused(format!("URLs of scheme {:?} are not read", url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("URLs with credentials are not read".to_owned()));
        }
        let allows_port = |entry: &Entry| match entry.port {
            Some(port) => url.port_or_known_default() == Some(port),
            None => url.port().is_none(),
        };
        let allowed = match url.host() {
            Some(Host::Domain(name)) => {
                // A port of a public entry is none of a closer, private one, whose addresses are permitted.
                let is_private = self.closest(name).is_some_and(|entry| entry.may_be_private);
                let mut matching = self.entries.iter().filter(|entry| entry.host.closeness(name).is_some());
                (self.allows_public && !is_private)
                    || matching.any(|entry| entry.may_be_private == is_private && allows_port(entry))
            }
            Some(Host::Ipv4(address)) => self.has_address(IpAddr::V4(address), allows_port),
            Some(Host::Ipv6(address)) => self.has_address(IpAddr::V6(address), allows_port),
            None => false,
        };
        if allowed {
            return Ok(());
        }
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        Err(refused(format!("{host} is not an allowed host at port {port}")))
    }

    fn has_address(&self, address: IpAddr, allows_port: impl Fn(&Entry) -> bool) -> bool {
        (self.allows_public && is_public(address))
            || self.entries.iter().any(|entry| entry.host == Pattern::Address(address) && allows_port(entry))
    }

    /// Returns whether `name`, which is in the list, may be reached at `address`. The closest entry decides.
    pub(crate) fn permits_address(&self, name: &str, address: IpAddr) -> bool {
        match self.closest(name) {
            Some(entry) if entry.may_be_private => !names_no_host(address),
            Some(_) => is_public(address),
            None => self.allows_public && is_public(address),
        }
    }

    /// Returns the entry that matches `name` most closely.
    fn closest(&self, name: &str) -> Option<&Entry> {
        let matching = self.entries.iter().filter_map(|entry| Some((entry.host.closeness(name)?, entry)));
        matching.max_by_key(|(closeness, _)| *closeness).map(|(_, entry)| entry)
    }
}

fn refused(message: String) -> Error {
    Error::failed_precondition(message)
}

fn parse(text: &str) -> Option<(Pattern, Option<u16>)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((Pattern::Address(address), None));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some((Pattern::Address(address.ip()), Some(address.port())));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.starts_with('[') || host.ends_with(']') => (host, Some(port.parse().ok()?)),
        Some(_) | None => (text, None),
    };
    let (host, is_wildcard) = match host.strip_prefix("*.") {
        Some(host) => (host, true),
        None => (host, false),
    };
    // The parser of URLs brings names of the list and names of URLs into the same form.
    match (Host::parse(host).ok()?, is_wildcard) {
        (Host::Domain(name), _) if name.split('.').any(str::is_empty) || name.contains('*') => None,
        (Host::Domain(name), true) => Some((Pattern::Below(format!(".{name}")), port)),
        (Host::Domain(name), false) => Some((Pattern::Name(name), port)),
        (Host::Ipv4(address), false) => Some((Pattern::Address(IpAddr::V4(address)), port)),
        (Host::Ipv6(address), false) => Some((Pattern::Address(IpAddr::V6(address)), port)),
        (Host::Ipv4(_) | Host::Ipv6(_), true) => None,
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::ErrorKind;

    use super::*;

    fn hosts(names: &[&str]) -> AllowedHosts {
        names.iter().fold(AllowedHosts::none(), |hosts, name| hosts.with_host(name).unwrap())
    }

    fn is_allowed(hosts: &AllowedHosts, url: &str) -> bool {
        match hosts.check(&Url::parse(url).unwrap()) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
                false
            }
        }
    }

    #[test]
    fn nothing_is_allowed_that_is_not_named() {
        let hosts =
            hosts(&["files.example.com", "other.example.com:8443", "*.example.org", "192.0.2.7:80", "[::1]:9000"]);
        for url in [
            "https://files.example.com/a",
            "http://files.example.com/a",
            "http://files.example.com:80/a",
            "https://FILES.example.COM:443/a?b#c",
            "https://other.example.com:8443/",
            "http://other.example.com:8443/",
            "https://a.example.org/",
            "https://a.b.example.org/",
            "http://192.0.2.7/",
            // The parser of URLs knows all spellings of an address.
            "http://0xc0000207/",
            "http://[::1]:9000/",
        ] {
            assert!(is_allowed(&hosts, url), "{url}");
        }
        for url in [
            "https://files.example.com:8443/",
            "http://files.example.com:443/",
            "https://files.example.com./",
            "https://example.com/",
            "https://afiles.example.com/",
            "https://files.example.com.evil.net/",
            "https://other.example.com/",
            "https://example.org/",
            "https://badexample.org/",
            "https://192.0.2.7/",
            "http://192.0.2.8/",
            "http://127.0.0.1/",
            "http://localhost/",
            "http://[::1]/",
            "http://[::ffff:192.0.2.7]/",
            "https://user@files.example.com/",
            "https://user:secret@files.example.com/",
            "https://:secret@files.example.com/",
            "ftp://files.example.com/",
            "file:///etc/passwd",
            "data:,hello",
            "gopher://files.example.com/",
        ] {
            assert!(!is_allowed(&hosts, url), "{url}");
        }
        assert!(!is_allowed(&AllowedHosts::none(), "https://files.example.com/"));
    }

    #[test]
    fn all_public_servers_are_allowed_and_no_others() {
        let hosts = AllowedHosts::any_public().with_private_host("artifacts.corp").unwrap();
        for url in [
            "https://files.example.com/",
            "http://files.example.com:8080/",
            "https://1.1.1.1/",
            "https://artifacts.corp/",
        ] {
            assert!(is_allowed(&hosts, url), "{url}");
        }
        for url in [
            "https://10.0.0.1/",
            "http://127.0.0.1/",
            "http://[::1]/",
            "http://169.254.169.254/",
            "https://artifacts.corp:1/",
        ] {
            assert!(!is_allowed(&hosts, url), "{url}");
        }
        let (public, private) = (IpAddr::from([1, 1, 1, 1]), IpAddr::from([10, 0, 0, 1]));
        assert!(
            hosts.permits_address("files.example.com", public) && !hosts.permits_address("files.example.com", private)
        );
        assert!(hosts.permits_address("artifacts.corp", private) && !hosts.is_empty());
    }

    #[test]
    fn what_cannot_be_a_server_is_refused() {
        for host in [
            "",
            "*",
            "*.",
            "https://a/",
            "a/b",
            "a b",
            "a:b",
            "a:70000",
            "*.10.0.0.1",
            "a.*.b",
            "[::1",
            "user@a",
            "a..b",
        ] {
            let error = AllowedHosts::none().with_host(host).expect_err(host);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{host}");
        }
        let both = hosts(&["a.example.com"]).with_private_host("a.example.com:8080");
        assert_eq!(both.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn the_closest_entry_decides_about_private_addresses() {
        let hosts = hosts(&["*.example.com", "a.b.example.com"]).with_private_host("*.b.example.com").unwrap();
        let (private, public): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "8.8.8.8".parse().unwrap());
        let none: IpAddr = "0.0.0.0".parse().unwrap();
        for (name, may_be_private) in [("x.example.com", false), ("x.b.example.com", true), ("a.b.example.com", false)]
        {
            assert_eq!(hosts.permits_address(name, private), may_be_private, "{name}");
            assert!(hosts.permits_address(name, public), "{name}");
            assert!(!hosts.permits_address(name, none), "{name}");
        }
        assert!(!hosts.permits_address("elsewhere.net", public));
    }

    #[test]
    fn a_port_of_a_public_entry_is_none_of_a_closer_private_one() {
        let hosts = hosts(&["*.example.com"]).with_private_host("db.example.com:8080").unwrap();
        assert!(is_allowed(&hosts, "https://www.example.com/"));
        assert!(is_allowed(&hosts, "http://db.example.com:8080/"));
        assert!(!is_allowed(&hosts, "https://db.example.com/"), "its private address would be reached at another port");
    }

    #[test]
    fn names_are_compared_in_the_form_that_urls_have() {
        let hosts = hosts(&["BÜCHER.example"]);
        assert!(is_allowed(&hosts, "https://bücher.example/"));
        assert!(is_allowed(&hosts, "https://xn--bcher-kva.example/"));
    }
}
