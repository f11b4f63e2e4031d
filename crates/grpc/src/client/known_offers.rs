//! The offers of a server, remembered for a while, and queried once for all that ask.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use blobaccess::{Flight, InstanceName, SingleFlight};

use super::server_offer::ServerOffer;

/// The maximum number of instance names whose offers are remembered. One takes some 100 bytes.
const MAX_KNOWN: usize = 1024;

/// An answer of the server for one instance name.
#[derive(Clone, Copy)]
struct KnownOffer {
    /// The offer; `None` if the server could not be asked.
    offer: Option<ServerOffer>,
    /// The end of the answer's lifetime.
    until: Instant,
}

/// The offer for an instance name, or the query for it.
pub(super) enum OfferLookup {
    /// The server has answered recently; `None` if it could not be asked.
    Known(Option<ServerOffer>),
    /// A query is under way.
    Queried(Flight<Option<ServerOffer>>),
}

/// The offers of a server by instance name.
#[derive(Default)]
pub(super) struct KnownOffers {
    by_name: Mutex<HashMap<InstanceName, KnownOffer>>,
    /// The queries under way. Their lock is taken within that of `by_name`, never the other way round.
    queries: SingleFlight<InstanceName, Option<ServerOffer>>,
}

impl KnownOffers {
    /// Returns the offer for `name` that is known at `now`, or joins the query under way, or begins that of `begin`.
    ///
    /// The query must [`remember`](Self::remember) its answer before it ends. The offers stay locked from the look-up until
    /// the query is joined, so that no query is begun after another has been answered.
    pub(super) fn look_up<F>(&self, name: &InstanceName, now: Instant, begin: impl FnOnce() -> F) -> OfferLookup
    where
        F: Future<Output = Option<ServerOffer>> + Send + 'static,
    {
        let known = self.lock();
        match known.get(name) {
            Some(KnownOffer { offer, until }) if now < *until => OfferLookup::Known(*offer),
            Some(_) | None => OfferLookup::Queried(self.queries.join(name.clone(), begin).flight),
        }
    }

    /// Remembers `offer` for `name` until that time. A full map is cleared first: the offers are soon queried again.
    pub(super) fn remember(&self, name: &InstanceName, offer: Option<ServerOffer>, until: Instant) {
        let mut known = self.lock();
        if known.len() >= MAX_KNOWN && !known.contains_key(name) {
            known.clear();
        }
        known.insert(name.clone(), KnownOffer { offer, until });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceName, KnownOffer>> {
        // A panic cannot leave the map half changed: each use of it is one call.
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for KnownOffers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let known = self.lock().len();
        f.debug_struct("KnownOffers")
            .field("instance_names", &known)
            .field("queries", &self.queries.len())
            .finish_non_exhaustive()
    }
}
