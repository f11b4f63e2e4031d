//! The records of a journal, and their encoding in its file.

use blobaccess::{Digest, DigestFunction, InstanceName, StoredSize, UploadToken};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::ledger::codec::{Bytes, put_account, put_amounts, put_tally, put_text};
use crate::{Account, Amounts, Class, DropReason, Epoch, ErrorReason, Outcome, Reporter, Tally};

/// The version of the format that is written. Versions 1 and 2 are read; a journal of any other is left alone.
pub(super) const VERSION: u8 = 3;

/// The version before: no rows, and no sizes of open uploads in the store.
const SECOND_VERSION: u8 = 2;

/// The first version: lengths of two bytes, and no store in the head.
const FIRST_VERSION: u8 = 1;

/// A record of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// The owner of the journal. It is written twice, so that one bad sector does not take the journal's name.
    Head { owner: Owner, epoch: Epoch },
    /// A number that stands for an account and an instance name in the records that follow.
    Name { id: u32, account: Account, instance_name: InstanceName },
    /// The beginning of an upload.
    Open(Opened),
    /// The first byte of an upload, which may have been sent.
    Sent { number: u64 },
    /// The end of an upload.
    End { number: u64, outcome: Outcome },
    /// Deletions of blobs.
    Deleted { account: Account, class: Class, amounts: Amounts },
    /// The tally of an account before the records that follow.
    Totals { account: Account, tally: Tally },
    /// An account that stored nothing, and whose counts so far go to the account `__other__` of its kind.
    Folded { account: Account },
    /// The plan of a batch of rows, of which as many records of its accounts follow.
    Planned { number: u64, created_at_millis: u64, accounts: u32 },
    /// The rows of an account in a batch that is planned.
    PlannedRows { number: u64, account: Account, tally: Tally },
    /// A batch of rows that was acknowledged.
    Delivered { number: u64 },
    /// The rows of an account that were acknowledged before the records that follow.
    DeliveredRows { account: Account, tally: Tally },
}

/// The owner of a journal: nobody else can tell what became of the uploads in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) reporter: Reporter,
    /// The store that the uploads went to; empty if it has no name.
    pub(crate) store: String,
}

impl Owner {
    /// Returns whether this owner may take up a journal of `other`, which may have been written before the store had a
    /// name.
    pub(crate) fn takes_up(&self, other: &Self) -> bool {
        self.reporter == other.reporter && (other.store.is_empty() || self.store == other.store)
    }
}

/// An upload that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) number: u64,
    /// The [`Record::Name`] of its account and instance name.
    pub(crate) name: u32,
    /// The digest, in the instance name of that record.
    pub(crate) digest: Digest,
    pub(crate) logical_bytes: u64,
    /// The bytes that the blob would take in the store.
    pub(crate) size: StoredSize,
    /// The token; `None` if it follows from epoch and number.
    pub(crate) token: Option<UploadToken>,
    pub(crate) sent: bool,
    /// Whether a record of totals already counts its beginning.
    pub(crate) counted: bool,
}

const HEAD: u8 = 1;
const NAME: u8 = 2;
const OPEN: u8 = 3;
const SENT: u8 = 4;
const END: u8 = 5;
const DELETED: u8 = 6;
const TOTALS: u8 = 7;
const FOLDED: u8 = 8;
const PLANNED: u8 = 9;
const PLANNED_ROWS: u8 = 10;
const DELIVERED: u8 = 11;
const DELIVERED_ROWS: u8 = 12;

const FLAG_SENT: u8 = 1;
const FLAG_COUNTED: u8 = 2;
const FLAG_TOKEN: u8 = 4;
const FLAG_LOGICAL: u8 = 8;
/// The stored size is that of the blob. With [`FLAG_AT_MOST`], it is another one, which is exact.
const FLAG_EXACT: u8 = 16;
/// The stored size is at most a number at the end of the record.
const FLAG_AT_MOST: u8 = 32;

/// The bytes before each record: a length of four and a checksum of four, over the length too.
const FRAME_BYTES: usize = 8;

/// The same in the first version: a length of two, which the checksum does not cover.
const FIRST_FRAME_BYTES: usize = 6;

