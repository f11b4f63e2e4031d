//! The sum of a journal: the counts, and the uploads that have no outcome yet.

use std::collections::BTreeMap;

use blobaccess::{Digest, InstanceName, StoredSize, UploadToken};

use super::record::{Frame, Opened, Owner, Record};
use crate::rows::PlannedRows;
use crate::tokens::token_of;
use crate::{Account, Amounts, Class, Epoch, Outcome, Tally};

/// The sum of the records of a journal. A living journal keeps it up to date; reading a journal rebuilds it by the same
/// function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) owner: Owner,
    pub(crate) epoch: Epoch,
    names: BTreeMap<u32, (Account, InstanceName)>,
    totals: BTreeMap<Account, Tally>,
    intents: BTreeMap<u64, Intent>,
    pub(crate) rows: PlannedRows,
}

/// An upload that has no outcome yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Intent {
    pub(crate) account: Account,
    name: u32,
    pub(crate) digest: Digest,
    pub(crate) logical_bytes: u64,
    pub(crate) size: StoredSize,
    pub(crate) token: UploadToken,
    own_token: bool,
    /// Whether the first byte may have been sent.
    pub(crate) sent: bool,
}

/// A journal that was read.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) state: State,
    /// Whether it is of a version before the one that is written.
    pub(super) outdated: bool,
    /// The place behind the last whole record. A record that follows was torn.
    pub(super) length: usize,
    /// The number of places with records that cannot be read, although whole ones follow.
    pub(super) damaged: u64,
}

impl State {
    pub(crate) fn new(owner: Owner, epoch: Epoch) -> Self {
        Self {
            owner,
            epoch,
            names: BTreeMap::new(),
            totals: BTreeMap::new(),
            intents: BTreeMap::new(),
            rows: PlannedRows::default(),
        }
    }

