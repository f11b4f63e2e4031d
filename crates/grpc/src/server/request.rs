//! The parts of a request besides its message.

use std::time::{Duration, Instant};

use blobaccess::{AccountName, Caller, Claims, Context, Metadata, UploadToken};
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::{Extensions, Request};

use super::options::ServiceOptions;
use crate::metadata_keys::{OUTCOME_REQUEST, UPLOAD_TOKEN};

/// The end of the time that a client allows a call, as an extension of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallDeadline(pub(crate) Instant);

/// Returns the context that `request` is served in.
///
/// The caller is the [`Caller`] in the request's extensions. The caller's claims are the [`Claims`] there, and the
/// account is the [`AccountName`].
pub(crate) fn context<T>(request: &Request<T>, options: &ServiceOptions) -> Context {
    from_parts(request.metadata(), request.extensions(), options)
}

/// Returns whether the caller asks for the outcomes of its puts.
pub(crate) fn wants_outcome<T>(request: &Request<T>) -> bool {
    request.metadata().get(OUTCOME_REQUEST).is_some_and(|value| value.as_bytes() == b"1")
}

fn from_parts(metadata: &MetadataMap, extensions: &Extensions, options: &ServiceOptions) -> Context {
    let mut ctx = Context::background();
    if let Some(CallDeadline(deadline)) = extensions.get() {
        ctx = ctx.with_deadline(*deadline);
    }
    if let Some(caller) = extensions.get::<Caller>() {
        ctx = ctx.with_caller(caller.clone());
    }
    if let Some(claims) = extensions.get::<Claims>() {
        ctx = ctx.with_claims(claims.clone());
    }
    if let Some(account_name) = extensions.get::<AccountName>() {
        ctx = ctx.with_account_name(account_name.clone());
    }
    if let Some(parent) = metadata.get("traceparent").and_then(|value| value.to_str().ok()) {
        ctx = ctx.with_trace_parent(parent);
    }
    let token = metadata.get_bin(UPLOAD_TOKEN).and_then(|value| value.to_bytes().ok());
    if let Some(token) = token.and_then(|token| <[u8; 16]>::try_from(&*token).ok()) {
        ctx = ctx.with_upload_token(UploadToken::from_bytes(token));
    }
    let forwarded = forwarded(metadata, options);
    if forwarded.is_empty() { ctx } else { ctx.with_metadata(forwarded) }
}

fn forwarded(metadata: &MetadataMap, options: &ServiceOptions) -> Metadata {
    let mut forwarded = Metadata::new();
    for entry in metadata.iter() {
        let (name, value) = match entry {
            KeyAndValueRef::Ascii(name, value) => (name.as_str(), value.as_bytes().to_vec()),
            KeyAndValueRef::Binary(name, value) => match value.to_bytes() {
                Ok(value) => (name.as_str(), value.to_vec()),
                Err(_) => continue,
            },
        };
        // What belongs to one call and its transport is not that of a call which is made for it.
        let is_of_transport = name.starts_with("grpc-") || ["te", "content-type"].contains(&name);
        if options.keeps_all_metadata && !is_of_transport
            || options.forwarded_metadata.iter().any(|wanted| wanted == name)
        {
            forwarded = forwarded.with(name.to_owned(), value);
        }
    }
    forwarded
}

/// Parses the value of `grpc-timeout`: up to eight digits and a unit.
pub(crate) fn timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use blobaccess::{Clock, SystemClock};

    use super::*;

    #[test]
    fn a_timeout_has_digits_and_a_unit() {
        assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout("1H"), Some(Duration::from_hours(1)));
        assert_eq!(timeout("99999999S"), Some(Duration::from_secs(99_999_999)));
        for bad in ["", "S", "1", "-1S", "+1S", "123456789S", "1x", "1é", "1 S"] {
            assert_eq!(timeout(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_what_is_to_be_forwarded_reaches_the_stores() {
        let options = ServiceOptions::default().with_forwarded_metadata(["x-forward", "x-forward-bin"]);
        let mut request = Request::new(());
        request.metadata_mut().insert("x-forward", "yes".parse().unwrap());
        request.metadata_mut().insert("authorization", "secret".parse().unwrap());
        request.metadata_mut().insert_bin("x-forward-bin", tonic::metadata::MetadataValue::from_bytes(b"\0\xff"));
        request.metadata_mut().insert_bin(UPLOAD_TOKEN, tonic::metadata::MetadataValue::from_bytes(&[7; 16]));
        request.extensions_mut().insert(Caller::new("ci"));
        let claims = Claims::new(7_u8);
        request.extensions_mut().insert(claims.clone());
        request.extensions_mut().insert(AccountName::new("apps"));
        let deadline = SystemClock.monotonic();
        request.extensions_mut().insert(CallDeadline(deadline));
        let ctx = context(&request, &options);
        assert_eq!(ctx.metadata().names().collect::<Vec<_>>(), ["x-forward", "x-forward-bin"]);
        assert_eq!(ctx.metadata().get("x-forward-bin"), Some(b"\0\xff".as_slice()));
        assert_eq!(ctx.upload_token(), Some(&UploadToken::from_bytes([7; 16])));
        assert_eq!(ctx.caller().map(Caller::name), Some("ci"));
        assert_eq!(ctx.claims(), Some(&claims));
        assert_eq!(ctx.account_name().map(AccountName::as_str), Some("apps"));
        assert_eq!(ctx.deadline(), Some(deadline));
    }
}
