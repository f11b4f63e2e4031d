//! Finds what is missing in few requests: by asking for each digest, or by listing what is between them.

use blobaccess::{Context, Digest, DigestSet, Result};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;

use crate::shared::Shared;

/// The number of ranges of keys that are listed concurrently.
const STRETCHES: usize = 16;

/// A digest of a query, and the key of its object.
struct Candidate<'a> {
    key: String,
    digest: &'a Digest,
}

impl Shared {
    pub(crate) async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        let mut asked = Vec::with_capacity(digests.len());
        for digest in digests {
            if !self.is_always_there(digest) {
                let key = self.options.layout.key(self.storage_type, digest)?;
                asked.push(Candidate { key, digest });
            }
        }
        if asked.is_empty() {
            return Ok(DigestSet::new());
        }
        asked.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let mut missing = self.within(ctx, self.find(&asked)).await??;
        missing.sort_unstable();
        Ok(digests.filter(|digest| missing.binary_search(&digest).is_ok()))
    }

    async fn find<'a>(&self, asked: &[Candidate<'a>]) -> Result<Vec<&'a Digest>> {
        let concurrent = self.options.concurrent_finds;
        if asked.len() < self.options.list_from_digests || !self.lists_in_order() {
            return self.ask(asked, concurrent).await;
        }
        // One page tells how densely the keys lie. The digests that it covers are answered.
        let (first, rest) = asked.split_at(asked.len() / 2);
        let (mut missing, answered) = self.list(rest, 1).await?;
        let unanswered = rest.get(answered..).unwrap_or_default();
        if answered < self.options.digests_per_page.min(rest.len()) {
            missing.extend(self.ask(unanswered, concurrent).await?);
            missing.extend(self.ask(first, concurrent).await?);
            return Ok(missing);
        }
        let stretch = first.len().max(unanswered.len()).div_ceil(STRETCHES / 2).max(self.options.digests_per_page);
        let stretches = first.chunks(stretch.max(1)).chain(unanswered.chunks(stretch.max(1)));
        let found: Vec<_> = stretches.map(|stretch| self.list_or_ask(stretch).boxed()).collect();
        let found: Vec<Vec<&Digest>> = stream::iter(found).buffer_unordered(STRETCHES).try_collect().await?;
        missing.extend(found.into_iter().flatten());
        Ok(missing)
    }

    /// Lists for as long as pages answer for enough digests, then asks for the rest.
    async fn list_or_ask<'a>(&self, stretch: &[Candidate<'a>]) -> Result<Vec<&'a Digest>> {
        let (mut missing, answered) = self.list(stretch, usize::MAX).await?;
        let rest = stretch.get(answered..).unwrap_or_default();
        missing.extend(self.ask(rest, self.options.concurrent_finds.div_ceil(STRETCHES)).await?);
        Ok(missing)
    }

    /// Lists from the first of `asked` on, up to `pages` pages. Returns the missing digests, and how many of `asked`
    /// are answered.
    async fn list<'a>(&self, asked: &[Candidate<'a>], pages: usize) -> Result<(Vec<&'a Digest>, usize)> {
        let mut missing = Vec::new();
        let mut answered = 0;
        let root = format!("{}/", self.options.layout.root(self.storage_type));
        let start = self.bucket.prefix().len();
        for _ in 0..pages {
            let Some(next) = asked.get(answered) else { break };
            let before = just_before(&next.key);
            let (objects, more) = self.bucket.page(&root, Some(&before)).await?;
            let mut listed = objects.iter().filter_map(|object| Some((object.location.as_ref().get(start..)?, object)));
            let last =
                if more { objects.last().and_then(|object| object.location.as_ref().get(start..)) } else { None };
            let begun = answered;
            let mut current = listed.next();
            while let Some(next) = asked.get(answered) {
                if more && last.is_none_or(|last| next.key.as_str() > last) {
                    break;
                }
                while current.is_some_and(|(key, _)| key < next.key.as_str()) {
                    current = listed.next();
                }
                let there = current.is_some_and(|(key, object)| key == next.key && self.is_listed(next.digest, object));
                if !there {
                    missing.push(next.digest);
                }
                answered += 1;
            }
            if answered - begun < self.options.digests_per_page {
                break;
            }
        }
        Ok((missing, answered))
    }

    /// Asks for each digest on its own. A question takes memory once it is asked.
    async fn ask<'a>(&self, asked: &[Candidate<'a>], concurrent: usize) -> Result<Vec<&'a Digest>> {
        let mut missing = Vec::new();
        let mut asking = FuturesUnordered::new();
        for candidate in asked {
            if asking.len() >= concurrent.max(1)
                && let Some(answer) = asking.next().await
            {
                missing.extend(answer?);
            }
            asking.push(self.ask_one(candidate));
        }
        while let Some(answer) = asking.next().await {
            missing.extend(answer?);
        }
        Ok(missing)
    }

    async fn ask_one<'a>(&self, asked: &Candidate<'a>) -> Result<Option<&'a Digest>> {
        let there = match self.bucket.head(&self.bucket.path(&asked.key)?).await? {
            Some(found) => self.holds_blob(asked.digest, &found)?,
            None => false,
        };
        Ok((!there).then_some(asked.digest))
    }

    /// Returns whether the listed object holds the blob of `digest`. A listing is the store's own, as it was understood.
    fn is_listed(&self, digest: &Digest, object: &ObjectMeta) -> bool {
        !self.is_claim(digest, object.size)
            && self.may_hold(digest, object.size)
            && !self.damage.is_known(digest, object.e_tag.as_deref())
    }
}

/// Returns a key that comes before `key`, with no key of ours in between, as a listing begins after a key. Our keys end
/// with a decimal or hexadecimal digit, or with a character of an instance name.
fn just_before(key: &str) -> String {
    let mut before = key.to_owned();
    match before.pop() {
        Some(last) if u32::from(last) > u32::from('!') => {
            before.push(char::from_u32(u32::from(last) - 1).unwrap_or('!'));
            before.push('~');
            before
        }
        Some(_) | None => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_just_before_a_key_is_not_after_it() {
        for key in ["cas/sha256/18/18ab-5", "cas.v2/18/18ab", "ac/sha256/18/18ab-5/="] {
            let before = just_before(key);
            assert!(before.as_str() < key, "{before}");
            assert!(before.as_str() > &key[..key.len() - 1], "{before}");
        }
    }
}
