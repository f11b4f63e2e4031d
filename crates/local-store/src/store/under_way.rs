//! The uploads that are on their way, and which of them gives way to others.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use blobaccess::{Clock, Error, Result};
use futures::future::{Either, select};
use tokio::sync::Notify;

use crate::machine::concurrency::locks::{AtomicBool, Mutex, enter};

/// The time without a byte after which an upload gives way to others.
const PATIENCE: Duration = Duration::from_secs(2);

/// The position of space among the needs.
const SPACE: usize = 2;

/// The memory, the space and the number of uploads, as far as others may have to wait for them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needs {
    /// The number of reservations.
    pub(crate) reservations: u64,
    /// Bytes that are collected in memory.
    pub(crate) memory_bytes: u64,
    /// Bytes of the store that are reserved.
    pub(crate) space_bytes: u64,
}

impl Needs {
    fn each(&self) -> [u64; 3] {
        [self.reservations, self.memory_bytes, self.space_bytes]
    }

    fn add(&mut self, more: &Self) {
        self.reservations += more.reservations;
        self.memory_bytes += more.memory_bytes;
        self.space_bytes += more.space_bytes;
    }

    fn take(&mut self, less: &Self) {
        self.reservations = self.reservations.saturating_sub(less.reservations);
        self.memory_bytes = self.memory_bytes.saturating_sub(less.memory_bytes);
        self.space_bytes = self.space_bytes.saturating_sub(less.space_bytes);
    }
}

/// The uploads that are on their way.
///
/// All of them together have bounds. Once these are reached, an upload that sent nothing for two seconds gives way: the one
/// that is silent for longest.
pub(crate) struct UnderWay {
    most: Needs,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Notified when an upload has ended or given way.
    changed: Notify,
}

#[derive(Default)]
struct State {
    next: u64,
    uploads: HashMap<u64, Upload>,
    taken: Needs,
}

struct Upload {
    needs: Needs,
    progressed_at: Instant,
    /// The number of those that have the store at work for it: while there are any, the sender is not silent.
    busy: usize,
    ending: Arc<Ending>,
    /// Ends what the upload keeps, even if nobody polls it.
    end: Box<dyn Fn() + Send + Sync>,
}

/// The end of an upload that gave way.
#[derive(Debug)]
struct Ending {
    has_given_way: AtomicBool,
    notify: Notify,
}

/// The time in which the store is at work for an upload, until this is dropped. The upload does not give way then.
#[derive(Debug)]
pub(crate) struct Busy {
    under_way: Arc<UnderWay>,
    number: u64,
}

/// The place of an upload among those on their way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    under_way: Arc<UnderWay>,
    number: u64,
    ending: Arc<Ending>,
}

