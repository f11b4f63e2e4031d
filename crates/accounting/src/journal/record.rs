//! The records of a journal, and their encoding in its file.

use blobaccess::{Digest, DigestFunction, InstanceName, UploadToken};
use xxhash_rust::xxh3::xxh3_64;

use crate::ledger::codec::{Bytes, put_account, put_amounts, put_tally, put_text};
use crate::{Account, Amounts, Class, DropReason, Epoch, ErrorReason, Outcome, Reporter, Tally};

/// The version of the format. A journal of another version is left alone.
pub(super) const VERSION: u8 = 1;

/// A record of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// The owner of the journal; always the first record.
    Head { reporter: Reporter, epoch: Epoch },
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

const FLAG_SENT: u8 = 1;
const FLAG_COUNTED: u8 = 2;
const FLAG_TOKEN: u8 = 4;
const FLAG_LOGICAL: u8 = 8;

/// The bytes before each record: a length of two and a checksum of four.
const FRAME_BYTES: usize = 6;

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
        // A record with names that are too long would be cut; its checksum then fails, as if it were torn.
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_le_bytes();
        let [a, b, c, d] = checksum(body);
        *frame = [length[0], length[1], a, b, c, d];
    }

    fn put_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Head { reporter, epoch } => {
                out.extend([HEAD, VERSION]);
                out.extend(epoch.as_bytes());
                put_text(out, reporter.as_str());
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
        }
    }

    /// Reads the record at the beginning of `bytes`, and its length there; `None` if there is no whole record.
    ///
    /// `instance_name` resolves the numbers that were assigned so far.
    pub(super) fn read(bytes: &[u8], instance_name: impl Fn(u32) -> Option<InstanceName>) -> Option<(Self, usize)> {
        let ([a, b, check @ ..], rest) = bytes.split_first_chunk::<FRAME_BYTES>()?;
        let length = usize::from(u16::from_le_bytes([*a, *b]));
        let body = rest.get(..length)?;
        if checksum(body) != *check {
            return None;
        }
        let mut bytes = Bytes(body);
        let record = Self::read_body(&mut bytes, instance_name)?;
        bytes.is_empty().then_some((record, FRAME_BYTES + length))
    }

    fn read_body(bytes: &mut Bytes<'_>, instance_name: impl Fn(u32) -> Option<InstanceName>) -> Option<Self> {
        Some(match bytes.byte()? {
            HEAD if bytes.byte()? == VERSION => {
                let epoch = Epoch::from_bytes(bytes.array()?);
                Self::Head { reporter: Reporter::new(bytes.text()?), epoch }
            }
            NAME => {
                let (id, account) = (bytes.u32()?, bytes.account()?);
                Self::Name { id, account, instance_name: InstanceName::new(bytes.text()?).ok()? }
            }
            OPEN => Self::Open(Opened::read_body(bytes, instance_name)?),
            SENT => Self::Sent { number: bytes.u64()? },
            END => Self::End { number: bytes.u64()?, outcome: read_outcome(bytes)? },
            DELETED => {
                let account = bytes.account()?;
                Self::Deleted { account, class: Class::from_code(bytes.byte()?)?, amounts: bytes.amounts()? }
            }
            TOTALS => Self::Totals { account: bytes.account()?, tally: bytes.tally()? },
            _ => return None,
        })
    }
}

impl Opened {
    fn put_body(&self, out: &mut Vec<u8>) {
        let logical = self.logical_bytes != self.digest.size_bytes();
        let flags = [
            (self.sent, FLAG_SENT),
            (self.counted, FLAG_COUNTED),
            (self.token.is_some(), FLAG_TOKEN),
            (logical, FLAG_LOGICAL),
        ];
        let flags = flags.into_iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag);
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
        Some(Self {
            number,
            name,
            digest,
            logical_bytes: logical.unwrap_or(size_bytes),
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

fn checksum(body: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = xxh3_64(body).to_le_bytes();
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
        let opened = |token, sent, counted, logical_bytes| {
            Record::Open(Opened { number: 7, name: 3, digest: digest.clone(), logical_bytes, token, sent, counted })
        };
        let mut records = vec![
            Record::Head { reporter: Reporter::new("host"), epoch: Epoch::from_bytes([9; 16]) },
            Record::Name { id: 3, account: account.clone(), instance_name: name() },
            opened(None, true, false, digest.size_bytes()),
            opened(Some(UploadToken::from_bytes([4; 16])), false, true, 77),
            Record::Sent { number: 7 },
            Record::Deleted {
                account: account.clone(),
                class: Class::DeletedOnRequest,
                amounts: Amounts::deleted(1, 5),
            },
            Record::Totals { account, tally: [(Class::Created, Amounts::deleted(3, 4))].into_iter().collect() },
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

    #[test]
    fn what_was_written_is_read() {
        let mut written = Vec::new();
        for record in records() {
            record.put(&mut written);
        }
        let mut rest = written.as_slice();
        for expected in records() {
            let (record, length) = Record::read(rest, |_| Some(name())).unwrap();
            assert_eq!(record, expected);
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn a_record_that_is_torn_or_altered_is_none() {
        for record in records() {
            let mut written = Vec::new();
            record.put(&mut written);
            for length in 0..written.len() {
                assert_eq!(Record::read(&written[..length], |_| Some(name())), None);
            }
            for at in 0..written.len() {
                let mut altered = written.clone();
                altered[at] ^= 0x10;
                assert_eq!(Record::read(&altered, |_| Some(name())), None, "{record:?} at {at}");
            }
        }
    }

    #[test]
    fn an_intent_takes_about_64_bytes() {
        let mut written = Vec::new();
        records()[2].put(&mut written);
        assert_eq!(written.len(), 61);
        let mut written = Vec::new();
        records()[7].put(&mut written);
        assert_eq!(written.len(), 33);
    }
}