/// The length of the longest record that is looked for behind damage, in bytes. It has two names and a tally.
const MAX_SOUGHT_BYTES: usize = 8 << 10;

/// The frame of records: that of the first version, and that of all since the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    First,
    Second,
}

impl Frame {
    /// Returns the frame of the records in `bytes`, the beginning of a journal; `None` if that is no journal.
    ///
    /// The second head tells if the first is damaged.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        [Self::Second, Self::First].into_iter().find(|frame| frame.split(bytes).is_some()).or_else(|| {
            let begin = bytes.get(..bytes.len().min(MAX_SOUGHT_BYTES))?;
            Self::Second.find(begin, 0).map(|_| Self::Second)
        })
    }

    /// Returns the body of the record at the beginning of `bytes`, and the length of the whole record; `None` if there is no
    /// whole record.
    pub(super) fn split(self, bytes: &[u8]) -> Option<(&[u8], usize)> {
        let (body, check, length) = self.cut(bytes)?;
        (checksum(self, body) == check).then_some((body, length))
    }

    fn cut(self, bytes: &[u8]) -> Option<(&[u8], [u8; 4], usize)> {
        let (length, check, frame) = match self {
            Self::First => {
                let [a, b, check @ ..] = *bytes.first_chunk::<FIRST_FRAME_BYTES>()?;
                (usize::from(u16::from_le_bytes([a, b])), check, FIRST_FRAME_BYTES)
            }
            Self::Second => {
                let [a, b, c, d, check @ ..] = *bytes.first_chunk::<FRAME_BYTES>()?;
                (usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?, check, FRAME_BYTES)
            }
        };
        let end = frame.checked_add(length)?;
        Some((bytes.get(frame..end)?, check, end))
    }

    /// Returns the place of the next whole record at or behind `from`.
    pub(super) fn find(self, bytes: &[u8], from: usize) -> Option<usize> {
        (from..bytes.len()).find(|at| {
            let Some((body, check, _)) = bytes.get(*at..).and_then(|rest| self.cut(rest)) else { return false };
            // Most places are told apart without a checksum.
            body.len() <= MAX_SOUGHT_BYTES
                && body.first().is_some_and(|code| (HEAD..=DELIVERED_ROWS).contains(code))
                && checksum(self, body) == check
        })
    }
}

