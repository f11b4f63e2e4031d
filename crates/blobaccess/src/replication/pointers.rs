//! Pointers to replicators, which are replicators.

use std::sync::Arc;

use async_trait::async_trait;

use super::Replicator;
use crate::{Blob, Context, DigestSet, ReadRequest, Result};

macro_rules! forward {
    ($($pointer:ident),*) => {
        $(
            #[async_trait]
            impl<R: Replicator + ?Sized> Replicator for $pointer<R> {
                type Kind = R::Kind;

                async fn replicate(&self, ctx: &Context, request: &ReadRequest) -> Result<Blob> {
                    (**self).replicate(ctx, request).await
                }

                async fn replicate_all(&self, ctx: &Context, digests: &DigestSet) -> Result<()> {
                    (**self).replicate_all(ctx, digests).await
                }
            }
        )*
    };
}

forward!(Arc, Box);
