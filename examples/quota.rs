//! A quota: an account that may store 1,000 bytes, and the upload that would be too much.

#![expect(clippy::print_stdout, reason = "an example prints what it did")]

use std::sync::Arc;

use blobaccess::{
    AccountName, Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore, Result,
};
use blobaccess_accounting::{Accounted, Accounts, AccountsOptions, Quota, Quotas, Reporter};

#[tokio::main]
async fn main() -> Result<()> {
    // The account of an upload is its instance name, unless its context names another.
    let limits = Quotas::new().with_quota(AccountName::new("acme"), Quota { soft_bytes: 700, hard_bytes: 1_000 });
    let accounts = Accounts::open(AccountsOptions::new(Reporter::new("this-host")).with_quotas(limits))?;
    let store = Accounted::new(MemoryStore::<Cas>::new(1 << 20), Arc::clone(&accounts));
    println!("the store is {store}");

    for account in ["acme", "globex"] {
        for number in 1..=3 {
            let contents = format!("{account} {number:>380}");
            let digest = Digest::of(InstanceName::new(account)?, DigestFunction::Sha256, contents.as_bytes());
            match store.put(&Context::background(), &digest, Blob::from_bytes(contents)).await {
                Ok(outcome) => println!("{account}, upload {number}: {outcome:?}"),
                Err(error) => println!("{account}, upload {number}: refused: {error}"),
            }
        }
    }

    if let Some(usage) = accounts.quota_usage(&AccountName::new("acme")) {
        println!("acme has {} of {} bytes", usage.used_bytes, usage.quota.hard_bytes);
    }
    println!("globex has no limit");
    Ok(())
}
