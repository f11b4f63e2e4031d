//! The customers, and their uploads.

use blobaccess::{Ac, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, Result};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

/// The customers, by the instance name that each uses.
pub(crate) const CUSTOMERS: [&str; 2] = ["acme", "globex"];

/// The number of concurrent uploads.
const AT_ONCE: usize = 8;

/// One blob of a customer. For every fifth there is an action result as well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upload {
    customer: &'static str,
    number: u32,
}

impl Upload {
    /// Returns contents of 1 KiB to 32 KiB, of this customer alone.
    fn contents(self) -> Bytes {
        let seed = format!("{} {}\n", self.customer, self.number);
        let size = 1024 + usize::try_from(self.number.wrapping_mul(2_654_435_761) % (31 * 1024)).unwrap_or_default();
        seed.bytes().cycle().take(size).collect::<Vec<_>>().into()
    }

    /// Uploads it, and its action result.
    async fn put(self, cas: &dyn BlobAccess<Kind = Cas>, ac: &dyn BlobAccess<Kind = Ac>) -> Result<()> {
        let (ctx, contents) = (Context::background(), self.contents());
        let digest = Digest::of(InstanceName::new(self.customer)?, DigestFunction::Sha256, &contents);
        cas.put(&ctx, &digest, Blob::from_bytes(contents)).await?;
        if self.number.is_multiple_of(5) {
            ac.put(&ctx, &digest, Blob::from_bytes(format!("the result of action {}", self.number))).await?;
        }
        Ok(())
    }
}

/// Uploads the blobs with these numbers for every customer, and calls `uploaded` after each.
pub(crate) async fn upload(
    cas: &dyn BlobAccess<Kind = Cas>,
    ac: &dyn BlobAccess<Kind = Ac>,
    numbers: impl IntoIterator<Item = u32>,
    uploaded: impl Fn(),
) -> Result<()> {
    let uploads =
        numbers.into_iter().flat_map(|number| CUSTOMERS.map(|customer| Upload { customer, number }.put(cas, ac)));
    let mut ends = stream::iter(uploads).buffer_unordered(AT_ONCE);
    while ends.try_next().await?.is_some() {
        uploaded();
    }
    Ok(())
}
