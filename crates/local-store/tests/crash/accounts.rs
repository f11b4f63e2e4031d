//! The account of each put, what of it is stored, and what the store reports as evicted.

use std::collections::BTreeMap;

use blobaccess::{AccountName, Context, Digest, Evictions, Kind, PutOutcome};
use blobaccess_local_store::LocalStore;
use blobaccess_testkit::list_all;
use futures::executor::block_on;

/// Objects and bytes, by account.
pub(crate) type Amounts = BTreeMap<String, (u64, u64)>;

/// Returns the account that a digest goes to.
fn account_name(digest: &Digest) -> &'static str {
    ["", "acme/main", "umbrella"][usize::from(digest.hash_bytes()[0] % 3)]
}

pub(crate) fn context(digest: &Digest) -> Context {
    Context::background().with_account_name(AccountName::new(account_name(digest)))
}

/// Returns what a put has added to an account.
pub(crate) fn count_created(created: &mut Amounts, digest: &Digest, outcome: PutOutcome) {
    if let PutOutcome::Created { stored_bytes } | PutOutcome::Replaced { stored_bytes, .. } = outcome {
        let (objects, bytes) = created.entry(account_name(digest).to_owned()).or_default();
        *objects += 1;
        *bytes += stored_bytes;
    }
}

/// Returns what the store reports as evicted.
pub(crate) fn released<K: Kind>(store: &LocalStore<K>) -> Amounts {
    let totals = block_on(store.evicted(&Context::background())).unwrap().totals.into_iter();
    let totals = totals.map(|of| (of.account_name.to_string(), (of.objects, of.stored_bytes)));
    totals.filter(|(_, (objects, _))| *objects > 0).collect()
}

/// Returns what the store holds.
pub(crate) fn contents_of<K: Kind>(store: &LocalStore<K>) -> BTreeMap<Digest, u64> {
    let mut contents = BTreeMap::new();
    for entry in block_on(list_all(store, &Context::background())).unwrap() {
        assert_eq!(contents.insert(entry.digest, entry.stored_bytes), None);
    }
    contents
}

/// Checks what was put in all against what is stored and what was evicted.
pub(crate) fn accounted<K: Kind>(store: &LocalStore<K>) -> Amounts {
    let mut amounts = released(store);
    for (digest, stored_bytes) in contents_of(store) {
        let (objects, bytes) = amounts.entry(account_name(&digest).to_owned()).or_default();
        *objects += 1;
        *bytes += stored_bytes;
    }
    amounts
}