impl Record {
    /// Appends the record to `out`: its length, a checksum, and its fields.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend([0; FRAME_BYTES]);
        self.put_body(out);
        let Some((frame, body)) = out.get_mut(begin..).and_then(|all| all.split_first_chunk_mut::<FRAME_BYTES>())
        else {
            return;
        };
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let check = u32::from_le_bytes(checksum(Frame::Second, body));
        *frame = (u64::from(check) << 32 | u64::from(length)).to_le_bytes();
    }

    fn put_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Head { owner, epoch } => {
                out.extend([HEAD, VERSION]);
                out.extend(epoch.as_bytes());
                put_text(out, owner.reporter.as_str());
                put_text(out, &owner.store);
            }
            Self::Name { id, account, instance_name } => {
                out.push(NAME);
                out.extend(id.to_le_bytes());
                put_account(out, account);
                put_text(out, instance_name.as_str());
            }
            Self::Open(opened) => opened.put_body(out),
            Self::Sent { number } => {
                out.push(SENT);
                out.extend(number.to_le_bytes());
            }
            Self::End { number, outcome } => {
                out.push(END);
                out.extend(number.to_le_bytes());
                put_outcome(out, *outcome);
            }
            Self::Deleted { account, class, amounts } => {
                out.push(DELETED);
                put_account(out, account);
                out.push(class.code());
                put_amounts(out, *amounts);
            }
            Self::Totals { account, tally } => {
                out.push(TOTALS);
                put_account(out, account);
                put_tally(out, tally);
            }
            Self::Folded { account } => {
                out.push(FOLDED);
                put_account(out, account);
            }
            Self::Planned { number, created_at_millis, accounts } => {
                out.push(PLANNED);
                out.extend(number.to_le_bytes());
                out.extend(created_at_millis.to_le_bytes());
                out.extend(accounts.to_le_bytes());
            }
            Self::PlannedRows { number, account, tally } => {
                out.push(PLANNED_ROWS);
                out.extend(number.to_le_bytes());
                put_account(out, account);
                put_tally(out, tally);
            }
            Self::Delivered { number } => {
                out.push(DELIVERED);
                out.extend(number.to_le_bytes());
            }
            Self::DeliveredRows { account, tally } => {
                out.push(DELIVERED_ROWS);
                put_account(out, account);
                put_tally(out, tally);
            }
        }
    }

    /// Reads the record with this body; `None` if it makes no sense, or if `instance_name` does not know the number of its
    /// name.
    pub(super) fn read(body: &[u8], instance_name: impl Fn(u32) -> Option<InstanceName>) -> Option<Self> {
        let mut bytes = Bytes(body);
        let record = Self::read_body(&mut bytes, instance_name)?;
        bytes.is_empty().then_some(record)
    }

    /// Returns whether the record with this body is the head of a journal of the version that is written.
    pub(super) fn is_head_of_present_version(body: &[u8]) -> bool {
        body.starts_with(&[HEAD, VERSION])
    }

    fn read_body(bytes: &mut Bytes<'_>, instance_name: impl Fn(u32) -> Option<InstanceName>) -> Option<Self> {
        Some(match bytes.byte()? {
            HEAD => {
                let version = bytes.byte()?;
                let epoch = Epoch::from_bytes(bytes.array()?);
                let reporter = Reporter::new(bytes.text()?);
                let store = match version {
                    FIRST_VERSION => String::new(),
                    SECOND_VERSION | VERSION => bytes.text()?.to_owned(),
                    _ => return None,
                };
                Self::Head { owner: Owner { reporter, store }, epoch }
            }
            NAME => {
                let (id, account) = (bytes.u32()?, bytes.account()?);
                Self::Name { id, account, instance_name: InstanceName::from_stored(bytes.text()?).ok()? }
            }
            OPEN => Self::Open(Opened::read_body(bytes, instance_name)?),
            SENT => Self::Sent { number: bytes.u64()? },
            END => Self::End { number: bytes.u64()?, outcome: read_outcome(bytes)? },
            DELETED => {
                let account = bytes.account()?;
                Self::Deleted { account, class: Class::from_code(bytes.byte()?)?, amounts: bytes.amounts()? }
            }
            TOTALS => Self::Totals { account: bytes.account()?, tally: bytes.tally()? },
            FOLDED => Self::Folded { account: bytes.account()? },
            PLANNED => Self::Planned { number: bytes.u64()?, created_at_millis: bytes.u64()?, accounts: bytes.u32()? },
            PLANNED_ROWS => {
                Self::PlannedRows { number: bytes.u64()?, account: bytes.account()?, tally: bytes.tally()? }
            }
            DELIVERED => Self::Delivered { number: bytes.u64()? },
            DELIVERED_ROWS => Self::DeliveredRows { account: bytes.account()?, tally: bytes.tally()? },
            _ => return None,
        })
    }
}

impl Opened {
    fn put_body(&self, out: &mut Vec<u8>) {
        let logical = self.logical_bytes != self.digest.size_bytes();
        let (size_flags, size) = match self.size {
            StoredSize::Unknown => (0, None),
            StoredSize::Exact(size) if size == self.logical_bytes => (FLAG_EXACT, None),
            StoredSize::Exact(size) => (FLAG_EXACT | FLAG_AT_MOST, Some(size)),
            StoredSize::AtMost(size) => (FLAG_AT_MOST, Some(size)),
        };
        let flags = [
            (self.sent, FLAG_SENT),
            (self.counted, FLAG_COUNTED),
            (self.token.is_some(), FLAG_TOKEN),
            (logical, FLAG_LOGICAL),
        ];
        let flags = flags.into_iter().filter(|(set, _)| *set).fold(size_flags, |flags, (_, flag)| flags | flag);
        out.extend([OPEN, flags]);
        out.extend(self.number.to_le_bytes());
        out.extend(self.name.to_le_bytes());
        out.extend(self.token.iter().flat_map(UploadToken::as_bytes));
        if logical {
            out.extend(self.logical_bytes.to_le_bytes());
        }
        out.extend(self.digest.size_bytes().to_le_bytes());
        out.push(u8::try_from(self.digest.function().number()).unwrap_or(0));
        out.extend(self.digest.hash_bytes());
        out.extend(size.iter().flat_map(|size| size.to_le_bytes()));
    }

