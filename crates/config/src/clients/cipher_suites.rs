//! Cipher suites, by the names that Go has for them.

use rustls::crypto::CryptoProvider;

use crate::section::Section;

/// The suites of TLS 1.2 that Go offers and that are not offered here: they authenticate by CBC.
const NOT_OFFERED: [&str; 4] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
];

/// The names of suites that may be used with TLS 1.2. Without any, all may be.
///
/// As in Go, those of TLS 1.3 cannot be chosen from: they are always offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CipherSuites {
    names: Vec<String>,
}

impl CipherSuites {
    /// Reads the field `cipher_suites`. Returns `None` if a fault was noted.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let mut names = Vec::new();
        let mut is_right = true;
        let provider = rustls::crypto::ring::default_provider();
        for (index, name) in section.texts("cipher_suites").into_iter().enumerate() {
            let path = section.path_of_element("cipher_suites", index);
            let position = section.position_of("cipher_suites");
            if NOT_OFFERED.contains(&name) {
                let message = "is not offered, as suites with CBC are not supported".to_owned();
                section.reading().note_notice(&path, position, message);
            } else if provider.cipher_suites.iter().any(|suite| name_of(suite) == name) {
                names.push(name.to_owned());
            } else {
                section.reading().note_fault(&path, position, format!("{name:?} is no known cipher suite"));
                is_right = false;
            }
        }
        // With none that is offered, only TLS 1.3 is left.
        if names.is_empty() && section.is_set("cipher_suites") {
            names.push("TLS_AES_128_GCM_SHA256".to_owned());
        }
        is_right.then_some(Self { names })
    }

    /// Returns the names; none if all may be used.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the cryptography with these suites.
    pub(super) fn provider(&self) -> CryptoProvider {
        let mut provider = rustls::crypto::ring::default_provider();
        if !self.names.is_empty() {
            provider.cipher_suites.retain(|suite| suite.tls13().is_some() || self.names.contains(&name_of(suite)));
        }
        provider
    }
}

/// Returns the name of a suite in Go, which is that of IANA. Rustls has names of its own for TLS 1.3.
fn name_of(suite: &rustls::SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
}
