//! The settings of a watch over drift.

use std::path::PathBuf;
use std::time::Duration;

use blobaccess::AccountName;

use super::DriftAlarm;

/// The settings of a [`DriftWatch`](super::DriftWatch).
///
/// The ledger, the inventories, the look-up of owners, the clock and the observer are not settings: the watch takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftWatchOptions {
    pub(super) interval: Duration,
    pub(super) shards_at_once: usize,
    pub(super) pages_per_second: u32,
    pub(super) attempts: u32,
    pub(super) step_timeout: Duration,
    pub(super) poll_interval: Duration,
    pub(super) silent_after: Duration,
    pub(super) max_accounts: usize,
    pub(super) worst: usize,
    pub(super) alarm: DriftAlarm,
    pub(super) adopted_account: Option<AccountName>,
    pub(super) progress_file: Option<PathBuf>,
    pub(super) save_interval: Duration,
    pub(super) max_resumed_age: Duration,
    pub(super) store_name: String,
}

impl Default for DriftWatchOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_hours(24),
            shards_at_once: 16,
            pages_per_second: 100,
            attempts: 5,
            step_timeout: Duration::from_mins(1),
            poll_interval: Duration::from_secs(10),
            silent_after: Duration::from_mins(5),
            max_accounts: 65_536,
            worst: 20,
            alarm: DriftAlarm::new(),
            adopted_account: None,
            progress_file: None,
            save_interval: Duration::from_secs(10),
            max_resumed_age: Duration::from_hours(7 * 24),
            store_name: String::new(),
        }
    }
}

impl DriftWatchOptions {
    /// Returns the defaults: a scan each day of 16 shards at once and 100 pages a second at most, an alarm beyond 10 % twice
    /// in a row, and no file of the progress.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time from the end of one scan to the beginning of the next.
    #[must_use]
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the number of shards that are listed concurrently, at least 1. Memory holds a page of each.
    #[must_use]
    pub const fn with_shards_at_once(mut self, shards: usize) -> Self {
        self.shards_at_once = shards;
        self
    }

    /// Sets the number of pages that are requested in a second at most, of all shards together; 0 sets no bound. Each attempt
    /// at a page counts.
    #[must_use]
    pub const fn with_pages_per_second(mut self, pages: u32) -> Self {
        self.pages_per_second = pages;
        self
    }

    /// Sets the number of attempts at a page, at least 1. Between them, 1, 2, 4 s and so on pass, up to a minute. A page that
    /// fails that often ends the attempt at the scan, which goes on at that page later.
    #[must_use]
    pub const fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets the time after which a page, a look-up of owners or a call of the ledger fails.
    #[must_use]
    pub const fn with_step_timeout(mut self, timeout: Duration) -> Self {
        self.step_timeout = timeout;
        self
    }

    /// Sets the time between two looks at the ledger while reports are awaited after a listing.
    #[must_use]
    pub const fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Sets the time after which a life that does not report is silent, and is waited for no longer. It should be several
    /// times the interval of reports, which is a minute by default.
    #[must_use]
    pub const fn with_silent_after(mut self, time: Duration) -> Self {
        self.silent_after = time;
        self
    }

    /// Sets the number of accounts that are compared apart. Further ones are compared as one: of the ledger's accounts, those
    /// with the largest footprints are apart. Each takes some 200 bytes of memory, and 1,100 with the longest of names.
    #[must_use]
    pub const fn with_max_accounts(mut self, accounts: usize) -> Self {
        self.max_accounts = accounts;
        self
    }

    /// Sets the number of accounts that a report names: those that drift most.
    #[must_use]
    pub const fn with_worst(mut self, accounts: usize) -> Self {
        self.worst = accounts;
        self
    }

    /// Sets the rule of the alarm: the percent, the bytes below which nothing counts as smaller, and the scans in a row.
    #[must_use]
    pub const fn with_alarm(mut self, alarm: DriftAlarm) -> Self {
        self.alarm = alarm;
        self
    }

    /// Sets the account of the ledger that has the bytes that were in the store before, if the ledger has them. Blobs of
    /// [`Owner::Adopted`](super::Owner::Adopted) are then compared with it. Without one, they are shown and not compared.
    #[must_use]
    pub fn with_adopted_account(mut self, account_name: AccountName) -> Self {
        self.adopted_account = Some(account_name);
        self
    }

    /// Keeps the progress in the file at `path`, so that a scan goes on after a restart. Its folder must exist. No two watches
    /// share a file.
    #[must_use]
    pub fn with_progress_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.progress_file = Some(path.into());
        self
    }

    /// Sets the time between two writes of the progress. A restart lists again what was listed since the last.
    #[must_use]
    pub const fn with_save_interval(mut self, interval: Duration) -> Self {
        self.save_interval = interval;
        self
    }

    /// Sets the age beyond which a scan that was interrupted is begun anew: its interval would be wide.
    #[must_use]
    pub const fn with_max_resumed_age(mut self, age: Duration) -> Self {
        self.max_resumed_age = age;
        self
    }

    /// Sets the name of the store. The progress of a scan of a store with another name is not gone on with.
    #[must_use]
    pub fn with_store_name(mut self, name: impl Into<String>) -> Self {
        self.store_name = name.into();
        self
    }
}