    fn read_body(bytes: &mut Bytes<'_>, instance_name: impl Fn(u32) -> Option<InstanceName>) -> Option<Self> {
        let flags = bytes.byte()?;
        let (number, name) = (bytes.u64()?, bytes.u32()?);
        let token = if flags & FLAG_TOKEN == 0 { None } else { Some(UploadToken::from_bytes(bytes.array()?)) };
        let logical = if flags & FLAG_LOGICAL == 0 { None } else { Some(bytes.u64()?) };
        let size_bytes = bytes.u64()?;
        let function = DigestFunction::from_number(bytes.byte()?.into())?;
        let hash = bytes.slice(function.hash_size_bytes())?;
        let digest = Digest::from_hash(instance_name(name)?, function, hash, size_bytes).ok()?;
        let logical_bytes = logical.unwrap_or(size_bytes);
        let size = match (flags & FLAG_EXACT != 0, flags & FLAG_AT_MOST != 0) {
            (false, false) => StoredSize::Unknown,
            (true, false) => StoredSize::Exact(logical_bytes),
            (true, true) => StoredSize::Exact(bytes.u64()?),
            (false, true) => StoredSize::AtMost(bytes.u64()?),
        };
        Some(Self {
            number,
            name,
            digest,
            logical_bytes,
            size,
            token,
            sent: flags & FLAG_SENT != 0,
            counted: flags & FLAG_COUNTED != 0,
        })
    }
}

fn put_outcome(out: &mut Vec<u8>, outcome: Outcome) {
    let (stored, old) = match outcome {
        Outcome::Created { stored_bytes } | Outcome::AlreadyExists { stored_bytes } => (Some(stored_bytes), 0),
        Outcome::Replaced { stored_bytes, old_bytes } => (Some(stored_bytes), old_bytes),
        Outcome::Unclassified { stored_bytes } | Outcome::Dropped { stored_bytes, .. } => (stored_bytes, 0),
        Outcome::Error(_) => (None, 0),
    };
    out.extend([Class::from_outcome(outcome).code(), u8::from(stored.is_some())]);
    out.extend(stored.unwrap_or(0).to_le_bytes());
    out.extend(old.to_le_bytes());
}

fn read_outcome(bytes: &mut Bytes<'_>) -> Option<Outcome> {
    let class = Class::from_code(bytes.byte()?)?;
    let known = bytes.byte()? != 0;
    let (stored_bytes, old_bytes) = (bytes.u64()?, bytes.u64()?);
    let stored = known.then_some(stored_bytes);
    let dropped = |reason| Outcome::Dropped { reason, stored_bytes: stored };
    Some(match class {
        Class::Created => Outcome::Created { stored_bytes },
        Class::AlreadyExists => Outcome::AlreadyExists { stored_bytes },
        Class::Replaced => Outcome::Replaced { stored_bytes, old_bytes },
        Class::Unclassified => Outcome::Unclassified { stored_bytes: stored },
        Class::Rejected => Outcome::Error(ErrorReason::Rejected),
        Class::Ambiguous => Outcome::Error(ErrorReason::Ambiguous),
        Class::Cancelled => Outcome::Error(ErrorReason::Cancelled),
        Class::Panicked => Outcome::Error(ErrorReason::Panicked),
        Class::Deadline => Outcome::Error(ErrorReason::Deadline),
        Class::QueueFull => dropped(DropReason::QueueFull),
        Class::SourceUnavailable => dropped(DropReason::SourceUnavailable),
        Class::Shutdown => dropped(DropReason::Shutdown),
        Class::Disabled => dropped(DropReason::Disabled),
        Class::Started | Class::DeletedByRotation | Class::DeletedOnRequest | Class::DeletedByCollection => {
            return None;
        }
    })
}

