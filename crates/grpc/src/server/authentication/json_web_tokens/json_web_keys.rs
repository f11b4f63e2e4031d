//! The public keys that tokens may be signed by.

use std::collections::BTreeSet;
use std::fmt::{self, Debug, Formatter};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blobaccess::{Error, Result};
use ring::agreement::{self, ECDH_P256, ECDH_P384, EphemeralPrivateKey, agree_ephemeral};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Map, Value};

/// The sizes of the RSA keys that are taken, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A set of public keys that tokens may be signed by (RFC 7517).
///
/// | type of key | algorithms |
/// |---|---|
/// | `RSA`, 2048 to 8192 bits | `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512` |
/// | `EC` with the curve `P-256` | `ES256` |
/// | `EC` with the curve `P-384` | `ES384` |
/// | `OKP` with the curve `Ed25519` | `EdDSA` |
///
/// The key decides about the algorithm: a token cannot have one key used as another. Secret keys are not taken, so there
/// is no `HS256`, and `none` is no signature.
#[derive(Clone, Default)]
pub struct JsonWebKeys {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    public: PublicKey,
}

#[derive(Clone)]
enum PublicKey {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    Other { algorithm: &'static str, verification: &'static dyn VerificationAlgorithm, bytes: Vec<u8> },
}

impl JsonWebKeys {
    /// Reads a set of keys: `{"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "x": "..", "y": ".."}]}`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the text is no set of keys, if a key is of a kind that is not taken, or if two keys have the
    /// same name. All keys that are at fault are told.
    pub fn from_json(text: &str) -> Result<Self> {
        let set: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| Error::invalid_argument(format!("keys are no object of JSON: {error}")))?;
        let keys = match set.get("keys") {
            None | Some(Value::Null) => &[],
            Some(keys) => keys.as_array().ok_or_else(|| Error::invalid_argument("\"keys\" is not a list"))?.as_slice(),
        };
        let (mut read, mut faults, mut ids) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (index, key) in keys.iter().enumerate() {
            match Key::read(key) {
                Ok(key) if key.id.as_ref().is_some_and(|id| !ids.insert(id.clone())) => {
                    faults.push(format!("key {index}: another key has the same \"kid\""));
                }
                Ok(key) => read.push(key),
                Err(fault) => faults.push(format!("key {index}: {fault}")),
            }
        }
        if faults.is_empty() { Ok(Self { keys: read }) } else { Err(Error::invalid_argument(faults.join("; "))) }
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether there are no keys, so that no token is good.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns whether the key with the name `id`, or any key if the token names none, has signed `message`.
    pub(super) fn verify(&self, algorithm: &str, id: Option<&str>, message: &[u8], signature: &[u8]) -> bool {
        let mut keys = self.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id);
        keys.any(|key| key.public.verify(algorithm, message, signature))
    }
}

impl Debug for JsonWebKeys {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonWebKeys").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Key {
    fn read(key: &Value) -> Result<Self, String> {
        let key = key.as_object().ok_or("is not an object")?;
        let id = match key.get("kid") {
            None | Some(Value::Null) => None,
            Some(id) => Some(id.as_str().ok_or("\"kid\" is not a text")?.to_owned()).filter(|id| !id.is_empty()),
        };
        if key.get("d").is_some_and(|private| !private.is_null()) {
            return Err("is a private key; give the public one".to_owned());
        }
        let curve = key.get("crv").and_then(Value::as_str).unwrap_or_default();
        let public = match (key.get("kty").and_then(Value::as_str).unwrap_or_default(), curve) {
            ("RSA", _) => read_rsa(key)?,
            ("EC", "P-256") => read_point(key, "ES256", &ECDSA_P256_SHA256_FIXED, &ECDH_P256, 32)?,
            ("EC", "P-384") => read_point(key, "ES384", &ECDSA_P384_SHA384_FIXED, &ECDH_P384, 48)?,
            ("OKP", "Ed25519") => {
                let bytes = field(key, "x", Some(32))?;
                PublicKey::Other { algorithm: "EdDSA", verification: &ED25519, bytes }
            }
            ("EC" | "OKP", curve) => {
                return Err(format!("the curve {curve:?} is not supported; use P-256, P-384 or Ed25519"));
            }
            ("oct", _) => return Err("secret keys are not supported; use a pair of keys".to_owned()),
            ("", _) => return Err("has no \"kty\"".to_owned()),
            (kind, _) => return Err(format!("the type {kind:?} is unknown; use RSA, EC or OKP")),
        };
        Ok(Self { id, public })
    }
}

/// Reads a field of bytes.
fn field(key: &Map<String, Value>, name: &str, length: Option<usize>) -> Result<Vec<u8>, String> {
    let text = key.get(name).and_then(Value::as_str).ok_or_else(|| format!("has no {name:?}"))?;
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
    let bytes = bytes.map_err(|_| format!("{name:?} is not in Base64 for URLs"))?;
    match length {
        Some(length) if length != bytes.len() => Err(format!("{name:?} has {} bytes, not {length}", bytes.len())),
        _ => Ok(bytes),
    }
}

fn read_rsa(key: &Map<String, Value>) -> Result<PublicKey, String> {
    let number = |name| {
        let bytes = field(key, name, None)?;
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        Ok::<_, String>(bytes.get(first..).unwrap_or_default().to_vec())
    };
    let (n, e) = (number("n")?, number("e")?);
    let bits = n.first().map_or(0, |first| n.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or(0));
    if !RSA_BITS.contains(&bits) {
        return Err(format!("has {bits} bits; RSA keys must have {} to {}", RSA_BITS.start(), RSA_BITS.end()));
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    let is_exponent = is_odd(&e) && e != [1] && (e.len() < 5 || (e.len() == 5 && e.first() == Some(&1)));
    if !is_odd(&n) || !is_exponent {
        return Err("is not an RSA key".to_owned());
    }
    Ok(PublicKey::Rsa(RsaPublicKeyComponents { n, e }))
}

fn read_point(
    key: &Map<String, Value>,
    algorithm: &'static str,
    verification: &'static dyn VerificationAlgorithm,
    curve: &'static agreement::Algorithm,
    length: usize,
) -> Result<PublicKey, String> {
    // The form of a point that is not compressed.
    let mut bytes = vec![4];
    bytes.extend(field(key, "x", Some(length))?);
    bytes.extend(field(key, "y", Some(length))?);
    // To agree on a secret with the owner of a key takes a key that is on the curve.
    let own = EphemeralPrivateKey::generate(curve, &SystemRandom::new()).map_err(|_| "no random numbers can be had")?;
    let point = agreement::UnparsedPublicKey::new(curve, &bytes);
    agree_ephemeral(own, &point, |_| ()).map_err(|_| "\"x\" and \"y\" are not on the curve")?;
    Ok(PublicKey::Other { algorithm, verification, bytes })
}

impl PublicKey {
    fn verify(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa(key) => {
                rsa_parameters(algorithm).is_some_and(|parameters| key.verify(parameters, message, signature).is_ok())
            }
            Self::Other { algorithm: own, verification, bytes } => {
                algorithm == *own && UnparsedPublicKey::new(*verification, bytes).verify(message, signature).is_ok()
            }
        }
    }
}

fn rsa_parameters(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &RSA_PSS_2048_8192_SHA256,
        "PS384" => &RSA_PSS_2048_8192_SHA384,
        "PS512" => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}
