//! The ends of uploads on their way into the index: noted in memory, and in a log that outlives the process.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use blobaccess::{Digest, InstanceName, UploadToken};
use xxhash_rust::xxh3::xxh3_64;

use crate::ledger::codec::{Bytes, put_account, put_text};
use crate::{Account, Outcome};

/// The number of notes that wait. Of more, the latest are lost, and found by a scan.
pub(super) const MAX_WAITING: usize = 65_536;

/// The number of notes from which on the index takes them at once.
pub(super) const WANTED: usize = 1_024;

/// The length from which on a log is written anew while notes come, in bytes.
const REWRITE_AT_BYTES: u64 = 4 << 20;

/// The beginning of a log, before its version. As the length of a note, it would be one that no note has.
const MAGIC: &[u8] = b"uploads";

/// The version of the format that is written. A log without a beginning is from before there were versions, and is read.
const VERSION: u8 = 1;

/// The extension of a second name of a log that could not be read whole.
const DAMAGED_SUFFIX: &str = "damaged";

/// The end of an upload that concerns the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) number: u64,
    pub(super) account: Account,
    pub(super) digest: Digest,
    pub(super) token: UploadToken,
    pub(super) outcome: Outcome,
    pub(super) logical_bytes: u64,
}

const CREATED: u8 = 1;
const REPLACED: u8 = 2;
const UNCLASSIFIED: u8 = 3;
const UNSIZED: u8 = 4;

impl Note {
    /// Appends length, checksum and fields.
    fn put(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend([0; 12]);
        out.extend(self.number.to_le_bytes());
        put_account(out, &self.account);
        put_text(out, self.digest.instance_name().as_str());
        self.digest.to_compact(out);
        out.extend(self.token.as_bytes());
        let (code, stored_bytes, old_bytes) = match self.outcome {
            Outcome::Created { stored_bytes } => (CREATED, stored_bytes, 0),
            Outcome::Replaced { stored_bytes, old_bytes } => (REPLACED, stored_bytes, old_bytes),
            Outcome::Unclassified { stored_bytes: Some(stored_bytes) } => (UNCLASSIFIED, stored_bytes, 0),
            Outcome::Unclassified { stored_bytes: None }
            | Outcome::AlreadyExists { .. }
            | Outcome::Error(_)
            | Outcome::Dropped { .. } => (UNSIZED, 0, 0),
        };
        out.push(code);
        for number in [stored_bytes, old_bytes, self.logical_bytes] {
            out.extend(number.to_le_bytes());
        }
        if let Some((frame, body)) = out.get_mut(begin..).and_then(|all| all.split_first_chunk_mut::<12>()) {
            let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
            let bytes = length.to_le_bytes().into_iter().chain(xxh3_64(body).to_le_bytes());
            frame.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
        }
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        let length = usize::try_from(bytes.u32()?).ok()?;
        let check = bytes.u64()?;
        let body = bytes.slice(length)?;
        if xxh3_64(body) != check {
            return None;
        }
        let mut body = Bytes(body);
        let (number, account) = (body.u64()?, body.account()?);
        let name = InstanceName::from_stored(body.text()?).ok()?;
        let digest = Digest::from_compact(name, &mut body.0).ok()?;
        let token = UploadToken::from_bytes(body.array()?);
        let code = body.byte()?;
        let (stored_bytes, old_bytes, logical_bytes) = (body.u64()?, body.u64()?, body.u64()?);
        let outcome = match code {
            CREATED => Outcome::Created { stored_bytes },
            REPLACED => Outcome::Replaced { stored_bytes, old_bytes },
            UNCLASSIFIED => Outcome::Unclassified { stored_bytes: Some(stored_bytes) },
            UNSIZED => Outcome::Unclassified { stored_bytes: None },
            _ => return None,
        };
        body.is_empty().then_some(Self { number, account, digest, token, outcome, logical_bytes })
    }
}

/// The notes that the index has not taken yet.
#[derive(Debug)]
pub(super) struct Notes {
    waiting: Vec<Note>,
    next: u64,
    log: Option<Log>,
    /// The number of notes that found no room.
    pub(super) lost: u64,
}

impl Notes {
    pub(super) fn new(next: u64, log: Option<Log>) -> Self {
        Self { waiting: Vec::with_capacity(WANTED), next, log, lost: 0 }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the number of times that the log could not be written.
    pub(super) fn failures(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.failures)
    }

    /// Adds the end of an upload, and returns whether the index should take the notes now.
    pub(super) fn push(
        &mut self,
        account: &Account,
        digest: &Digest,
        token: UploadToken,
        outcome: Outcome,
        logical_bytes: u64,
    ) -> bool {
        if self.waiting.len() >= MAX_WAITING {
            self.lost = self.lost.saturating_add(1);
            return true;
        }
        let (account, digest) = (account.clone(), digest.clone());
        let note = Note { number: self.next, account, digest, token, outcome, logical_bytes };
        self.next = self.next.saturating_add(1);
        if let Some(log) = &mut self.log {
            log.append(&note);
        }
        self.waiting.push(note);
        self.waiting.len() == WANTED
    }

