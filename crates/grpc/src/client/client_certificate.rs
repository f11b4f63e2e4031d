//! The certificate that a client shows.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use blobaccess::{Clock, Result};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

use crate::certificates::parse_certified_key;

/// A function that returns a certificate and its key, in PEM.
type Read = dyn Fn() -> Result<(String, String)> + Send + Sync;

/// The certificate that a client shows, with its key, for [`RemoteTls`](crate::RemoteTls). It can be replaced, and can be
/// read again from time to time. Connections that are made later show the new one. Clones are the same certificate.
///
/// # Examples
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use blobaccess::{Error, Result, SystemClock};
/// use blobaccess_grpc::{ClientCertificate, RemoteOptions, RemoteTls};
///
/// fn read(path: &str) -> Result<String> {
///     std::fs::read_to_string(path).map_err(|error| Error::failed_precondition(format!("{path}: {error}")))
/// }
///
/// # fn main() -> Result<()> {
/// // A certificate that somebody renews in its files.
/// let certificate = ClientCertificate::read_every(Duration::from_secs(60), Arc::new(SystemClock), || {
///     Ok((read("client.crt")?, read("client.key")?))
/// })?;
/// let tls = RemoteTls::new().with_replaceable_client_certificate(certificate);
/// let options = RemoteOptions::new("grpcs://cache.example.com:8980").with_tls(tls);
/// # drop(options);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ClientCertificate {
    shared: Arc<Shared>,
}

struct Shared {
    current: Mutex<Current>,
    renewal: Option<Renewal>,
}

struct Current {
    key: Arc<CertifiedKey>,
    /// When it is to be read again; `None` if never.
    until: Option<Instant>,
}

struct Renewal {
    interval: Duration,
    clock: Arc<dyn Clock>,
    read: Box<Read>,
}

impl Renewal {
    fn next(&self) -> Option<Instant> {
        self.clock.monotonic().checked_add(self.interval)
    }

    fn load(&self) -> Result<Arc<CertifiedKey>> {
        let (certificate, key) = (self.read)()?;
        parse_certified_key(certificate.as_bytes(), key.as_bytes(), "client")
    }
}

impl ClientCertificate {
    /// Shows this certificate, followed by those that lead to a root, whose private key is `key_pem`. Both are in PEM.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if one of them cannot be used, or they do not belong together.
    pub fn new(certificate_pem: impl AsRef<[u8]>, key_pem: impl AsRef<[u8]>) -> Result<Self> {
        let key = parse_certified_key(certificate_pem.as_ref(), key_pem.as_ref(), "client")?;
        Ok(Self { shared: Arc::new(Shared { current: Mutex::new(Current { key, until: None }), renewal: None }) })
    }

    /// Shows the certificate that `read` returns with its key, both in PEM.
    ///
    /// It is read again for the first connection that is made once `interval` has passed. One that cannot be read or used
    /// is logged, and leaves the one before. Reading must be quick, as from small files: it blocks a thread of the
    /// runtime.
    ///
    /// # Errors
    ///
    /// Those of `read`, and those of [`new`](Self::new).
    pub fn read_every(
        interval: Duration,
        clock: Arc<dyn Clock>,
        read: impl Fn() -> Result<(String, String)> + Send + Sync + 'static,
    ) -> Result<Self> {
        let renewal = Renewal { interval, clock, read: Box::new(read) };
        let current = Mutex::new(Current { until: renewal.next(), key: renewal.load()? });
        Ok(Self { shared: Arc::new(Shared { current, renewal: Some(renewal) }) })
    }

    /// Shows another certificate from now on, for connections that are made later.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, as those of [`new`](Self::new). The certificate before is used on.
    pub fn replace(&self, certificate_pem: impl AsRef<[u8]>, key_pem: impl AsRef<[u8]>) -> Result<()> {
        let key = parse_certified_key(certificate_pem.as_ref(), key_pem.as_ref(), "client")?;
        self.shared.current.lock().unwrap_or_else(PoisonError::into_inner).key = key;
        Ok(())
    }

    /// Returns the certificate to show now, read again if it is time.
    fn current(&self) -> Arc<CertifiedKey> {
        let Shared { current, renewal } = &*self.shared;
        let lock = || current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(renewal) = renewal {
            let is_due = {
                let mut current = lock();
                let is_due = current.until.is_some_and(|until| renewal.clock.monotonic() >= until);
                if is_due {
                    // Other connections do not wait meanwhile.
                    current.until = renewal.next();
                }
                is_due
            };
            if is_due {
                match renewal.load() {
                    Ok(key) => lock().key = key,
                    Err(error) => tracing::warn!(%error, "the certificate of a client cannot be read again"),
                }
            }
        }
        Arc::clone(&lock().key)
    }
}

impl ResolvesClientCert for ClientCertificate {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Clones are equal.
impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for ClientCertificate {}

impl Debug for ClientCertificate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}