    /// Sums up the records in `bytes`, the contents of a journal; `None` if nothing says whose they are.
    ///
    /// A record that cannot be read costs that record only: reading goes on at the next one. If none follows, its writer was
    /// interrupted.
    pub(super) fn read(bytes: &[u8]) -> Option<Replayed> {
        let frame = Frame::of(bytes)?;
        let mut replayed: Option<Replayed> = None;
        let (mut at, mut whole, mut damaged) = (0, 0, 0);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let Some((body, length)) = frame.split(rest) else {
                let Some(next) = frame.find(bytes, at + 1) else { break };
                damaged += 1;
                at = next;
                continue;
            };
            let record = Record::read(body, |id| replayed.as_ref()?.state.instance_name(id));
            match (record, &mut replayed) {
                (Some(Record::Head { owner, epoch }), None) => {
                    let outdated = !Record::is_head_of_present_version(body);
                    replayed = Some(Replayed { state: Self::new(owner, epoch), outdated, length: 0, damaged: 0 });
                }
                (Some(record), Some(replayed)) => replayed.state.apply(&record),
                (Some(_), None) | (None, _) => damaged += 1,
            }
            at += length;
            whole = at;
        }
        replayed.map(|replayed| Replayed { length: whole, damaged, ..replayed })
    }

    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Head { .. } => {}
            Record::Name { id, account, instance_name } => {
                self.names.insert(*id, (account.clone(), instance_name.clone()));
            }
            Record::Open(opened) => self.open(opened),
            Record::Sent { number } => {
                if let Some(intent) = self.intents.get_mut(number) {
                    intent.sent = true;
                }
            }
            // An outcome of an upload that is not open was written twice.
            Record::End { number, outcome } => {
                if let Some(intent) = self.intents.remove(number) {
                    self.count(
                        &intent.account,
                        Class::from_outcome(*outcome),
                        Amounts::ended_with(*outcome, intent.logical_bytes, intent.size),
                    );
                }
            }
            Record::Deleted { account, class, amounts } => self.count(account, *class, *amounts),
            Record::Totals { account, tally } => self.totals.entry(account.clone()).or_default().add_all(tally),
            Record::Folded { account } => {
                if let Some(tally) = self.totals.remove(account) {
                    self.totals.entry(Account::overflow(account.storage_type())).or_default().add_all(&tally);
                }
            }
            Record::Planned { .. }
            | Record::PlannedRows { .. }
            | Record::Delivered { .. }
            | Record::DeliveredRows { .. } => self.rows.apply(record),
        }
    }

    fn open(&mut self, opened: &Opened) {
        let Some((account, _)) = self.names.get(&opened.name) else { return };
        let account = account.clone();
        if !opened.counted {
            self.count(&account, Class::Started, Amounts::started(opened.logical_bytes));
        }
        let intent = Intent {
            account,
            name: opened.name,
            digest: opened.digest.clone(),
            logical_bytes: opened.logical_bytes,
            size: opened.size,
            token: opened.token.unwrap_or_else(|| token_of(self.epoch, opened.number)),
            own_token: opened.token.is_none(),
            sent: opened.sent,
        };
        self.intents.insert(opened.number, intent);
    }

    fn count(&mut self, account: &Account, class: Class, amounts: Amounts) {
        if let Some(tally) = self.totals.get_mut(account) {
            tally.add(class, amounts);
        } else {
            self.totals.insert(account.clone(), [(class, amounts)].into_iter().collect());
        }
    }

    fn instance_name(&self, id: u32) -> Option<InstanceName> {
        self.names.get(&id).map(|(_, instance_name)| instance_name.clone())
    }

    /// Returns the counts so far.
    pub(crate) fn totals(&self) -> Vec<(Account, Tally)> {
        self.totals.iter().map(|(account, tally)| (account.clone(), tally.clone())).collect()
    }

    /// Returns the uploads that have no outcome, by number.
    pub(crate) const fn intents(&self) -> &BTreeMap<u64, Intent> {
        &self.intents
    }

    /// Returns the fewest records with the same sum. Names that no open upload uses are dropped.
    pub(super) fn compacted(&mut self) -> Vec<Record> {
        self.forget_unused_names();
        let head = Record::Head { owner: self.owner.clone(), epoch: self.epoch };
        let mut records = vec![head.clone(), head];
        records.extend(self.names.iter().map(|(id, (account, instance_name))| Record::Name {
            id: *id,
            account: account.clone(),
            instance_name: instance_name.clone(),
        }));
        records.extend(
            self.totals
                .iter()
                .map(|(account, tally)| Record::Totals { account: account.clone(), tally: tally.clone() }),
        );
        records.extend(self.rows.compacted());
        records.extend(self.intents.iter().map(|(number, intent)| {
            Record::Open(Opened {
                number: *number,
                name: intent.name,
                digest: intent.digest.clone(),
                logical_bytes: intent.logical_bytes,
                size: intent.size,
                token: (!intent.own_token).then_some(intent.token),
                sent: intent.sent,
                counted: true,
            })
        }));
        records
    }

    /// Forgets the names that no open upload uses.
    pub(super) fn forget_unused_names(&mut self) {
        let used: std::collections::BTreeSet<u32> = self.intents.values().map(|intent| intent.name).collect();
        self.names.retain(|id, _| used.contains(id));
    }

    /// Returns the records that end every upload of which no byte was sent.
    pub(crate) fn unsent(&self) -> Vec<Record> {
        let reason = crate::DropReason::Shutdown;
        let outcome = Outcome::Dropped { reason, stored_bytes: None };
        let unsent = self.intents.iter().filter(|(_, intent)| !intent.sent);
        unsent.map(|(number, _)| Record::End { number: *number, outcome }).collect()
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::{AccountName, DigestFunction, StorageType};

    use super::*;
    use crate::Reporter;

    fn opened(number: u64, name: u32, sent: bool) -> Record {
        let instance_name = InstanceName::new("main").unwrap();
        let digest = Digest::of(instance_name, DigestFunction::Sha256, &number.to_le_bytes());
        let logical_bytes = digest.size_bytes();
        let size = StoredSize::Unknown;
        Record::Open(Opened { number, name, digest, logical_bytes, size, token: None, sent, counted: false })
    }

    fn records() -> Vec<Record> {
        let account = |name: &str| Account::new(AccountName::new(name), StorageType::Cas);
        let name = |id, account| Record::Name { id, account, instance_name: InstanceName::new("main").unwrap() };
        vec![
            Record::Head {
                owner: Owner { reporter: Reporter::new("host"), store: String::new() },
                epoch: Epoch::from_bytes([9; 16]),
            },
            name(1, account("a")),
            opened(1, 1, true),
            opened(2, 1, false),
            Record::End { number: 1, outcome: Outcome::Created { stored_bytes: 5 } },
            name(2, account("b")),
            opened(3, 2, true),
            opened(4, 2, false),
            Record::Sent { number: 4 },
            Record::End { number: 1, outcome: Outcome::Created { stored_bytes: 5 } },
            Record::Planned { number: 1, created_at_millis: 0, accounts: 1 },
            Record::PlannedRows {
                number: 1,
                account: account("a"),
                tally: [(Class::Created, Amounts::deleted(1, 5))].into_iter().collect(),
            },
            Record::Delivered { number: 1 },
        ]
    }

    fn read(records: &[Record]) -> State {
        let mut written = Vec::new();
        for record in records {
            record.put(&mut written);
        }
        let replayed = State::read(&written).unwrap();
        assert_eq!((replayed.length, replayed.damaged), (written.len(), 0));
        replayed.state
    }

    #[test]
    fn a_journal_says_what_was_counted_and_what_is_open() {
        let state = read(&records());
        let counted: Vec<_> = state
            .totals()
            .into_iter()
            .map(|(_, tally)| (tally.get(Class::Started).objects, tally.get(Class::Created).stored_bytes))
            .collect();
        assert_eq!(counted, [(2, 5), (2, 0)]);
        let open: Vec<_> = state.intents().iter().map(|(number, intent)| (*number, intent.sent)).collect();
        assert_eq!(open, [(2, false), (3, true), (4, true)]);
    }

    #[test]
    fn a_compacted_journal_says_the_same() {
        let mut state = read(&records());
        let compacted = read(&state.compacted());
        assert_eq!(compacted, state);
    }

    fn written(records: &[Record]) -> (Vec<u8>, Vec<usize>) {
        let mut written = Vec::new();
        let mut ends = Vec::new();
        for record in records {
            record.put(&mut written);
            ends.push(written.len());
        }
        (written, ends)
    }

    #[test]
    fn a_torn_tail_is_passed_over() {
        let (written, ends) = written(&records());
        for length in 0..written.len() {
            let whole = ends.iter().rposition(|end| *end <= length);
            match (State::read(&written[..length]), whole) {
                (None, None) => {}
                (Some(replayed), Some(whole)) => {
                    assert_eq!((replayed.length, replayed.damaged), (ends[whole], 0));
                    assert_eq!(replayed.state, read(&records()[..=whole]));
                }
                (replayed, whole) => panic!("{replayed:?} of {whole:?}"),
            }
        }
    }

    #[test]
    fn damage_costs_the_record_that_it_hits_and_is_told_from_a_torn_tail() {
        let mut records = records();
        records.insert(0, records[0].clone());
        let (written, ends) = written(&records);
        let last = *ends.iter().rev().nth(1).unwrap();
        for at in 0..last {
            let mut damaged = written.clone();
            damaged[at] ^= 0xff;
            let hit = ends.iter().position(|end| *end > at).unwrap();
            let replayed = State::read(&damaged).unwrap();
            assert!(replayed.damaged >= 1, "byte {at} of record {hit}");
            assert_eq!(replayed.length, written.len(), "byte {at} of record {hit}");
            // An upload whose name is lost cannot be asked about; everything else is there.
            let named = |record: &Record| match (&records[hit], record) {
                (Record::Name { id, .. }, Record::Open(opened)) => opened.name == *id,
                _ => false,
            };
            let mut expected = State::new(replayed.state.owner.clone(), replayed.state.epoch);
            for (index, record) in records.iter().enumerate() {
                let is_lost = index == hit || named(record);
                if !is_lost {
                    expected.apply(record);
                }
            }
            assert_eq!(replayed.state, expected, "byte {at} of record {hit}");
        }
    }
}