impl UnderWay {
    /// Bounds all uploads together.
    pub(crate) fn new(most: Needs, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { most, clock, state: Mutex::default(), changed: Notify::new() })
    }

    /// Adds an upload that needs nothing yet. If it gives way, `end` is called, by another upload.
    pub(crate) fn begin(self: &Arc<Self>, end: impl Fn() + Send + Sync + 'static) -> Place {
        let ending = Arc::new(Ending { has_given_way: AtomicBool::new(false), notify: Notify::new() });
        let progressed_at = self.clock.monotonic();
        let mut state = enter(&self.state);
        let number = state.next;
        state.next += 1;
        let upload =
            Upload { needs: Needs::default(), progressed_at, busy: 0, ending: Arc::clone(&ending), end: Box::new(end) };
        state.uploads.insert(number, upload);
        Place { under_way: Arc::clone(self), number, ending }
    }

    /// Takes `more` for an upload, if there is room. Otherwise lets the upload give way that is silent for longest, of
    /// those that have what is lacking. The upload `left` does so only if there is no other.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the upload itself gave way: it takes nothing any more.
    fn try_take(&self, number: u64, left: Option<u64>, more: &Needs) -> Result<bool> {
        loop {
            let lacking = {
                let mut state = enter(&self.state);
                let state = &mut *state;
                let Some(upload) = state.uploads.get_mut(&number) else { return Err(gave_way()) };
                let (taken, most) = (state.taken.each(), self.most.each());
                let mut each = taken.iter().zip(more.each()).zip(most);
                let lacking =
                    each.position(|((taken, more), most)| more > 0 && *taken > 0 && taken.saturating_add(more) > most);
                if lacking.is_none() {
                    state.taken.add(more);
                    upload.needs.add(more);
                    upload.progressed_at = self.clock.monotonic();
                }
                lacking
            };
            let Some(lacking) = lacking else { return Ok(true) };
            if !self.let_give_way(number, left, lacking) {
                return Ok(false);
            }
        }
    }

    /// Lets the upload give way that is silent for longest, of all but one that have some of a need. The upload `left`,
    /// which that one goes on from, does so only if there is no other. Returns whether there was one.
    fn let_give_way(&self, but: u64, left: Option<u64>, need: usize) -> bool {
        let now = self.clock.monotonic();
        let given_way = {
            let mut state = enter(&self.state);
            let has = |upload: &Upload| upload.needs.each().get(need).is_some_and(|has| *has > 0);
            let others = || state.uploads.iter().filter(|(number, upload)| **number != but && has(upload));
            let is_alone = others().all(|(number, _)| Some(*number) == left);
            let uploads = others().filter(|(number, _)| is_alone || Some(**number) != left);
            let silent = uploads
                .filter(|(_, upload)| upload.busy == 0)
                .min_by_key(|(_, upload)| upload.progressed_at)
                .filter(|(_, upload)| now.saturating_duration_since(upload.progressed_at) >= PATIENCE)
                .map(|(number, _)| *number);
            let Some(upload) = silent.and_then(|silent| state.uploads.remove(&silent)) else { return false };
            state.taken.take(&upload.needs);
            upload.ending.has_given_way.store(true, Ordering::Release);
            upload
        };
        (given_way.end)();
        given_way.ending.notify.notify_one();
        self.changed.notify_waiters();
        true
    }

    /// Waits until `changed`, or uploads may have been silent for too long. Without a runtime there may be no timer.
    async fn wait(&self, changed: impl Future<Output = ()> + Unpin) {
        if tokio::runtime::Handle::try_current().is_err() {
            return changed.await;
        }
        let now = self.clock.monotonic();
        select(changed, self.clock.sleep_until(now.checked_add(PATIENCE).unwrap_or(now))).await;
    }
}

