//! Proof that the suite of replicators has teeth: for each contract a replicator that breaks it and is caught.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use async_trait::async_trait;
use blobaccess::replication::{LocalReplicator, Replicator};
use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestSet, Error, ReadRequest, Result};
use blobaccess_testkit::{AnyStore, REPLICATOR_CONTRACTS, Replicating, digest_of, violations_of_replicator};
use futures::future::poll_fn;

/// A rule that a replicator breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    CopiesNothing,
    AsksForNothing,
    ReadsOnlyTheBeginning,
    ReadsTheWholeForAPart,
    HidesAbsence,
    NamesNoStore,
    NeedsItsSink,
    RemembersFailures,
    RefusesCrowds,
    KeepsTheTurnOfWhoWentAway,
    IsImpatient,
    PrintsTwoLines,
}

/// The contract that each fault is caught by.
const TEETH: [(Fault, &str); 12] = [
    (Fault::CopiesNothing, "what_was_copied_is_in_the_sink"),
    (Fault::AsksForNothing, "of_no_digests_none_is_copied"),
    (Fault::ReadsOnlyTheBeginning, "a_read_returns_what_the_source_has"),
    (Fault::ReadsTheWholeForAPart, "a_part_is_read_from_its_composite"),
    (Fault::HidesAbsence, "what_the_source_lacks_is_not_found"),
    (Fault::NamesNoStore, "a_source_that_is_down_is_named"),
    (Fault::NeedsItsSink, "a_sink_that_is_down_keeps_nobody_from_reading"),
    (Fault::RemembersFailures, "after_an_outage_copies_are_made_as_before"),
    (Fault::RefusesCrowds, "callers_at_once_are_all_served"),
    (Fault::KeepsTheTurnOfWhoWentAway, "a_dropped_call_leaves_nobody_waiting"),
    (Fault::IsImpatient, "slow_stores_delay_and_fail_nothing"),
    (Fault::PrintsTwoLines, "a_replicator_prints_as_one_line"),
];

#[derive(Debug)]
struct Broken {
    local: LocalReplicator<AnyStore<Cas>, AnyStore<Cas>>,
    fault: Option<Fault>,
    seen: Mutex<HashSet<Digest>>,
    calls: AtomicUsize,
}

impl Broken {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

#[async_trait]
impl Replicator for Broken {
    type Kind = Cas;

    async fn replicate(&self, ctx: &Context, request: &ReadRequest) -> Result<Blob> {
        if self.has(Fault::NeedsItsSink) {
            self.local.replicate_all(ctx, &request.digest().clone().into()).await?;
            return request.read_from(&**self.local.sink(), ctx).await;
        }
        let whole = ReadRequest::blob(request.digest());
        let request = if self.has(Fault::ReadsTheWholeForAPart) { &whole } else { request };
        let blob = self.local.replicate(ctx, request).await;
        if self.has(Fault::HidesAbsence) {
            return blob.map_err(Error::into_inconsistency);
        }
        if self.has(Fault::ReadsOnlyTheBeginning) {
            let bytes = blob?.into_bytes(u64::MAX).await?;
            return Ok(Blob::from_bytes(bytes.slice(..bytes.len() / 2)));
        }
        blob
    }

    async fn replicate_all(&self, ctx: &Context, digests: &DigestSet) -> Result<()> {
        match self.fault {
            Some(Fault::CopiesNothing) => return Ok(()),
            Some(Fault::AsksForNothing) => {
                self.local.source().find_missing(ctx, &digest_of("").into()).await?;
            }
            Some(Fault::RemembersFailures) => {
                let is_new = digests.iter().all(|digest| self.seen.lock().unwrap().insert(digest.clone()));
                if !is_new {
                    return Ok(());
                }
            }
            Some(Fault::KeepsTheTurnOfWhoWentAway) => {
                let is_new = digests.iter().all(|digest| self.seen.lock().unwrap().insert(digest.clone()));
                if !is_new {
                    return Err(Error::aborted("another caller copies it"));
                }
                let result = self.local.replicate_all(ctx, digests).await;
                self.seen.lock().unwrap().clear();
                return result;
            }
            Some(Fault::RefusesCrowds) if self.calls.fetch_add(1, Ordering::Relaxed) > 3 => {
                return Err(Error::resource_exhausted("too many callers"));
            }
            Some(Fault::IsImpatient) => {
                let (mut copying, mut polls) = (pin!(self.local.replicate_all(ctx, digests)), 0);
                return poll_fn(|poller| {
                    polls += 1;
                    if polls > 1 {
                        return Poll::Ready(Err(Error::deadline_exceeded("no time")));
                    }
                    copying.as_mut().poll(poller)
                })
                .await;
            }
            _ => {}
        }
        let result = self.local.replicate_all(ctx, digests).await;
        if self.has(Fault::NamesNoStore) {
            return result.map_err(|error| Error::new(error.kind(), error.message().to_owned()));
        }
        result
    }
}

impl Display for Broken {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.has(Fault::PrintsTwoLines) { "broken\nindeed" } else { "broken" })
    }
}

/// Returns the contracts that a replicator with `fault` breaks.
fn broken_by(fault: Option<Fault>) -> Vec<String> {
    let violations = violations_of_replicator(|| {
        Replicating::<Cas, _>::new(move |source, sink| Broken {
            local: LocalReplicator::new(Arc::new(source), Arc::new(sink)),
            fault,
            seen: Mutex::default(),
            calls: AtomicUsize::new(0),
        })
    });
    violations.iter().map(|violation| violation.contract().replace("replicating::", "")).collect()
}

#[test]
fn each_contract_catches_a_replicator_that_breaks_it() {
    for (fault, contract) in TEETH {
        let broken = broken_by(Some(fault));
        assert!(broken.iter().any(|name| name == contract), "{fault:?} passes {contract}; it breaks {broken:?}");
    }
}

#[test]
fn a_replicator_without_a_fault_passes() {
    assert_eq!(broken_by(None), Vec::<String>::new());
}

#[test]
fn every_contract_has_a_tooth() {
    for contract in REPLICATOR_CONTRACTS {
        let name = contract.trim_start_matches("replicating::");
        assert!(TEETH.iter().any(|(_, tooth)| *tooth == name), "{contract} has no tooth");
    }
}
