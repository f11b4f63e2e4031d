//! The probes of health, which stop at the authorizers.
//!
//! A server of Buildbarn is healthy for as long as it runs, whatever its stores do, and sites let their orchestrators act
//! on that. Were one shard that is down to make all frontends unhealthy, they would all be started again.

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::decorators::Authorizer;
use blobaccess::{Claims, Context, Error, InstanceName, Result};

/// The claims of a probe.
#[derive(Debug)]
struct Probe;

/// Returns the context that probes are made in.
pub(super) fn probe_context() -> Context {
    Context::background().with_claims(Claims::new(Probe))
}

/// An authorizer that asks another one, and ends probes: with `Unimplemented`, which is no sign of ill health.
#[derive(Debug)]
pub(super) struct EndsProbes(pub(super) Arc<dyn Authorizer>);

#[async_trait]
impl Authorizer for EndsProbes {
    async fn authorize(&self, ctx: &Context, instance_names: &[InstanceName]) -> Vec<Result<()>> {
        if ctx.claims().is_some_and(|claims| claims.get::<Probe>().is_some()) {
            return instance_names.iter().map(|_| Err(Error::unimplemented("stores are not probed"))).collect();
        }
        self.0.authorize(ctx, instance_names).await
    }
}
