//! Messages of many versions, whose every byte follows from their number and version: what the tests of kills and power
//! cuts put, and how they tell what came back.

use blobaccess::{Ac, Blob, BlobAccess, Context, Digest, DigestFunction, InstanceName};
use blobaccess_local_store::LocalStore;
use blobaccess_testkit::Numbers;

/// How many messages there are.
pub(crate) const MESSAGES: u64 = 200;

fn digest(number: u64) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, &number.to_le_bytes())
}

fn message(number: u64, version: u64) -> Vec<u8> {
    let mut message = version.to_le_bytes().to_vec();
    let mut numbers = Numbers::new(number << 32 | version);
    let size = numbers.below(4_000);
    message.extend(numbers.bytes(size));
    message
}

/// Puts a version of every message.
pub(crate) async fn put(store: &LocalStore<Ac>, version: u64) -> blobaccess::Result<()> {
    for number in 0..MESSAGES {
        let blob = Blob::from_bytes(message(number, version));
        store.put(&Context::background(), &digest(number), blob).await?;
    }
    Ok(())
}

/// Checks that every message is there, as it was put, and none older than `synced`. Returns the latest version.
pub(crate) async fn check(store: &LocalStore<Ac>, synced: u64) -> u64 {
    let mut latest = synced;
    for number in 0..MESSAGES {
        let blob = match store.get(&Context::background(), &digest(number)).await {
            Err(error) if error.is_not_found() && synced == 0 => continue,
            read => read.unwrap(),
        };
        let read = blob.into_bytes(1 << 20).await.unwrap();
        let version = u64::from_le_bytes(*read.first_chunk().unwrap());
        assert!(version >= synced, "{number} has version {version}, while {synced} was durable");
        assert_eq!(read, message(number, version));
        latest = latest.max(version);
    }
    latest
}