fn checksum(frame: Frame, body: &[u8]) -> [u8; 4] {
    let sum = match frame {
        Frame::First => xxh3_64(body),
        Frame::Second => xxh3_64_with_seed(body, u64::try_from(body.len()).unwrap_or(u64::MAX)),
    };
    let [a, b, c, d, ..] = sum.to_le_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use blobaccess::{AccountName, StorageType};

    use super::*;

    fn name() -> InstanceName {
        InstanceName::new("acme/main").unwrap()
    }

    fn records() -> Vec<Record> {
        let account = Account::new(AccountName::new("acme"), StorageType::Ac);
        let digest = Digest::of(name(), DigestFunction::Sha256, b"an action");
        let sized = |token, sent, counted, logical_bytes, size| {
            let digest = digest.clone();
            Record::Open(Opened { number: 7, name: 3, digest, logical_bytes, size, token, sent, counted })
        };
        let opened =
            |token, sent, counted, logical_bytes| sized(token, sent, counted, logical_bytes, StoredSize::Unknown);
        let mut records = vec![
            Record::Head {
                owner: Owner { reporter: Reporter::new("host"), store: "bucket".to_owned() },
                epoch: Epoch::from_bytes([9; 16]),
            },
            Record::Name { id: 3, account: account.clone(), instance_name: name() },
            opened(None, true, false, digest.size_bytes()),
            opened(Some(UploadToken::from_bytes([4; 16])), false, true, 77),
            Record::Sent { number: 7 },
            Record::Deleted {
                account: account.clone(),
                class: Class::DeletedOnRequest,
                amounts: Amounts::deleted(1, 5),
            },
            Record::Totals {
                account: account.clone(),
                tally: [(Class::Created, Amounts::deleted(3, 4))].into_iter().collect(),
            },
            Record::Folded { account },
            sized(None, true, false, 77, StoredSize::Exact(77)),
            sized(None, true, false, 77, StoredSize::Exact(0)),
            sized(Some(UploadToken::from_bytes([4; 16])), false, true, 77, StoredSize::AtMost(99)),
        ];
        for outcome in [
            Outcome::Created { stored_bytes: 1 },
            Outcome::AlreadyExists { stored_bytes: 2 },
            Outcome::Replaced { stored_bytes: 3, old_bytes: 4 },
            Outcome::Unclassified { stored_bytes: None },
            Outcome::Unclassified { stored_bytes: Some(0) },
            Outcome::Error(ErrorReason::Panicked),
            Outcome::Dropped { reason: DropReason::Shutdown, stored_bytes: Some(9) },
        ] {
            records.push(Record::End { number: 7, outcome });
        }
        records
    }

    fn read(bytes: &[u8]) -> Option<(Record, usize)> {
        let (body, length) = Frame::Second.split(bytes)?;
        Some((Record::read(body, |_| Some(name()))?, length))
    }

    #[test]
    fn what_was_written_is_read() {
        let mut written = Vec::new();
        for record in records() {
            record.put(&mut written);
        }
        let mut rest = written.as_slice();
        for expected in records() {
            let (record, length) = read(rest).unwrap();
            assert_eq!(record, expected);
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn a_record_of_any_length_is_read() {
        let account = Account::new(AccountName::new("acme"), StorageType::Cas);
        let instance_name = InstanceName::from_stored(&"x".repeat(70_000)).unwrap();
        let long = Record::Name { id: 1, account, instance_name };
        let mut written = Vec::new();
        long.put(&mut written);
        assert_eq!(read(&written), Some((long, written.len())));
    }

    #[test]
    fn a_record_that_is_torn_or_altered_is_none() {
        for record in records() {
            let mut written = Vec::new();
            record.put(&mut written);
            for length in 0..written.len() {
                assert_eq!(read(&written[..length]), None);
            }
            for at in 0..written.len() {
                let mut altered = written.clone();
                altered[at] ^= 0x10;
                assert_eq!(read(&altered), None, "{record:?} at {at}");
            }
        }
    }

    #[test]
    fn an_intent_takes_about_64_bytes() {
        let mut written = Vec::new();
        records()[2].put(&mut written);
        assert_eq!(written.len(), 63);
        let mut written = Vec::new();
        records().iter().find(|record| matches!(record, Record::End { .. })).unwrap().put(&mut written);
        assert_eq!(written.len(), 35);
    }
}
