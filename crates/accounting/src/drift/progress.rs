//! The progress of a watch as bytes: a scan that goes on, or the end of the latest.

use std::collections::HashMap;
use std::time::SystemTime;

use blobaccess::{InventoryCursor, StorageType};
use xxhash_rust::xxh3::xxh3_64;

use super::comparing::Beyond;
use super::heard::{LifeKey, Mark};
use super::sheet::{KindRows, Reported, Row, Sheet};
use super::{DriftSubject, Listed};
use crate::ledger::codec::{Bytes, put_account};
use crate::{Account, from_unix_millis, unix_millis};

/// The first bytes of a file of progress, with its version.
const MAGIC: &[u8; 8] = b"bldrift\x01";

/// The largest file of progress that is written or read, in bytes.
pub(super) const MAX_FILE_BYTES: u64 = 256 << 20;

/// The progress of the listing of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) next: Option<InventoryCursor>,
    pub(super) done: bool,
}

/// A scan that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) begun_at: SystemTime,
    pub(super) sheet: Sheet,
    pub(super) shards: Vec<Shard>,
    /// The latest reports at the first reading, of lives that were open.
    pub(super) marks: HashMap<LifeKey, Mark>,
}

/// Everything that outlives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The scan that goes on.
    pub(super) scan: Option<Scan>,
    /// The end of the latest scan.
    pub(super) finished_at: Option<SystemTime>,
    /// The subjects that were beyond the share that is tolerated in the latest scan.
    pub(super) beyond: Beyond,
}

fn put_number(out: &mut Vec<u8>, number: usize) {
    out.extend(u64::try_from(number).unwrap_or(u64::MAX).to_le_bytes());
}

fn put_listed(out: &mut Vec<u8>, listed: Listed) {
    for number in [listed.objects, listed.stored_bytes, listed.largest_bytes] {
        out.extend(number.to_le_bytes());
    }
}

fn put_row(out: &mut Vec<u8>, row: &Row) {
    out.extend(row.before.footprint.to_le_bytes());
    out.extend(row.before.added.to_le_bytes());
    out.extend(row.before.removed.to_le_bytes());
    put_listed(out, row.listed);
}

fn put_subject(out: &mut Vec<u8>, subject: &DriftSubject) {
    match subject {
        DriftSubject::Account(account) => {
            out.push(0);
            put_account(out, account);
        }
        DriftSubject::OtherAccounts(storage_type) => out.extend([1, Account::storage_code(*storage_type)]),
        DriftSubject::Kind(storage_type) => out.extend([2, Account::storage_code(*storage_type)]),
        DriftSubject::Total => out.push(3),
    }
}

fn listed(bytes: &mut Bytes<'_>) -> Option<Listed> {
    Some(Listed::new(bytes.u64()?, bytes.u64()?, bytes.u64()?))
}

fn row(bytes: &mut Bytes<'_>) -> Option<Row> {
    let before = Reported { footprint: bytes.i128()?, added: bytes.u64()?, removed: bytes.u64()? };
    Some(Row { before, listed: listed(bytes)? })
}

fn subject(bytes: &mut Bytes<'_>) -> Option<DriftSubject> {
    Some(match bytes.byte()? {
        0 => DriftSubject::Account(bytes.account()?),
        1 => DriftSubject::OtherAccounts(bytes.storage_type()?),
        2 => DriftSubject::Kind(bytes.storage_type()?),
        3 => DriftSubject::Total,
        _ => return None,
    })
}

impl Scan {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(unix_millis(self.begun_at).to_le_bytes());
        put_number(out, self.sheet.max_accounts);
        put_number(out, self.sheet.accounts.len());
        for (account, row) in &self.sheet.accounts {
            put_account(out, account);
            put_row(out, row);
        }
        put_number(out, self.sheet.kinds.len());
        for (storage_type, rows) in &self.sheet.kinds {
            out.push(Account::storage_code(*storage_type));
            put_row(out, &rows.others);
            put_listed(out, rows.adopted);
            put_listed(out, rows.unknown);
        }
        put_number(out, self.shards.len());
        for shard in &self.shards {
            out.extend([u8::from(shard.done), u8::from(shard.next.is_some())]);
            let cursor = shard.next.as_ref().map_or(&[][..], InventoryCursor::as_bytes);
            put_number(out, cursor.len());
            out.extend(cursor);
        }
        put_number(out, self.marks.len());
        for (key, (seq, taken_at)) in &self.marks {
            out.extend(key.to_le_bytes());
            out.extend(seq.to_le_bytes());
            out.extend(taken_at.to_le_bytes());
        }
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        let begun_at = from_unix_millis(bytes.u64()?);
        let max_accounts = usize::try_from(bytes.u64()?).ok()?;
        let mut sheet = Sheet { max_accounts, ..Sheet::default() };
        for _ in 0..bytes.u64()? {
            let account = bytes.account()?;
            sheet.accounts.insert(account, row(bytes)?);
        }
        for _ in 0..bytes.u64()? {
            let storage_type = bytes.storage_type()?;
            let rows = KindRows { others: row(bytes)?, adopted: listed(bytes)?, unknown: listed(bytes)? };
            sheet.kinds.insert(storage_type, rows);
        }
        let mut shards = Vec::new();
        for _ in 0..bytes.u64()? {
            let (done, has_next) = (bytes.byte()? != 0, bytes.byte()? != 0);
            let length = usize::try_from(bytes.u64()?).ok()?;
            let cursor = bytes.slice(length)?.to_vec();
            shards.push(Shard { next: has_next.then(|| InventoryCursor::from_bytes(cursor)), done });
        }
        let mut marks = HashMap::new();
        for _ in 0..bytes.u64()? {
            let key = u128::from_le_bytes(bytes.array()?);
            marks.insert(key, (bytes.u64()?, bytes.u64()?));
        }
        Some(Self { begun_at, sheet, shards, marks })
    }
}

