//! Accounts of Google's that tokens are obtained for.

use std::fmt::{self, Debug, Formatter};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blobaccess::{Error, Result};
use rustls::SignatureScheme;
use rustls::sign::SigningKey;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

/// The time for which a signed request for a token is valid.
const ASSERTION_LIFETIME: Duration = Duration::from_hours(1);

/// The scope without which no token is issued.
const DEFAULT_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// An account that tokens are obtained for.
#[derive(Clone, Debug)]
pub(super) enum GoogleCredentials {
    ServiceAccount(ServiceAccount),
    /// A user who has logged in.
    User {
        client_id: String,
        client_secret: String,
        refresh_token: String,
    },
    /// That of the machine that this program runs on, asked for at this host.
    Machine {
        host: String,
    },
}

/// A service account with its key.
#[derive(Clone)]
pub(super) struct ServiceAccount {
    email: String,
    key_id: Option<String>,
    pub(super) token_uri: String,
    key: Arc<dyn SigningKey>,
}

impl GoogleCredentials {
    /// Finds the credentials of this program, where Google's own clients look for them, without asking a server.
    ///
    /// The error completes a sentence that begins with the field.
    pub(super) fn find() -> std::result::Result<Self, String> {
        if let Some(path) = std::env::var_os("GOOGLE_APPLICATION_CREDENTIALS").filter(|path| !path.is_empty()) {
            return Self::from_file(&PathBuf::from(path));
        }
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let well_known = home.map(|home| home.join(".config/gcloud/application_default_credentials.json"));
        if let Some(path) = well_known.filter(|path| path.exists()) {
            return Self::from_file(&path);
        }
        if let Ok(host) = std::env::var("GCE_METADATA_HOST") {
            return Ok(Self::Machine { host });
        }
        let product = std::fs::read_to_string("/sys/class/dmi/id/product_name").unwrap_or_default();
        if product.trim_start().starts_with("Google") {
            return Ok(Self::Machine { host: "169.254.169.254".to_owned() });
        }
        Err("finds no default credentials: set GOOGLE_APPLICATION_CREDENTIALS to the path of a key".to_owned())
    }

    fn from_file(path: &std::path::Path) -> std::result::Result<Self, String> {
        let named = |reason: String| format!("finds credentials in {}: {reason}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        let json: Value = serde_json::from_str(&text).map_err(|_| named("they are no JSON".to_owned()))?;
        match json.get("type").and_then(Value::as_str) {
            Some("service_account") => ServiceAccount::parse(&text).map(Self::ServiceAccount).map_err(named),
            Some("authorized_user") => {
                let field = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                Ok(Self::User {
                    client_id: field("client_id"),
                    client_secret: field("client_secret"),
                    refresh_token: field("refresh_token"),
                })
            }
            Some(other) => Err(named(format!("the type {other:?} is not supported"))),
            None => Err(named("they have no type".to_owned())),
        }
    }
}

impl ServiceAccount {
    /// Parses the key of a service account, in JSON as Google hands it out.
    ///
    /// The error completes a sentence that begins with the field, and does not show the key.
    pub(super) fn parse(text: &str) -> std::result::Result<Self, String> {
        let json: Value =
            serde_json::from_str(text).map_err(|_| "is no key of a service account in JSON".to_owned())?;
        let field = |name: &str| json.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let required = |name: &str| field(name).ok_or_else(|| format!("is a key without {name}"));
        let der = PrivateKeyDer::from_pem_slice(required("private_key")?.as_bytes())
            .map_err(|_| "has a private key that is not one in PEM".to_owned())?;
        let key = rustls::crypto::ring::sign::any_supported_type(&der)
            .map_err(|_| "has a private key that cannot be used".to_owned())?;
        if key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).is_none() {
            return Err("has a private key that is not one of RSA".to_owned());
        }
        Ok(Self {
            email: required("client_email")?.to_owned(),
            key_id: field("private_key_id").map(ToOwned::to_owned),
            token_uri: field("token_uri").unwrap_or("https://oauth2.googleapis.com/token").to_owned(),
            key,
        })
    }

    /// Signs a request for a token with these scopes, made at `now`.
    ///
    /// # Errors
    ///
    /// `Internal` if the key cannot sign.
    pub(super) fn sign_assertion(&self, scopes: &[String], now: SystemTime) -> Result<String> {
        let issued = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut header = json!({"alg": "RS256", "typ": "JWT"});
        if let (Some(id), Some(header)) = (&self.key_id, header.as_object_mut()) {
            header.insert("kid".to_owned(), id.as_str().into());
        }
        let claims = json!({
            "iss": self.email,
            "scope": joined_scopes(scopes),
            "aud": self.token_uri,
            "iat": issued.as_secs(),
            "exp": (issued + ASSERTION_LIFETIME).as_secs(),
        });
        let encoded = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", encoded(&header), encoded(&claims));
        let key = self.key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
        let signature = key.map(|key| key.sign(signed.as_bytes()));
        match signature {
            Some(Ok(signature)) => Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))),
            Some(Err(_)) | None => Err(Error::internal("the key of a service account cannot sign")),
        }
    }
}

/// Returns scopes as a token is asked for with them.
pub(super) fn joined_scopes(scopes: &[String]) -> String {
    if scopes.is_empty() { DEFAULT_SCOPE.to_owned() } else { scopes.join(" ") }
}

impl Debug for ServiceAccount {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").field("email", &self.email).finish_non_exhaustive()
    }
}
