//! The contracts of stores, for `Accounted`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use blobaccess::{Ac, Cas};
use blobaccess_accounting::{Accounted, Accounts, AccountsOptions, OwnerIndex, OwnerIndexOptions, Reporter};
use blobaccess_testkit::{Layered, conformance};

conformance! {
    accounted => Layered::<Cas, _>::new(|beneath| Accounted::new(beneath.store("inner"), accounts())),
    accounted_with_owners => Layered::<Cas, _>::new(|beneath| Accounted::new(beneath.store("inner"), with_owners())),
    accounted_messages_with_owners: Ac =>
        Layered::<Ac, _>::new(|beneath| Accounted::new(beneath.store("inner"), with_owners())),
    accounted_messages: Ac => Layered::<Ac, _>::new(|beneath| Accounted::new(beneath.store("inner"), accounts())),
}

fn with_owners() -> Arc<Accounts> {
    let owners = OwnerIndex::builder(OwnerIndexOptions::default()).open_in_memory().unwrap();
    Accounts::builder(AccountsOptions::new(Reporter::new("host"))).with_owner_index(owners).open().unwrap()
}

fn accounts() -> Arc<Accounts> {
    Accounts::open(AccountsOptions::new(Reporter::new("host"))).unwrap()
}
