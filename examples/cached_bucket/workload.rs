//! The uploads of two accounts that share a bucket: contents, some twice and some in both accounts, and action results.

use blobaccess::{Ac, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName, Result};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

/// The number of concurrent puts.
const AT_ONCE: usize = 16;

/// The accounts. Of every three blobs, one is in both.
pub(crate) const ACCOUNTS: [&str; 2] = ["acme", "globex"];

/// One blob, and the action result that is stored along with it.
#[derive(Clone, Copy, Debug)]
struct Number(u32);

impl Number {
    /// Returns contents of 1 KiB to 64 KiB, which `account_name` shares with the other account or not.
    fn contents(self, account_name: &str) -> Bytes {
        let owner = if self.0.is_multiple_of(3) { "everybody" } else { account_name };
        let seed = format!("{owner} {}\n", self.0);
        let size = 1024 + usize::try_from(self.0.wrapping_mul(2_654_435_761) % (63 * 1024)).unwrap_or_default();
        seed.bytes().cycle().take(size).collect::<Vec<_>>().into()
    }

    fn digest(self, account_name: &str) -> Result<Digest> {
        Ok(Digest::of(InstanceName::new(account_name)?, DigestFunction::Sha256, &self.contents(account_name)))
    }
}

/// Puts `blobs` blobs in each account, every fourth of them twice, and an entry for every fifth, which is replaced.
pub(crate) async fn put_all(
    cas: &dyn BlobAccess<Kind = Cas>,
    ac: &dyn BlobAccess<Kind = Ac>,
    blobs: u32,
) -> Result<()> {
    let puts = (0..blobs).flat_map(|number| ACCOUNTS.map(|account_name| (Number(number), account_name)));
    let puts = puts.map(|(number, account_name)| put(cas, ac, number, account_name));
    stream::iter(puts).buffer_unordered(AT_ONCE).try_collect().await
}

async fn put(
    cas: &dyn BlobAccess<Kind = Cas>,
    ac: &dyn BlobAccess<Kind = Ac>,
    number: Number,
    account_name: &str,
) -> Result<()> {
    let (ctx, digest) = (Context::background(), number.digest(account_name)?);
    let times = if number.0.is_multiple_of(4) { 2 } else { 1 };
    for _ in 0..times {
        cas.put(&ctx, &digest, Blob::from_bytes(number.contents(account_name))).await?;
    }
    if number.0.is_multiple_of(5) {
        for value in ["first", "a second, longer"] {
            ac.put(&ctx, &digest, Blob::from_bytes(format!("{value} {}", number.0))).await?;
        }
    }
    Ok(())
}

/// Returns the digests that are missing.
pub(crate) async fn missing(cas: &dyn BlobAccess<Kind = Cas>, blobs: u32) -> Result<DigestSet> {
    let names = ACCOUNTS.iter().flat_map(|account_name| (0..blobs).map(|number| Number(number).digest(account_name)));
    cas.find_missing(&Context::background(), &names.collect::<Result<_>>()?).await
}
