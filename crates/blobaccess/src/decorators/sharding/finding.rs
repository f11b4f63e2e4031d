//! Queries that are split by shard, and asked all at the same time.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use futures::stream::FuturesUnordered;

use super::Sharding;
use crate::replication::Replicator;
use crate::{BlobAccess, Context, Digest, DigestSet, Result};

/// The digests that each shard is asked about, by the position of the shard.
type Parts = Vec<(usize, DigestSet)>;

impl<S: BlobAccess> Sharding<S> {
    /// Returns the `digests` that their homes lack.
    pub(super) async fn find_in_homes(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let homes = self.placement.homes(digests.as_slice());
        self.ask(ctx, &partition(digests, homes.into_iter().zip(digests))).await
    }

    /// Returns those of `missing`, which their homes lack, that are nowhere else.
    pub(super) async fn find_elsewhere(&self, ctx: &Context, missing: DigestSet) -> Result<DigestSet> {
        let now = self.clock.now();
        let mut pending: Vec<_> =
            missing.iter().map(|digest| (digest, self.fallbacks(digest, now).into_iter())).collect();
        let mut found = Vec::new();
        // In each round, each digest is asked about in the next shard that may have it.
        loop {
            let asked: Vec<_> = pending
                .iter_mut()
                .filter_map(|(digest, fallbacks)| fallbacks.next().map(|index| (index, *digest)))
                .collect();
            if asked.is_empty() {
                break;
            }
            let parts = partition(&missing, asked.iter().copied());
            let absent = self.ask(ctx, &parts).await?;
            for (index, part) in parts {
                let present = part.difference(&absent);
                if self.options.copies_on_find {
                    self.copy_home(ctx, index, &present).await;
                }
                found.push(present);
            }
            pending.retain(|(digest, _)| absent.contains(digest));
        }
        Ok(missing.difference(&DigestSet::union(found)))
    }

    /// Asks each shard about its part, all at the same time. The first error ends the others.
    async fn ask(&self, ctx: &Context, parts: &Parts) -> Result<DigestSet> {
        if let [(index, part)] = &**parts {
            return self.ask_one(ctx, *index, part).await;
        }
        let answers: FuturesUnordered<_> = parts.iter().map(|(index, part)| self.ask_one(ctx, *index, part)).collect();
        let missing: Vec<_> = answers.try_collect().await?;
        Ok(DigestSet::union(missing))
    }

    async fn ask_one(&self, ctx: &Context, index: usize, part: &DigestSet) -> Result<DigestSet> {
        let member = self.member(index)?;
        match self.call(ctx, member, member.store().find_missing(ctx, part)).await {
            Err(error) if self.options.missing_when_down && error.is_infrastructure() => {
                tracing::debug!(%error, digests = part.len(), "the blobs of a shard that is down count as missing");
                Ok(part.clone())
            }
            result => result,
        }
    }

    /// Copies blobs that a shard was found to have to their homes. What is not copied can be read where it is.
    async fn copy_home(&self, ctx: &Context, index: usize, present: &DigestSet) {
        let Ok(from) = self.member(index) else { return };
        let homes = self.placement.homes(present.as_slice());
        for (home, part) in partition(present, homes.into_iter().zip(present)) {
            let Some(home) = self.members.get(home).filter(|home| home.is_up()) else { continue };
            if let Err(error) = self.replicator(from, home).replicate_all(ctx, &part).await {
                tracing::debug!(%error, digests = part.len(), "blobs were not copied to their home");
            }
        }
    }
}

/// Splits digests of `whole`, in their order, by shard.
fn partition<'a>(whole: &DigestSet, placed: impl Iterator<Item = (usize, &'a Digest)>) -> Parts {
    let mut parts: BTreeMap<usize, Vec<&Digest>> = BTreeMap::new();
    for (index, digest) in placed {
        parts.entry(index).or_default().push(digest);
    }
    parts.into_iter().map(|(index, part)| (index, whole.of_part(&part))).collect()
}
