//! Headers of completions on Azure that the client library does not send.

use blobaccess::{AccountName, UploadToken};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use object_store::azure::{AzureAuthorizer, AzureCredentialProvider};
use object_store::client::{HttpError, HttpErrorKind, HttpRequest};

use super::account_metadata;

/// The metadata header that holds the token.
const TOKEN: HeaderName = HeaderName::from_static("x-ms-meta-uploadtoken");

/// The metadata header that holds the account.
const ACCOUNT: HeaderName = HeaderName::from_static("x-ms-meta-uploadaccount");

/// Adds token and account to a completion. Azure accepts an object's metadata with the list of its blocks, not before.
pub(super) fn set_upload(headers: &mut HeaderMap, token: &UploadToken, account: Option<&AccountName>) {
    if let Ok(value) = HeaderValue::from_str(&token.to_string()) {
        headers.insert(TOKEN, value);
    }
    if let Some(value) = account.and_then(|account| HeaderValue::from_str(&account_metadata::encode(account)).ok()) {
        headers.insert(ACCOUNT, value);
    }
}

/// Signs `request` again, as a signature with an account's key covers the added headers. Other credentials sign no
/// headers.
pub(super) async fn sign_again(
    request: &mut HttpRequest,
    credentials: &AzureCredentialProvider,
) -> Result<(), HttpError> {
    let Some(account) = account_of_signature(request.headers()) else {
        return Ok(());
    };
    // A failure here means that nothing was sent.
    let failed = |error: object_store::Error| HttpError::new(HttpErrorKind::Connect, error);
    let credential = credentials.get_credential().await.map_err(failed)?;
    request.headers_mut().remove(AUTHORIZATION);
    AzureAuthorizer::new(&credential, &account).try_authorize(request).map_err(failed)
}

fn account_of_signature(headers: &HeaderMap) -> Option<String> {
    let signature = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("SharedKey ")?;
    signature.split_once(':').map(|(account, _)| account.to_owned())
}
