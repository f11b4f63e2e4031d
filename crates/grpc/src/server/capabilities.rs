//! The capabilities service: the abilities of this server, as its stores report them.

use std::cmp::Ordering;
use std::sync::Arc;

use blobaccess::{Ac, BlobAccess, Capabilities, Cas, Context, Error, ErrorKind, InstanceName, Result};
use blobaccess_proto::remote_execution as re;
use blobaccess_proto::semver::SemVer;
use futures::future;
use tonic::{Request, Response, Status};

use super::options::ServiceOptions;
use super::request;
use super::served::Served;
use crate::message;
use crate::server::requested_digest;
use crate::status::to_status;
use crate::stubs::remote_execution::capabilities_server;

/// The versions of the protocol that are spoken. Bazel speaks exactly 2.0: with a later lowest version, some of its
/// releases stop, and others continue without a cache.
const LOWEST_VERSION: (i32, i32) = (2, 0);
const HIGHEST_VERSION: (i32, i32) = (2, 12);

/// The service that reports the capabilities of the stores.
#[derive(Debug)]
pub(crate) struct CapabilitiesService {
    cas: Option<Arc<dyn BlobAccess<Kind = Cas>>>,
    ac: Option<Arc<dyn BlobAccess<Kind = Ac>>>,
    #[cfg(feature = "client")]
    schedulers: Option<Arc<super::execution::Schedulers>>,
    options: Arc<ServiceOptions>,
}

impl CapabilitiesService {
    pub(crate) fn new(served: &Served, options: Arc<ServiceOptions>) -> Self {
        Self {
            cas: served.cas.clone(),
            ac: served.ac.clone(),
            #[cfg(feature = "client")]
            schedulers: served.schedulers.clone(),
            options,
        }
    }

    async fn ask(&self, ctx: &Context, instance_name: &str) -> Result<re::ServerCapabilities> {
        let instance_name = requested_digest::instance_name(instance_name)?;
        #[cfg(feature = "client")]
        let execution = self.execution(ctx, &instance_name);
        #[cfg(not(feature = "client"))]
        let execution = future::ready(Ok(None));
        let (cas, ac, execution) = future::join3(
            capabilities(self.cas.as_deref(), ctx, &instance_name),
            capabilities(self.ac.as_deref(), ctx, &instance_name),
            execution,
        )
        .await;
        let cache = merge(cas, ac, &instance_name).map(|(cas, ac)| self.to_proto(cas.as_ref(), ac.as_ref()));
        let (cache, execution) = match (cache, execution) {
            (cache, Ok(None)) => (Some(cache?), None),
            (Ok(cache), Ok(execution)) => (Some(cache), execution),
            (Ok(cache), Err(error)) if is_tolerable(&error) => (Some(cache), None),
            (Err(error), Ok(execution)) if is_tolerable(&error) => (None, execution),
            (Err(cache), Err(execution)) if is_tolerable(&cache) && is_tolerable(&execution) => {
                return Err(Error::new(cache.kind(), format!("{cache}; {execution}")).with_source(execution));
            }
            (Err(in_trouble), Ok(_)) | (Ok(_), Err(in_trouble)) => return Err(in_trouble),
            (Err(cache), Err(execution)) => return Err(if is_tolerable(&cache) { execution } else { cache }),
        };
        Ok(answer(cache, execution))
    }

