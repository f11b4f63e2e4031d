//! Cipher suites of TLS, by their names of IANA.

use blobaccess::{Error, Result};
use rustls::crypto::{CryptoProvider, ring};

/// Returns the cryptography with these cipher suites of TLS 1.2 only, if any are named.
///
/// # Errors
///
/// `InvalidArgument` if a name is not known.
pub(crate) fn provider(names: &[String]) -> Result<CryptoProvider> {
    let mut provider = ring::default_provider();
    if names.is_empty() {
        return Ok(provider);
    }
    // The names of IANA, which differ from those of rustls in TLS 1.3.
    let name = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1);
    for asked in names {
        if !provider.cipher_suites.iter().any(|suite| name(suite) == *asked) {
            return Err(Error::invalid_argument(format!("cipher suite {asked:?} is not supported")));
        }
    }
    provider.cipher_suites.retain(|suite| suite.tls13().is_some() || names.contains(&name(suite)));
    Ok(provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cipher_suites_are_restricted_by_their_public_names() {
        let all = provider(&[]).unwrap().cipher_suites.len();
        let named = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned(), "TLS_AES_128_GCM_SHA256".to_owned()];
        let few = provider(&named).unwrap().cipher_suites;
        assert_eq!(few.iter().filter(|suite| suite.tls13().is_none()).count(), 1);
        assert!(few.len() < all);
        assert!(provider(&["TLS_RSA_WITH_RC4_128_SHA".to_owned()]).unwrap_err().message().contains("RC4"));
    }
}
