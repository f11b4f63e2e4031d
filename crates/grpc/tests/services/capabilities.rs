//! The advertised capabilities, compared with the real ones.

use std::sync::Arc;

use blobaccess::{Capabilities, DigestFunction, Error, Result};
use blobaccess_grpc::services::remote_execution::capabilities_client::CapabilitiesClient;
use blobaccess_grpc::{ServiceOptions, Services};
use blobaccess_proto::remote_execution as re;
use tonic::{Code, Status};

use crate::wired::Wired;

async fn ask(services: &Services, instance_name: &str) -> Result<re::ServerCapabilities, Status> {
    let request = re::GetCapabilitiesRequest { instance_name: instance_name.into() };
    let answer = CapabilitiesClient::new(services.routes().unwrap()).get_capabilities(request).await;
    answer.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn versions_limits_and_functions_are_told() {
    let wired = Wired::new(ServiceOptions::default());
    let cas = Capabilities::unlimited()
        .with_digest_functions([DigestFunction::Sha256, DigestFunction::Blake3])
        .with_max_blob_size_bytes(5 << 30);
    *wired.cas.capabilities.lock().unwrap() = Ok(cas);
    let ac = Capabilities::unlimited().with_digest_functions([DigestFunction::Sha256, DigestFunction::Sha1]);
    *wired.ac.capabilities.lock().unwrap() = Ok(ac.with_max_blob_size_bytes(1));

    let told = ask(&wired.services, "main").await.unwrap();
    let version = |version: Option<blobaccess_proto::semver::SemVer>| version.map(|v| (v.major, v.minor, v.patch));
    assert_eq!(version(told.deprecated_api_version), Some((2, 0, 0)));
    assert_eq!(version(told.low_api_version), Some((2, 0, 0)));
    assert_eq!(version(told.high_api_version), Some((2, 12, 0)));
    assert_eq!(told.execution_capabilities, None);
    let cache = told.cache_capabilities.unwrap();
    assert_eq!(cache.digest_functions, [DigestFunction::Sha256.number()]);
    assert!(cache.action_cache_update_capabilities.unwrap().update_enabled);
    assert_eq!(cache.max_batch_total_size_bytes, (4 << 20) - (64 << 10));
    assert_eq!(cache.max_cas_blob_size_bytes, 5 << 30);
    assert_eq!(cache.symlink_absolute_path_strategy(), re::symlink_absolute_path_strategy::Value::Allowed);
    let zstd = i32::from(re::compressor::Value::Zstd);
    assert_eq!((cache.supported_compressors, cache.supported_batch_update_compressors), (vec![zstd], vec![zstd]));
    assert!(!cache.split_blob_support && !cache.splice_blob_support);
}

#[tokio::test]
async fn what_is_not_offered_is_not_told() {
    let wired = Wired::new(ServiceOptions::default().with_compression_level(None));
    *wired.ac.capabilities.lock().unwrap() = Ok(Capabilities::unlimited().with_updates_allowed(false));
    let cache = ask(&wired.services, "").await.unwrap().cache_capabilities.unwrap();
    assert!(!cache.action_cache_update_capabilities.unwrap().update_enabled);
    assert!(cache.supported_compressors.is_empty() && cache.supported_batch_update_compressors.is_empty());
    assert_eq!(cache.max_cas_blob_size_bytes, 0, "no limit");

    let cas_alone = Services::new(ServiceOptions::default()).with_cas(Arc::clone(&wired.cas));
    let cache = ask(&cas_alone, "").await.unwrap().cache_capabilities.unwrap();
    assert!(!cache.action_cache_update_capabilities.unwrap().update_enabled);
    assert_eq!(cache.digest_functions.len(), DigestFunction::ALL.len());
}

#[tokio::test]
async fn a_bad_instance_name_is_an_invalid_argument() {
    let wired = Wired::new(ServiceOptions::default());
    for name in ["blobs", "a//b", "/a", "a/uploads"] {
        assert_eq!(ask(&wired.services, name).await.unwrap_err().code(), Code::InvalidArgument, "{name}");
    }
}

#[tokio::test]
async fn a_store_that_is_not_for_the_caller_is_passed_over_and_one_in_trouble_is_not() {
    let denied = || Err(Error::permission_denied("not for you"));
    let absent = || Err(Error::not_found("no such instance name"));
    let broken = || Err(Error::unavailable("disk on fire"));
    let fine = || Ok(Capabilities::unlimited());
    let cases = [
        (fine(), denied(), Ok(false)),
        (denied(), fine(), Ok(true)),
        (absent(), fine(), Ok(true)),
        (fine(), broken(), Err(Code::Unavailable)),
        (broken(), fine(), Err(Code::Unavailable)),
        (broken(), denied(), Err(Code::Unavailable)),
        (denied(), broken(), Err(Code::Unavailable)),
        (absent(), denied(), Err(Code::NotFound)),
    ];
    for (cas, ac, expected) in cases {
        let wired = Wired::new(ServiceOptions::default());
        let case = format!("{cas:?}, {ac:?}");
        *wired.cas.capabilities.lock().unwrap() = cas;
        *wired.ac.capabilities.lock().unwrap() = ac;
        let told = ask(&wired.services, "").await;
        let update_enabled = told.as_ref().map(|told| {
            told.cache_capabilities.clone().unwrap().action_cache_update_capabilities.unwrap().update_enabled
        });
        assert_eq!(update_enabled.map_err(Status::code), expected, "{case}");
        if expected == Err(Code::NotFound) {
            assert_eq!(told.unwrap_err().message(), "no such instance name; not for you");
        }
    }
}

#[tokio::test]
async fn without_any_store_there_is_nothing_to_tell() {
    let none = Services::new(ServiceOptions::default());
    assert_eq!(ask(&none, "").await.unwrap_err().code(), Code::NotFound);
}