    /// Returns the capabilities of the scheduler; `None` if actions are not executed.
    #[cfg(feature = "client")]
    async fn execution(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Option<re::ServerCapabilities>> {
        match &self.schedulers {
            Some(schedulers) => schedulers.capabilities(ctx, instance_name).await.map(Some),
            None => Ok(None),
        }
    }

    fn to_proto(&self, cas: Option<&Capabilities>, ac: Option<&Capabilities>) -> re::CacheCapabilities {
        let both = match (cas, ac) {
            (Some(cas), Some(ac)) => cas.intersection(ac).digest_functions,
            (Some(one), None) | (None, Some(one)) => one.digest_functions.clone(),
            (None, None) => Vec::new(),
        };
        let compressors: Vec<i32> =
            self.options.compression_level.map(|_| blobaccess::Compressor::Zstd.number()).into_iter().collect();
        let default_priority = re::priority_capabilities::PriorityRange { min_priority: 0, max_priority: 0 };
        re::CacheCapabilities {
            digest_functions: both.into_iter().map(blobaccess::DigestFunction::number).collect(),
            action_cache_update_capabilities: Some(re::ActionCacheUpdateCapabilities {
                update_enabled: ac.is_some_and(|ac| ac.updates_allowed),
            }),
            cache_priority_capabilities: Some(re::PriorityCapabilities { priorities: vec![default_priority] }),
            max_batch_total_size_bytes: message::size(self.options.max_batch_total_size_bytes()),
            symlink_absolute_path_strategy: re::symlink_absolute_path_strategy::Value::Allowed.into(),
            supported_compressors: compressors.clone(),
            supported_batch_update_compressors: compressors,
            max_cas_blob_size_bytes: cas.and_then(|cas| cas.max_blob_size_bytes).map_or(0, message::size),
            ..re::CacheCapabilities::default()
        }
    }
}

/// Returns the answer of a server with these capabilities, with the versions of the protocol that all of it speaks.
fn answer(cache: Option<re::CacheCapabilities>, execution: Option<re::ServerCapabilities>) -> re::ServerCapabilities {
    let execution = execution.unwrap_or_default();
    let (lowest, highest) = (version(LOWEST_VERSION), version(HIGHEST_VERSION));
    let later = |other: Option<SemVer>| other.into_iter().chain([lowest.clone()]).max_by(compare);
    let earlier = |other: Option<SemVer>| other.into_iter().chain([highest]).min_by(compare);
    re::ServerCapabilities {
        cache_capabilities: cache,
        deprecated_api_version: later(execution.deprecated_api_version),
        low_api_version: later(execution.low_api_version),
        high_api_version: earlier(execution.high_api_version),
        execution_capabilities: execution.execution_capabilities,
    }
}

fn compare(one: &SemVer, other: &SemVer) -> Ordering {
    let key = |version: &SemVer| (version.major, version.minor, version.patch);
    key(one).cmp(&key(other)).then_with(|| one.prerelease.cmp(&other.prerelease))
}

fn version((major, minor): (i32, i32)) -> SemVer {
    SemVer { major, minor, ..SemVer::default() }
}

/// Returns the capabilities of a store; `None` if there is no store.
async fn capabilities<B: BlobAccess + ?Sized>(
    store: Option<&B>,
    ctx: &Context,
    instance_name: &InstanceName,
) -> Result<Option<Capabilities>> {
    match store {
        Some(store) => store.capabilities(ctx, instance_name).await.map(Some),
        None => Ok(None),
    }
}

/// Merges both capabilities, or returns those of the store that the caller may use.
///
/// A store that does not exist for this caller or this instance name is skipped if the other exists. A store in trouble
/// is not: a client that mistook its outage for absence would build without it.
fn merge(
    cas: Result<Option<Capabilities>>,
    ac: Result<Option<Capabilities>>,
    instance_name: &InstanceName,
) -> Result<(Option<Capabilities>, Option<Capabilities>)> {
    let (cas, ac) = match (cas, ac) {
        (Err(cas), Err(ac)) if is_tolerable(&cas) && is_tolerable(&ac) => {
            return Err(Error::new(cas.kind(), format!("{cas}; {ac}")).with_source(ac));
        }
        (Err(error), Ok(Some(ac))) if is_tolerable(&error) => (None, Some(ac)),
        (Ok(Some(cas)), Err(error)) if is_tolerable(&error) => (Some(cas), None),
        (Err(in_trouble), Ok(_)) | (Ok(_), Err(in_trouble)) => return Err(in_trouble),
        (Err(cas), Err(ac)) => return Err(if is_tolerable(&cas) { ac } else { cas }),
        (Ok(cas), Ok(ac)) => (cas, ac),
    };
    if cas.is_none() && ac.is_none() {
        return Err(Error::not_found(format!("no store serves instance name {:?}", instance_name.as_str())));
    }
    Ok((cas, ac))
}

fn is_tolerable(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::NotFound | ErrorKind::PermissionDenied)
}

#[tonic::async_trait]
impl capabilities_server::Capabilities for CapabilitiesService {
    async fn get_capabilities(
        &self,
        request: Request<re::GetCapabilitiesRequest>,
    ) -> Result<Response<re::ServerCapabilities>, Status> {
        let ctx = request::context(&request, &self.options);
        let answer = self.ask(&ctx, &request.get_ref().instance_name).await;
        answer.map(Response::new).map_err(|error| to_status(&error))
    }
}