    pub(super) fn take(&mut self) -> Vec<Note> {
        std::mem::replace(&mut self.waiting, Vec::with_capacity(WANTED))
    }

    /// Takes notes back that the index could not take. They are older than all others.
    pub(super) fn put_back(&mut self, mut notes: Vec<Note>) {
        notes.append(&mut self.waiting);
        self.waiting = notes;
    }

    /// Forgets what the index has taken.
    pub(super) fn taken(&mut self) {
        if let Some(log) = &mut self.log {
            log.forget_all_but(&self.waiting);
        }
    }
}

/// A log of the notes that the index has not taken yet. It outlives the process, and not a crash of the machine.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    length: u64,
    buffer: Vec<u8>,
    failures: u64,
}

impl Log {
    /// Opens the log at `path`, and reads the notes in it.
    ///
    /// If something in it cannot be read, the log keeps its contents under the extension `damaged`, in place of what was
    /// kept there before, and goes on with the notes before that place.
    pub(super) fn open(path: &Path) -> std::io::Result<(Self, Vec<Note>)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (notes, unread) = read_notes(&bytes)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let mut log = Self { path: path.to_owned(), file, length, buffer: Vec::new(), failures: 0 };
        if unread > 0 {
            let (kept, read) = (path.with_extension(DAMAGED_SUFFIX), notes.len());
            let (log, shown) = (path.display(), kept.display());
            tracing::warn!(%log, read, bytes = unread, kept = %shown, "passing over a part of the log of an index: a scan finds its blobs");
            drop(std::fs::remove_file(&kept));
            drop(std::fs::hard_link(path, &kept));
        }
        // Notes behind what cannot be read would not be read either.
        if unread > 0 || (!bytes.is_empty() && !bytes.starts_with(MAGIC)) {
            log.rewrite(&notes)?;
        }
        Ok((log, notes))
    }

    fn append(&mut self, note: &Note) {
        self.buffer.clear();
        if self.length == 0 {
            put_head(&mut self.buffer);
        }
        note.put(&mut self.buffer);
        let length = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        match self.file.write_all(&self.buffer) {
            Ok(()) => self.length = self.length.saturating_add(length),
            Err(error) => {
                // A part of a note would hide those that follow.
                drop(self.file.set_len(self.length));
                self.fail(&error);
            }
        }
    }

    fn fail(&mut self, error: &std::io::Error) {
        if self.failures == 0 {
            tracing::warn!(log = %self.path.display(), %error, "cannot write the log of an index: a crash may lose owners");
        }
        self.failures = self.failures.saturating_add(1);
    }

    /// Empties the log, but for the notes that still wait.
    fn forget_all_but(&mut self, waiting: &[Note]) {
        let emptied = if waiting.is_empty() {
            self.file.set_len(0).map(|()| self.length = 0)
        } else if self.length > REWRITE_AT_BYTES {
            self.rewrite(waiting)
        } else {
            Ok(())
        };
        if let Err(error) = emptied {
            self.fail(&error);
        }
    }

    /// Writes the log anew beside the old one, which a crash in between leaves.
    fn rewrite(&mut self, waiting: &[Note]) -> std::io::Result<()> {
        self.buffer.clear();
        put_head(&mut self.buffer);
        for note in waiting {
            note.put(&mut self.buffer);
        }
        let new = self.path.with_extension("new");
        let mut file = OpenOptions::new().append(true).create(true).open(&new)?;
        file.set_len(0)?;
        file.write_all(&self.buffer)?;
        std::fs::rename(&new, &self.path)?;
        self.file = file;
        self.length = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        self.buffer = Vec::new();
        Ok(())
    }
}

fn put_head(out: &mut Vec<u8>) {
    out.extend(MAGIC);
    out.push(VERSION);
}

