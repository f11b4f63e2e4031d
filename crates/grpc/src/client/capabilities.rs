//! Asks the server for its capabilities, and remembers them for a while.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Capabilities, Compressor, Context, DigestFunction, Error, InstanceName, Result};
use blobaccess_proto::remote_execution as re;

use super::connection::Connection;
use super::failure;
use super::known_offers::OfferLookup;
use super::server_offer::ServerOffer;
use crate::stubs::remote_execution::capabilities_client::CapabilitiesClient;

/// The time during which a server that could not be asked is not asked again. Meanwhile blobs are streamed as they are.
const FAILURE_LIFETIME: Duration = Duration::from_secs(1);

impl Connection {
    /// Returns what the server offers in `name`; `None` if it could not be asked, which fails no call that follows.
    pub(super) async fn offer(self: &Arc<Self>, ctx: &Context, name: &InstanceName) -> Result<Option<ServerOffer>> {
        match self.known_offers.look_up(name, self.now(), || self.query(ctx, name)) {
            OfferLookup::Known(offer) => Ok(offer),
            OfferLookup::Queried(query) => self.within(ctx.deadline(), async { Ok(query.await) }).await,
        }
    }

    /// Makes the query of the server for its offer in `name`.
    fn query(
        self: &Arc<Self>,
        ctx: &Context,
        name: &InstanceName,
    ) -> impl Future<Output = Option<ServerOffer>> + Send + use<> {
        let connection = Arc::clone(self);
        // Others may wait for the answer when the caller that asked first no longer does.
        let ctx = ctx.clone().without_deadline();
        let instance_name = name.clone();
        async move {
            match connection.cache_capabilities(&ctx, &instance_name).await {
                Ok(cache) => Some(ServerOffer::new(&cache)),
                Err(error) => {
                    tracing::debug!(%error, %instance_name, "the remote store does not say what it can do");
                    connection.learn(&instance_name, None);
                    None
                }
            }
        }
    }

    fn learn(&self, name: &InstanceName, offer: Option<ServerOffer>) {
        let lifetime = if offer.is_some() { self.options.capabilities_lifetime } else { FAILURE_LIFETIME };
        let until = self.now().checked_add(lifetime).unwrap_or_else(|| self.now());
        self.known_offers.remember(name, offer, until);
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
        self.learn(name, Some(ServerOffer::new(&cache)));
        Ok(cache)
    }

    /// Returns what both stores can do in `name`, and whether action results may be put.
    pub(super) async fn capabilities(&self, ctx: &Context, name: &InstanceName) -> Result<(Capabilities, bool)> {
        let cache = self.retried(ctx, |_| true, || self.cache_capabilities(ctx, name)).await?;
        let functions: Vec<_> =
            cache.digest_functions.iter().filter_map(|number| DigestFunction::from_number(*number)).collect();
        let capabilities = Capabilities::unlimited().with_digest_functions(functions);
        let offer = ServerOffer::new(&cache);
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