impl Progress {
    /// Encodes the progress, as that of the scanned things that `fingerprint` tells apart.
    pub(super) fn to_bytes(&self, fingerprint: u64) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(fingerprint.to_le_bytes());
        out.push(u8::from(self.finished_at.is_some()));
        out.extend(self.finished_at.map_or(0, unix_millis).to_le_bytes());
        put_number(&mut out, self.beyond.len());
        for (subject, times) in &self.beyond {
            put_subject(&mut out, subject);
            out.extend(times.to_le_bytes());
        }
        out.push(u8::from(self.scan.is_some()));
        if let Some(scan) = &self.scan {
            scan.put(&mut out);
        }
        let checksum = xxh3_64(&out);
        out.extend(checksum.to_le_bytes());
        out
    }

    /// Decodes the progress; the reason if that is not possible.
    pub(super) fn from_bytes(all: &[u8], fingerprint: u64) -> Result<Self, &'static str> {
        let (rest, checksum) = all.split_last_chunk().ok_or("it is too short")?;
        if rest.get(..MAGIC.len()) != Some(MAGIC.as_slice()) {
            return Err("it is none of this version");
        }
        if xxh3_64(rest) != u64::from_le_bytes(*checksum) {
            return Err("it is damaged");
        }
        let mut bytes = Bytes(rest.get(MAGIC.len()..).unwrap_or_default());
        if bytes.u64() != Some(fingerprint) {
            return Err("it is of other stores, or of other parts of them");
        }
        Self::read(&mut bytes).filter(|_| bytes.is_empty()).ok_or("it is malformed")
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        let (has_finished, finished_at) = (bytes.byte()? != 0, from_unix_millis(bytes.u64()?));
        let mut beyond = Beyond::new();
        for _ in 0..bytes.u64()? {
            let subject = subject(bytes)?;
            beyond.insert(subject, bytes.u32()?);
        }
        let scan = if bytes.byte()? == 0 { None } else { Some(Scan::read(bytes)?) };
        Some(Self { scan, finished_at: has_finished.then_some(finished_at), beyond })
    }
}

/// Returns what tells the scanned things apart: the name of the store and the kinds of its parts, in their order.
pub(super) fn fingerprint(store_name: &str, parts: impl IntoIterator<Item = StorageType>) -> u64 {
    let mut text = store_name.as_bytes().to_vec();
    text.push(0xff);
    text.extend(parts.into_iter().map(Account::storage_code));
    xxh3_64(&text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use blobaccess::AccountName;

    use super::*;

    fn progress() -> Progress {
        let account = Account::new(AccountName::new("ä'\"\\\u{2028}"), StorageType::Ac);
        let reported = Reported { footprint: -5, added: 7, removed: 12 };
        let row = Row { before: reported, listed: Listed::new(1, 2, 3) };
        let kind = KindRows { others: row, adopted: Listed::new(4, 5, 6), unknown: Listed::new(7, 8, 9) };
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_234_567);
        Progress {
            scan: Some(Scan {
                begun_at: at,
                sheet: Sheet {
                    accounts: [(account.clone(), row)].into(),
                    kinds: [(StorageType::Cas, kind)].into(),
                    max_accounts: 9,
                },
                shards: vec![
                    Shard { next: Some(InventoryCursor::from_bytes(vec![1, 2])), done: false },
                    Shard { next: None, done: true },
                ],
                marks: [(7, (8, 9))].into(),
            }),
            finished_at: Some(at),
            beyond: [
                (DriftSubject::Account(account), 3),
                (DriftSubject::Kind(StorageType::Icas), 1),
                (DriftSubject::OtherAccounts(StorageType::Fsac), 2),
                (DriftSubject::Total, 4),
            ]
            .into(),
        }
    }

    #[test]
    fn progress_is_read_as_it_was_written() {
        for progress in [progress(), Progress { scan: None, ..progress() }, Progress::default()] {
            assert_eq!(Progress::from_bytes(&progress.to_bytes(5), 5), Ok(progress));
        }
    }

    #[test]
    fn damage_of_any_byte_and_any_cut_is_seen() {
        let bytes = progress().to_bytes(5);
        for length in 0..bytes.len() {
            Progress::from_bytes(&bytes[..length], 5).unwrap_err();
            let mut damaged = bytes.clone();
            damaged[length] ^= 0x10;
            Progress::from_bytes(&damaged, 5).unwrap_err();
        }
        assert!(Progress::from_bytes(&bytes, 6).unwrap_err().contains("other stores"));
    }

    #[test]
    fn bytes_of_anybody_with_a_right_checksum_take_no_memory() {
        // The numbers of rows are lies.
        let mut bytes = MAGIC.to_vec();
        bytes.extend(5_u64.to_le_bytes());
        bytes.push(0);
        bytes.extend([0; 8]);
        bytes.extend(u64::MAX.to_le_bytes());
        let checksum = xxh3_64(&bytes);
        bytes.extend(checksum.to_le_bytes());
        assert_eq!(Progress::from_bytes(&bytes, 5), Err("it is malformed"));
    }

    #[test]
    fn stores_are_told_apart_by_name_and_parts() {
        let parts = [StorageType::Cas, StorageType::Ac];
        let all = [fingerprint("a", parts), fingerprint("b", parts), fingerprint("a", [StorageType::Cas])];
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), 3);
    }
}