/// Returns the notes in the contents of a log, and the number of bytes behind them that cannot be read.
///
/// # Errors
///
/// `Unsupported` if the log is of another version.
fn read_notes(bytes: &[u8]) -> std::io::Result<(Vec<Note>, usize)> {
    let mut rest = match bytes.strip_prefix(MAGIC) {
        Some([VERSION, notes @ ..]) => Bytes(notes),
        Some([other, ..]) => {
            let message = format!("its log is of version {other}, and this build reads version {VERSION}");
            return Err(std::io::Error::new(std::io::ErrorKind::Unsupported, message));
        }
        Some([]) | None => Bytes(bytes),
    };
    let mut notes = Vec::new();
    let mut next = rest;
    while let Some(note) = Note::read(&mut next) {
        notes.push(note);
        rest = next;
    }
    Ok((notes, rest.0.len()))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use blobaccess::{AccountName, DigestFunction, StorageType};

    use super::*;

    fn push(notes: &mut Notes, number: u8) -> bool {
        let account = Account::new(AccountName::new("acme/日本"), StorageType::Ac);
        let digest = Digest::of(InstanceName::new("main").unwrap(), DigestFunction::Sha256, &[number]);
        let outcome = match number % 4 {
            0 => Outcome::Created { stored_bytes: 5 },
            1 => Outcome::Replaced { stored_bytes: 5, old_bytes: 6 },
            2 => Outcome::Unclassified { stored_bytes: Some(7) },
            _ => Outcome::Unclassified { stored_bytes: None },
        };
        notes.push(&account, &digest, UploadToken::from_bytes([number; 16]), outcome, 9)
    }

    #[test]
    fn notes_outlive_the_process_until_the_index_has_taken_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        let mut notes = Notes::new(1, Some(Log::open(&path).unwrap().0));
        (0..9).for_each(|number| assert!(!push(&mut notes, number)));
        let written = notes.waiting.clone();
        assert_eq!(Log::open(&path).unwrap().1, written);
        let taken = notes.take();
        push(&mut notes, 9);
        notes.taken();
        assert_eq!(Log::open(&path).unwrap().1.len(), 10, "one still waits");
        notes.put_back(taken);
        assert_eq!(notes.waiting().min(10), 10);
        assert!(notes.waiting.is_sorted_by_key(|note| note.number));
        notes.take();
        notes.taken();
        assert_eq!(Log::open(&path).unwrap().1, []);
    }

    #[test]
    fn a_torn_note_ends_the_log_and_a_long_log_is_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        let mut notes = Notes::new(1, Some(Log::open(&path).unwrap().0));
        push(&mut notes, 0);
        let whole = std::fs::metadata(&path).unwrap().len();
        push(&mut notes, 1);
        let bytes = std::fs::read(&path).unwrap();
        for length in usize::try_from(whole).unwrap()..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert_eq!(Log::open(&path).unwrap().1.len(), 1, "{length}");
        }
        std::fs::write(&path, &bytes).unwrap();
        let (mut log, read) = Log::open(&path).unwrap();
        log.rewrite(&read[1..]).unwrap();
        log.append(&read[0]);
        assert_eq!(Log::open(&path).unwrap().1, [read[1].clone(), read[0].clone()]);
    }

    #[test]
    fn what_cannot_be_read_is_kept_and_hides_no_later_note() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index.notes");
        let kept = directory.path().join("index.damaged");
        let mut notes = Notes::new(1, Some(Log::open(&path).unwrap().0));
        (0..3).for_each(|number| assert!(!push(&mut notes, number)));
        assert!(!kept.exists());
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (log, read) = Log::open(&path).unwrap();
        assert_eq!(read, notes.waiting[..1]);
        assert!(std::fs::read(&kept).unwrap() == bytes);
        let mut later = Notes::new(4, Some(log));
        push(&mut later, 3);
        assert_eq!(Log::open(&path).unwrap().1, [read[0].clone(), later.waiting[0].clone()]);
        // The log is emptied, and what was kept is not.
        later.take();
        later.taken();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        assert!(std::fs::read(&kept).unwrap() == bytes);
    }

    #[test]
    fn a_log_says_its_version_and_one_of_another_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        let mut notes = Notes::new(1, Some(Log::open(&path).unwrap().0));
        for _ in 0..2 {
            push(&mut notes, 0);
            assert!(std::fs::read(&path).unwrap().starts_with(b"uploads\x01"));
            notes.take();
            notes.taken();
        }
        push(&mut notes, 1);
        let written = std::fs::read(&path).unwrap();
        let mut other = written.clone();
        other[7] = 2;
        std::fs::write(&path, &other).unwrap();
        let error = Log::open(&path).unwrap_err();
        assert!(error.to_string().contains("of version 2, and this build reads version 1"), "{error}");
        assert!(std::fs::read(&path).unwrap() == other);
        // A log from before there were versions.
        std::fs::write(&path, &written[8..]).unwrap();
        assert_eq!(Log::open(&path).unwrap().1, notes.waiting);
        assert!(std::fs::read(&path).unwrap() == written);
        assert!(!path.with_extension("damaged").exists());
    }

    #[test]
    fn no_more_than_so_many_notes_wait() {
        let mut notes = Notes::new(1, None);
        let wanted = (0..=MAX_WAITING).filter(|_| push(&mut notes, 0)).count();
        assert_eq!((notes.waiting(), notes.lost, wanted), (MAX_WAITING, 1, 2));
    }
}
