//! The offers of a server, remembered for a while.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use blobaccess::InstanceName;
use futures::future::{BoxFuture, Shared, WeakShared};

use super::server_offer::ServerOffer;

/// The maximum number of instance names whose offers are remembered. One takes some 100 bytes.
const MAX_KNOWN: usize = 1024;

/// A query of the server that several callers wait for; any of them that polls it makes progress for all.
pub(super) type OfferQuery = Shared<BoxFuture<'static, Option<ServerOffer>>>;

/// The state of the offer for one instance name.
pub(super) enum KnownOffer {
    /// A query is under way, unless all its callers have given up.
    Queried(WeakShared<BoxFuture<'static, Option<ServerOffer>>>),
    /// The server has answered; `None` if it could not be asked.
    Answered {
        offer: Option<ServerOffer>,
        /// The end of the answer's lifetime.
        until: Instant,
    },
}

/// The offers of a server by instance name.
#[derive(Default)]
pub(super) struct KnownOffers {
    by_name: Mutex<HashMap<InstanceName, KnownOffer>>,
}

impl KnownOffers {
    /// Locks the offers.
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<InstanceName, KnownOffer>> {
        // A panic cannot leave the map half changed: each use of it is one call.
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Remembers `known` for `name`. A full map is cleared first: the offers are soon queried again.
pub(super) fn remember(by_name: &mut HashMap<InstanceName, KnownOffer>, name: &InstanceName, known: KnownOffer) {
    if by_name.len() >= MAX_KNOWN && !by_name.contains_key(name) {
        by_name.clear();
    }
    by_name.insert(name.clone(), known);
}

impl Debug for KnownOffers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownOffers").field("instance_names", &self.lock().len()).finish_non_exhaustive()
    }
}
