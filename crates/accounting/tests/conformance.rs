//! The contracts of stores, for `Accounted`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use blobaccess::{Ac, Cas};
use blobaccess_accounting::{Accounted, Accounts, AccountsOptions, Reporter};
use blobaccess_testkit::{Layered, conformance};

conformance! {
    accounted => Layered::<Cas, _>::new(|beneath| Accounted::new(beneath.store("inner"), accounts())),
    accounted_messages: Ac => Layered::<Ac, _>::new(|beneath| Accounted::new(beneath.store("inner"), accounts())),
}

fn accounts() -> Arc<Accounts> {
    Accounts::open(AccountsOptions::new(Reporter::new("host"))).unwrap()
}
