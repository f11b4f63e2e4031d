//! The result of a scan: the drift in all, by kind of store and by account.

use std::fmt::{self, Display, Formatter};
use std::time::SystemTime;

use blobaccess::StorageType;

use super::{DriftInterval, Listed};
use crate::{Account, Life};

/// The thing whose drift was measured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DriftSubject {
    /// One account.
    Account(Account),
    /// All accounts of this kind for which there was no room among those compared apart.
    OtherAccounts(StorageType),
    /// All stores of this kind.
    Kind(StorageType),
    /// Everything. Drifts of opposite sign cancel here.
    Total,
}

impl Display for DriftSubject {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => Display::fmt(account, f),
            Self::OtherAccounts(storage_type) => write!(f, "{} of all further accounts", storage_type.name()),
            Self::Kind(storage_type) => write!(f, "all of {}", storage_type.name()),
            Self::Total => f.write_str("everything"),
        }
    }
}

/// The drift of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriftFinding {
    /// The subject.
    pub subject: DriftSubject,
    /// The interval in which its drift lies.
    pub interval: DriftInterval,
    /// The number of scans in a row in which the whole interval was beyond the share that is tolerated.
    pub scans_beyond: u32,
    /// Whether that is cause for alarm.
    pub is_alarm: bool,
}

/// The drift of stores of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindDrift {
    /// The kind.
    pub storage_type: StorageType,
    /// The drift. The blobs that were there before the ledger are in it only if an account of the ledger has them.
    pub finding: DriftFinding,
    /// The blobs of accounts.
    pub owned: Listed,
    /// The blobs that were there before the ledger began.
    pub adopted: Listed,
    /// The blobs whose owner is not known.
    pub unknown: Listed,
    /// Whether accounts were compared: an owner was known of some blob, or there is none of which it was not.
    pub by_account: bool,
}

/// The number of subjects that are cause for alarm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriftAlarms {
    /// The number of accounts.
    pub accounts: usize,
    /// The number of kinds of store.
    pub kinds: usize,
    /// Whether everything together is.
    pub total: bool,
}

impl DriftAlarms {
    /// Returns whether there is any cause for alarm.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.accounts > 0 || self.kinds > 0 || self.total
    }
}

/// The result of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriftReport {
    /// The time of the first reading of the ledger.
    pub begun_at: SystemTime,
    /// The time of the second reading.
    pub finished_at: SystemTime,
    /// The drift of everything.
    pub total: DriftFinding,
    /// The drift by kind, in the order of kinds.
    pub kinds: Vec<KindDrift>,
    /// The accounts that drift most, the worst first: as many as the options say.
    pub worst: Vec<DriftFinding>,
    /// The number of accounts that were compared.
    pub compared_accounts: usize,
    /// The sum of the drifts that are proved of accounts, in bytes, whatever their sign.
    pub proved_bytes_of_accounts: u128,
    /// The number of subjects that are cause for alarm.
    pub alarms: DriftAlarms,
    /// The number of lives that are neither over nor retired and did not report. What they have not reported is drift.
    pub silent_lives: usize,
    /// The first of those lives, at most 100.
    pub silent: Vec<Life>,
    /// The number of lives that were retired and have reported since.
    pub returned_lives: usize,
}
