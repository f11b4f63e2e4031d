//! What the server says that it can do, remembered for a while.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blobaccess::{Capabilities, Compressor, Context, DigestFunction, Error, InstanceName, Result};
use blobaccess_proto::remote_execution as re;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

use super::failure;
use super::link::Link;
use crate::stubs::remote_execution::capabilities_client::CapabilitiesClient;

/// How long not to ask again after the server could not be asked. Meanwhile blobs are streamed as they are.
const FAILURE_LIFETIME: Duration = Duration::from_secs(1);

/// For how many instance names answers are remembered. One takes some 100 bytes.
const MAX_KNOWN: usize = 1024;

/// What a server offers for one instance name, as far as it matters to how blobs travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// How many bytes of blobs a batch may have; `None` if the server has set no limit.
    pub(super) max_batch_bytes: Option<u64>,
    /// Whether zstd is offered for streams and for batches that are read.
    pub(super) zstd: bool,
    /// Whether zstd is offered for batches that are stored.
    pub(super) zstd_batch_updates: bool,
    /// The largest blob; `None` if the server has set no limit.
    pub(super) max_blob_bytes: Option<u64>,
}

impl Offer {
    fn new(cache: &re::CacheCapabilities) -> Self {
        let zstd = Compressor::Zstd.number();
        let limit = |bytes| u64::try_from(bytes).ok().filter(|bytes| *bytes > 0);
        Self {
            max_batch_bytes: limit(cache.max_batch_total_size_bytes),
            max_blob_bytes: limit(cache.max_cas_blob_size_bytes),
            zstd: cache.supported_compressors.contains(&zstd),
            zstd_batch_updates: cache.supported_batch_update_compressors.contains(&zstd),
        }
    }
}

/// An answer that several callers wait for, whoever of them is polled driving the call.
type Asking = Shared<BoxFuture<'static, Option<Offer>>>;
type Asked = WeakShared<BoxFuture<'static, Option<Offer>>>;

enum Known {
    /// Somebody is asking, unless all that were have given up.
    Asked(Asked),
    /// So the server has said; `None` if it could not be asked.
    Said { offer: Option<Offer>, until: Instant },
}

#[derive(Default)]
pub(super) struct KnownServers {
    by_name: Mutex<HashMap<InstanceName, Known>>,
}

impl KnownServers {
    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceName, Known>> {
        // A panic cannot leave the map half changed: each use of it is one call.
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Remembers `known` for `name`. When there are too many, all are forgotten: they are soon asked again.
fn remember(by_name: &mut HashMap<InstanceName, Known>, name: &InstanceName, known: Known) {
    if by_name.len() >= MAX_KNOWN && !by_name.contains_key(name) {
        by_name.clear();
    }
    by_name.insert(name.clone(), known);
}

impl Debug for KnownServers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownServers").field("instance_names", &self.lock().len()).finish_non_exhaustive()
    }
}

impl Link {
    /// What the server offers in `name`; `None` if it could not be asked, which is no reason for what follows to fail.
    pub(super) async fn offer(self: &Arc<Self>, ctx: &Context, name: &InstanceName) -> Result<Option<Offer>> {
        let asking = {
            let mut known = self.known.lock();
            let asking = match known.get(name) {
                Some(Known::Said { offer, until }) if self.now() < *until => return Ok(*offer),
                Some(Known::Asked(asked)) => asked.upgrade(),
                Some(Known::Said { .. }) | None => None,
            };
            match asking {
                Some(asking) => asking,
                None => self.ask(ctx, name, &mut known),
            }
        };
        self.within(ctx.deadline(), async { Ok(asking.await) }).await
    }

    fn ask(self: &Arc<Self>, ctx: &Context, name: &InstanceName, known: &mut HashMap<InstanceName, Known>) -> Asking {
        let link = Arc::clone(self);
        // Others may wait for the answer when the one who asked first no longer does.
        let ctx = ctx.clone().without_deadline();
        let instance_name = name.clone();
        let asking = async move {
            match link.cache_capabilities(&ctx, &instance_name).await {
                Ok(cache) => Some(Offer::new(&cache)),
                Err(error) => {
                    tracing::debug!(%error, %instance_name, "the remote store does not say what it can do");
                    link.learn(&instance_name, None);
                    None
                }
            }
        };
        let asking = asking.boxed().shared();
        if let Some(asked) = asking.downgrade() {
            remember(known, name, Known::Asked(asked));
        }
        asking
    }

    fn learn(&self, name: &InstanceName, offer: Option<Offer>) {
        let lifetime = if offer.is_some() { self.options.capabilities_lifetime } else { FAILURE_LIFETIME };
        let until = self.now().checked_add(lifetime).unwrap_or_else(|| self.now());
        remember(&mut self.known.lock(), name, Known::Said { offer, until });
    }

    /// Asks what the server's stores can do in `name`.
    async fn cache_capabilities(&self, ctx: &Context, name: &InstanceName) -> Result<re::CacheCapabilities> {
        let message = re::GetCapabilitiesRequest { instance_name: name.as_str().to_owned() };
        let max = self.options.max_message_size_bytes;
        let call = self.call(ctx, message, |channel, request| async move {
            CapabilitiesClient::new(channel).max_decoding_message_size(max).get_capabilities(request).await
        });
        let answer = call.await.map_err(failure::never_absent)?.into_inner();
        let cache = answer.cache_capabilities.ok_or_else(|| {
            Error::invalid_argument(format!("instance name \"{name}\" does not support remote caching"))
        })?;
        self.learn(name, Some(Offer::new(&cache)));
        Ok(cache)
    }

    /// What both stores can do in `name`, and whether action results may be put.
    pub(super) async fn capabilities(&self, ctx: &Context, name: &InstanceName) -> Result<(Capabilities, bool)> {
        let cache = self.retried(ctx, || true, || self.cache_capabilities(ctx, name)).await?;
        let functions: Vec<_> =
            cache.digest_functions.iter().filter_map(|number| DigestFunction::from_number(*number)).collect();
        let capabilities = Capabilities::unlimited().with_digest_functions(functions);
        let offer = Offer::new(&cache);
        let mut capabilities = match offer.max_blob_bytes {
            Some(max) => capabilities.with_max_blob_size_bytes(max),
            None => capabilities,
        };
        if self.options.compression_level.is_some() && offer.zstd {
            capabilities = capabilities.with_compressors([Compressor::Zstd]);
        }
        let updates = cache.action_cache_update_capabilities.is_some_and(|update| update.update_enabled);
        Ok((capabilities, updates))
    }
}