impl Place {
    /// Takes more of what uploads share, once there is room, unless `is_needed` says that others have done so. Returns
    /// whether it took it. The upload `left`, which this one goes on from, gives way only if there is no other.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the upload gave way.
    pub(crate) async fn take(
        &self,
        more: Needs,
        left: Option<&Self>,
        is_needed: impl Fn() -> bool + Send,
    ) -> Result<bool> {
        loop {
            let mut changed = std::pin::pin!(self.under_way.changed.notified());
            changed.as_mut().enable();
            self.check()?;
            if !is_needed() {
                return Ok(false);
            }
            match self.under_way.try_take(self.number, left.map(|left| left.number), &more) {
                Ok(true) => return Ok(true),
                Ok(false) => self.under_way.wait(changed).await,
                // It has ended otherwise, and needs nothing.
                Err(_) if !is_needed() => return self.check().map(|()| false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until another upload has ended, or lets one give way: `left`, which this one goes on from, only if there is
    /// no other.
    ///
    /// # Errors
    ///
    /// `Unavailable` if this one gave way.
    pub(crate) async fn wait_for_others(&self, left: Option<&Self>) -> Result<()> {
        let mut changed = std::pin::pin!(self.under_way.changed.notified());
        changed.as_mut().enable();
        self.check()?;
        if !self.under_way.let_give_way(self.number, left.map(|left| left.number), SPACE) {
            self.under_way.wait(changed).await;
        }
        self.check()
    }

    /// Has all that wait for room look again: those that share this upload need none any more.
    pub(crate) fn notify(&self) {
        self.under_way.changed.notify_waiters();
    }

    /// Gives back all that was taken, as the upload has ended, though some still take part in it.
    pub(crate) fn end(&self) {
        let removed = {
            let mut state = enter(&self.under_way.state);
            let removed = state.uploads.remove(&self.number);
            if let Some(upload) = &removed {
                state.taken.take(&upload.needs);
            }
            removed
        };
        if removed.is_some() {
            self.notify();
        }
    }

    /// Gives back what was taken and is not needed.
    pub(crate) fn give_back(&self, less: &Needs) {
        {
            let mut state = enter(&self.under_way.state);
            let state = &mut *state;
            let Some(upload) = state.uploads.get_mut(&self.number) else { return };
            upload.needs.take(less);
            state.taken.take(less);
        }
        self.under_way.changed.notify_waiters();
    }

    /// Returns the uploads that this one is among.
    pub(crate) fn under_way(&self) -> Arc<UnderWay> {
        Arc::clone(&self.under_way)
    }

    /// Notes that what the upload waits for is up to the store, not to the sender, until the result is dropped.
    pub(crate) fn begin_work(&self) -> Busy {
        if let Some(upload) = enter(&self.under_way.state).uploads.get_mut(&self.number) {
            upload.busy += 1;
        }
        Busy { under_way: Arc::clone(&self.under_way), number: self.number }
    }

    /// Notes that bytes have arrived.
    pub(crate) fn note_progress(&self) {
        let now = self.under_way.clock.monotonic();
        if let Some(upload) = enter(&self.under_way.state).uploads.get_mut(&self.number) {
            upload.progressed_at = now;
        }
    }

    /// Waits for `work`, unless the upload gives way first.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it did.
    pub(crate) async fn unless_given_way<T>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.check()?;
        let given_way = std::pin::pin!(self.ending.notify.notified());
        match select(std::pin::pin!(work), given_way).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => {
                // Others that take part in the upload are to know it as well.
                self.ending.notify.notify_one();
                Err(gave_way())
            }
        }
    }

    /// Fails if the upload gave way.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it did.
    pub(crate) fn check(&self) -> Result<()> {
        if self.ending.has_given_way.load(Ordering::Acquire) { Err(gave_way()) } else { Ok(()) }
    }
}

fn gave_way() -> Error {
    Error::unavailable(format!(
        "the upload gave way to others: it sent nothing for {PATIENCE:?} while too many were under way"
    ))
}

impl Drop for Busy {
    fn drop(&mut self) {
        let now = self.under_way.clock.monotonic();
        if let Some(upload) = enter(&self.under_way.state).uploads.get_mut(&self.number) {
            upload.busy = upload.busy.saturating_sub(1);
            upload.progressed_at = now;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.end();
    }
}

impl Debug for UnderWay {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let state = enter(&self.state);
        f.debug_struct("UnderWay")
            .field("uploads", &state.uploads.len())
            .field("taken", &state.taken)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(any(loom, shuttle)))]
mod tests {
    use blobaccess::ErrorKind;
    use blobaccess_testkit::ManualClock;

    use super::*;

    fn bounded(reservations: u64) -> (Arc<UnderWay>, Arc<ManualClock>, Needs) {
        let clock = Arc::new(ManualClock::new());
        let one = Needs { reservations: 1, ..Needs::default() };
        (UnderWay::new(Needs { reservations, ..Needs::default() }, Arc::<ManualClock>::clone(&clock)), clock, one)
    }

    #[test]
    fn an_upload_that_waits_for_the_store_is_not_silent() {
        let (uploads, clock, one) = bounded(1);
        let (first, second) = (uploads.begin(|| ()), uploads.begin(|| ()));
        assert!(uploads.try_take(first.number, None, &one).is_ok_and(|is_taken| is_taken));
        let busy = first.begin_work();
        clock.advance(PATIENCE);
        assert!(uploads.try_take(second.number, None, &one).is_ok_and(|is_taken| !is_taken));
        drop(busy);
        assert!(uploads.try_take(second.number, None, &one).is_ok_and(|is_taken| !is_taken));
        clock.advance(PATIENCE);
        assert!(uploads.try_take(second.number, None, &one).is_ok_and(|is_taken| is_taken));
    }

    #[test]
    fn an_upload_that_gave_way_takes_nothing_any_more() {
        let (uploads, clock, one) = bounded(1);
        let (first, second) = (uploads.begin(|| ()), uploads.begin(|| ()));
        assert!(uploads.try_take(first.number, None, &one).is_ok_and(|is_taken| is_taken));
        clock.advance(PATIENCE);
        assert!(uploads.try_take(second.number, None, &one).is_ok_and(|is_taken| is_taken));
        drop(second);
        // As if it had looked before it gave way.
        let error = uploads.try_take(first.number, None, &one).err();
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::Unavailable));
        assert_eq!(enter(&uploads.state).taken.reservations, 0);
    }
}
