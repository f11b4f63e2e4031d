//! Pointers to replicators, which are replicators.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::Replicator;
use crate::{Blob, Context, DigestSet, ReadRequest, Result};

// Written out, so that they return the future of the replicator itself, as pointers to stores do.
macro_rules! forward {
    ($($pointer:ident),*) => {
        $(
            impl<R: Replicator + ?Sized> Replicator for $pointer<R> {
                type Kind = R::Kind;

                fn replicate<'life0, 'life1, 'life2, 'async_trait>(
                    &'life0 self,
                    ctx: &'life1 Context,
                    request: &'life2 ReadRequest,
                ) -> BoxFuture<'async_trait, Result<Blob>>
                where
                    'life0: 'async_trait,
                    'life1: 'async_trait,
                    'life2: 'async_trait,
                    Self: 'async_trait,
                {
                    (**self).replicate(ctx, request)
                }

                fn replicate_all<'life0, 'life1, 'life2, 'async_trait>(
                    &'life0 self,
                    ctx: &'life1 Context,
                    digests: &'life2 DigestSet,
                ) -> BoxFuture<'async_trait, Result<()>>
                where
                    'life0: 'async_trait,
                    'life1: 'async_trait,
                    'life2: 'async_trait,
                    Self: 'async_trait,
                {
                    (**self).replicate_all(ctx, digests)
                }

                fn copies(&self) -> bool {
                    (**self).copies()
                }
            }
        )*
    };
}

forward!(Arc, Box);
