//! What two tenants of one bucket upload: contents, some of them twice and some in both namespaces, and action results.

use blobaccess::{Ac, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName, Result};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

/// How many puts are on their way at once.
const AT_ONCE: usize = 16;

/// The namespaces. Of every three blobs, one is in both.
pub(crate) const NAMESPACES: [&str; 2] = ["acme", "globex"];

/// One blob, and the action result that is stored beside it.
#[derive(Clone, Copy, Debug)]
struct Number(u32);

impl Number {
    /// Contents of 1 KiB to 64 KiB, which `namespace` has to itself or not.
    fn contents(self, namespace: &str) -> Bytes {
        let owner = if self.0.is_multiple_of(3) { "everybody" } else { namespace };
        let seed = format!("{owner} {}\n", self.0);
        let size = 1024 + usize::try_from(self.0.wrapping_mul(2_654_435_761) % (63 * 1024)).unwrap_or_default();
        seed.bytes().cycle().take(size).collect::<Vec<_>>().into()
    }

    fn digest(self, namespace: &str) -> Result<Digest> {
        Ok(Digest::of(InstanceName::new(namespace)?, DigestFunction::Sha256, &self.contents(namespace)))
    }
}

/// Puts `blobs` blobs in each namespace, every fourth of them twice, and an entry for every fifth, which is replaced.
pub(crate) async fn put_all(
    cas: &dyn BlobAccess<Kind = Cas>,
    ac: &dyn BlobAccess<Kind = Ac>,
    blobs: u32,
) -> Result<()> {
    let puts = (0..blobs).flat_map(|number| NAMESPACES.map(|namespace| (Number(number), namespace)));
    let puts = puts.map(|(number, namespace)| put(cas, ac, number, namespace));
    stream::iter(puts).buffer_unordered(AT_ONCE).try_collect().await
}

async fn put(
    cas: &dyn BlobAccess<Kind = Cas>,
    ac: &dyn BlobAccess<Kind = Ac>,
    number: Number,
    namespace: &str,
) -> Result<()> {
    let (ctx, digest) = (Context::background(), number.digest(namespace)?);
    let times = if number.0.is_multiple_of(4) { 2 } else { 1 };
    for _ in 0..times {
        cas.put(&ctx, &digest, Blob::from_bytes(number.contents(namespace))).await?;
    }
    if number.0.is_multiple_of(5) {
        for value in ["first", "a second, longer"] {
            ac.put(&ctx, &digest, Blob::from_bytes(format!("{value} {}", number.0))).await?;
        }
    }
    Ok(())
}

/// What of all that is missing.
pub(crate) async fn missing(cas: &dyn BlobAccess<Kind = Cas>, blobs: u32) -> Result<DigestSet> {
    let names = NAMESPACES.iter().flat_map(|namespace| (0..blobs).map(|number| Number(number).digest(namespace)));
    cas.find_missing(&Context::background(), &names.collect::<Result<_>>()?).await
}
